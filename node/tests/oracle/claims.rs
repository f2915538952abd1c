//! What a read must show, claim by claim.

use std::collections::BTreeSet;
use std::time::Duration;

use meshwork::sim::workload::{
    Effect, Failure, Oracle, Placement, Request, Seen, Shown, Shows, Slot, Violation, Wrong,
};
use meshwork_crdt::Kind;
use meshwork_sync::{Key, Level};

const ALL: [Level; 4] = [Level::Local, Level::One, Level::Quorum, Level::All];
const EVERYWHERE: Placement = Placement::Everywhere { nodes: 3 };
const FIXED: Placement = Placement::Fixed { replicas: 3 };

fn key() -> Key {
    Key::parse("notes/x").unwrap()
}

fn slot() -> Slot {
    Slot::key(Kind::Register)
}

fn request(node: u32, level: Level, at_s: u64) -> Request {
    Request {
        client: node,
        node,
        level,
        start: Duration::from_secs(at_s),
    }
}

fn shows(values: &[&str]) -> Seen {
    let values: BTreeSet<Vec<u8>> = values.iter().map(|v| v.as_bytes().to_vec()).collect();
    let mut seen = Seen::default();
    if !values.is_empty() {
        seen.values.insert(slot(), Shown::Values(values));
    }
    seen
}

/// Puts a value in a second.
fn put(oracle: &Oracle, request: Request, value: &str, answer: Result<(), Failure>) {
    let effect = Effect::Put(slot(), value.into());
    let id = oracle.begin_write(&key(), request, effect);
    let end = request.start + Duration::from_secs(1);
    oracle.end_write(id, end, answer.map(|()| None));
}

/// What is wrong with a read that takes a second.
fn read(oracle: &Oracle, request: Request, values: &[&str]) -> Vec<Wrong> {
    let end = request.start + Duration::from_secs(1);
    let before = oracle.violations().len();
    oracle.read(&key(), request, end, &shows(values));
    let found = oracle.violations().split_off(before);
    found.into_iter().map(|violation| violation.wrong).collect()
}

/// Whether a read that shows nothing is wrong after a write that was acknowledged.
fn must_show(placement: Placement, write: (u32, Level), look: (u32, Level)) -> bool {
    let oracle = Oracle::new(placement);
    put(&oracle, request(write.0, write.1, 1), "a", Ok(()));
    !read(&oracle, request(look.0, look.1, 5), &[]).is_empty()
}

#[test]
fn where_every_node_has_all_a_node_shows_what_was_written_through_it_at_any_level() {
    for write in ALL {
        for look in ALL {
            assert!(
                must_show(EVERYWHERE, (0, write), (0, look)),
                "{write} {look}"
            );
        }
    }
}

#[test]
fn levels_that_meet_show_what_was_written_through_any_node() {
    for placement in [EVERYWHERE, FIXED] {
        for (write, look, meet) in [
            (Level::Quorum, Level::Quorum, true),
            (Level::One, Level::All, true),
            (Level::All, Level::One, true),
            (Level::One, Level::Quorum, false),
            (Level::Quorum, Level::One, false),
            (Level::Local, Level::Quorum, false),
        ] {
            let claimed = must_show(placement, (0, write), (1, look));
            assert_eq!(claimed, meet, "{placement:?}: {write} {look}");
        }
    }
    assert!(must_show(EVERYWHERE, (0, Level::Local), (1, Level::All)));
    assert!(!must_show(FIXED, (0, Level::Local), (1, Level::All)));
}

#[test]
fn a_node_without_copies_shows_its_own_writes_from_level_one() {
    assert!(must_show(FIXED, (0, Level::Local), (0, Level::One)));
    assert!(!must_show(FIXED, (0, Level::Local), (0, Level::Local)));
    assert!(!must_show(
        Placement::Moving,
        (0, Level::All),
        (0, Level::All)
    ));
}

#[test]
fn what_a_node_has_shown_it_shows_again() {
    let oracle = Oracle::new(EVERYWHERE);
    put(&oracle, request(0, Level::Local, 1), "a", Ok(()));
    assert_eq!(read(&oracle, request(1, Level::Local, 3), &[]), []);
    assert_eq!(read(&oracle, request(1, Level::Local, 5), &["a"]), []);
    assert_eq!(
        read(&oracle, request(1, Level::Local, 7), &[]),
        [Wrong::Lost]
    );
}

#[test]
fn a_read_that_began_before_the_answer_may_show_either() {
    let oracle = Oracle::new(EVERYWHERE);
    put(&oracle, request(0, Level::All, 5), "a", Ok(()));
    let look = request(0, Level::All, 5);
    assert_eq!(read(&oracle, look, &[]), []);
    assert_eq!(read(&oracle, look, &["a"]), []);
}

#[test]
fn what_may_have_happened_may_be_there_and_need_not() {
    let unknown = || Err(Failure::Unknown("no answer".into()));
    for values in [&["a"][..], &[]] {
        let oracle = Oracle::new(EVERYWHERE);
        put(&oracle, request(0, Level::Local, 1), "a", unknown());
        assert_eq!(read(&oracle, request(0, Level::All, 3), values), []);
        assert_eq!(end(&oracle, &[values, values]).len(), 0);
    }
    let oracle = Oracle::new(EVERYWHERE);
    put(&oracle, request(0, Level::Local, 1), "a", unknown());
    assert_eq!(read(&oracle, request(1, Level::All, 3), &["a"]), []);
    let lost = end(&oracle, &[&[], &[]]);
    assert_eq!(lost[0].wrong, Wrong::Lost, "it was shown, so it is kept");
}

#[test]
fn what_was_refused_is_wrong_even_where_it_was_shown_before_the_refusal() {
    let oracle = Oracle::new(Placement::Moving);
    let id = oracle.begin_write(
        &key(),
        request(0, Level::All, 1),
        Effect::Put(slot(), b"a".to_vec()),
    );
    assert_eq!(read(&oracle, request(1, Level::One, 2), &["a"]), []);
    let refused = Err(Failure::Refused("no".into()));
    oracle.end_write(id, Duration::from_secs(9), refused);
    assert_eq!(oracle.violations()[0].wrong, Wrong::Refused);
    assert_eq!(
        read(&oracle, request(1, Level::One, 10), &["a"]),
        [Wrong::Refused]
    );
}

#[test]
fn a_value_may_go_only_for_one_that_may_have_seen_it() {
    let oracle = Oracle::new(EVERYWHERE);
    put(&oracle, request(1, Level::Local, 1), "before", Ok(()));
    put(&oracle, request(0, Level::Local, 5), "a", Ok(()));
    let look = request(0, Level::Local, 7);
    assert_eq!(read(&oracle, look, &["before"]), [Wrong::Lost]);
    put(&oracle, request(2, Level::Local, 5), "beside", Ok(()));
    let look = request(0, Level::Local, 9);
    assert_eq!(read(&oracle, look, &["beside"]), []);
}

#[test]
fn a_value_that_was_superseded_stays_away() {
    let oracle = Oracle::new(EVERYWHERE);
    put(&oracle, request(0, Level::Local, 1), "a", Ok(()));
    put(&oracle, request(0, Level::Local, 3), "b", Ok(()));
    let other = request(1, Level::Local, 5);
    assert_eq!(read(&oracle, other, &["a"]), [], "it has not heard yet");
    assert_eq!(
        read(&oracle, other, &["a", "b"]),
        [],
        "nor of what came between"
    );
    let same = request(0, Level::Local, 7);
    assert_eq!(read(&oracle, same, &["a", "b"]), [Wrong::Back]);
    assert_eq!(
        end(&oracle, &[&["a", "b"], &["a", "b"]])[0].wrong,
        Wrong::Back
    );
    assert_eq!(end(&oracle, &[&["b"], &["b"]]).len(), 0);
}

#[test]
fn nodes_that_differ_in_the_end_are_told_apart() {
    let oracle = Oracle::new(Placement::Moving);
    put(&oracle, request(0, Level::Quorum, 1), "a", Ok(()));
    let found = end(&oracle, &[&["a"], &[]]);
    let wrong: Vec<&Wrong> = found.iter().map(|violation| &violation.wrong).collect();
    assert!(matches!(
        wrong[..],
        [Wrong::Lost, Wrong::Differ { other: 0, .. }]
    ));
    let told = found[0].to_string();
    for part in [
        "notes/x",
        "node 1 showed nothing",
        "put a in register",
        "acknowledged",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

fn end(oracle: &Oracle, nodes: &[&[&str]]) -> Vec<Violation> {
    let keys = |values: &&[&str]| [(key(), shows(values))].into();
    let shows: Shows = (0..).zip(nodes.iter().map(keys)).collect();
    oracle.check_end(&shows)
}

#[test]
fn answers_that_are_no_values_are_refused() {
    for answer in [
        serde_json::json!({}),
        serde_json::json!({"values": [{"value": 3}]}),
        serde_json::json!({"values": [{"kind": "counter", "value": "3"}]}),
        serde_json::json!({"values": [{"kind": "register", "value": "a"}]}),
        serde_json::json!({"values": [{"kind": "set", "value": [{"base64": "!"}]}]}),
        serde_json::json!({"values": [{"kind": "map", "value": []}]}),
    ] {
        assert!(Seen::from_json(&answer).is_err(), "{answer}");
    }
    let register = r#"{"values": [{"kind": "register", "value": "a", "siblings": ["a"]}]}"#;
    let register = serde_json::from_str(register).unwrap();
    assert_eq!(Seen::from_json(&register).unwrap(), shows(&["a"]));
}
