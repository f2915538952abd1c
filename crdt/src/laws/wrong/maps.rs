//! Maps, and values of several parts.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use proptest::prelude::{Strategy, any};
use proptest::strategy::BoxedStrategy;

use super::Mistake;
use crate::laws::{Sketch, Write, in_turn};

/// A key, and what is added to its count; nothing removes the key.
type Change = (u8, Option<u8>);
/// Counts by key and replica, and the keys that were removed.
type Counters = (BTreeMap<(u8, u8), u64>, BTreeSet<u8>);
type Plain = BTreeMap<u8, u64>;

pub(super) fn mistakes() -> Vec<Mistake> {
    alloc::vec![
        Mistake::new(
            "remove beside update",
            "removing a key also takes what others write to it at the same time, unseen",
            "remove what was seen: `OrMap`",
            Sketch::new(
                changes,
                |state: &mut Counters, by, (key, adds)| {
                    let mut delta = Counters::default();
                    match adds {
                        Some(amount) => {
                            let count = state.0.get(&(*key, by.replica)).copied();
                            let count = count.unwrap_or(0) + u64::from(*amount);
                            delta.0.insert((*key, by.replica), count);
                        }
                        None => drop(delta.1.insert(*key)),
                    }
                    join(state, &delta);
                    Some(delta)
                },
                join,
            )
            .reads(
                |state: &Counters| {
                    let live = state
                        .0
                        .iter()
                        .filter(|((key, _), _)| !state.1.contains(key));
                    sums(live.map(|((key, _), count)| (*key, *count)))
                },
                |writes| {
                    // What no removal of the key has seen is there.
                    let adds = writes.iter().filter(|write| {
                        let mut later = writes.iter().filter(|later| later.op.0 == write.op.0);
                        !later.any(|later| later.op.1.is_none() && later.saw(write))
                    });
                    Some(sums(
                        adds.filter_map(|write| Some((write.op.0, write.op.1?.into()))),
                    ))
                },
            ),
        ),
        Mistake::new(
            "counter reset in a map",
            "removing a key drops its counts without a trace, and a new count starts at zero below the old one that somebody still has",
            "keep the dots of the counts, and remove those",
            Sketch::new(
                changes,
                |state: &mut BTreeMap<(u8, u8), u64>, by, (key, adds)| {
                    match adds {
                        Some(amount) => {
                            let count = state.entry((*key, by.replica)).or_default();
                            *count += u64::from(*amount);
                        }
                        None => state.retain(|(name, _), _| name != key),
                    }
                    Some(state.clone())
                },
                greater,
            )
            .reads(
                |state| sums(state.iter().map(|((key, _), count)| (*key, *count))),
                |writes| {
                    in_turn(writes, Plain::new(), |map, write| match write.op.1 {
                        Some(amount) => *map.entry(write.op.0).or_default() += u64::from(amount),
                        None => drop(map.remove(&write.op.0)),
                    })
                },
            ),
        ),
        Mistake::new(
            "one clock for the whole map",
            "the map that was written last wins whole: what others wrote to other keys at the same time is gone",
            "give each key its own version",
            Sketch::new(
                || (any::<u8>().prop_map(|key| key % 3), any::<u8>()).boxed(),
                |state: &mut ((u64, u8), BTreeMap<u8, u8>), by, (key, value): &(u8, u8)| {
                    state.0 = (by.stamp.hlc.wall_ms(), by.replica);
                    state.1.insert(*key, *value);
                    Some(state.clone())
                },
                |mine, theirs| {
                    if theirs.0 > mine.0 {
                        mine.clone_from(theirs);
                    }
                },
            )
            .reads(
                |state| state.1.keys().copied().collect::<BTreeSet<u8>>(),
                |writes| Some(writes.iter().map(|write| write.op.0).collect()),
            ),
        ),
        Mistake::new(
            "torn pair",
            "two numbers that belong together are joined one by one: what is read was written by nobody",
            "join them as one value",
            Sketch::new(
                || (0..5_u8).prop_map(|low| (low, low + 10)).boxed(),
                |state: &mut [(u64, u8, u8); 2], by, (low, high): &(u8, u8)| {
                    let (at, replica) = (by.stamp.hlc.wall_ms(), by.replica);
                    *state = [(at, replica, *low), (at, u8::MAX - replica, *high)];
                    Some(*state)
                },
                |mine, theirs| {
                    for (mine, theirs) in mine.iter_mut().zip(theirs) {
                        *mine = *theirs.max(mine);
                    }
                },
            )
            .reads(|[low, high]| high.2.abs_diff(low.2), apart),
        ),
    ]
}

fn changes() -> BoxedStrategy<Change> {
    (0..2_u8, proptest::option::weighted(0.7, 1..4_u8)).boxed()
}

fn join(mine: &mut Counters, theirs: &Counters) {
    greater(&mut mine.0, &theirs.0);
    mine.1.extend(&theirs.1);
}

fn greater(mine: &mut BTreeMap<(u8, u8), u64>, theirs: &BTreeMap<(u8, u8), u64>) {
    for (at, count) in theirs {
        let own = mine.entry(*at).or_default();
        *own = (*own).max(*count);
    }
}

fn sums(counts: impl Iterator<Item = (u8, u64)>) -> Plain {
    let mut sums = Plain::new();
    counts.for_each(|(key, count)| *sums.entry(key).or_default() += count);
    sums
}

/// Every pair that was written is ten apart.
#[expect(clippy::unnecessary_wraps, reason = "a model may have nothing to say")]
fn apart(writes: &[Write<(u8, u8)>]) -> Option<u8> {
    Some(if writes.is_empty() { 0 } else { 10 })
}
