//! Hybrid logical clocks: wall time that never goes back.
//!
//! Source: Kulkarni, Demirbas, Madappa, Avva, Leone, "Logical Physical Clocks" (2014), section 3.
//! Where we differ: both parts are packed in 64 bits, so a full counter carries into the milliseconds,
//! and a stamp too far ahead of our own wall clock is refused instead of followed.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A stamp: 48 bits of milliseconds since 1970, then 16 bits of counter. Ordered by time.
///
/// A hint for what is shown first, never for what is kept. Reaches to the year 10889.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Hlc(u64);

impl Hlc {
    /// The last millisecond that fits.
    pub const WALL_MS_MAX: u64 = (1 << 48) - 1;

    /// The stamp of these parts; milliseconds beyond [`Hlc::WALL_MS_MAX`] count as that.
    #[must_use]
    pub const fn new(wall_ms: u64, counter: u16) -> Self {
        let wall_ms = if wall_ms > Self::WALL_MS_MAX {
            Self::WALL_MS_MAX
        } else {
            wall_ms
        };
        Self(wall_ms << 16 | counter as u64)
    }

    /// The stamp packed in these bits.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The packed bits; their order is the order of stamps.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn wall_ms(self) -> u64 {
        self.0 >> 16
    }

    /// Tells stamps of one millisecond apart.
    #[must_use]
    pub const fn counter(self) -> u16 {
        let [.., high, low] = self.0.to_be_bytes();
        u16::from_be_bytes([high, low])
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.wall_ms(), self.counter())
    }
}

/// Draws stamps. The wall clock is an input: milliseconds since 1970.
///
/// # Examples
/// ```
/// use meshwork_crdt::HybridClock;
/// let mut clock = HybridClock::default();
/// let first = clock.now(1_000);
/// assert!(clock.now(400) > first); // the wall clock was set back
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HybridClock {
    last: Hlc,
    drift_ms_max: u64,
}

impl HybridClock {
    /// How far ahead of our wall clock a stamp may be by default.
    pub const DRIFT_MS_MAX: u64 = 60_000;

    /// A clock that goes on after `last` (the greatest stamp in the store, or `Hlc::default()`) and
    /// refuses stamps more than `drift_ms_max` ahead. Higher lets a peer's wrong clock win for longer;
    /// lower refuses the writes of honest nodes whose clocks are badly set.
    #[must_use]
    pub const fn new(last: Hlc, drift_ms_max: u64) -> Self {
        Self { last, drift_ms_max }
    }

    /// The last stamp drawn or observed.
    #[must_use]
    pub const fn last(&self) -> Hlc {
        self.last
    }

    /// A stamp greater than all before, even if the wall clock went back. At the end of time
    /// (the year 10889, counter 65,535) the last stamp is drawn again.
    pub fn now(&mut self, wall_ms: u64) -> Hlc {
        let next = Hlc(self.last.0.saturating_add(1));
        self.last = next.max(Hlc::new(wall_ms, 0));
        self.last
    }

    /// Takes note of another node's stamp, so that later ones of ours are greater.
    ///
    /// # Errors
    /// [`ClockAhead`] if it is too far ahead of `wall_ms`: the other's clock (or ours) is wrong. Our clock is unchanged.
    pub fn observe(&mut self, stamp: Hlc, wall_ms: u64) -> Result<(), ClockAhead> {
        let ahead_ms = stamp.wall_ms().saturating_sub(wall_ms);
        if ahead_ms > self.drift_ms_max {
            return Err(ClockAhead {
                ahead_ms,
                drift_ms_max: self.drift_ms_max,
            });
        }
        self.last = self.last.max(stamp);
        Ok(())
    }
}

impl Default for HybridClock {
    fn default() -> Self {
        Self::new(Hlc::default(), Self::DRIFT_MS_MAX)
    }
}

/// A stamp is too far in the future: the fault of whoever stamped it, or of our wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stamp is {ahead_ms} ms ahead, more than {drift_ms_max} ms")]
pub struct ClockAhead {
    /// How far it is ahead of our wall clock.
    pub ahead_ms: u64,
    /// How far it may be.
    pub drift_ms_max: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_rise_though_the_wall_clock_goes_back() {
        let mut clock = HybridClock::default();
        let mut last = clock.now(5_000);
        for wall_ms in [5_000, 4_000, 0, 5_001, 5_001, 7] {
            let next = clock.now(wall_ms);
            assert!(next > last);
            last = next;
        }
    }

    #[test]
    fn a_full_counter_carries_into_the_milliseconds() {
        let mut clock = HybridClock::new(Hlc::new(9, u16::MAX), 0);
        assert_eq!(clock.now(3), Hlc::new(10, 0));
    }

    #[test]
    fn a_stamp_too_far_ahead_is_refused_and_leaves_the_clock_alone() {
        let mut clock = HybridClock::default();
        let before = clock.now(1_000);
        let ahead = ClockAhead {
            ahead_ms: 60_001,
            drift_ms_max: 60_000,
        };
        assert_eq!(clock.observe(Hlc::new(61_001, 0), 1_000), Err(ahead));
        assert!(clock.observe(Hlc::from_bits(u64::MAX), 1_000).is_err());
        assert_eq!(clock.last(), before);
        assert_eq!(clock.observe(Hlc::new(61_000, 7), 1_000), Ok(()));
        assert_eq!(clock.now(1_000), Hlc::new(61_000, 8));
    }

    #[test]
    fn the_end_of_time_does_not_panic() {
        let mut clock = HybridClock::new(Hlc::from_bits(u64::MAX), u64::MAX);
        assert_eq!(clock.now(u64::MAX), Hlc::from_bits(u64::MAX));
        assert_eq!(clock.observe(Hlc::from_bits(u64::MAX), u64::MAX), Ok(()));
        assert_eq!(Hlc::new(u64::MAX, 3).wall_ms(), Hlc::WALL_MS_MAX);
    }
}
