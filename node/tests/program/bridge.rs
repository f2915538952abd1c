//! Machines on a bridge, as network namespaces of the test's own, so that nothing of the machine's own network is touched.
//!
//! Needs the right to make namespaces and the program `ip`.

use std::process::{Command, Stdio};

/// A bridge in a namespace of its own, and one namespace with an address on it for each machine.
pub(crate) struct Bridge {
    prefix: String,
    machines: usize,
}

impl Bridge {
    /// `None` where namespaces are not permitted. `name` is for no other bridge of this process.
    pub(crate) fn build(name: &str, machines: usize) -> Option<Self> {
        let bridge = Self {
            prefix: format!("mw{}{name}", std::process::id()),
            machines,
        };
        if !ip(&["netns", "add", &bridge.prefix]) {
            return None;
        }
        assert!(bridge.ip(&["link", "add", "br0", "type", "bridge"]));
        assert!(bridge.ip(&["link", "set", "br0", "up"]));
        for machine in 0..machines {
            bridge.attach(machine);
        }
        Some(bridge)
    }

    fn attach(&self, machine: usize) {
        let namespace = &self.namespace(machine);
        assert!(ip(&["netns", "add", namespace]));
        let port = port(machine);
        let veth = ["type", "veth", "peer", "name", "eth0", "netns", namespace];
        assert!(self.ip(&[&["link", "add", &port], &veth[..]].concat()));
        assert!(self.ip(&["link", "set", &port, "master", "br0", "up"]));
        let address = format!("{}/24", self.address(machine));
        for set in [
            &["addr", "add", &address, "dev", "eth0"][..],
            &["link", "set", "eth0", "up"],
            &["link", "set", "lo", "up"],
        ] {
            assert!(ip(&[&["-n", namespace], set].concat()));
        }
    }

    /// The namespace that a machine is.
    pub(crate) fn namespace(&self, machine: usize) -> String {
        format!("{}{}", self.prefix, port(machine))
    }

    /// Its address on the bridge.
    pub(crate) fn address(&self, machine: usize) -> String {
        assert!(machine < self.machines);
        format!("10.77.0.{}", machine + 1)
    }

    /// Pulls a machine's cable (`down`), or plugs it in (`up`).
    pub(crate) fn set_link(&self, machine: usize, state: &str) {
        assert!(self.ip(&["link", "set", &port(machine), state]));
    }

    fn ip(&self, arguments: &[&str]) -> bool {
        ip(&[&["-n", &self.prefix], arguments].concat())
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        for machine in 0..self.machines {
            ip(&["netns", "del", &self.namespace(machine)]);
        }
        ip(&["netns", "del", &self.prefix]);
    }
}

fn port(machine: usize) -> String {
    format!("p{machine}")
}

fn ip(arguments: &[&str]) -> bool {
    let ran = Command::new("ip")
        .args(arguments)
        .stderr(Stdio::null())
        .status();
    ran.is_ok_and(|status| status.success())
}
