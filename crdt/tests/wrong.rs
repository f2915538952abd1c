//! The law kit finds every mistake of its catalogue, and says which law caught which.

use std::collections::BTreeSet;
use std::panic::catch_unwind;

use meshwork_crdt::laws::wrong::catalogue;
use meshwork_crdt::laws::{Effort, Law, Objects, Sketch, fuzz, proptest::prelude::*};

#[test]
fn every_mistake_is_caught_by_some_law_and_every_law_catches_some() {
    let effort = Effort {
        histories: 60,
        ..Effort::default()
    };
    let catalogue = catalogue();
    assert!(catalogue.len() >= 20);
    let mut catching = BTreeSet::new();
    for mistake in &catalogue {
        let caught = Law::ALL
            .iter()
            .filter(|law| mistake.hunt(&[**law], &effort).is_err());
        let caught: Vec<String> = caught
            .map(|law| {
                catching.insert(*law);
                law.to_string()
            })
            .collect();
        println!("{}: {}", mistake.name, caught.join(", "));
        assert!(!caught.is_empty(), "not caught: {}", mistake.name);
    }
    assert_eq!(catching, Law::ALL.iter().copied().collect());
}

#[test]
fn bytes_of_a_fuzzer_find_mistakes_and_nothing_else() {
    let lost = Sketch::<u8, u8>::new(
        || (0..9_u8).boxed(),
        |state, _, value| {
            *state = *value;
            Some(*value)
        },
        |mine, theirs| *mine = *theirs,
    );
    let bytes: Vec<u8> = (0..70_u8).map(|n| n.wrapping_mul(37)).collect();
    let broken = catch_unwind(|| fuzz(&lost, &bytes)).unwrap_err();
    let text = broken.downcast_ref::<String>().unwrap();
    assert!(text.contains("as a test:"), "{text}");
    for objects in Objects::all() {
        for length in [0, 1, 20, 70] {
            fuzz(&objects, &bytes[..length]);
        }
    }
}
