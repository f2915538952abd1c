//! Runs that take turns.
#![expect(clippy::disallowed_methods, reason = "this is what measures time")]

use std::time::{Duration, Instant};

/// What is measured: does its preparations, and says how long the rest took.
pub type Run<'a> = Box<dyn FnMut() -> Duration + 'a>;

/// The median time of every run; in each round all have their turn, in an order that moves on by one.
pub fn medians<const N: usize>(rounds: usize, mut runs: [Run<'_>; N]) -> [Duration; N] {
    let mut times: [Vec<Duration>; N] = std::array::from_fn(|_| Vec::new());
    for round in 0..rounds {
        for turn in 0..N {
            let at = (round + turn) % N;
            times[at].push(runs[at]());
        }
    }
    times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    })
}

/// How long `work` takes. What it returns is dropped afterwards.
pub fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let began = Instant::now();
    let out = std::hint::black_box(work());
    let took = began.elapsed();
    drop(out);
    took
}

/// How long one of `count` repetitions takes.
pub fn time_each(count: u32, mut work: impl FnMut(u32)) -> Duration {
    time(|| (0..count).for_each(&mut work)) / count
}
