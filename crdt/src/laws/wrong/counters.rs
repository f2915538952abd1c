//! Counters.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use proptest::prelude::{Just, Strategy};
use proptest::prop_oneof;

use super::Mistake;
use crate::laws::{Sketch, Write, in_turn};

/// What each replica counted.
type Counts = BTreeMap<u8, i64>;

pub(super) fn mistakes() -> Vec<Mistake> {
    alloc::vec![
        Mistake::new(
            "adding up",
            "totals are joined by adding them: what arrives twice counts twice",
            "keep a count for each replica and join by the greater one",
            Sketch::<i64, i64>::new(
                || (1..4_i64).boxed(),
                |state, _, amount| {
                    *state += amount;
                    Some(*amount)
                },
                |mine, theirs| *mine += theirs,
            ),
        ),
        Mistake::new(
            "one total",
            "the greater of two totals wins: of two who count at once, one did not",
            "keep a count for each replica",
            Sketch::new(
                || (1..4_i64).boxed(),
                |state: &mut i64, _, amount| {
                    *state += amount;
                    Some(*state)
                },
                |mine, theirs| *mine = *theirs.max(mine),
            )
            .reads(|state| *state, sum),
        ),
        Mistake::new(
            "shared actor",
            "two replicas count under one id (a copied store, an id by user and not by device): each overwrites the other's count",
            "draw a new id whenever a store is created, copied or restored",
            counts(
                || (1..4_i64).boxed(),
                |state, by, amount| {
                    let count = state.entry(by.replica / 2).or_default();
                    *count += amount;
                    Some([(by.replica / 2, *count)].into())
                },
            ),
        ),
        Mistake::new(
            "counting down in a grow-only count",
            "one number for each replica, of which the greater wins, also goes down: it comes back up",
            "keep what was added and what was taken apart, or give each write a dot",
            counts(
                || prop_oneof![1..4_i64, -3..0_i64].boxed(),
                |state, by, amount| {
                    let count = state.entry(by.replica).or_default();
                    *count += amount;
                    Some([(by.replica, *count)].into())
                },
            ),
        ),
        Mistake::new(
            "delta of the amount",
            "the delta says what was added, and is joined as if it said the new count",
            "send the replica's new count",
            counts(
                || (1..4_i64).boxed(),
                |state, by, amount| {
                    *state.entry(by.replica).or_default() += amount;
                    Some([(by.replica, *amount)].into())
                },
            ),
        ),
        Mistake::new(
            "reset to zero",
            "resetting sets all counts to zero, and the greater ones come back with whoever has them",
            "remove what was seen by its dots, as `PnCounter` does",
            Sketch::new(
                || prop_oneof![3 => (1..4_i64).prop_map(Some), 1 => Just(None)].boxed(),
                |state: &mut Counts, by, amount: &Option<i64>| {
                    match amount {
                        Some(amount) => *state.entry(by.replica).or_default() += amount,
                        None => state.values_mut().for_each(|count| *count = 0),
                    }
                    Some(state.clone())
                },
                greater,
            )
            .reads(
                |state| state.values().sum(),
                |writes| {
                    in_turn(writes, 0, |sum: &mut i64, write| {
                        *sum = write.op.map_or(0, |amount| *sum + amount);
                    })
                },
            ),
        ),
        Mistake::new(
            "end of the range",
            "counts are added with `+` in a small type: at its end the node panics, or wraps to where it began",
            "saturate, or refuse the write",
            Sketch::<u8, u8>::new(
                || (100..200_u8).boxed(),
                |state, _, amount| {
                    *state = state.checked_add(*amount).expect("a count fits");
                    Some(*state)
                },
                |mine, theirs| *mine = *theirs.max(mine),
            ),
        ),
    ]
}

fn counts(
    ops: fn() -> proptest::strategy::BoxedStrategy<i64>,
    write: fn(&mut Counts, &crate::laws::By, &i64) -> Option<Counts>,
) -> Sketch<Counts, i64, i64> {
    Sketch::new(ops, write, greater).reads(|state| state.values().sum(), sum)
}

/// Joins by the greater count of each replica.
fn greater(mine: &mut Counts, theirs: &Counts) {
    for (replica, count) in theirs {
        let own = mine.entry(*replica).or_insert(*count);
        *own = (*own).max(*count);
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a model may have nothing to say")]
fn sum(writes: &[Write<i64>]) -> Option<i64> {
    Some(writes.iter().map(|write| write.op).sum())
}
