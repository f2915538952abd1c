//! What a node does with kinds that it does not know is what a node does that knows them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use meshwork_crdt::{Dot, Hlc, Kind, Limits, Merges, Object, Op, ReplicaId, Stamp};
use proptest::prelude::*;

/// The same object as a release sees it that does not know the kind: the kind's tag is one that nobody uses.
fn unknown(object: &Object) -> Object {
    let mut bytes = object.encode();
    let context = object.version().encode().len() + object.removed().encode().len() - 1;
    if object.kinds().next().is_some() {
        let tag = &mut bytes[context + 1];
        *tag += 100;
    }
    let unknown = Object::decode(&bytes, &Limits::DEFAULT).unwrap();
    assert_eq!(unknown.encode(), bytes);
    unknown
}

fn joined(a: &Object, b: &Object) -> Object {
    let mut joined = a.clone();
    joined.join(b);
    joined
}

fn ops(kind: Kind) -> BoxedStrategy<Op> {
    let bytes = || prop::collection::vec(0_u8..3, 0..2);
    let replica = || (0..3_u8).prop_map(|replica| ReplicaId::from_bytes([replica; 8]));
    let dot = move || (replica(), 1..6_u64).prop_map(|(by, counter)| Dot::new(by, counter));
    let after = move || prop::option::of(dot());
    match kind {
        Kind::DwFlag => any::<bool>().prop_map(Op::Switch).boxed(),
        Kind::GCounter => any::<u64>().prop_map(Op::Increase).boxed(),
        Kind::Max => (-2..3_i64).prop_map(Op::Max).boxed(),
        Kind::Min => (-2..3_i64).prop_map(Op::Min).boxed(),
        Kind::GSet => bytes().prop_map(Op::Gather).boxed(),
        Kind::RwSet => prop_oneof![bytes().prop_map(Op::Admit), bytes().prop_map(Op::Ban)].boxed(),
        Kind::Fenced => (0..3_u64, bytes())
            .prop_map(|(token, value)| Op::PutFenced { token, value })
            .boxed(),
        Kind::BoundedCounter => prop_oneof![
            (0..9_u64).prop_map(Op::Deposit),
            (0..4_u64).prop_map(Op::Withdraw),
            (replica(), 0..3_u64).prop_map(|(to, amount)| Op::GiveRights { to, amount }),
        ]
        .boxed(),
        Kind::Sequence => prop_oneof![
            (after(), bytes()).prop_map(|(after, value)| Op::InsertAfter { after, value }),
            (dot(), after()).prop_map(|(element, after)| Op::MoveAfter { element, after }),
            (dot(), bytes()).prop_map(|(element, value)| Op::WriteElement { element, value }),
            dot().prop_map(Op::RemoveElement),
        ]
        .boxed(),
        kind => unreachable!("{kind} has no shape byte"),
    }
}

fn kind_and_steps() -> impl Strategy<Value = Vec<(u8, Option<prop::sample::Index>, Op)>> {
    let shaped = Kind::NAMED.iter().filter(|row| row.3.is_some());
    let kinds: Vec<Kind> = shaped.map(|row| row.0).collect();
    prop::sample::select(kinds).prop_flat_map(|kind| {
        let step = (0..3_u8, any::<Option<prop::sample::Index>>(), ops(kind));
        prop::collection::vec(step, 1..25)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn kinds_of_later_releases_join_as_they_do_where_they_are_known(steps in kind_and_steps()) {
        let mut states = [Object::new(), Object::new(), Object::new()];
        let mut deltas: Vec<Object> = Vec::new();
        for (counter, (replica, hears, op)) in (1..).zip(&steps) {
            let state = &mut states[usize::from(*replica)];
            if let Some(delta) = hears.filter(|_| !deltas.is_empty()).map(|at| at.get(&deltas)) {
                *state = joined(state, delta);
            }
            let stamp = Stamp {
                dot: Dot::new(ReplicaId::from_bytes([*replica; 8]), counter),
                claim_after: None,
                hlc: Hlc::new(counter % 5, 0),
            };
            if let Ok(delta) = state.apply(&stamp, op, &Merges::default()) {
                state.join(&delta);
                deltas.push(delta);
            }
        }
        let [a, b, _] = &states;
        prop_assert_eq!(unknown(&joined(a, b)), joined(&unknown(a), &unknown(b)));
        let lacking = b.delta_since(a.version());
        prop_assert_eq!(lacking.as_ref().map(unknown), unknown(b).delta_since(a.version()));
        let parts: Vec<Object> = b.split(40).iter().map(unknown).collect();
        let whole = parts.iter().fold(Object::new(), |whole, part| joined(&whole, part));
        prop_assert_eq!(whole, unknown(b));
    }
}
