//! Sets and maps beside `crdts::Orswot` and `crdts::Map`: merges, single writes, sizes.

use std::time::Duration;

use crdts::{CmRDT, CvRDT, MVReg, Map, Orswot};
use meshwork_crdt::{AwSet, Causal, Dot, Hlc, Kind, Merges, Object, Op, ReplicaId, Stamp};
use meshwork_crdt_rivals::table::{Target, heading, judged, line, ratio, shown};
use meshwork_crdt_rivals::timing::{Run, medians, time, time_each};

const ACTORS: u64 = 16;
const ELEMENTS: u64 = 100_000;
const DIFFERENT: u64 = 100;
const ROUNDS: usize = 15;

type Element = Vec<u8>;
type Theirs<A> = Orswot<Element, A>;

fn main() {
    merges();
    one_add();
    sizes();
    maps();
}

/// Row 1: two replicas of one set, each with 50 additions that the other lacks.
fn merges() {
    heading("merge of two sets of 100,000 elements of 16 bytes that differ in 100");
    let base = ours(0..ELEMENTS);
    let [mut left, mut right] = [base.clone(), base];
    let their_base = theirs(0..ELEMENTS, actor);
    let [mut their_left, mut their_right] = [their_base.clone(), their_base];
    // Each side writes by an actor of its own, as two replicas do.
    for n in 0..DIFFERENT / 2 {
        let [one, other] = [ELEMENTS + n * ACTORS, ELEMENTS + n * ACTORS + 1];
        add(&mut left, one);
        add_theirs(&mut their_left, one, actor);
        add(&mut right, other);
        add_theirs(&mut their_right, other, actor);
    }

    // Both states are fresh copies, as if just read. `merge` takes the other state and frees it; `join` leaves it to its owner.
    let [whole, dropped, delta, rival] = medians(
        ROUNDS,
        [
            Box::new(|| {
                let (mut mine, other) = (left.clone(), right.clone());
                let took = time(|| mine.join(&other));
                assert_eq!(mine.store().len() as u64, ELEMENTS + DIFFERENT);
                took
            }) as Run<'_>,
            Box::new(|| {
                let (mut mine, other) = (left.clone(), right.clone());
                time(|| {
                    mine.join(&other);
                    drop(other);
                })
            }),
            Box::new(|| {
                let mut mine = left.clone();
                let took = time(|| {
                    let delta = right.delta_since(left.context()).expect("it has more");
                    mine.join(&delta);
                });
                assert_eq!(mine.store().len() as u64, ELEMENTS + DIFFERENT);
                took
            }),
            Box::new(|| {
                let (mut mine, other) = (their_left.clone(), their_right.clone());
                let took = time(|| mine.merge(other));
                assert_eq!(mine.read().val.len() as u64, ELEMENTS + DIFFERENT);
                took
            }),
        ],
    );
    let faster = ratio(rival, whole);
    judged(
        "whole states, AwSet::join / Orswot::merge",
        &format!(
            "ours {}, crdts {}, {faster:.1}x faster",
            shown(whole),
            shown(rival)
        ),
        faster,
        Target::AtLeast(10.0),
    );
    line(
        "the same, and the other state freed",
        &format!(
            "ours {}, {:.1}x faster",
            shown(dropped),
            ratio(rival, dropped)
        ),
    );
    line(
        "the difference alone, delta_since + join / Orswot::merge",
        &format!(
            "ours {}, crdts {}, {:.1}x faster",
            shown(delta),
            shown(rival),
            ratio(rival, delta)
        ),
    );
    deltas(&left, &right);
}

/// The second half of row 8: what the other lacks, and taking it in.
fn deltas(left: &Causal<AwSet<Element>>, right: &Causal<AwSet<Element>>) {
    let delta = right.delta_since(left.context()).expect("it has more");
    let [extract, take] = medians(
        ROUNDS,
        [
            Box::new(|| time(|| right.delta_since(left.context()))) as Run<'_>,
            Box::new(|| {
                let mut mine = left.clone();
                time(|| mine.join(&delta))
            }),
        ],
    );
    line(
        "delta_since, 50 of 100,050 dots unseen",
        &format!("{} for {} elements", shown(extract), delta.store().len()),
    );
    line("join of that delta", &shown(take));
}

/// Row 2: one add to a set in an object, as a node does it.
fn one_add() {
    heading("one write to a set of n elements: Object::apply + join + delta.encode()");
    for elements in [1_000, 10_000, ELEMENTS] {
        let object = object_of((0..elements).map(|n| Op::Insert(element(n))));
        let new = |n: u32| Op::Insert(element(elements + u64::from(n)));
        let again = |n: u32| Op::Insert(element(u64::from(n) * 7 % elements));
        let remove = |n: u32| Op::Remove(element(u64::from(n) * 7 % elements));
        let rival = theirs(0..elements, actor);
        let [add, replace, take_out, their_add] = medians(
            ROUNDS,
            [
                Box::new(|| write_each(&object, elements, 1_000, new).0) as Run<'_>,
                Box::new(|| write_each(&object, elements, 100, again).0),
                Box::new(|| write_each(&object, elements, 20, remove).0),
                Box::new(|| {
                    let mut set = rival.clone();
                    let mut n = elements;
                    time_each(1_000, |_| {
                        let context = set.read_ctx().derive_add_ctx(actor(n));
                        let op = set.add(element(n), context);
                        postcard::to_allocvec(&op).expect("it has a size");
                        set.apply(op);
                        n += 1;
                    })
                }),
            ],
        );
        let what = format!("add of a new element, n = {elements}");
        let bytes = write_each(&object, elements, 1, new).1;
        let figures = format!(
            "{}, {bytes} bytes (crdts op + apply + postcard: {})",
            shown(add),
            shown(their_add)
        );
        if elements == ELEMENTS {
            let micros = add.as_secs_f64() * 1e6;
            judged(&what, &figures, micros, Target::AtMost(5.0));
        } else {
            line(&what, &figures);
        }
        let bytes = write_each(&object, elements, 1, again).1;
        let figures = format!("{}, {bytes} bytes", shown(replace));
        line(
            &format!("add of one that is there, n = {elements}"),
            &figures,
        );
        let bytes = write_each(&object, elements, 1, remove).1;
        let figures = format!("{}, {bytes} bytes", shown(take_out));
        line(&format!("remove, n = {elements}"), &figures);
    }
}

/// Row 4: stored bytes of an element.
fn sizes() {
    heading("stored size of a set of 100,000 elements of 16 bytes, 16 actors");
    let mine = object_of((0..ELEMENTS).map(|n| Op::Insert(element(n))));
    let mine = mine.encode().len();
    let same = postcard::to_allocvec(&theirs(0..ELEMENTS, actor)).expect("it has a size");
    let short = postcard::to_allocvec(&theirs(0..ELEMENTS, |n| n % ACTORS)).expect("it has a size");
    for (what, bytes) in [
        ("crdts with the same 8-byte actors", same.len()),
        ("crdts with actors of 1 byte", short.len()),
    ] {
        let each = |bytes: usize| bytes as f64 / ELEMENTS as f64;
        let times = mine as f64 / bytes as f64;
        let figures = format!(
            "ours {:.1} bytes, crdts {:.1}, {times:.2}x",
            each(mine),
            each(bytes)
        );
        judged(what, &figures, times, Target::AtMost(1.5));
    }
}

/// Row 8: deltas into a map of registers.
fn maps() {
    heading("join of a delta into a map of 100,000 registers");
    let put = |n: u64| Op::Field {
        name: element(n),
        kind: Kind::Register,
        op: Box::new(Op::Put(b"value".to_vec())),
    };
    let remove = |n: u64| Op::RemoveField {
        name: element(n),
        kind: Kind::Register,
    };
    let object = object_of((0..ELEMENTS).map(put));
    let [new, overwrite, gone] =
        [put(ELEMENTS), put(ELEMENTS / 2), remove(ELEMENTS / 2)].map(|op| {
            object
                .apply(&stamp(ELEMENTS), &op, &Merges::default())
                .expect("a map takes it")
        });
    let mut map = Map::<Element, MVReg<Vec<u8>, [u8; 8]>, [u8; 8]>::new();
    let update = |map: &mut Map<Element, MVReg<_, _>, _>, n: u64, writer: u64| {
        let context = map.read_ctx().derive_add_ctx(actor(writer));
        let op = map.update(element(n), context, |register, context| {
            register.write(b"value".to_vec(), context)
        });
        map.apply(op.clone());
        op
    };
    (0..ELEMENTS).for_each(|n| drop(update(&mut map, n, n)));
    let op = update(&mut map.clone(), ELEMENTS / 2, ELEMENTS);
    let join = |delta: &Object| {
        let mut mine = object.clone();
        time(|| mine.join(delta))
    };
    let [new, overwrite, gone, rival] = medians(
        ROUNDS,
        [
            Box::new(|| join(&new)) as Run<'_>,
            Box::new(|| join(&overwrite)),
            Box::new(|| join(&gone)),
            Box::new(|| {
                let (mut map, op) = (map.clone(), op.clone());
                time(|| map.apply(op))
            }),
        ],
    );
    line("a new field", &shown(new));
    line(
        "a field overwritten",
        &format!("ours {}, crdts (an op) {}", shown(overwrite), shown(rival)),
    );
    line("a field removed", &shown(gone));
}

/// How long one of `count` writes to a copy of the object takes, and the bytes of the last delta.
fn write_each(object: &Object, next: u64, count: u32, op: impl Fn(u32) -> Op) -> (Duration, usize) {
    let mut object = object.clone();
    let ops: Vec<Op> = (0..count).map(op).collect();
    let (merges, mut bytes, mut n) = (Merges::default(), 0, next);
    let mut ops = ops.iter();
    let took = time_each(count, |_| {
        let op = ops.next().expect("as many as are counted");
        let delta = object
            .apply(&stamp(n), op, &merges)
            .expect("a set takes it");
        object.join(&delta);
        bytes = delta.encode().len();
        n += 1;
    });
    (took, bytes)
}

fn object_of(ops: impl Iterator<Item = Op>) -> Object {
    let mut object = Object::new();
    for (n, op) in (0..).zip(ops) {
        let delta = object.apply(&stamp(n), &op, &Merges::default());
        object.join(&delta.expect("one kind of value"));
    }
    object
}

fn ours(elements: std::ops::Range<u64>) -> Causal<AwSet<Element>> {
    let mut set = Causal::default();
    elements.for_each(|n| add(&mut set, n));
    set
}

fn add(set: &mut Causal<AwSet<Element>>, n: u64) {
    let stamp = stamp(n);
    let delta = set.store().insert(stamp.dot, element(n)).at(&stamp);
    set.join(&delta);
}

fn theirs<A: Ord + std::hash::Hash + Clone + std::fmt::Debug>(
    elements: std::ops::Range<u64>,
    actor: impl Fn(u64) -> A,
) -> Theirs<A> {
    let mut set = Orswot::new();
    elements.for_each(|n| add_theirs(&mut set, n, &actor));
    set
}

fn add_theirs<A: Ord + std::hash::Hash + Clone + std::fmt::Debug>(
    set: &mut Theirs<A>,
    n: u64,
    actor: impl Fn(u64) -> A,
) {
    let context = set.read_ctx().derive_add_ctx(actor(n));
    set.apply(set.add(element(n), context));
}

/// The n-th write of all: actors take turns.
fn stamp(n: u64) -> Stamp {
    let counter = n / ACTORS + 1;
    Stamp {
        dot: Dot::new(ReplicaId::from_bytes(actor(n)), counter),
        claim_after: Some(counter - 1),
        hlc: Hlc::default(),
    }
}

fn actor(n: u64) -> [u8; 8] {
    scattered(n % ACTORS).to_be_bytes()
}

/// 16 bytes in no order.
fn element(n: u64) -> Element {
    [scattered(n), scattered(!n)].map(u64::to_be_bytes).concat()
}

/// A number that looks random (the finalizer of splitmix64).
fn scattered(n: u64) -> u64 {
    let n = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}
