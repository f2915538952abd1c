//! What causal contexts and the parts of an object keep, beyond the laws of `laws.rs`.

mod histories;

use histories::{go_on, joined, run, steps_and_more, steps_of};
use meshwork_crdt::laws::Objects;
use meshwork_crdt::{CausalContext, Dot, DotStore, Limits, Object, ReplicaId};
use proptest::prelude::*;

fn live(object: &Object) -> CausalContext {
    let mut dots = Vec::new();
    for value in object.values() {
        value.visit(&mut |dot| dots.push(dot));
    }
    CausalContext::from_dots(dots)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_the_other_never_saw_survives(steps in steps_of(Objects::all().collect())) {
        let ([a, b, _], _) = run(&steps);
        let both = joined(&a, &b);
        let mut unknown = live(&a);
        unknown.subtract(b.version());
        unknown.subtract(b.removed());
        prop_assert!(live(&both).is_superset(&unknown));
        let mut version = a.version().clone();
        version.join(b.version());
        prop_assert_eq!(both.version(), &version);
        prop_assert!(version.is_superset(&live(&both)));
    }

    #[test]
    fn equal_versions_mean_equal_states(steps in steps_of(Objects::all().collect())) {
        let (states, deltas) = run(&steps);
        let mut seen = states.to_vec();
        let mut state = Object::new();
        for delta in deltas.iter().rev() {
            state.join(delta);
            seen.push(state.clone());
        }
        for a in &seen {
            for b in &seen {
                let same = a.version() == b.version() && a.removed() == b.removed();
                prop_assert_eq!(same, a == b);
            }
        }
    }

    #[test]
    fn parts_of_a_state_make_the_whole(steps in steps_of(Objects::all().collect())) {
        let ([a, b, _], _) = run(&steps);
        let parts = b.split(40);
        let backward = parts.iter().rev().fold(Object::new(), |state, part| joined(&state, part));
        prop_assert_eq!(&backward, &b);
        let forward = parts.iter().fold(a.clone(), |state, part| joined(&state, part));
        prop_assert_eq!(forward, joined(&a, &b));
        for part in &parts {
            prop_assert!(live(&b).is_superset(&live(part)));
            prop_assert_eq!(&joined(&b, part), &b, "a part of a state is in it");
        }
        // Who only says what it has seen is told again what was removed before it arrived.
        prop_assert_eq!(b.delta_since(b.version()).is_none(), b.removed().is_empty());
        let version = CausalContext::decode(&b.version().encode(), &Limits::DEFAULT);
        prop_assert_eq!(version.as_ref(), Ok(b.version()));
    }

    #[test]
    fn any_bytes_decode_or_are_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(version) = bytes.first_mut() {
            *version = 1;
        }
        if let Ok(object) = Object::decode(&bytes, &Limits::DEFAULT) {
            prop_assert_eq!(object.encode(), bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Replica 0 retires when all have all; then the others write on, and hear of each other in any order.
    #[test]
    fn a_retired_replica_is_folded_away(
        (before, after) in steps_and_more(Objects::all().collect()),
        backward: bool,
    ) {
        let retired = ReplicaId::from_bytes([0; 8]);
        let (states, _) = run(&before);
        let mut all = states.iter().fold(Object::new(), |all, state| joined(&all, state));
        let whole = all.clone();
        all.fold(retired);
        prop_assert_eq!(all.values().collect::<Vec<_>>(), whole.values().collect::<Vec<_>>());
        let runs = |context: &CausalContext| context.runs().filter(|run| run.0 == retired).count();
        prop_assert!(all.version().is_superset(&live(&all)));
        prop_assert!(runs(all.version()) <= runs(&live(&all)).max(1));
        prop_assert!(runs(all.version()) <= runs(whole.version()));
        if runs(&live(&all)) == 0 {
            prop_assert_eq!(runs(all.version()), 0);
        }

        let writers = after.into_iter().map(|(replica, hears, op)| (1 + replica % 2, hears, op));
        let (states, deltas) = go_on([&all, &all, &all].map(Clone::clone), &writers.collect::<Vec<_>>());
        let mut ends: Vec<Object> = states[1..].to_vec();
        for end in &mut ends {
            let mut deltas: Vec<&Object> = deltas.iter().collect();
            if backward {
                deltas.reverse();
            }
            deltas.into_iter().for_each(|delta| end.join(delta));
        }
        prop_assert_eq!(&ends[0], &ends[1]);
        // One that has not folded yet reads the same.
        let unfolded = deltas.iter().fold(whole, |state, delta| joined(&state, delta));
        prop_assert_eq!(unfolded.values().collect::<Vec<_>>(), ends[0].values().collect::<Vec<_>>());
    }
}

/// A side-by-side model of a context: the plain set of its dots.
mod contexts {
    use std::collections::BTreeSet;

    use meshwork_crdt::Causality;

    use super::*;

    fn dots() -> impl Strategy<Value = BTreeSet<Dot>> {
        let dot = (0_u8..3, 1_u64..30)
            .prop_map(|(replica, counter)| Dot::new(ReplicaId::from_bytes([replica; 8]), counter));
        prop::collection::btree_set(dot, 0..40)
    }

    fn model(context: &CausalContext) -> BTreeSet<Dot> {
        let runs = context.runs();
        runs.flat_map(|(replica, run)| run.map(move |counter| Dot::new(replica, counter)))
            .collect()
    }

    fn context(dots: &BTreeSet<Dot>) -> CausalContext {
        CausalContext::from_dots(dots.iter().rev().copied())
    }

    proptest! {
        #[test]
        fn contexts_are_sets_of_dots(a in dots(), b in dots(), runs in prop::collection::vec((1_u64..40, 0_u64..9), 0..9)) {
            let (ca, cb) = (context(&a), context(&b));
            prop_assert_eq!(&model(&ca), &a);
            let mut joined = ca.clone();
            joined.join(&cb);
            prop_assert_eq!(&joined, &context(&a.union(&b).copied().collect()));
            let mut less = ca.clone();
            less.subtract(&cb);
            prop_assert_eq!(&less, &context(&a.difference(&b).copied().collect()));
            prop_assert_eq!(ca.is_superset(&cb), a.is_superset(&b));
            prop_assert_eq!(ca.is_disjoint(&cb), a.is_disjoint(&b));
            let causality = match (a.is_superset(&b), b.is_superset(&a)) {
                (true, true) => Causality::Equal,
                (true, false) => Causality::After,
                (false, true) => Causality::Before,
                (false, false) => Causality::Concurrent,
            };
            prop_assert_eq!(ca.compare(&cb), causality);
            let replica = ReplicaId::from_bytes([0; 8]);
            let (mut grown, mut set) = (ca, a);
            for (first, more) in runs {
                let run = first..=first + more;
                prop_assert_eq!(grown.overlaps(replica, &run), run.clone().any(|c| set.contains(&Dot::new(replica, c))));
                grown.insert_run(replica, run.clone());
                set.extend(run.map(|counter| Dot::new(replica, counter)));
                prop_assert_eq!(&grown, &context(&set));
            }
        }
    }
}
