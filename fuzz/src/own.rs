//! The place for a merge of your own: put it here, and run `cargo +nightly fuzz run -s none own_merge`.
//!
//! What is here now is a set of tags and the best score, joined one by one. A type with a `join` of its own implements
//! [`Lawful`](meshwork_crdt::laws::Lawful) instead; see `examples/custom_merge.rs`.

use std::collections::BTreeSet;

use meshwork_crdt::laws::proptest::prelude::*;
use meshwork_crdt::laws::{Sketch, Subject};

/// A value: tags, and the best score.
type State = (BTreeSet<u8>, u8);

/// The merge under test: how operations are made, what they do and what their delta is, and how two values are joined.
pub fn subject() -> impl Subject {
    Sketch::<State, State, State>::new(
        || (prop::collection::btree_set(0..4_u8, 0..2), 0..9_u8).boxed(),
        |state, _, written| {
            join(state, written);
            Some(written.clone())
        },
        join,
    )
    .reads(State::clone, |writes| {
        let mut all = State::default();
        writes.iter().for_each(|write| join(&mut all, &write.op));
        Some(all)
    })
}

fn join(mine: &mut State, theirs: &State) {
    mine.0.extend(&theirs.0);
    mine.1 = mine.1.max(theirs.1);
}
