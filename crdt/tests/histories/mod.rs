//! Short histories of objects of every kind, for what the law kit does not know of: contexts, parts, and tags.
#![expect(clippy::indexing_slicing, reason = "a test")]

use meshwork_crdt::laws::{Objects, Subject};
use meshwork_crdt::{Dot, Hlc, Merges, Object, Op, ReplicaId, Stamp};
use proptest::prelude::*;

/// Who writes, which delta they hear of before that, and what they do.
pub(crate) type Step = (u8, Option<prop::sample::Index>, Op);

/// Histories of one kind each.
pub(crate) fn steps_of(kinds: Vec<Objects>) -> impl Strategy<Value = Vec<Step>> {
    steps_and_more(kinds).prop_map(|(steps, _)| steps)
}

/// The same, and how they go on.
pub(crate) fn steps_and_more(kinds: Vec<Objects>) -> impl Strategy<Value = (Vec<Step>, Vec<Step>)> {
    prop::sample::select(kinds).prop_flat_map(|objects| {
        let step = (0..3_u8, any::<Option<prop::sample::Index>>(), objects.ops());
        let steps = prop::collection::vec(step.boxed(), 1..25);
        (steps.clone(), steps)
    })
}

/// What three replicas end with, and every delta.
pub(crate) fn run(steps: &[Step]) -> ([Object; 3], Vec<Object>) {
    go_on([Object::new(), Object::new(), Object::new()], steps)
}

/// The same, from where they stand.
pub(crate) fn go_on(mut states: [Object; 3], steps: &[Step]) -> ([Object; 3], Vec<Object>) {
    let start = states.iter().map(counter_max).max().unwrap_or(0);
    let mut deltas: Vec<Object> = Vec::new();
    let mut claimed = [start; 3];
    for (counter, (replica, hears, op)) in (start + 1..).zip(steps) {
        let at = usize::from(*replica);
        if let Some(heard) = hears.filter(|_| !deltas.is_empty()) {
            states[at].join(heard.get(&deltas));
        }
        let stamp = Stamp {
            dot: Dot::new(ReplicaId::from_bytes([*replica; 8]), counter),
            claim_after: (!counter.is_multiple_of(3)).then_some(claimed[at]),
            hlc: Hlc::new(counter % 5, 0),
        };
        if let Ok(delta) = states[at].apply(&stamp, op, &Merges::default()) {
            assert!(
                delta.version().contains(stamp.dot),
                "every mutation has its dot"
            );
            claimed[at] = counter;
            states[at].join(&delta);
            deltas.push(delta);
        }
    }
    (states, deltas)
}

pub(crate) fn joined(a: &Object, b: &Object) -> Object {
    let mut joined = a.clone();
    joined.join(b);
    joined
}

fn counter_max(object: &Object) -> u64 {
    let last = object.version().runs().map(|(_, run)| *run.end());
    last.max().unwrap_or(0)
}
