//! Three machines on a bridge, as network namespaces of the test's own: a link is cut and restored, and the mesh heals.
//!
//! Needs the right to make namespaces and the program `ip`; says that it was skipped where either is missing.

use std::process::{Command, Stdio};

use crate::site::{Site, eventually};

/// A bridge in a namespace of its own, so that nothing of the machine's own network is touched.
struct Bridge {
    namespace: String,
    machines: Vec<Machine>,
}

/// One namespace with an address on the bridge, and what runs in it.
struct Machine {
    site: Site,
    namespace: String,
    address: String,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

fn ip(arguments: &[&str]) -> bool {
    let ran = Command::new("ip")
        .args(arguments)
        .stderr(Stdio::null())
        .status();
    ran.is_ok_and(|status| status.success())
}

impl Bridge {
    /// `None` where namespaces are not permitted.
    fn build() -> Option<Self> {
        let prefix = format!("mw{}", std::process::id());
        let mut bridge = Self {
            namespace: format!("{prefix}s"),
            machines: Vec::new(),
        };
        if !ip(&["netns", "add", &bridge.namespace]) {
            return None;
        }
        assert!(bridge.ip(&["link", "add", "br0", "type", "bridge"]));
        assert!(bridge.ip(&["link", "set", "br0", "up"]));
        for (n, name) in NAMES.iter().enumerate() {
            let machine = Machine {
                site: Site::empty(),
                namespace: format!("{prefix}{name}"),
                address: format!("10.77.0.{}", n + 1),
            };
            bridge.attach(name, machine);
        }
        Some(bridge)
    }

    fn attach(&mut self, name: &str, mut machine: Machine) {
        let namespace = &machine.namespace;
        assert!(ip(&["netns", "add", namespace]));
        machine.site.namespace = Some(namespace.clone());
        let port = format!("p{name}");
        let veth = ["type", "veth", "peer", "name", "eth0", "netns", namespace];
        assert!(self.ip(&[&["link", "add", &port], &veth[..]].concat()));
        assert!(self.ip(&["link", "set", &port, "master", "br0", "up"]));
        let address = format!("{}/24", machine.address);
        for set in [
            &["addr", "add", &address, "dev", "eth0"][..],
            &["link", "set", "eth0", "up"],
            &["link", "set", "lo", "up"],
        ] {
            assert!(ip(&[&["-n", namespace], set].concat()));
        }
        self.machines.push(machine);
    }

    fn ip(&self, arguments: &[&str]) -> bool {
        ip(&[&["-n", &self.namespace], arguments].concat())
    }

    /// Pulls a machine's cable, or plugs it in.
    fn set_link(&self, name: &str, state: &str) {
        assert!(self.ip(&["link", "set", &format!("p{name}"), state]));
    }

    fn all_see(&self, count: usize) -> Option<()> {
        let mut machines = self.machines.iter();
        machines.all(|m| m.alive() == count).then_some(())
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        for machine in self.machines.drain(..) {
            drop(machine.site);
            ip(&["netns", "del", &machine.namespace]);
        }
        ip(&["netns", "del", &self.namespace]);
    }
}

impl Machine {
    /// How many members this one holds for alive, itself included.
    fn alive(&self) -> usize {
        let status = self.site.json(&["status", "--json"]);
        let members = status["status"]["members"].as_array().unwrap();
        members
            .iter()
            .filter(|member| member["state"] == "alive")
            .count()
    }
}

#[test]
fn a_cable_that_was_pulled_and_plugged_in_again_leaves_no_trace() {
    let Some(mut bridge) = Bridge::build() else {
        eprintln!("SKIPPED: making network namespaces is not permitted here, or `ip` is missing");
        return;
    };
    for (n, name) in NAMES.iter().enumerate() {
        let listen = format!("{}:7117", bridge.machines[n].address);
        let places = [
            "--listen",
            &listen,
            "--http",
            "127.0.0.1:7118",
            "--name",
            name,
        ];
        if n == 0 {
            let init = ["init", "--mesh", "home"];
            bridge.machines[n].site.ok(&[&init, &places[..]].concat());
        } else {
            let ticket = bridge.machines[0].site.invite();
            let join = ["join", &ticket];
            bridge.machines[n].site.ok(&[&join, &places[..]].concat());
        }
        bridge.machines[n].site.up();
    }
    eventually("all three see each other", || bridge.all_see(3));
    let [a, b, c] = [0, 1, 2].map(|n| &bridge.machines[n]);
    a.site.ok(&["put", "--level", "all", "notes/today", "milk"]);

    bridge.set_link("c", "down");
    eventually("the others notice", || {
        (a.alive() == 2 && b.alive() == 2).then_some(())
    });
    // Both sides go on writing.
    let add = ["set", "add", "tags/x"];
    a.site
        .ok(&[&add[..], &["from a", "--level", "quorum"]].concat());
    c.site
        .ok(&[&add[..], &["from c", "--level", "local"]].concat());

    bridge.set_link("c", "up");
    eventually("all three see each other again", || bridge.all_see(3));
    for machine in [a, b, c] {
        eventually("both writes are everywhere", || {
            let show = ["set", "show", "--level", "local", "tags/x"];
            let shown = String::from_utf8(machine.site.run(&show).stdout).unwrap();
            (shown == "from a\nfrom c\n").then_some(())
        });
        let get = ["get", "--level", "local", "notes/today"];
        assert_eq!(machine.site.ok(&get), "milk\n");
    }
}
