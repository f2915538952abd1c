//! Three machines on a bridge: a link is cut and restored, and the mesh heals.

use crate::bridge::Bridge;
use crate::site::{Site, eventually};

const NAMES: [&str; 3] = ["a", "b", "c"];

#[test]
fn a_cable_that_was_pulled_and_plugged_in_again_leaves_no_trace() {
    let Some(bridge) = Bridge::build("", NAMES.len()) else {
        eprintln!("SKIPPED: making network namespaces is not permitted here, or `ip` is missing");
        return;
    };
    // Dropped before the bridge that it stands on.
    let mut machines: Vec<Site> = Vec::new();
    for (n, name) in NAMES.iter().enumerate() {
        let mut site = Site::empty();
        site.namespace = Some(bridge.namespace(n));
        let listen = format!("{}:7117", bridge.address(n));
        let places = [
            "--listen",
            &listen,
            "--http",
            "127.0.0.1:7118",
            "--name",
            name,
        ];
        match machines.first() {
            None => {
                let init = ["init", "--mesh", "home"];
                site.ok(&[&init, &places[..]].concat());
            }
            Some(first) => {
                let ticket = first.invite();
                let join = ["join", &ticket];
                site.ok(&[&join, &places[..]].concat());
            }
        }
        site.up();
        machines.push(site);
    }
    let all_see = |count: usize| {
        let mut machines = machines.iter();
        machines.all(|site| site.alive() == count).then_some(())
    };
    eventually("all three see each other", || all_see(3));
    let [a, b, c] = [0, 1, 2].map(|n| &machines[n]);
    a.ok(&["put", "--level", "all", "notes/today", "milk"]);

    bridge.set_link(2, "down");
    eventually("the others notice", || {
        (a.alive() == 2 && b.alive() == 2).then_some(())
    });
    // Both sides go on writing.
    let add = ["set", "add", "tags/x"];
    a.ok(&[&add[..], &["from a", "--level", "quorum"]].concat());
    c.ok(&[&add[..], &["from c", "--level", "local"]].concat());

    bridge.set_link(2, "up");
    eventually("all three see each other again", || all_see(3));
    for machine in [a, b, c] {
        eventually("both writes are everywhere", || {
            let show = ["set", "show", "--level", "local", "tags/x"];
            let shown = String::from_utf8(machine.run(&show).stdout).unwrap();
            (shown == "from a\nfrom c\n").then_some(())
        });
        let get = ["get", "--level", "local", "notes/today"];
        assert_eq!(machine.ok(&get), "milk\n");
    }
}
