//! What a node does with kinds that it does not know is what a node does that knows them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod histories;

use histories::{joined, run, steps_of};
use meshwork_crdt::laws::Objects;
use meshwork_crdt::{Kind, Limits, Object};
use proptest::prelude::*;

/// The same object as a release sees it that does not know the kind: the kind's tag is one that nobody uses.
fn unknown(object: &Object) -> Object {
    let mut bytes = object.encode();
    let context = object.version().encode().len() + object.removed().encode().len() - 1;
    if object.kinds().next().is_some() {
        bytes[context + 1] += 100;
    }
    let unknown = Object::decode(&bytes, &Limits::DEFAULT).unwrap();
    assert_eq!(unknown.encode(), bytes);
    unknown
}

/// The kinds that are written with their shape.
fn shaped() -> Vec<Objects> {
    let shaped = Kind::NAMED.iter().filter(|row| row.3.is_some());
    shaped.map(|row| Objects::of(row.0)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn kinds_of_later_releases_join_as_they_do_where_they_are_known(steps in steps_of(shaped())) {
        let ([a, b, _], _) = run(&steps);
        prop_assert_eq!(unknown(&joined(&a, &b)), joined(&unknown(&a), &unknown(&b)));
        let lacking = b.delta_since(a.version());
        prop_assert_eq!(lacking.as_ref().map(unknown), unknown(&b).delta_since(a.version()));
        let parts: Vec<Object> = b.split(40).iter().map(unknown).collect();
        let whole = parts.iter().fold(Object::new(), |whole, part| joined(&whole, part));
        prop_assert_eq!(whole, unknown(&b));
    }
}
