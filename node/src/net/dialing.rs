//! When to dial a peer again. Pure.

use std::time::Duration;

/// Waits that double up to a maximum, each shortened by up to a half at random so that nodes do not dial in step.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    next: Duration,
}

/// A portable generator (SplitMix64) for jitter; nothing that must be secret comes from it.
#[derive(Debug, Clone)]
pub(super) struct Jitter(u64);

impl Backoff {
    pub(super) const fn new(min: Duration) -> Self {
        Self { next: min }
    }

    /// The next wait.
    pub(super) fn wait(&mut self, max: Duration, jitter: &mut Jitter) -> Duration {
        let whole = self.next.min(max);
        self.next = (whole * 2).min(max);
        whole - whole.mul_f64(jitter.fraction() / 2.0)
    }

    /// A peer that refused us will not change its mind at once.
    pub(super) const fn slow_down(&mut self, max: Duration) {
        self.next = max;
    }
}

impl Jitter {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let high = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(u32::MAX);
        f64::from(high) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_min_to_max_and_keep_at_least_half() {
        let (min, max) = (Duration::from_millis(50), Duration::from_secs(5));
        let (mut backoff, mut jitter) = (Backoff::new(min), Jitter::new(1));
        let mut whole = min;
        for _ in 0..20 {
            let wait = backoff.wait(max, &mut jitter);
            assert!(wait <= whole && wait >= whole / 2, "{wait:?} of {whole:?}");
            whole = (whole * 2).min(max);
        }
        assert_eq!(whole, max);
    }
}
