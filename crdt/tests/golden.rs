//! Pins one encoding of every kind. Formats only gain versions: a change here is a broken promise.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::fmt::Write;
use std::path::Path;

use meshwork_crdt::{Dot, Hlc, Kind, Limits, Merges, Object, Op, ReplicaId, Stamp};

/// Two replicas that each do all `ops` before they hear of each other; then the first does them again.
fn grow(ops: &[Op]) -> Object {
    let mut states = [Object::new(), Object::new()];
    let write = |state: &mut Object, replica: u8, counter: u64, op: &Op| {
        let stamp = Stamp {
            dot: Dot::new(ReplicaId::from_bytes([replica; 8]), counter),
            claim_after: counter.is_multiple_of(2).then_some(counter - 1),
            hlc: Hlc::new(1_700_000_000_000 + counter, u16::from(replica)),
        };
        let delta = state.apply(&stamp, op, &Merges::default()).unwrap();
        state.join(&delta);
    };
    for (replica, state) in (0xa0..).zip(&mut states) {
        (1..)
            .zip(ops)
            .for_each(|(counter, op)| write(state, replica, counter, op));
    }
    let [mut whole, other] = states;
    whole.join(&other);
    (300..)
        .zip(ops)
        .for_each(|(counter, op)| write(&mut whole, 0xa0, counter, op));
    whole
}

fn field(name: &[u8], op: Op) -> Op {
    Op::Field {
        name: name.to_vec(),
        kind: op.kind().unwrap(),
        op: Box::new(op),
    }
}

fn check(name: &str, ops: &[Op]) {
    check_object(name, grow(ops));
}

fn check_object(name: &str, object: Object) {
    let mut hex = String::new();
    object
        .encode()
        .iter()
        .for_each(|byte| write!(hex, "{byte:02x}").unwrap());
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    let pinned = std::fs::read_to_string(path.with_extension("hex")).unwrap_or_default();
    assert_eq!(hex, pinned.trim(), "the encoding of {name} changed");
    let bytes: Vec<u8> = pinned
        .trim()
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    assert_eq!(Object::decode(&bytes, &Limits::DEFAULT), Ok(object));
}

#[test]
fn the_encoding_of_a_flag_is_pinned() {
    check("flag", &[Op::Enable]);
}

#[test]
fn the_encoding_of_a_counter_is_pinned() {
    check("counter", &[Op::Add(-3), Op::Add(1_000_000)]);
}

#[test]
fn the_encoding_of_a_register_is_pinned() {
    check("register", &[Op::Put(b"one".to_vec())]);
}

#[test]
fn the_encoding_of_a_set_is_pinned() {
    let element = |text: &[u8]| text.to_vec();
    let ops = [
        Op::Insert(element(b"pear")),
        Op::Insert(element(b"fig")),
        Op::Remove(element(b"pear")),
    ];
    check("set", &ops);
}

#[test]
fn the_encoding_of_a_map_is_pinned() {
    let remove = Op::RemoveField {
        name: b"gone".to_vec(),
        kind: Kind::Flag,
    };
    let ops = [
        field(b"on", Op::Enable),
        field(b"gone", Op::Enable),
        remove,
        field(b"inner", field(b"name", Op::Put(b"deep".to_vec()))),
    ];
    check("map", &ops);
}

#[test]
fn the_encoding_of_a_document_is_pinned() {
    check(
        "document",
        &[Op::Chunk(b"first".to_vec()), Op::Chunk(b"second".to_vec())],
    );
}

#[test]
fn the_encoding_of_a_custom_value_is_pinned() {
    check(
        "custom",
        &[Op::Merge {
            tag: 513,
            payload: b"mine".to_vec(),
        }],
    );
}

#[test]
fn the_encoding_of_a_disable_wins_flag_is_pinned() {
    check("dw-flag", &[Op::Switch(true), Op::Switch(false)]);
}

#[test]
fn the_encoding_of_a_grow_only_counter_is_pinned() {
    check("g-counter", &[Op::Increase(3), Op::Increase(1_000_000)]);
}

#[test]
fn the_encoding_of_bounds_is_pinned() {
    check("max", &[Op::Max(-1), Op::Max(300)]);
    check("min", &[Op::Min(1), Op::Min(-300)]);
}

#[test]
fn the_encoding_of_other_sets_is_pinned() {
    let element = |text: &[u8]| text.to_vec();
    check(
        "g-set",
        &[Op::Gather(element(b"pear")), Op::Gather(element(b"fig"))],
    );
    let ops = [
        Op::Admit(element(b"pear")),
        Op::Admit(element(b"fig")),
        Op::Ban(element(b"pear")),
    ];
    check("rw-set", &ops);
}

#[test]
fn the_encoding_of_a_fenced_value_is_pinned() {
    let value = b"leader".to_vec();
    check("fenced", &[Op::PutFenced { token: 7, value }]);
}

#[test]
fn the_encoding_of_a_bounded_counter_is_pinned() {
    let to = ReplicaId::from_bytes([0xa1; 8]);
    let give = Op::GiveRights { to, amount: 2 };
    check("bounded-counter", &[Op::Deposit(9), Op::Withdraw(4), give]);
}

#[test]
fn the_encoding_of_a_sequence_is_pinned() {
    let insert = |value: &[u8]| Op::InsertAfter {
        after: None,
        value: value.to_vec(),
    };
    check("sequence", &[insert(b"second"), insert(b"first")]);
}

#[test]
fn the_encoding_of_a_deleted_object_is_pinned() {
    check("deleted", &[Op::Enable, Op::Delete]);
}

#[test]
fn the_encoding_of_a_delta_is_pinned() {
    let object = grow(&[Op::Put(b"seen".to_vec())]);
    let dot = Dot::new(ReplicaId::from_bytes([0xa1; 8]), 2);
    let stamp = Stamp {
        dot,
        claim_after: None,
        hlc: Hlc::new(1_700_000_000_000, 1),
    };
    let delta = object
        .apply(&stamp, &Op::Put(b"new".to_vec()), &Merges::default())
        .unwrap();
    assert!(!delta.removed().is_empty());
    check_object("delta", delta);
}
