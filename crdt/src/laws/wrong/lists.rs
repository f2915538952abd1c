//! Lists.

use alloc::vec::Vec;

use proptest::prelude::Strategy;
use proptest::strategy::BoxedStrategy;

use super::Mistake;
use crate::laws::{Sketch, Subject};

pub(super) fn mistakes() -> Vec<Mistake> {
    alloc::vec![
        Mistake::new(
            "the longer list",
            "the longer of two lists wins, and of two of one length the one that is there",
            "name elements and places, as `Sequence` does",
            list(|mine, theirs| {
                if theirs.len() > mine.len() {
                    mine.clone_from(theirs);
                }
            }),
        ),
        Mistake::new(
            "append what is new",
            "what the other list has and this has not is put at its end: every replica has an order of its own",
            "let the elements' places decide the order",
            list(|mine, theirs| {
                for item in theirs {
                    if !mine.contains(item) {
                        mine.push(*item);
                    }
                }
            }),
        ),
        Mistake::new(
            "concatenation",
            "two lists are joined by putting one behind the other",
            "unite by name, not by position",
            list(|mine, theirs| mine.extend(theirs)),
        ),
    ]
}

fn list(join: fn(&mut Vec<u8>, &Vec<u8>)) -> impl Subject + 'static {
    fn ops() -> BoxedStrategy<u8> {
        (0..6_u8).boxed()
    }
    Sketch::<Vec<u8>, u8>::new(
        ops,
        |state, _, item| {
            if !state.contains(item) {
                state.push(*item);
            }
            Some(state.clone())
        },
        join,
    )
}
