//! Counters and registers beside `crdts::PNCounter` and `crdts::MVReg`: local writes, one after the other.

use std::time::Duration;

use crdts::{CmRDT, MVReg, PNCounter};
use meshwork_crdt::{
    Causal, Dot, Hlc, Merges, MvRegister, Object, Op, PnCounter, ReplicaId, Stamp,
};
use meshwork_crdt_rivals::table::{Target, heading, judged, line};
use meshwork_crdt_rivals::timing::{Run, medians, time_each};

const WRITES: u32 = 200_000;
const ROUNDS: usize = 15;
const ACTOR: [u8; 8] = *b"replicaA";

fn main() {
    heading("local writes a second: make the delta and join it");
    counters();
    registers();
}

fn counters() {
    let [mine, object, rival] = medians(
        ROUNDS,
        [
            Box::new(|| {
                let mut counter = Causal::<PnCounter>::default();
                let took = time_each(WRITES, |n| {
                    let stamp = stamp(n);
                    let delta = counter.store().add(&stamp, 1).at(&stamp);
                    counter.join(&delta);
                });
                assert_eq!(counter.store().value(), i128::from(WRITES));
                took
            }) as Run<'_>,
            Box::new(|| objects(&Op::Add(1))),
            Box::new(|| {
                let mut counter = PNCounter::new();
                time_each(WRITES, |_| counter.apply(counter.inc(ACTOR)))
            }),
        ],
    );
    report("PnCounter::add on Causal", mine, rival);
    line("the same through Object::apply and Op::Add", &rate(object));
}

fn registers() {
    let value = 7_u64;
    let bytes = b"sixteen bytes ok";
    let [mine, mine_bytes, object, rival, rival_bytes] = medians(
        ROUNDS,
        [
            Box::new(|| {
                let mut register = Causal::<MvRegister<u64>>::default();
                time_each(WRITES, |n| {
                    let stamp = stamp(n);
                    let edit = register.store().put(stamp.dot, stamp.hlc, value);
                    register.join(&edit.at(&stamp));
                })
            }) as Run<'_>,
            Box::new(|| {
                let mut register = Causal::<MvRegister<Vec<u8>>>::default();
                time_each(WRITES, |n| {
                    let stamp = stamp(n);
                    let edit = register.store().put(stamp.dot, stamp.hlc, bytes.to_vec());
                    register.join(&edit.at(&stamp));
                })
            }),
            Box::new(|| objects(&Op::Put(bytes.to_vec()))),
            Box::new(|| {
                let mut register = MVReg::<u64, [u8; 8]>::new();
                time_each(WRITES, |_| {
                    let context = register.read_ctx().derive_add_ctx(ACTOR);
                    register.apply(register.write(value, context));
                })
            }),
            Box::new(|| {
                let mut register = MVReg::<Vec<u8>, [u8; 8]>::new();
                time_each(WRITES, |_| {
                    let context = register.read_ctx().derive_add_ctx(ACTOR);
                    register.apply(register.write(bytes.to_vec(), context));
                })
            }),
        ],
    );
    report("MvRegister<u64>::put on Causal", mine, rival);
    report(
        "MvRegister<Vec<u8>>::put on Causal, 16 bytes",
        mine_bytes,
        rival_bytes,
    );
    line("the same through Object::apply and Op::Put", &rate(object));
}

fn objects(op: &Op) -> Duration {
    let (mut object, merges) = (Object::new(), Merges::default());
    time_each(WRITES, |n| {
        let delta = object.apply(&stamp(n), op, &merges);
        object.join(&delta.expect("always of one kind"));
    })
}

fn report(what: &str, mine: Duration, rival: Duration) {
    let figures = format!("ours {}, crdts {}", rate(mine), rate(rival));
    let millions = 1e-6 / mine.as_secs_f64();
    judged(what, &figures, millions, Target::AtLeast(10.0));
}

fn rate(each: Duration) -> String {
    format!("{:.1} M/s", 1e-6 / each.as_secs_f64())
}

fn stamp(n: u32) -> Stamp {
    Stamp {
        dot: Dot::new(ReplicaId::from_bytes(ACTOR), u64::from(n) + 1),
        claim_after: Some(u64::from(n)),
        hlc: Hlc::new(1, 0),
    }
}
