//! Histories: what replicas wrote, and what they heard of each other.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt::Debug;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::prop_oneof;
use proptest::strategy::{BoxedStrategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::subject::Subject;
use crate::{Dot, Hlc, ReplicaId, Stamp};

/// How many replicas a history has.
pub(super) const REPLICAS: usize = 3;

/// One step of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<O> {
    /// A replica writes.
    Write {
        /// Which one, from 0.
        replica: usize,
        /// What it does.
        op: O,
    },
    /// A replica gets the delta of a write.
    Deliver {
        /// Which replica, from 0.
        replica: usize,
        /// Which write, from 0, in the order of the history.
        write: usize,
    },
    /// A replica gets the whole state of another.
    Meet {
        /// Which replica, from 0.
        replica: usize,
        /// Whose state, from 0.
        from: usize,
    },
}

/// Who writes, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// Which replica, from 0.
    pub replica: u8,
    /// The write's dot and hybrid time, as a node would give it: later than all that the replica saw, and often that of another's write.
    pub stamp: Stamp,
    /// The replica's wall clock in ms: it runs with the others' but is wrong by some, and knows nothing of what was seen.
    pub wall_ms: u64,
}

/// A write of a history.
#[derive(Clone, Debug)]
pub struct Write<O> {
    /// Who wrote, and when.
    pub by: By,
    /// What was done.
    pub op: O,
    number: usize,
    saw: BTreeSet<usize>,
}

impl<O> Write<O> {
    /// Whether the writer had seen `other` when it wrote.
    #[must_use]
    pub fn saw(&self, other: &Write<impl Sized>) -> bool {
        self.saw.contains(&other.number)
    }

    /// The same write of something else, for models of values that are made of others.
    #[must_use]
    pub fn with<P>(&self, op: P) -> Write<P> {
        Write {
            by: self.by.clone(),
            op,
            number: self.number,
            saw: self.saw.clone(),
        }
    }

    /// Whether whatever the writers had seen is there, too, and whoever saw a write had seen what its writer had.
    pub(super) fn closed(writes: &[Self]) -> bool {
        let saw: BTreeMap<usize, &BTreeSet<usize>> = writes
            .iter()
            .map(|write| (write.number, &write.saw))
            .collect();
        let within = |all: &BTreeSet<usize>, earlier| {
            let seen = saw.get(earlier);
            seen.is_some_and(|seen| seen.is_subset(all))
        };
        writes
            .iter()
            .all(|write| write.saw.iter().all(|earlier| within(&write.saw, earlier)))
    }
}

/// The outcome of a plain sequential model; `None` if the writes were not made in turn, each by somebody who had seen all before it.
pub fn in_turn<O, M>(
    writes: &[Write<O>],
    start: M,
    mut step: impl FnMut(&mut M, &Write<O>),
) -> Option<M> {
    let mut model = start;
    for (n, write) in writes.iter().enumerate() {
        if writes.iter().take(n).any(|earlier| !write.saw(earlier)) {
            return None;
        }
        step(&mut model, write);
    }
    Some(model)
}

/// A step before it is known how many writes there are.
#[derive(Clone, Debug)]
enum Raw<O> {
    Write { replica: usize, op: O },
    Deliver { replica: usize, write: u16 },
    Meet { replica: usize, from: usize },
}

/// A history before it is made.
#[derive(Clone, Debug)]
pub(super) struct Plan<O> {
    /// Whether everybody hears of everything before they write.
    in_turn: bool,
    raw: Vec<Raw<O>>,
}

impl<O: Clone + Debug> Plan<O> {
    /// The first so many steps.
    pub(super) fn first(&self, steps: usize) -> Option<Self> {
        let raw = self.raw.get(..steps)?.to_vec();
        Some(Self { raw, ..*self })
    }

    /// The same without one step.
    pub(super) fn without(&self, step: usize) -> Self {
        let mut less = self.clone();
        less.raw.remove(step);
        less
    }

    /// What a fuzzer's bytes stand for: one, then three a step, so that changing a few changes a step and leaves the others alone.
    pub(super) fn from_bytes(ops: &BoxedStrategy<O>, bytes: &[u8], steps_max: usize) -> Self {
        let (in_turn, steps) = match bytes.split_first() {
            Some((first, steps)) => (first % 4 == 0, steps),
            None => (false, bytes),
        };
        let (steps, _) = steps.as_chunks::<3>();
        let steps = steps.iter().take(steps_max).filter_map(|[what, a, b]| {
            let replica = usize::from(*what) % REPLICAS;
            let write = u16::from_be_bytes([*a, *b]);
            Some(match usize::from(*what) / REPLICAS % 11 {
                0..=5 => Raw::Write {
                    replica,
                    op: made(ops, write)?,
                },
                6..=9 => Raw::Deliver { replica, write },
                _ => Raw::Meet {
                    replica,
                    from: usize::from(*a) % REPLICAS,
                },
            })
        });
        let raw = steps.collect();
        Self { in_turn, raw }
    }

    pub(super) const fn len(&self) -> usize {
        self.raw.len()
    }
}

/// One of 65,536 operations.
fn made<O: Debug>(ops: &BoxedStrategy<O>, which: u16) -> Option<O> {
    let mut seed = [0; 32];
    seed.iter_mut()
        .zip(which.to_be_bytes())
        .for_each(|(to, from)| *to = from);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    Some(ops.new_tree(&mut runner).ok()?.current())
}

pub(super) fn plans<S: Subject>(
    subject: &S,
    steps_max: usize,
) -> impl Strategy<Value = Plan<S::Op>> + use<S> {
    let replica = || 0..REPLICAS;
    let step = prop_oneof![
        6 => (replica(), subject.ops()).prop_map(|(replica, op)| Raw::Write { replica, op }),
        4 => (replica(), any::<u16>()).prop_map(|(replica, write)| Raw::Deliver { replica, write }),
        1 => (replica(), replica()).prop_map(|(replica, from)| Raw::Meet { replica, from }),
    ];
    let in_turn = prop_oneof![3 => Just(false), 1 => Just(true)];
    let plan = (in_turn, vec(step, 1..=steps_max));
    plan.prop_map(|(in_turn, raw)| Plan { in_turn, raw })
}

/// What came of a history.
#[derive(Clone, Debug)]
pub(super) struct Run<S: Subject> {
    pub(super) states: Vec<S::State>,
    /// Which writes each replica has seen.
    pub(super) seen: Vec<BTreeSet<usize>>,
    pub(super) writes: Vec<Write<S::Op>>,
    pub(super) deltas: Vec<S::State>,
    /// The first write whose delta did not do to the state before what the write did: both outcomes.
    pub(super) torn: Option<(usize, S::State, S::State)>,
    /// The steps that were made.
    pub(super) steps: Vec<Step<S::Op>>,
    counters: [u64; REPLICAS],
    claimed: [u64; REPLICAS],
}

impl<S: Subject> Run<S> {
    pub(super) fn new(subject: &S) -> Self {
        Self {
            states: (0..REPLICAS).map(|_| subject.start()).collect(),
            seen: alloc::vec![BTreeSet::new(); REPLICAS],
            writes: Vec::new(),
            deltas: Vec::new(),
            torn: None,
            steps: Vec::new(),
            counters: [0; REPLICAS],
            claimed: [0; REPLICAS],
        }
    }

    /// Makes the steps of a random history.
    pub(super) fn of(subject: &S, plan: &Plan<S::Op>) -> Self {
        let mut run = Self::new(subject);
        for step in &plan.raw {
            match step {
                Raw::Write { replica, op } => {
                    if plan.in_turn {
                        run.hear_all(subject, *replica);
                    }
                    run.step(
                        subject,
                        &Step::Write {
                            replica: *replica,
                            op: op.clone(),
                        },
                    );
                }
                Raw::Deliver { .. } if run.writes.is_empty() => {}
                Raw::Deliver { replica, write } => {
                    let (replica, write) = (*replica, usize::from(*write) % run.writes.len());
                    run.step(subject, &Step::Deliver { replica, write });
                }
                Raw::Meet { replica, from } => {
                    let (replica, from) = (*replica, *from);
                    run.step(subject, &Step::Meet { replica, from });
                }
            }
        }
        run
    }

    fn hear_all(&mut self, subject: &S, replica: usize) {
        for from in 0..REPLICAS {
            let lacks = self.seen.get(from) != self.seen.get(replica);
            if lacks {
                self.step(subject, &Step::Meet { replica, from });
            }
        }
    }

    /// Makes a step; what names a replica or a write that is not there is left out, as is what is refused.
    pub(super) fn step(&mut self, subject: &S, step: &Step<S::Op>) {
        let made = match step {
            Step::Write { replica, op } => self.write(subject, *replica, op),
            Step::Deliver { replica, write } => self.deliver(subject, *replica, *write),
            Step::Meet { replica, from } => self.meet(subject, *replica, *from),
        };
        if made.is_some() {
            self.steps.push(step.clone());
        }
    }

    fn write(&mut self, subject: &S, replica: usize, op: &S::Op) -> Option<()> {
        let by = self.by(replica)?;
        let state = self.states.get_mut(replica)?;
        let before = state.clone();
        let delta = subject.write(state, &by, op)?;
        let joined = subject.joined(&before, &delta);
        if self.torn.is_none() && joined != *state {
            self.torn = Some((self.writes.len(), joined, state.clone()));
        }
        let counter = by.stamp.dot.counter;
        *self.counters.get_mut(replica)? = counter;
        *self.claimed.get_mut(replica)? = counter;
        let (number, seen) = (self.writes.len(), self.seen.get_mut(replica)?);
        let (saw, op) = (seen.clone(), op.clone());
        seen.insert(number);
        self.writes.push(Write {
            by,
            op,
            number,
            saw,
        });
        self.deltas.push(delta);
        Some(())
    }

    fn deliver(&mut self, subject: &S, replica: usize, write: usize) -> Option<()> {
        let delta = self.deltas.get(write)?;
        subject.join(self.states.get_mut(replica)?, delta);
        self.seen.get_mut(replica)?.insert(write);
        Some(())
    }

    fn meet(&mut self, subject: &S, replica: usize, from: usize) -> Option<()> {
        let (state, seen) = (self.states.get(from)?.clone(), self.seen.get(from)?.clone());
        subject.join(self.states.get_mut(replica)?, &state);
        self.seen.get_mut(replica)?.extend(seen);
        Some(())
    }

    /// Some writes skip a counter, as those of a store that writes other objects, too, and only some claim what they skipped.
    fn by(&self, replica: usize) -> Option<By> {
        let now = self.steps.len();
        let skip = u64::from(now.is_multiple_of(4));
        let counter = self.counters.get(replica)? + 1 + skip;
        let seen = self.seen.get(replica)?;
        let writes = seen.iter().filter_map(|write| self.writes.get(*write));
        let last = writes.map(|write| write.by.stamp.hlc.wall_ms()).max();
        let id = u8::try_from(replica).ok()?;
        let tick = u64::try_from(now).ok()?;
        Some(By {
            replica: id,
            stamp: Stamp {
                dot: Dot::new(ReplicaId::from_bytes([id; 8]), counter),
                claim_after: (!now.is_multiple_of(3)).then_some(*self.claimed.get(replica)?),
                hlc: Hlc::new(last.map_or(1, |last| last + 1), 0),
            },
            wall_ms: tick + [0, 7, 3].get(replica).copied().unwrap_or(0),
        })
    }
}
