//! Choices of one client, by its seed.

use std::ops::RangeInclusive;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A seeded source of choices: the same on every machine.
#[derive(Debug)]
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// Those of one client of a workload.
    pub(super) fn new(seed: u64, client: u32) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(u64::from(client) + 1);
        Self(rng)
    }

    /// True `times` in `of` times.
    pub(super) fn falls(&mut self, times: u32, of: u32) -> bool {
        self.0.random_range(0..of.max(1)) < times
    }

    pub(super) fn number(&mut self, range: RangeInclusive<u64>) -> u64 {
        if range.is_empty() {
            return *range.start();
        }
        self.0.random_range(range)
    }

    pub(super) fn index(&mut self, len: usize) -> usize {
        let last = u64::try_from(len.saturating_sub(1)).unwrap_or(u64::MAX);
        usize::try_from(self.number(0..=last)).unwrap_or(0)
    }

    pub(super) fn time(&mut self, range: &RangeInclusive<Duration>) -> Duration {
        let micros = |time: &Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.number(micros(range.start())..=micros(range.end())))
    }

    /// One of these; none of none.
    pub(super) fn pick<T>(&mut self, all: impl IntoIterator<Item = T>) -> Option<T> {
        let all: Vec<T> = all.into_iter().collect();
        let index = self.index(all.len());
        all.into_iter().nth(index)
    }

    /// One of these, each as often as its weight says; the first if all weigh nothing.
    pub(super) fn weigh<T: Copy, const N: usize>(&mut self, all: [(T, u32); N]) -> Option<T> {
        let sum = all
            .iter()
            .map(|(_, weight)| u64::from(*weight))
            .sum::<u64>();
        let mut at = self.number(0..=sum.saturating_sub(1));
        for (one, weight) in all {
            match at.checked_sub(u64::from(weight)) {
                Some(rest) => at = rest,
                None => return Some(one),
            }
        }
        all.first().map(|(one, _)| *one)
    }
}
