//! Decoders of objects and versions, and merges of what hostile peers made up.

use meshwork_crdt::{CausalContext, Causality, Limits, Object};

use crate::merges::joined;
use crate::pieces;

/// Any bytes are the one encoding of an object, or are refused; what decodes can be merged, split, and told to others.
pub fn object_decode(bytes: &[u8]) {
    let Ok(object) = Object::decode(bytes, &Limits::DEFAULT) else {
        return;
    };
    assert_eq!(object.encode(), bytes, "one encoding for one value");
    assert_eq!(joined(&object, &object), object);
    let parts = object.split(100);
    let whole = parts
        .iter()
        .fold(Object::new(), |whole, part| joined(&whole, part));
    assert_eq!(whole, object, "the parts make the whole");
    if let Some(all) = object.delta_since(&CausalContext::new()) {
        assert_eq!(joined(&Object::new(), &all), object);
    }
    assert_eq!(object.is_empty(), object == Object::new());
    let _hint = object.hlc_max();
}

/// Objects that hostile peers made up, with dots that mean one thing here and another there, merge without a panic to
/// something that can be stored and read again.
pub fn object_merge_hostile(bytes: &[u8]) {
    let decoded: Vec<Object> = pieces::split(bytes)
        .take(3)
        .filter_map(|piece| Object::decode(piece, &Limits::DEFAULT).ok())
        .collect();
    for a in &decoded {
        for b in &decoded {
            let both = joined(a, b);
            assert_eq!(both, joined(b, a), "commutative");
            assert_eq!(joined(&both, b), both, "idempotent");
            assert_eq!(
                Object::decode(&both.encode(), &Limits::LOCAL).as_ref(),
                Ok(&both)
            );
            if let Some(missing) = a.delta_since(b.version()) {
                let taken = joined(b, &missing);
                assert!(taken.version().is_superset(missing.version()));
            }
        }
    }
}

/// Any bytes are the one encoding of a version, or are refused; versions are sets of dots.
pub fn context_decode(bytes: &[u8]) {
    let contexts: Vec<CausalContext> = pieces::split(bytes)
        .take(2)
        .filter_map(|piece| {
            let context = CausalContext::decode(piece, &Limits::DEFAULT).ok()?;
            assert_eq!(context.encode(), piece, "one encoding for one set");
            Some(context)
        })
        .collect();
    let [a, b] = contexts.as_slice() else {
        return;
    };
    let mut both = a.clone();
    both.join(b);
    assert!(both.is_superset(a) && both.is_superset(b));
    let mut only_a = a.clone();
    only_a.subtract(b);
    assert!(only_a.is_disjoint(b) && a.is_superset(&only_a));
    assert_eq!(a.is_disjoint(b), only_a == *a);
    assert_eq!(b.is_superset(a), only_a.is_empty());
    let mut again = only_a;
    again.join(b);
    assert_eq!(again, both);
    assert_eq!(a.compare(b) == Causality::Equal, a == b);
    assert_eq!(a.digest() == b.digest(), a == b);
    for (replica, run) in a.runs() {
        assert!(a.overlaps(replica, &run) && a.max_of(replica) >= *run.end());
    }
}
