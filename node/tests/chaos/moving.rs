//! More nodes than copies, of which some come, some go, and some die meanwhile: what they hold moves.

use std::thread::sleep;
use std::time::{Duration, Instant};

use meshwork::sim::workload::Placement;
use meshwork_sync::Level;

use crate::door::Door;
use crate::load::{Load, judge};
use crate::site::Site;
use crate::{one_at_a_time, runtime, stage};

/// At first; two come, and one goes.
const NODES: usize = 4;

#[test]
fn nodes_that_come_and_go_while_others_die_keep_what_they_promised() {
    let _turn = one_at_a_time();
    let (seed, time) = stage::wishes(25);
    let mut sites = stage::found(NODES, None);
    sites.extend([Site::empty(), Site::empty()]);
    let start = Instant::now();
    let doors: Vec<Door> = sites.iter().map(|site| Door::new(site, start)).collect();
    let load = Load {
        seed,
        time,
        placement: Placement::Moving,
        clients_per_node: 1,
    };
    let runtime = runtime();
    let oracle = std::thread::scope(|scope| {
        let wrecker = scope.spawn(|| come_and_go(&mut sites, time / 25, start));
        let oracle = runtime.block_on(load.work(&doors));
        wrecker.join().unwrap();
        oracle
    });
    let stay: Vec<usize> = (0..sites.len()).filter(|node| *node != GOES).collect();
    let nodes = stay
        .iter()
        .map(|node| (u32::try_from(*node).unwrap(), &doors[*node]));
    runtime.block_on(judge(&oracle, &nodes.collect::<Vec<_>>(), Level::One));
    stage::await_rest(&stay.iter().map(|node| &sites[*node]).collect::<Vec<_>>());
}

const GOES: usize = 3;

/// Takes 22 times `tact`, or longer.
fn come_and_go(sites: &mut [Site], tact: Duration, start: Instant) {
    let at = |count: u32, what: &str| {
        sleep((count * tact).saturating_sub(start.elapsed()));
        println!("{:.3}s: {what}", start.elapsed().as_secs_f64());
    };
    at(2, "node 4 comes");
    let (old, new) = sites.split_at_mut(NODES);
    stage::join(&mut new[0], NODES, old.first(), None);
    at(4, "node 1 is killed while things move");
    old[1].signal("-KILL");
    assert!(!old[1].ended().success());
    at(6, "node 1 is back");
    old[1].up();
    at(9, "node 3 goes, and node 2 is killed meanwhile");
    let mut leave = old[GOES]
        .command(&["leave", "--patience", "60s"])
        .spawn()
        .unwrap();
    sleep(tact / 20);
    old[2].signal("-KILL");
    assert!(!old[2].ended().success());
    at(11, "node 2 is back");
    old[2].up();
    assert!(leave.wait().unwrap().success());
    assert!(old[GOES].ended().success());
    at(14, "node 5 comes, and node 0 is frozen meanwhile");
    stage::join(&mut new[1], NODES + 1, old.first(), None);
    old[0].signal("-STOP");
    at(18, "node 0 goes on");
    old[0].signal("-CONT");
    at(22, "all is well");
}
