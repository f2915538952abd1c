//! Text editing over documents: what arrives late, twice, damaged or on purpose.
#![cfg(feature = "document")]
#![expect(clippy::unwrap_used, reason = "a test")]

use meshwork_crdt::automerge::marks::ExpandMark;
use meshwork_crdt::automerge::transaction::Transactable;
use meshwork_crdt::automerge::{ObjType, ROOT, ReadDoc, ScalarValue};
use meshwork_crdt::{ActorSeed, Dot, EditText, Hlc, Merges, Object, Op, ReplicaId, Stamp, Text};

const A: ReplicaId = ReplicaId::from_bytes([1; 8]);
const B: ReplicaId = ReplicaId::from_bytes([2; 8]);

fn open(object: &Object, replica: ReplicaId) -> Text {
    let document = object.as_document().cloned().unwrap_or_default();
    Text::open(&document, object.version(), ActorSeed::new(replica, 1))
}

fn absorb(text: &mut Text, object: &Object) {
    text.absorb(
        &object.as_document().cloned().unwrap_or_default(),
        object.version(),
    );
}

fn delta(object: &Object, replica: ReplicaId, counter: u64, op: &Op) -> Object {
    let dot = Dot::new(replica, counter);
    let stamp = Stamp {
        dot,
        claim_after: None,
        hlc: Hlc::default(),
    };
    object.apply(&stamp, op, &Merges::default()).unwrap()
}

fn typed(text: &mut Text, insert: &str) -> Op {
    text.splice(text.len(), 0, insert).unwrap();
    Op::Chunk(text.commit().unwrap())
}

#[test]
fn positions_count_code_points() {
    let mut text = open(&Object::new(), A);
    text.splice(0, 0, "aé👩‍🚀z").unwrap();
    assert_eq!(text.len(), 6);
    text.splice(1, 4, "b").unwrap();
    assert_eq!(text.text(), "abz");
    let refused = EditText::Beyond {
        position: 2,
        count: 2,
        length: 3,
    };
    assert_eq!(text.splice(2, 2, ""), Err(refused));
    assert!(text.splice(usize::MAX, usize::MAX, "").is_err());
    assert_eq!(text.text(), "abz");
}

#[test]
fn two_who_start_at_once_share_one_text() {
    let (mut a, mut b) = (open(&Object::new(), A), open(&Object::new(), B));
    let (one, two) = (typed(&mut a, "one"), typed(&mut b, "two"));
    assert_eq!(a.commit(), None);
    let mut object = delta(&Object::new(), A, 1, &one);
    object.join(&delta(&Object::new(), B, 1, &two));
    absorb(&mut a, &object);
    absorb(&mut b, &object);
    assert_eq!(a.text(), b.text());
    assert!(a.text().contains("one") && a.text().contains("two"));
    assert_eq!(a.heads(), b.heads());
    assert_eq!(open(&object, A).text(), a.text());
}

#[test]
fn edits_that_are_not_committed_survive_absorbing() {
    let (mut a, mut b) = (open(&Object::new(), A), open(&Object::new(), B));
    a.splice(0, 0, "mine").unwrap();
    let mut object = delta(&Object::new(), B, 1, &typed(&mut b, "theirs"));
    absorb(&mut a, &object);
    assert!(a.text().contains("mine") && a.text().contains("theirs"));
    let chunk = Op::Chunk(a.commit().unwrap());
    object.join(&delta(&object, A, 1, &chunk));
    absorb(&mut b, &object);
    assert_eq!(a.text(), b.text());
}

#[test]
fn changes_wait_for_what_they_build_on() {
    let mut a = open(&Object::new(), A);
    let first = delta(&Object::new(), A, 1, &typed(&mut a, "first "));
    let second = delta(&Object::new(), A, 2, &typed(&mut a, "second"));
    let mut object = second;
    let mut late = open(&object, B);
    assert_eq!((late.text().as_str(), late.waiting_len()), ("", 1));
    object.join(&first);
    absorb(&mut late, &object);
    assert_eq!(
        (late.text().as_str(), late.waiting_len()),
        ("first second", 0)
    );
}

#[test]
fn bad_chunks_are_counted_and_the_rest_is_read() {
    let mut a = open(&Object::new(), A);
    let good = typed(&mut a, "good");
    let Op::Chunk(chunk) = &good else {
        panic!("typed gives chunks")
    };
    let mut object = delta(&Object::new(), A, 1, &good);
    let mut bad: Vec<Vec<u8>> = vec![b"garbage".to_vec(), chunk[..chunk.len() - 1].to_vec()];
    // Every type but a plain change; then a wrong checksum.
    bad.extend([0, 2, 3, 9].map(|kind| {
        let mut other = chunk.clone();
        other[8] = kind;
        other
    }));
    bad.push([&chunk[..4], &[0; 4], &chunk[8..]].concat());
    for (counter, bad) in (1..).zip(&bad) {
        object.join(&delta(&object, B, counter, &Op::Chunk(bad.clone())));
    }
    let mut reader = open(&object, B);
    assert_eq!(
        (reader.text().as_str(), reader.refused_len()),
        ("good", bad.len())
    );
    absorb(&mut reader, &object);
    assert_eq!(reader.refused_len(), bad.len());
}

#[test]
fn two_histories_of_one_actor_end_the_same_in_any_order() {
    let (mut real, forged) = (open(&Object::new(), A), open(&Object::new(), A));
    let real = delta(&Object::new(), A, 1, &typed(&mut real, "real"));
    for n in 0..8 {
        let forgery = typed(&mut forged.clone(), &format!("forged {n}"));
        let forged = delta(&Object::new(), B, 1, &forgery);
        let mut object = forged.clone();
        let mut late = open(&object, B);
        assert_eq!(late.text(), format!("forged {n}"));
        object.join(&real);
        absorb(&mut late, &object);
        let mut other = real.clone();
        let mut early = open(&other, B);
        other.join(&forged);
        absorb(&mut early, &other);
        assert_eq!(
            [late.text(), early.text()],
            ["real", "real"],
            "a store's own change wins"
        );
    }
}

#[test]
fn a_deleted_document_is_empty_and_can_be_written_again() {
    let mut a = open(&Object::new(), A);
    let mut object = delta(&Object::new(), A, 1, &typed(&mut a, "old"));
    absorb(&mut a, &object);
    object.join(&delta(&object, B, 1, &Op::Delete));
    absorb(&mut a, &object);
    assert_eq!(a.text(), "");
    let again = typed(&mut a, "new");
    object.join(&delta(&object, A, 2, &again));
    absorb(&mut a, &object);
    assert_eq!([a.text(), open(&object, B).text()], ["new", "new"]);
}

/// What is beside the text merges, too: marks, a list, a map with a counter.
#[test]
fn rich_contents_merge() {
    let mut a = open(&Object::new(), A);
    let start = typed(&mut a, "a bold word");
    let mut object = delta(&Object::new(), A, 1, &start);
    let list = a.contents_mut().put_object(ROOT, "tasks", ObjType::List);
    let list = list.unwrap();
    let counter = ScalarValue::counter(5);
    a.contents_mut().put(ROOT, "count", counter).unwrap();
    let op = Op::Chunk(a.commit().unwrap());
    object.join(&delta(&object, A, 2, &op));

    let mut b = open(&object, B);
    a.mark(2..6, "bold", true, ExpandMark::Both).unwrap();
    b.mark(0..6, "link", "https://example.org", ExpandMark::None)
        .unwrap();
    for (text, task) in [(&mut a, "tea"), (&mut b, "milk")] {
        text.contents_mut().insert(&list, 0, task).unwrap();
        text.contents_mut().increment(ROOT, "count", 2).unwrap();
    }
    let (one, two) = (a.commit().unwrap(), b.commit().unwrap());
    let mut both = delta(&object, A, 3, &Op::Chunk(one));
    both.join(&delta(&object, B, 1, &Op::Chunk(two)));
    object.join(&both);
    absorb(&mut a, &object);
    absorb(&mut b, &object);
    assert_eq!(a.marks(), b.marks());
    let marked = |name| a.marks().iter().any(|mark| mark.name == name);
    assert!(marked("bold") && marked("link"));
    assert_eq!(a.contents().length(&list), 2);
    let (count, _) = b.contents().get(ROOT, "count").unwrap().unwrap();
    assert_eq!(count.as_i64(), Some(9));
    assert_eq!(
        a.mark(0..99, "bold", true, ExpandMark::Both),
        Err(EditText::Beyond {
            position: 0,
            count: 99,
            length: 11
        })
    );
    assert!(matches!(
        a.contents_mut()
            .increment(ROOT, "text", 1)
            .map_err(EditText::from),
        Err(EditText::Refused(_))
    ));
}

/// One store types, and packs what it wrote whenever that is due; the other edits in between.
#[test]
fn many_commits_are_packed_and_stay_what_they_were() {
    let mut object = Object::new();
    let mut unpacked = Object::new();
    let mut seen = Vec::new();
    for n in 1..=1_000_u64 {
        let (replica, at) = if n % 10 == 0 { (B, 0) } else { (A, n / 2) };
        let document = object.as_document().cloned().unwrap_or_default();
        let seed = ActorSeed::new(replica, n);
        let mut text = Text::open(&document, object.version(), seed);
        let at = usize::try_from(at).unwrap().min(text.len());
        text.splice(at, 0, "x").unwrap();
        if n % 100 == 0 {
            seen.push((text.heads(), text.text()));
        }
        let mut same = text.clone();
        let op = text.commit_to(&document).unwrap();
        object.join(&delta(&object, replica, n, &op));
        let op = Op::Chunk(same.commit().unwrap());
        unpacked.join(&delta(&unpacked, replica, n, &op));
    }
    let (mut packed, mut plain) = (open(&object, A), open(&unpacked, A));
    assert_eq!(packed.text(), plain.text());
    assert_eq!(packed.heads(), plain.heads());
    assert_eq!((packed.refused_len(), packed.waiting_len()), (0, 0));
    for (heads, text) in seen {
        packed.rewind(&heads).unwrap();
        assert_eq!(packed.text(), text);
    }
    let chunks = |object: &Object| object.as_document().unwrap().len();
    assert_eq!(chunks(&unpacked), 1_000);
    assert!(chunks(&object) < 400, "{}", chunks(&object));
    let bytes = |object: &Object| object.encode().len();
    assert!(3 * bytes(&object) < bytes(&unpacked), "{}", bytes(&object));
}

/// Two nodes with one store's chunks never pack what they have not read.
#[test]
fn a_pack_replaces_only_what_is_in_it() {
    let mut object = Object::new();
    for n in 1..=200 {
        let mut text = open(&object, A);
        let op = typed(&mut text, "x");
        object.join(&delta(&object, A, n, &op));
    }
    let old = object.clone();
    let mut text = open(&object, A);
    let late = typed(&mut text, "late");
    object.join(&delta(&object, A, 201, &late));
    // An answer of the mesh that is behind is what this edit begins with.
    let mut text = open(&old, B);
    text.splice(0, 0, "b").unwrap();
    assert!(matches!(
        text.commit_to(old.as_document().unwrap()),
        Some(Op::Chunk(_))
    ));
    let seed = ActorSeed::new(A, 202);
    let mut text = Text::open(old.as_document().unwrap(), old.version(), seed);
    text.splice(0, 0, "a").unwrap();
    let pack = text.commit_to(old.as_document().unwrap()).unwrap();
    assert!(matches!(pack, Op::Pack { .. }));
    object.join(&delta(&object, A, 202, &pack));
    assert_eq!(object.as_document().unwrap().len(), 2);
    let text = open(&object, B).text();
    assert!(
        text.contains("late") && text.contains('a') && text.matches('x').count() == 200,
        "{text}"
    );
}
