//! Seeds of the proof, few enough for a build without optimization.

use std::time::Duration;

use meshwork::sim::{Fault, FaultKind, Keep, Plan, Planned};

fn plan(seed: u64) -> Plan {
    Plan::of_seed(seed, 3, Duration::from_secs(30), &FaultKind::ALL)
}

#[test]
fn meshes_keep_their_promises_under_faults() {
    for seed in 1..=8 {
        let outcome = plan(seed).run(None, Keep::Timeline);
        for line in &outcome.timeline {
            println!("{line}");
        }
        assert_eq!(
            outcome.violation, None,
            "meshwork sim --seed {seed} --nodes 3"
        );
        assert!(outcome.tally.acknowledged > 20, "seed {seed} did little");
    }
}

#[test]
fn a_plan_keeps_only_the_faults_that_are_named() {
    let plan = plan(5);
    assert!(plan.faults.len() > 1);
    let last = plan.faults.len() - 1;
    let less = plan.keeping(&[last, 1_000]);
    assert_eq!(less.faults, [plan.faults[last].clone()]);
}

#[test]
fn the_end_of_all_faults_starts_what_was_killed() {
    let (at, pause) = (Duration::from_secs(1), Duration::from_secs(100_000));
    let storm = Planned {
        at,
        fault: Fault::Storm { pause },
    };
    let plan = Plan {
        faults: vec![storm],
        ..plan(3)
    };
    let outcome = plan.run(None, Keep::Timeline);
    assert_eq!(outcome.violation, None);
    assert!(outcome.converged.is_some());
}
