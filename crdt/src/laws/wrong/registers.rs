//! One value, written as a whole.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::prop_oneof;

use super::Mistake;
use crate::laws::{By, Sketch, Write, in_turn};

pub(super) fn mistakes() -> Vec<Mistake> {
    alloc::vec![
        Mistake::new(
            "clock tie",
            "the later write wins, and of two at the same time the one that is there",
            "break ties by something that differs, such as the replica's id",
            timed(|mine, theirs| {
                if theirs.0 > mine.0 {
                    *mine = *theirs;
                }
            }),
        ),
        Mistake::new(
            "arrival order",
            "what arrives replaces what is there",
            "decide by the values and their versions alone",
            timed(|mine, theirs| *mine = *theirs),
        ),
        Mistake::new(
            "wall clock",
            "the later write by the writers' wall clocks wins: one whose clock is behind overwrites nothing, although it saw what it overwrites",
            "use a hybrid clock, or keep concurrent values side by side",
            Sketch::new(
                || any::<u8>().boxed(),
                |state: &mut (u64, u8, u8), by, value| {
                    let written = (by.wall_ms, by.replica, *value);
                    *state = written.max(*state);
                    Some(written)
                },
                |mine, theirs| *mine = *theirs.max(mine),
            )
            .reads(|state| state.2, last),
        ),
        Mistake::new(
            "asymmetric tie-break",
            "of two values of one time the longer wins, and of two of one length the one that is there",
            "compare until nothing is left that differs: lengths, then bytes",
            Sketch::<(u64, Vec<u8>), Vec<u8>>::new(
                || vec(0..3_u8, 0..3).boxed(),
                |state, by, value| {
                    *state = (time(by), value.clone());
                    Some(state.clone())
                },
                |mine, theirs| {
                    if (theirs.0, theirs.1.len()) > (mine.0, mine.1.len()) {
                        mine.clone_from(theirs);
                    }
                },
            ),
        ),
        Mistake::new(
            "zero means absent",
            "a value of zero counts as never written, so writing zero is lost",
            "say whether there is a value: `Option`",
            timed(|mine, theirs| {
                let newer = theirs.1 != 0 && theirs > mine;
                if newer || mine.1 == 0 {
                    *mine = *theirs;
                }
            }),
        ),
        Mistake::new(
            "not a number",
            "the greater of two floats wins by `>`, which says no to whatever is not a number",
            "compare with `total_cmp`, or refuse what is not a number",
            Sketch::<f64, f64>::new(
                || prop_oneof![Just(f64::NAN), Just(1.0), Just(2.0)].boxed(),
                |state, _, value| {
                    *state = if *value > *state { *value } else { *state };
                    Some(*value)
                },
                |mine, theirs| {
                    if *theirs > *mine {
                        *mine = *theirs;
                    }
                },
            ),
        ),
        Mistake::new(
            "average",
            "two readings are joined to their mean: which two are first makes a difference, and so does hearing one again",
            "keep each replica's sum and count, and divide when reading",
            Sketch::<u32, u32>::new(
                || (0..100_u32).boxed(),
                |state, _, value| {
                    *state = u32::midpoint(*state, *value);
                    Some(*value)
                },
                |mine, theirs| *mine = u32::midpoint(*mine, *theirs),
            ),
        ),
        Mistake::new(
            "version by sum",
            "the value with more writes in its version vector wins, as if more were later",
            "compare version vectors entry by entry; neither may be later",
            Sketch::new(
                || any::<u8>().boxed(),
                |state: &mut (BTreeMap<u8, u64>, u8), by, value| {
                    *state.0.entry(by.replica).or_default() += 1;
                    state.1 = *value;
                    Some(state.clone())
                },
                |mine, theirs| {
                    let (sum, other): (u64, u64) = (mine.0.values().sum(), theirs.0.values().sum());
                    if (other, theirs.1) > (sum, mine.1) {
                        mine.1 = theirs.1;
                    }
                    for (replica, count) in &theirs.0 {
                        let seen = mine.0.entry(*replica).or_default();
                        *seen = (*seen).max(*count);
                    }
                },
            )
            .reads(|state| state.1, last),
        ),
    ]
}

/// A value with the time of its write, by the hybrid clock.
fn timed(join: fn(&mut (u64, u8), &(u64, u8))) -> Sketch<(u64, u8), u8, u8> {
    Sketch::new(
        || (0..4_u8).boxed(),
        |state, by, value| {
            *state = (time(by), *value);
            Some(*state)
        },
        join,
    )
    .reads(|state| state.1, last)
}

fn time(by: &By) -> u64 {
    by.stamp.hlc.wall_ms()
}

/// Of writes made in turn the last one is read.
fn last(writes: &[Write<u8>]) -> Option<u8> {
    in_turn(writes, 0, |value, write| *value = write.op)
}
