//! The simulator proves itself: whatever bug is planted, it is found.

use std::thread;
use std::time::Duration;

use meshwork::sim::{Bug, FaultKind, Plan, hunt};

/// As `meshwork sim --planted` runs them.
fn plan(seed: u64) -> Plan {
    Plan::of_seed(seed, 5, Duration::from_secs(120), &FaultKind::ALL)
}

#[test]
fn every_planted_bug_is_found_within_200_seeds() {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let found = hunt(*bug, 1..201, threads, plan);
        match found.caught {
            Some(caught) => println!(
                "{}: {} seeds, {}",
                bug.name(),
                caught.seeds,
                caught.violation
            ),
            None => missed.push(bug.name()),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
