//! Hunting a planted bug: how many seeds it takes until a run fails because of it.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use meshwork_membership::planted::Bug;

use super::run::{Keep, Plan};
use crate::sim::violation::Violation;

/// What became of the hunt for one bug.
#[derive(Debug, Clone)]
pub struct Hunt {
    /// What was planted.
    pub bug: Bug,
    /// How it was found, if it was.
    pub caught: Option<Caught>,
    /// Seeds up to there that fail without the bug too: they prove nothing, and are findings by themselves.
    pub fail_anyway: Vec<u64>,
}

/// How a bug was found.
#[derive(Debug, Clone)]
pub struct Caught {
    /// The first seed that fails with the bug and not without it.
    pub seed: u64,
    /// How many seeds it took, this one included.
    pub seeds: u64,
    /// What was seen.
    pub violation: Violation,
}

/// What the threads of a hunt share.
struct Field {
    next: AtomicU64,
    /// No seed from here on matters.
    end: AtomicU64,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    caught: Option<(u64, Violation)>,
    fail_anyway: Vec<u64>,
}

/// Runs the plans of `seeds` with a bug, on so many threads, until one fails that is good without it.
///
/// The answer is that of the first such seed, however many threads there are.
pub fn hunt(
    bug: Bug,
    seeds: Range<u64>,
    threads: usize,
    plan: impl Fn(u64) -> Plan + Sync,
) -> Hunt {
    let field = Field {
        next: AtomicU64::new(seeds.start),
        end: AtomicU64::new(seeds.end),
        found: Mutex::default(),
    };
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| field.run(bug, &plan));
        }
    });
    let found = field
        .found
        .into_inner()
        .unwrap_or_else(|poison| poison.into_inner());
    let caught = found.caught.map(|(seed, violation)| Caught {
        seed,
        seeds: seed - seeds.start + 1,
        violation,
    });
    let end = field.end.into_inner();
    let mut fail_anyway = found.fail_anyway;
    fail_anyway.retain(|seed| *seed < end);
    fail_anyway.sort_unstable();
    Hunt {
        bug,
        caught,
        fail_anyway,
    }
}

impl Field {
    fn run(&self, bug: Bug, plan: impl Fn(u64) -> Plan) {
        loop {
            let seed = self.next.fetch_add(1, Ordering::SeqCst);
            if seed >= self.end.load(Ordering::SeqCst) {
                return;
            }
            let with = |bug| Plan { bug, ..plan(seed) };
            let (sound, bugged) = (with(None), with(Some(bug)));
            if let Some(violation) = bugged.run(None, Keep::Timeline).violation {
                let fails_anyway = sound.run(None, Keep::Timeline).violation.is_some();
                let mut found = self
                    .found
                    .lock()
                    .unwrap_or_else(|poison| poison.into_inner());
                if fails_anyway {
                    found.fail_anyway.push(seed);
                } else if found.caught.as_ref().is_none_or(|(first, _)| seed < *first) {
                    found.caught = Some((seed, violation));
                    self.end.fetch_min(seed, Ordering::SeqCst);
                }
            }
        }
    }
}
