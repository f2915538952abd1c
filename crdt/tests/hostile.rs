//! Bytes and states made to hurt: each must end in a typed refusal or a small cost.
#![expect(clippy::unwrap_used, reason = "a test")]

use meshwork_crdt::{
    ApplyOp, Bound, CausalContext, Causality, DecodeObject, Dot, Hlc, Kind, Limits, Merges, Object,
    Op, ReplicaId, Stamp,
};

const A: ReplicaId = ReplicaId::from_bytes([1; 8]);
const B: ReplicaId = ReplicaId::from_bytes([2; 8]);

fn stamp(replica: ReplicaId, counter: u64) -> Stamp {
    let dot = Dot::new(replica, counter);
    Stamp {
        dot,
        claim_after: None,
        hlc: Hlc::new(counter, 0),
    }
}

fn write(object: &mut Object, stamp: &Stamp, op: &Op) -> Object {
    let delta = object.apply(stamp, op, &Merges::default()).unwrap();
    object.join(&delta);
    delta
}

fn decode(bytes: &[u8]) -> Result<Object, DecodeObject> {
    Object::decode(bytes, &Limits::DEFAULT)
}

/// Format version, a context of one replica with one run, and nothing removed.
fn header(gap: &[u8], length: &[u8]) -> Vec<u8> {
    [&[1, 1][..], &A.to_bytes(), &[1], gap, length, &[0]].concat()
}

#[test]
fn a_run_of_2_to_the_63_dots_costs_one_run() {
    let mut context = CausalContext::new();
    context.insert_run(A, 1..=1 << 63);
    context.insert_run(B, 1..=u64::MAX);
    let mut object = Object::new();
    write(&mut object, &stamp(A, 5), &Op::Put(b"x".to_vec()));
    let mut less = context.clone();
    less.subtract(object.version());
    assert_eq!((context.runs_len(), less.runs_len()), (2, 3));
    assert_eq!(context.compare(object.version()), Causality::After);
    assert!(
        context.contains(Dot::new(B, u64::MAX)) && !context.contains(Dot::new(A, (1 << 63) + 1))
    );
    assert_eq!(object.delta_since(&context), None);
    let claim = Stamp {
        claim_after: Some(0),
        ..stamp(B, u64::MAX)
    };
    write(&mut object, &claim, &Op::Put(b"y".to_vec()));
    assert_eq!(object.version().runs_len(), 2);
    assert_eq!(decode(&object.encode()), Ok(object));
}

#[test]
fn counters_at_the_end_of_64_bits_are_read_or_refused() {
    let max = [&[0xff; 9][..], &[1]].concat();
    // Gap 0 starts at 1: a length of 2^64 - 1 would end beyond the last counter.
    let beyond = [header(&[0], &max), vec![0]].concat();
    assert_eq!(decode(&beyond), Err(DecodeObject::CounterOverflow));
    let beyond = [header(&max, &[0]), vec![0]].concat();
    assert_eq!(decode(&beyond), Err(DecodeObject::CounterOverflow));
    let last = [&[0xfe][..], &[0xff; 8], &[1]].concat();
    let whole = decode(&[header(&[0], &last), vec![0]].concat()).unwrap();
    assert_eq!(whole.version().max_of(A), u64::MAX);
    // Nothing fits behind the last counter.
    let two = [&[1, 1][..], &A.to_bytes(), &[2, 0], &last, &[0, 0], &[0, 0]].concat();
    assert_eq!(decode(&two), Err(DecodeObject::CounterOverflow));
}

#[test]
fn nesting_10_000_deep_is_refused_in_bytes() {
    let mut bytes = [header(&[0], &[0]), vec![1, 5]].concat();
    for _ in 0..10_000 {
        bytes.extend_from_slice(&[1, 5, 0]);
    }
    let too_deep = DecodeObject::TooLarge {
        bound: Bound::Depth,
        found: 65,
        max: 64,
    };
    assert_eq!(decode(&bytes), Err(too_deep));
    let local = Limits {
        depth_max: usize::MAX,
        ..Limits::LOCAL
    };
    assert_eq!(
        Object::decode(&bytes, &local),
        Err(too_deep),
        "no setting lifts the bound"
    );
}

#[test]
fn nesting_10_000_deep_is_refused_in_operations() {
    let mut op = Op::Enable;
    for depth in 0..10_000 {
        let kind = op.kind().unwrap();
        op = Op::Field {
            name: Vec::new(),
            kind,
            op: Box::new(op),
        };
        let applied = Object::new().apply(&stamp(A, 1), &op, &Merges::default());
        // The root is level 1, so 63 fields make 64 levels.
        assert_eq!(applied.is_ok(), depth < 63, "at {depth}");
        if let Ok(object) = applied {
            assert_eq!(decode(&object.encode()), Ok(object));
        }
    }
}

#[test]
fn a_million_replicas_are_refused_before_they_are_read() {
    let mut bytes = vec![1, 0xc0, 0x84, 0x3d];
    bytes.resize(12_000_000, 0);
    let refused = DecodeObject::TooLarge {
        bound: Bound::Replicas,
        found: 1_000_000,
        max: 10_000,
    };
    assert_eq!(decode(&bytes), Err(refused));
}

#[test]
fn huge_lengths_are_refused_before_memory_is_taken() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    let places: [&[u8]; 6] = [
        &[1],                                                // replicas
        &[&[1, 1][..], &[1; 8]].concat(),                    // runs
        &header(&[0], &[0]),                                 // kinds
        &[header(&[0], &[0]), vec![1, 1]].concat(),          // dots of a flag
        &[header(&[0], &[0]), vec![1, 4, 1]].concat(),       // bytes of an element
        &[header(&[0], &[0]), vec![1, 6, 1, 0, 1]].concat(), // bytes of a chunk
    ];
    for place in places {
        let bytes = [place, &huge].concat();
        let limits = [Limits::DEFAULT, Limits::LOCAL];
        for refused in limits.map(|limits| Object::decode(&bytes, &limits).unwrap_err()) {
            let expected = matches!(
                refused,
                DecodeObject::TooLarge { .. } | DecodeObject::Truncated { .. }
            );
            assert!(expected, "{refused:?} for {bytes:?}");
        }
    }
}

#[test]
fn other_spellings_of_a_value_are_refused() {
    let flag = |dots: &[u8]| [header(&[0], &[1]), vec![1, 1], dots.to_vec()].concat();
    assert!(decode(&flag(&[2, 0, 1, 0, 2])).is_ok());
    let outside = Dot::new(A, 3);
    let cases: [(Vec<u8>, DecodeObject); 9] = [
        (flag(&[1, 0, 0x81, 0]), DecodeObject::BadVarint),
        (flag(&[2, 0, 2, 0, 1]), DecodeObject::Unsorted),
        (flag(&[2, 0, 1, 0, 1]), DecodeObject::Unsorted),
        (flag(&[0]), DecodeObject::EmptyStore),
        (flag(&[1, 0, 3]), DecodeObject::DotOutsideContext(outside)),
        (
            flag(&[1, 0, 0]),
            DecodeObject::DotOutsideContext(Dot::new(A, 0)),
        ),
        (flag(&[1, 1, 1]), DecodeObject::BadReplicaIndex(1)),
        (flag(&[1, 0, 1, 9]), DecodeObject::Trailing { bytes: 1 }),
        (
            [header(&[0], &[1]), vec![2, 1, 1, 0, 1, 4, 1, 0, 1, 0, 1]].concat(),
            DecodeObject::DotRepeated(Dot::new(A, 1)),
        ),
    ];
    for (bytes, refused) in cases {
        assert_eq!(decode(&bytes), Err(refused), "{bytes:?}");
    }
    assert_eq!(decode(&[2, 0, 0, 0]), Err(DecodeObject::UnknownVersion(2)));
    // A kind of a later release is taken in as long as its shape can be: a set of dots is 0, more than three maps are 8 and above.
    let unknown = |shape| decode(&[header(&[0], &[0]), vec![1, 200, shape, 1, 0, 1]].concat());
    assert!(unknown(0).is_ok());
    assert_eq!(unknown(8), Err(DecodeObject::UnknownKind(200)));
    let shapeless = [header(&[0], &[0]), vec![1, 9, 0, 1, 0, 1]].concat();
    assert_eq!(decode(&shapeless), Err(DecodeObject::UnknownKind(9)));
    let one = [&[1, 1][..], &A.to_bytes(), &[1, 0, 0]].concat();
    let twice = [&one[..], &one[1..], &[0]].concat();
    assert_eq!(decode(&twice), Err(DecodeObject::RemovedIsSeen));
}

#[test]
fn one_dot_with_two_values_ends_the_same_everywhere() {
    let object = |value: &[u8]| {
        let mut object = Object::new();
        write(&mut object, &stamp(A, 1), &Op::Put(value.to_vec()));
        object
    };
    let (mut one, mut other) = (object(b"one"), object(b"other"));
    let before = one.clone();
    one.join(&other);
    other.join(&before);
    assert_eq!(one, other);
    assert_eq!(
        one.as_register().unwrap().latest(),
        Some(&b"other".to_vec())
    );
}

#[test]
fn a_used_or_impossible_dot_is_refused() {
    let mut object = Object::new();
    write(&mut object, &stamp(A, 5), &Op::Add(1));
    let apply = |stamp: Stamp| object.apply(&stamp, &Op::Add(1), &Merges::default());
    assert_eq!(apply(stamp(A, 5)), Err(ApplyOp::DotUsed(Dot::new(A, 5))));
    assert_eq!(apply(stamp(A, 0)), Err(ApplyOp::BadStamp(Dot::new(A, 0))));
    let claim = |after| Stamp {
        claim_after: Some(after),
        ..stamp(A, 7)
    };
    assert_eq!(apply(claim(7)), Err(ApplyOp::BadStamp(Dot::new(A, 7))));
    assert_eq!(
        apply(claim(4)),
        Err(ApplyOp::DotUsed(Dot::new(A, 7))),
        "would claim a live dot"
    );
    assert!(apply(claim(5)).is_ok());
}

#[test]
fn another_kind_is_refused_until_the_first_is_deleted() {
    let mut object = Object::new();
    write(&mut object, &stamp(A, 1), &Op::Add(1));
    let wrong = ApplyOp::WrongKind {
        found: Kind::Counter,
        wanted: Kind::Flag,
    };
    assert_eq!(
        object.apply(&stamp(A, 2), &Op::Enable, &Merges::default()),
        Err(wrong)
    );
    write(&mut object, &stamp(A, 2), &Op::Delete);
    assert!(object.is_deleted() && !object.is_empty());
    write(&mut object, &stamp(A, 3), &Op::Enable);
    assert!(object.as_flag().is_some() && object.as_counter().is_none());
}

#[test]
fn two_kinds_created_at_once_are_both_kept() {
    let (mut one, mut other) = (Object::new(), Object::new());
    write(&mut one, &stamp(A, 1), &Op::Enable);
    write(&mut other, &stamp(B, 1), &Op::Put(b"v".to_vec()));
    one.join(&other);
    assert_eq!(
        one.kinds().collect::<Vec<_>>(),
        [Kind::Flag, Kind::Register]
    );
    assert!(
        one.apply(&stamp(A, 2), &Op::Disable, &Merges::default())
            .is_ok()
    );
}

#[test]
fn sums_stay_at_the_ends_of_their_range() {
    let mut object = Object::new();
    write(&mut object, &stamp(A, 1), &Op::Add(i64::MAX));
    write(&mut object, &stamp(A, 2), &Op::Add(5));
    write(&mut object, &stamp(B, 1), &Op::Add(i64::MAX));
    assert_eq!(
        object.as_counter().unwrap().value(),
        2 * i128::from(i64::MAX)
    );
}

#[test]
fn a_sum_cannot_reach_back_to_before_the_first_dot() {
    let encoded = |op: Op| {
        let mut object = Object::new();
        write(&mut object, &stamp(A, 3), &op);
        object.encode()
    };
    // What follows the dot: a span and a sum; or how many bytes follow and those of the span are, the span, and the sum.
    let counter = encoded(Op::Add(5));
    let before = counter.strip_suffix(&[3, 0, 10]).unwrap();
    let g_counter = encoded(Op::Increase(5));
    let sum = 5_u64.to_be_bytes();
    let start = g_counter.strip_suffix(&sum).unwrap();
    let start = start.strip_suffix(&[3, 9, 0]).unwrap();
    for (span, taken) in [(2, true), (3, false), (100, false)] {
        let hostile = [before, &[3, span, 10]].concat();
        let read = Object::decode(&hostile, &Limits::DEFAULT);
        assert_eq!(read.is_ok(), taken, "{span}");
        let hostile = [start, &[3, 10, 1, span], &sum].concat();
        let read = Object::decode(&hostile, &Limits::DEFAULT);
        assert_eq!(read.is_ok(), taken, "{span}");
    }
    // No digits where there are none, and the shortest form else.
    for span in [&[1, 0][..], &[2, 0, 1], &[9; 10], &[200]] {
        let length = u8::try_from(span.len() + sum.len()).unwrap();
        let hostile = [start, &[3, length], span, &sum].concat();
        let read = Object::decode(&hostile, &Limits::DEFAULT);
        assert_eq!(read, Err(DecodeObject::BadValue), "{span:?}");
    }
}

/// The first and the third of three writes that replace each other, without the second.
#[test]
fn a_gap_in_a_chain_of_writes_shows_in_the_version() {
    let mut writer = Object::new();
    let deltas = [1, 2, 3].map(|n| write(&mut writer, &stamp(A, n), &Op::Put(vec![0])));
    let mut gap = deltas[2].clone();
    gap.join(&deltas[0]);
    assert_ne!(gap.digest(), writer.digest());
    let missing = writer.delta_since(gap.version()).unwrap();
    gap.join(&missing);
    assert_eq!((gap.digest(), &gap), (writer.digest(), &writer));
}

#[test]
fn a_large_set_is_split_into_parts_that_fit() {
    let mut object = Object::new();
    for n in 1..=2_000_u64 {
        let op = Op::Insert(n.to_be_bytes().to_vec());
        let stamp = Stamp {
            claim_after: Some(n - 1),
            ..stamp(A, n)
        };
        write(&mut object, &stamp, &op);
    }
    let parts = object.split(4_096);
    assert!(parts.len() < 20, "{} parts", parts.len());
    let mut whole = Object::new();
    for part in &parts {
        assert!(part.encode().len() <= 4_096);
        whole.join(&decode(&part.encode()).unwrap());
    }
    assert_eq!(whole, object);
    assert_eq!(object.split(1 << 20), [object]);
}

#[test]
fn a_clock_at_the_end_of_time_stops_nobody_from_writing() {
    let end = Hlc::from_bits(u64::MAX);
    let first = Stamp {
        hlc: end,
        ..stamp(A, 1)
    };
    let mut register = Object::new();
    write(&mut register, &first, &Op::Put(b"last".to_vec()));
    assert_eq!(register.hlc_max(), Some(end), "a node can refuse it");
    write(&mut register, &stamp(B, 1), &Op::Put(b"later".to_vec()));
    let latest = register.as_register().unwrap().latest();
    assert_eq!(latest, Some(&b"later".to_vec()));

    let mut list = Object::new();
    let value = b"last".to_vec();
    write(&mut list, &first, &Op::InsertAfter { after: None, value });
    assert_eq!(list.hlc_max(), Some(end));
    let (element, value) = (first.dot, b"later".to_vec());
    write(
        &mut list,
        &stamp(B, 1),
        &Op::WriteElement { element, value },
    );
    let after = None;
    write(&mut list, &stamp(B, 2), &Op::MoveAfter { element, after });
    let elements = list.as_sequence().unwrap().elements();
    assert_eq!(elements, [(element, &b"later"[..])]);
    assert_eq!(decode(&list.encode()), Ok(list.clone()));
}
