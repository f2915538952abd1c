//! Bytes of a causal context, by actors, writes of each, and gaps; beside a `crdts::VClock`, which has no gaps.

use crdts::VClock;
use meshwork_crdt::{CausalContext, ReplicaId};
use meshwork_crdt_rivals::table::{heading, line, shown};
use meshwork_crdt_rivals::timing::{Run, medians, time};

const ROUNDS: usize = 7;

fn main() {
    heading("bytes of a causal context, by actors and writes of each");
    for actors in [1, 16, 1_000, 100_000] {
        for writes in [1, 1_000, 1_000_000_000] {
            let context = context(actors, writes, None);
            let clock: VClock<[u8; 8]> =
                ids(actors).map(|id| crdts::Dot::new(id, writes)).collect();
            let clock = postcard::to_allocvec(&clock).expect("it has a size").len();
            let bytes = context.encode().len();
            line(
                &format!("{actors} actors, {writes} writes of each, no gaps"),
                &format!(
                    "{bytes} bytes, {:.1} an actor (crdts: {clock})",
                    each(bytes, actors)
                ),
            );
        }
    }
    heading("the same with gaps: of every so many writes one is missing");
    for (actors, writes, gap) in [
        (1, 1_000, 2),
        (16, 1_000, 2),
        (16, 1_000, 100),
        (1_000, 1_000, 100),
    ] {
        let context = context(actors, writes, Some(gap));
        let (bytes, runs) = (context.encode().len(), context.runs_len());
        line(
            &format!("{actors} actors, {writes} writes of each, 1 of {gap} missing"),
            &format!(
                "{bytes} bytes, {:.1} for each of {runs} runs",
                each(bytes, runs as u64)
            ),
        );
    }
    heading("time of a context of 1,000 actors");
    let (whole, holed) = (
        context(1_000, 1_000, None),
        context(1_000, 1_000, Some(100)),
    );
    for (what, mine) in [("no gaps", &whole), ("1 of 100 missing", &holed)] {
        let [join, compare, encode] = medians(
            ROUNDS,
            [
                Box::new(|| {
                    let mut joined = mine.clone();
                    time(|| joined.join(&whole))
                }) as Run<'_>,
                Box::new(|| time(|| mine.compare(&whole))),
                Box::new(|| time(|| mine.encode())),
            ],
        );
        let figures = [join, compare, encode].map(shown);
        line(
            what,
            &format!("join, compare, encode: {}", figures.join(", ")),
        );
    }
}

fn each(bytes: usize, things: u64) -> f64 {
    bytes as f64 / things as f64
}

fn context(actors: u64, writes: u64, missing: Option<u64>) -> CausalContext {
    let mut context = CausalContext::new();
    for id in ids(actors).map(ReplicaId::from_bytes) {
        match missing {
            None => context.insert_run(id, 1..=writes),
            Some(gap) => (0..writes / gap)
                .for_each(|part| context.insert_run(id, part * gap + 1..=part * gap + gap - 1)),
        }
    }
    context
}

fn ids(actors: u64) -> impl Iterator<Item = [u8; 8]> {
    (1..=actors).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes())
}
