//! The time that a node's core lives by.

use std::time::{Duration, Instant};

use meshwork_membership::Time;

/// Counts from the node's start, also while the machine sleeps: whoever held a lock over a night with the lid closed must find it lost.
///
/// On Linux that is `CLOCK_BOOTTIME`; elsewhere the monotonic clock, which may stand still meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Duration,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { started: reading() }
    }

    pub(crate) fn now(&self) -> Time {
        let since = reading().saturating_sub(self.started);
        Time(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// When to wake for what is due then, on the clock of timers; in the past for what is due already.
    ///
    /// Timers round up to the next millisecond: one that is set for this very moment again and again, as other things happen, never fires.
    pub(crate) fn instant_of(&self, due: Time) -> Instant {
        let (at, now) = (Instant::now(), self.now());
        match due.since(now) {
            Duration::ZERO => at.checked_sub(PAST).unwrap_or(at),
            wait => at + wait.min(IDLE),
        }
    }
}

/// Long enough ago for any timer.
const PAST: Duration = Duration::from_millis(10);

/// Longest sleep of a node that waits for nothing. A machine that slept is noticed no later.
const IDLE: Duration = Duration::from_secs(3_600);

#[cfg(target_os = "linux")]
fn reading() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(not(target_os = "linux"))]
fn reading() -> Duration {
    use std::sync::OnceLock;
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_from_its_start_and_wakes_in_time() {
        let clock = Clock::start();
        let now = clock.now();
        assert!(now < Time(60_000_000));
        assert!(clock.now() >= now);
        let wake = clock.instant_of(now + Duration::from_secs(5));
        let wait = wake.saturating_duration_since(Instant::now());
        assert!(wait <= Duration::from_secs(5) && wait > Duration::from_secs(1));
        assert!(clock.instant_of(now) < Instant::now() - Duration::from_millis(5));
        assert!(clock.instant_of(Time(u64::MAX)) <= Instant::now() + IDLE);
    }
}
