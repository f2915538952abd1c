//! A seed is a run: the same events in the same order, byte for byte, wherever and whenever it runs.

use std::thread;
use std::time::Duration;

use meshwork::sim::{FaultKind, Keep, Plan};

/// Seeds with different faults among them.
const SEEDS: [u64; 3] = [3, 4, 5];

fn trace(seed: u64) -> String {
    let lasts = Duration::from_secs(15);
    let plan = Plan::of_seed(seed, 4, lasts, &FaultKind::ALL);
    assert!(
        !plan.faults.is_empty(),
        "seed {seed} has no fault to repeat"
    );
    let outcome = plan.run(None, Keep::Everything);
    assert!(outcome.events > 1_000, "seed {seed} ran {outcome:?}");
    outcome.trace
}

/// Says where two traces part, instead of printing both.
fn assert_same(seed: u64, first: &str, second: &str) {
    let parted = first.lines().zip(second.lines()).find(|(a, b)| a != b);
    assert_eq!(parted, None, "seed {seed} ran in two ways");
    assert_eq!(first.len(), second.len(), "seed {seed} ended in two ways");
}

#[test]
fn a_seed_that_runs_twice_leaves_the_same_trace() {
    for seed in SEEDS {
        assert_same(seed, &trace(seed), &trace(seed));
    }
}

#[test]
fn a_seed_leaves_the_same_trace_on_every_thread_and_beside_others() {
    let beside: Vec<_> = SEEDS.map(|seed| thread::spawn(move || trace(seed))).into();
    for (seed, other) in SEEDS.into_iter().zip(beside) {
        assert_same(seed, &trace(seed), &other.join().unwrap());
    }
}

#[test]
fn another_seed_leaves_another_trace() {
    let [first, second, _] = SEEDS.map(trace);
    assert_ne!(first, second);
}
