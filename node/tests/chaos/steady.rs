//! As many nodes as copies: each holds everything, and a client is promised most.

use std::time::Instant;

use meshwork::sim::workload::Placement;
use meshwork_sync::Level;

use crate::bridge::Bridge;
use crate::door::Door;
use crate::faults::{self, Fault};
use crate::load::{Load, judge};
use crate::{one_at_a_time, runtime, stage};

const NODES: usize = 3;

#[test]
fn nodes_that_are_killed_stopped_frozen_and_cut_off_keep_what_they_promised() {
    let _turn = one_at_a_time();
    let (seed, time) = stage::wishes(40);
    let bridge = Bridge::build("c", NODES);
    let mut faults = vec![Fault::Kill, Fault::Stop, Fault::Freeze];
    match &bridge {
        Some(_) => faults.extend([Fault::Unplug; 2]),
        None => {
            println!("SKIPPED: cutting links: namespaces are not permitted, or there is no `ip`")
        }
    }
    let mut sites = stage::found(NODES, bridge.as_ref());
    let start = Instant::now();
    let doors: Vec<Door> = sites.iter().map(|site| Door::new(site, start)).collect();
    let plan = faults::plan(seed, NODES, time, &faults);
    let load = Load {
        seed,
        time,
        placement: Placement::Everywhere { nodes: NODES },
        clients_per_node: 2,
    };
    let runtime = runtime();
    let oracle = std::thread::scope(|scope| {
        let wrecker = scope.spawn(|| faults::carry_out(&plan, &mut sites, bridge.as_ref(), start));
        let oracle = runtime.block_on(load.work(&doors));
        wrecker.join().unwrap();
        oracle
    });
    println!("{:.3}s: all faults are over", start.elapsed().as_secs_f64());
    let nodes: Vec<(u32, &Door)> = (0..).zip(&doors).collect();
    runtime.block_on(judge(&oracle, &nodes, Level::Local));
    stage::await_rest(&sites.iter().collect::<Vec<_>>());
}
