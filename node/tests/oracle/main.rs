//! The oracle catches each lie, and lets an honest mesh pass.
#![cfg(feature = "sim")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod claims;
mod world;

use std::rc::Rc;
use std::time::Duration;

use meshwork::Options;
use meshwork::sim::workload::{Client, Kinds, Mix, Oracle, Placement, Violation, Workload, settle};
use meshwork::traces::{Patch, Trace, Transaction};
use meshwork_sync::Level;

use crate::world::{Inmate, Lie, Versions, World};

const NODES: usize = 3;
/// With which each lie is tried.
const SEEDS: u64 = if cfg!(debug_assertions) { 2 } else { 10 };
/// For lies that only concurrent writes give an occasion to.
const REGISTERS: Kinds = Kinds {
    counter: 0,
    register: 1,
    set: 0,
    map: 0,
    flag: 0,
    life: 0,
    text: 0,
};

/// Words in front of each other, and some taken back.
fn trace() -> Trace {
    let transactions = (0..400_usize).map(|index| Transaction {
        parents: index.checked_sub(1).into_iter().collect(),
        agent: 0,
        patches: vec![Patch {
            at: index % 7,
            delete: usize::from(index > 20 && index.is_multiple_of(3)),
            insert: format!("w{index} "),
        }],
    });
    Trace {
        end: String::new(),
        agents: 1,
        transactions: transactions.collect(),
    }
}

/// Runs a workload of two clients at each node; returns how often was lied, and what was found.
fn found(seed: u64, time: Duration, lie: Lie, versions: Versions) -> (u32, Vec<Violation>) {
    let world = World::new(seed, NODES, lie, versions);
    let oracle = Rc::new(Oracle::new(Placement::Everywhere { nodes: NODES }));
    let mut kinds = Kinds::default();
    if lie.is_subtle() {
        kinds = REGISTERS;
    }
    if matches!(lie, Lie::Stutters | Lie::SkipsAWord) {
        kinds.text = 10;
    }
    let mix = Mix {
        keys: 1,
        kinds,
        ..Mix::default()
    };
    let workload = Workload::new(seed, mix, Rc::clone(&oracle));
    let clients: Vec<Inmate<'_>> = (0..2 * NODES)
        .map(|n| Inmate {
            world: &world,
            node: n % NODES,
        })
        .collect();
    let mut sessions: Vec<_> = (0..)
        .zip(&clients)
        .map(|(n, client)| workload.session(n, u32::try_from(client.node).unwrap()))
        .collect();
    let first = sessions.remove(0);
    sessions.insert(0, first.with_history(Rc::new(trace())));
    let mut tasks: Vec<std::pin::Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
    for (session, client) in sessions.iter_mut().zip(&clients) {
        tasks.push(Box::pin(session.run(client)));
    }
    tasks.push(Box::pin(async {
        clients[0].sleep(time).await;
        workload.stop();
    }));
    world.run(tasks);

    world.calm.set(true);
    let ends: Vec<(u32, &Inmate<'_>)> = (0..).zip(&clients).take(NODES).collect();
    let mut violations = oracle.violations();
    world.run(vec![Box::pin(async {
        let options = Options::level(Level::Local);
        let within = Duration::from_secs(3);
        if let Err(unsettled) = settle(&oracle, &ends, options, within).await {
            violations.extend(unsettled.violations);
        }
    })]);
    let tally = oracle.tally();
    assert!(tally.acknowledged > 10 && tally.read > 10, "{tally}");
    (world.lies.get(), violations)
}

#[test]
fn an_honest_mesh_passes() {
    let seeds = if cfg!(debug_assertions) { 20 } else { 500 };
    for seed in 0..seeds {
        for versions in [Versions::Told, Versions::Hidden] {
            let (_, violations) = found(seed, Duration::from_secs(4), Lie::None, versions);
            assert!(violations.is_empty(), "seed {seed}: {}", violations[0]);
        }
    }
}

#[test]
fn each_lie_is_caught() {
    for lie in [
        Lie::Forgets,
        Lie::KeepsToItself,
        Lie::BringsBack,
        Lie::DoesWhatItRefused,
        Lie::LastArrivalWins,
        Lie::ShowsThePast,
        Lie::CountsTwice,
        Lie::LosesASibling,
        Lie::Invents,
        Lie::TurnsOff,
        Lie::Stutters,
        Lie::SkipsAWord,
        Lie::ReusesADot,
    ] {
        for versions in [Versions::Told, Versions::Hidden] {
            if lie == Lie::ReusesADot && versions == Versions::Hidden {
                continue;
            }
            let mut missed = Vec::new();
            for seed in 0..SEEDS {
                let (lies, violations) = found(seed, Duration::from_secs(12), lie, versions);
                if violations.is_empty() {
                    missed.push((seed, lies));
                }
            }
            // Without versions nobody can tell whether writes of the same moment have seen each other.
            let missed_max = match versions {
                Versions::Hidden if lie.is_subtle() => SEEDS - 1,
                Versions::Told | Versions::Hidden => 0,
            };
            let caught = missed.len() as u64 <= missed_max;
            assert!(
                caught,
                "{lie:?}, versions {versions:?}: not caught with (seed, lies) {missed:?}"
            );
        }
    }
}
