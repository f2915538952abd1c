//! How long to wait, and how often to repeat.
//!
//! Everything that stretches with the size of the mesh, or will stretch with this node's own health, is computed
//! here and nowhere else: Lifeguard's multiplier belongs into [`Timing::probe_period`] and
//! [`Timing::probe_timeout`], its shrinking timeout into [`Timing::suspicion`] (which is told how many accuse).

use core::time::Duration;

use crate::Config;

/// The durations of a configuration at the present size of the mesh.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    probe_period: Duration,
    probe_timeout: Duration,
    suspicion_per_doubling: Duration,
    retransmit_multiplier: u32,
}

impl Timing {
    /// Periods below a millisecond are raised to it, so that no configuration makes a node spin.
    pub(crate) fn new(config: &Config) -> Self {
        let probe_period = config.probe_period.max(SHORTEST);
        Self {
            probe_period,
            probe_timeout: config.probe_timeout.clamp(SHORTEST, probe_period),
            suspicion_per_doubling: config.suspicion_per_doubling,
            retransmit_multiplier: config.retransmit_multiplier.max(1),
        }
    }

    /// From one probe to the next.
    pub(crate) const fn probe_period(&self) -> Duration {
        self.probe_period
    }

    /// From a ping to asking others.
    pub(crate) const fn probe_timeout(&self) -> Duration {
        self.probe_timeout
    }

    /// How long a suspect has to refute, in a mesh of `members`. Logarithmic, as the time that news takes is.
    pub(crate) fn suspicion(&self, members: usize) -> Duration {
        self.suspicion_per_doubling
            .saturating_mul(doublings(members).max(DOUBLINGS_MIN))
    }

    /// How often each member repeats a piece of news (SWIM, section 4.1: λ log n).
    pub(crate) fn retransmits(&self, members: usize) -> u32 {
        self.retransmit_multiplier
            .saturating_mul(doublings(members))
    }
}

/// The logarithm to base two, rounded up, of one more; in integers, as floating-point ones differ between machines.
const fn doublings(members: usize) -> u32 {
    usize::BITS - members.leading_zeros()
}

const SHORTEST: Duration = Duration::from_millis(1);

/// A mesh of three is as slow to judge as one of seven: tiny meshes have nobody to spare.
const DOUBLINGS_MIN: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_with_the_logarithm_of_the_mesh() {
        let timing = Timing::new(&Config::lan());
        let waits = [1, 5, 32, 128, 1024].map(|n| timing.suspicion(n).as_millis());
        assert_eq!(waits, [2100, 2100, 4200, 5600, 7700]);
        assert_eq!([1, 5, 128].map(|n| timing.retransmits(n)), [2, 6, 16]);
    }

    #[test]
    fn zero_periods_do_not_spin() {
        let config = Config {
            probe_period: Duration::ZERO,
            probe_timeout: Duration::ZERO,
            ..Config::lan()
        };
        assert_eq!(Timing::new(&config).probe_period(), SHORTEST);
        assert_eq!(Timing::new(&config).probe_timeout(), SHORTEST);
    }
}
