//! Ids that are unique without asking anybody for each.
//!
//! Source: Twitter's Snowflake (2010). Where we differ: the worker number is leased from the group, and the group keeps a *mark* beside it, up to
//! which times may have been used under the number. Ids carry only times below it, and whoever has the number next begins there. So no clock,
//! however wrong, makes an id twice: it only makes one that looks too late.

use std::time::Duration;

/// Makes ids under one worker number. Pure: it is told the time, and how far the group has set the mark.
#[derive(Debug)]
pub(crate) struct Mint {
    worker: u64,
    /// Where the next id goes: a time in ms since [`EPOCH_MS`], and below it the counter.
    next: u64,
    /// Times below this one may be used, in ms since [`EPOCH_MS`].
    mark: u64,
}

/// 2026-01-01T00:00:00Z, in ms since 1970.
const EPOCH_MS: u64 = 1_767_225_600_000;

/// Bits of the time: it lasts until 2095.
const TIME_BITS: u32 = 41;

/// Bits of the worker number.
const WORKER_BITS: u32 = 10;

/// Bits of the counter within a millisecond.
const COUNTER_BITS: u32 = 12;

/// Worker numbers.
pub(crate) const WORKERS: u64 = 1 << WORKER_BITS;

/// How far ahead the mark is set. More asks the group less often; less wastes less time when the number passes to another.
const WINDOW: Duration = Duration::from_secs(6);

impl Mint {
    /// Begins at a mark that the former owner left, or at the clock if that is later. Nothing may be used before [`Mint::reserved`].
    pub(crate) const fn new(worker: u64, left: u64, wall_ms: u64) -> Self {
        let now = since_epoch(wall_ms);
        let at = if left > now { left } else { now };
        Self {
            worker,
            next: at << COUNTER_BITS,
            mark: left,
        }
    }

    /// The next id. `None`: the mark must be set further first.
    ///
    /// A clock that was set back, and more ids than a millisecond has numbers, make it count on from the last id.
    pub(crate) fn next(&mut self, wall_ms: u64) -> Option<u64> {
        let place = self.next.max(since_epoch(wall_ms) << COUNTER_BITS);
        let (time, counter) = (place >> COUNTER_BITS, place % (1 << COUNTER_BITS));
        if time >= self.mark {
            return None;
        }
        self.next = place + 1;
        let id = (time << WORKER_BITS) | self.worker;
        Some((id << COUNTER_BITS) | counter)
    }

    /// Where the mark is to be set, once half of what was reserved is used.
    pub(crate) fn wish(&self, wall_ms: u64) -> Option<u64> {
        let window = u64::try_from(WINDOW.as_millis()).unwrap_or(u64::MAX);
        let at = (self.next >> COUNTER_BITS).max(since_epoch(wall_ms));
        let mark = (at + window).min(END);
        (at + window / 2 >= self.mark && mark > self.mark).then_some(mark)
    }

    /// The group has set the mark.
    pub(crate) fn reserved(&mut self, mark: u64) {
        self.mark = self.mark.max(mark);
    }
}

/// Whether a mark was left by a clock that is ahead of this one.
pub(crate) const fn is_ahead(mark: u64, wall_ms: u64) -> bool {
    mark > since_epoch(wall_ms)
}

/// The first time that does not fit.
const END: u64 = 1 << TIME_BITS;

/// A time in ms since [`EPOCH_MS`], no further than fits.
const fn since_epoch(wall_ms: u64) -> u64 {
    let since = wall_ms.saturating_sub(EPOCH_MS);
    if since < END { since } else { END }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = EPOCH_MS + 1_000_000;

    fn reserved(worker: u64, left: u64, wall_ms: u64) -> Mint {
        let mut mint = Mint::new(worker, left, wall_ms);
        mint.reserved(mint.wish(wall_ms).unwrap());
        mint
    }

    #[test]
    fn an_id_is_a_time_a_worker_and_a_counter() {
        let mut mint = reserved(5, 0, NOW);
        let first = mint.next(NOW).unwrap();
        assert_eq!(first, (1_000_000 << 22) | (5 << 12));
        assert_eq!(mint.next(NOW), Some(first + 1));
        assert_eq!(mint.next(NOW + 1), Some((1_000_001 << 22) | (5 << 12)));
        let last = reserved(WORKERS - 1, END - 1, NOW).next(NOW).unwrap();
        assert!(last.leading_zeros() == 1, "the sign of an i64 is never set");
    }

    #[test]
    fn nothing_is_used_that_was_not_reserved() {
        let mut mint = Mint::new(0, 0, NOW);
        assert_eq!(mint.next(NOW), None);
        let mark = mint.wish(NOW).unwrap();
        mint.reserved(mark);
        assert!(mint.next(NOW).is_some());
        assert_eq!(mint.wish(NOW), None, "half of it is left");
        assert!(mint.next(EPOCH_MS + mark - 1).is_some());
        assert_eq!(mint.next(EPOCH_MS + mark), None);
        assert_eq!(
            mint.next(EPOCH_MS + mark - 1).map(|id| id >> 22),
            Some(mark - 1)
        );
    }

    #[test]
    fn it_ends_with_its_last_time() {
        let mut mint = Mint::new(0, 0, u64::MAX);
        mint.reserved(mint.wish(u64::MAX).unwrap());
        assert!(mint.next(u64::MAX).is_none() && mint.wish(u64::MAX).is_none());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Draw(u16),
        Forward(u32),
        Back(u32),
        /// The number passes to another, whose clock may be behind.
        Pass(u32),
        /// The mark was set, and the answer lost.
        Lose,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1_u16..50).prop_map(Step::Draw),
            // More than a millisecond has numbers.
            1 => Just(Step::Draw(5_000)),
            3 => (0_u32..10_000).prop_map(Step::Forward),
            2 => (0_u32..100_000).prop_map(Step::Back),
            1 => (0_u32..100_000).prop_map(Step::Pass),
            1 => Just(Step::Lose),
        ]
    }

    proptest! {
        #[test]
        fn ids_of_a_number_ascend_whatever_its_owners_clocks_say(
            steps in prop::collection::vec(step(), 1..40),
        ) {
            let mut now = NOW;
            let mut mint = Mint::new(3, 0, now);
            let (mut mark, mut last) = (0, 0);
            for step in steps {
                match step {
                    Step::Draw(count) => for _ in 0..count {
                        if let Some(wish) = mint.wish(now) {
                            mark = wish;
                            mint.reserved(mark);
                        }
                        let id = mint.next(now).unwrap();
                        prop_assert!(id > last && id >> 22 < mark);
                        prop_assert_eq!((id >> 12) & 0x3ff, 3);
                        last = id;
                    },
                    Step::Forward(ms) => now += u64::from(ms),
                    Step::Back(ms) => now -= u64::from(ms),
                    Step::Pass(behind) => {
                        now -= u64::from(behind);
                        mint = Mint::new(3, mark, now);
                    }
                    Step::Lose => mark = mint.wish(now).unwrap_or(mark),
                }
            }
        }
    }
}
