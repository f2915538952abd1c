//! Three machines on a bridge, as network namespaces of the test's own: a link is cut and restored, and the mesh heals.
//!
//! Needs the right to make namespaces and the program `ip`; says that it was skipped where either is missing.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A bridge in a namespace of its own, so that nothing of the machine's own network is touched.
struct Bridge {
    prefix: String,
    machines: Vec<Machine>,
}

/// One namespace with an address on the bridge, a data folder and perhaps a running node.
struct Machine {
    namespace: String,
    address: String,
    folder: TempDir,
    node: Option<Child>,
}

const NAMES: [&str; 3] = ["a", "b", "c"];
const PATIENCE: Duration = Duration::from_secs(60);

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
        let bridge = format!("{prefix}s");
        if !ip(&["netns", "add", &bridge]) {
            return None;
        }
        let mut built = Self {
            prefix,
            machines: Vec::new(),
        };
        assert!(ip(&["-n", &bridge, "link", "add", "br0", "type", "bridge"]));
        assert!(ip(&["-n", &bridge, "link", "set", "br0", "up"]));
        for (n, name) in NAMES.iter().enumerate() {
            let namespace = format!("{}{name}", built.prefix);
            let address = format!("10.77.0.{}", n + 1);
            assert!(ip(&["netns", "add", &namespace]));
            let port = format!("p{name}");
            assert!(ip(&[
                "-n", &bridge, "link", "add", &port, "type", "veth", "peer", "name", "eth0",
                "netns", &namespace,
            ]));
            assert!(ip(&[
                "-n", &bridge, "link", "set", &port, "master", "br0", "up"
            ]));
            let cidr = format!("{address}/24");
            assert!(ip(&["-n", &namespace, "addr", "add", &cidr, "dev", "eth0"]));
            assert!(ip(&["-n", &namespace, "link", "set", "eth0", "up"]));
            assert!(ip(&["-n", &namespace, "link", "set", "lo", "up"]));
            let folder = tempfile::tempdir().unwrap();
            built.machines.push(Machine {
                namespace,
                address,
                folder,
                node: None,
            });
        }
        Some(built)
    }

    /// Pulls a machine's cable, or plugs it in.
    fn set_link(&self, name: &str, state: &str) {
        let (bridge, port) = (format!("{}s", self.prefix), format!("p{name}"));
        assert!(ip(&["-n", &bridge, "link", "set", &port, state]));
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        for machine in &mut self.machines {
            machine.stop();
            ip(&["netns", "del", &machine.namespace]);
        }
        ip(&["netns", "del", &format!("{}s", self.prefix)]);
    }
}

impl Machine {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command
            .args([
                "netns",
                "exec",
                &self.namespace,
                env!("CARGO_BIN_EXE_meshwork"),
                "--dir",
            ])
            .arg(self.folder.path())
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed; gives what it printed.
    fn say(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn up(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let node = self
            .command(&["up"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.node = Some(node);
        let address = self.folder.path().join("door.addr");
        until("the node runs", || Path::new(&address).exists());
    }

    fn stop(&mut self) {
        if let Some(mut node) = self.node.take() {
            node.kill().unwrap();
            node.wait().unwrap();
        }
    }

    /// How many members this one holds for alive, itself included.
    fn alive(&self) -> usize {
        let status: serde_json::Value =
            serde_json::from_str(&self.say(&["status", "--json"])).unwrap();
        let members = status["status"]["members"].as_array().unwrap();
        members
            .iter()
            .filter(|member| member["state"] == "alive")
            .count()
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
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
            bridge.machines[n].say(&[&["init", "--mesh", "home"], &places[..]].concat());
        } else {
            let ticket = bridge.machines[0].say(&["invite"]);
            bridge.machines[n].say(&[&["join", &ticket], &places[..]].concat());
        }
        bridge.machines[n].up();
    }
    let everybody_sees =
        |bridge: &Bridge, count| bridge.machines.iter().all(|m| m.alive() == count);
    until("all three see each other", || everybody_sees(&bridge, 3));
    bridge.machines[0].say(&["put", "--level", "all", "notes/today", "milk"]);

    bridge.set_link("c", "down");
    until("the others notice", || {
        bridge.machines[0].alive() == 2 && bridge.machines[1].alive() == 2
    });
    // Both sides go on writing.
    bridge.machines[0].say(&["set", "add", "--level", "quorum", "tags/x", "from a"]);
    bridge.machines[2].say(&["set", "add", "--level", "local", "tags/x", "from c"]);

    bridge.set_link("c", "up");
    until("all three see each other again", || {
        everybody_sees(&bridge, 3)
    });
    for machine in &bridge.machines {
        until("both writes are everywhere", || {
            let shown = machine.run(&["set", "show", "--level", "local", "tags/x"]);
            let shown = String::from_utf8(shown.stdout).unwrap();
            shown.contains("from a") && shown.contains("from c")
        });
        assert_eq!(
            machine.say(&["get", "--level", "local", "notes/today"]),
            "milk"
        );
    }
}
