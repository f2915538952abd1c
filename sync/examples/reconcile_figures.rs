//! Prints what it costs to settle two sets that differ: coded symbols, bytes, round trips and time.
//!
//! `cargo run --release -p meshwork-sync --example reconcile_figures`

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that measures"
)]

use std::time::Instant;

use meshwork_sync::reconcile::{
    Decoder, Encoder, Initiator, Outcome, Progress, Request, Response, ShortId, Sketch, respond,
};

fn main() {
    print_inserts();
    print_symbols_needed();
    println!(
        "\n        n  differences  hint   bytes   round trips   mean, of RUNS exchanges    ms"
    );
    for (n, differences, runs) in [
        (1_000, 1, 100),
        (10_000, 100, 500),
        (1_000_000, 1, 10),
        (1_000_000, 10, 10),
        (1_000_000, 100, 10),
        (1_000_000, 1_000, 4),
        (1_000_000, 10_000, 4),
    ] {
        let ids = ids(n, 0);
        let base: Sketch = ids.iter().copied().collect();
        for (name, hint) in [("cold", 0), ("right", differences)] {
            print_exchange(
                &ids,
                &base,
                Case {
                    name,
                    hint,
                    differences,
                    runs,
                },
            );
        }
    }
}

struct Case {
    name: &'static str,
    hint: u32,
    differences: u32,
    runs: u64,
}

fn print_inserts() {
    let mut sketch: Sketch = ids(1_000, 1).into_iter().collect();
    let ids = ids(100_000, 0);
    let mut best = u128::MAX;
    for _ in 0..20 {
        let started = Instant::now();
        sketch.extend(ids.iter().copied());
        best = best.min(started.elapsed().as_nanos() / ids.len() as u128);
        ids.iter().for_each(|id| sketch.remove(*id));
    }
    println!("sketch: insert {best} ns (best of 20 passes)");
}

fn print_symbols_needed() {
    println!("\ndifferences  symbols needed: median    95 %    99 %   median/difference");
    for (differences, runs) in [
        (1, 2000),
        (2, 2000),
        (3, 2000),
        (5, 2000),
        (10, 2000),
        (30, 1000),
        (100, 500),
        (300, 200),
        (1_000, 100),
        (10_000, 20),
    ] {
        let mut needed: Vec<usize> = (0..runs)
            .map(|run| symbols_needed(&ids(differences, run + 1)))
            .collect();
        needed.sort_unstable();
        let quantile = |percent: usize| {
            needed
                .get((needed.len() * percent / 100).min(needed.len() - 1))
                .copied()
                .unwrap_or(0)
        };
        println!(
            "{differences:11}  {:22}  {:6}  {:6}  {:.2}",
            quantile(50),
            quantile(95),
            quantile(99),
            quantile(50) as f64 / differences as f64
        );
    }
}

fn symbols_needed(difference: &[ShortId]) -> usize {
    let mut encoder = Encoder::new(0..u32::try_from(4 * difference.len() + 40).unwrap_or(u32::MAX));
    encoder.extend(difference.iter().copied());
    let mut decoder = Decoder::default();
    for symbol in encoder.symbols() {
        let peeled = decoder.extend([*symbol]);
        if peeled.is_ok() && matches!(decoder.finish(), Ok(Some(_))) {
            break;
        }
    }
    decoder.symbols_len()
}

fn print_exchange(ids: &[ShortId], base: &Sketch, case: Case) {
    let (mut bytes, mut trips, mut trips_max, mut seconds) = (0, 0, 0, 0.0);
    for run in 0..case.runs {
        // Half of the differences are only here, half only there.
        let extra = self::ids(u64::from(case.differences), 1_000 + run);
        let (here, there) = extra.split_at(extra.len() / 2);
        let with = |extra: &[ShortId]| [ids, extra].concat();
        let (here, there) = (with(here), with(there));
        let sketch = |extra: &[ShortId]| {
            let mut sketch = base.clone();
            sketch.extend(extra.iter().skip(ids.len()).copied());
            sketch
        };
        let started = Instant::now();
        let cost = exchange((&here, sketch(&here)), (&there, sketch(&there)), case.hint);
        seconds += started.elapsed().as_secs_f64();
        assert_eq!(
            cost.outcome.map(|outcome| outcome.differences()),
            Some(case.differences)
        );
        bytes += cost.bytes;
        trips += cost.round_trips;
        trips_max = trips_max.max(cost.round_trips);
    }
    let runs = case.runs as f64;
    println!(
        "{:9}  {:11}  {:5}  {:6.0}  {:.2} (max {})  {:.1} ms",
        ids.len(),
        case.differences,
        case.name,
        bytes as f64 / runs,
        f64::from(trips) / runs,
        trips_max,
        seconds * 1e3 / runs,
    );
}

struct Cost {
    bytes: usize,
    round_trips: u32,
    outcome: Option<Outcome>,
}

/// Lets an initiator and a responder settle; counts every byte that they send, roots and wanted ids included.
fn exchange(here: (&[ShortId], Sketch), there: (&[ShortId], Sketch), hint: u32) -> Cost {
    let (mut initiator, mut request) = Initiator::new(here.1.root(), hint);
    let mut bytes = 0;
    loop {
        bytes += request.to_bytes().len();
        let reply = match respond(&request, &there.1) {
            Response::Encode(range) => {
                let mut encoder = Encoder::new(range);
                encoder.extend(there.0.iter().copied());
                encoder.into_reply()
            }
            Response::Reply(reply) => reply,
            Response::Objects => break,
        };
        bytes += reply.to_bytes().len();
        let mut progress = initiator.handle_reply(reply, &here.1);
        if let Ok(Progress::Encode(range)) = progress {
            let mut encoder = Encoder::new(range);
            encoder.extend(here.0.iter().copied());
            progress = Ok(initiator.handle_encoded(&encoder));
        }
        match progress {
            Ok(Progress::Send(next)) => request = next,
            Ok(Progress::Done(outcome)) => {
                bytes += Request::wants(&outcome.theirs)
                    .map(|want| want.to_bytes().len())
                    .sum::<usize>();
                return Cost {
                    bytes,
                    round_trips: initiator.round_trips(),
                    outcome: Some(outcome),
                };
            }
            other => {
                println!("{other:?}");
                break;
            }
        }
    }
    Cost {
        bytes,
        round_trips: initiator.round_trips(),
        outcome: None,
    }
}

/// Ids as good as random, others for each `seed`.
fn ids(count: u64, seed: u64) -> Vec<ShortId> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    let mut output = hasher.finalize_xof();
    let mut bytes = [0; 8];
    let draw = |_| {
        output.fill(&mut bytes);
        ShortId::from(bytes)
    };
    (0..count).map(draw).collect()
}
