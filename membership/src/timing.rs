//! How long to wait, and how often to repeat.
//!
//! Source: Dadgar, Phillips, Currey, "Lifeguard: Local Health Awareness for More Accurate Failure Detection", DSN 2018
//! (arXiv 1707.00788): the local health multiplier (section IV-A) and the suspicion timeout that shrinks with each
//! independent confirmation (section IV-B). Where we differ, and why:
//!
//! * All is computed in integers, as logarithms of floating-point numbers differ between machines.
//! * A target with a long measured round trip gets a longer timeout; nobody gets a shorter one than was configured, so
//!   that a mesh is as tolerant of a pause on a LAN as anywhere else. What shrinks is the time to a repeated ping.
//! * The greatest number of confirmations that is waited for is what the mesh has: with two members there is none.

use core::time::Duration;

use crate::Config;

/// The durations of a configuration at the present size of the mesh and the present health of this node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    probe_period: Duration,
    probe_timeout: Duration,
    suspicion_per_doubling: Duration,
    suspicion_stretch: u32,
    accusers_wanted: u32,
    retransmit_multiplier: u32,
    strain: u32,
    strain_max: u32,
}

impl Timing {
    /// Periods below a millisecond are raised to it, so that no configuration makes a node spin.
    pub(crate) fn new(config: &Config) -> Self {
        let probe_period = config.probe_period.max(SHORTEST);
        Self {
            probe_period,
            probe_timeout: config.probe_timeout.clamp(SHORTEST, probe_period),
            suspicion_per_doubling: config.suspicion_per_doubling,
            suspicion_stretch: config.suspicion_stretch.max(1),
            accusers_wanted: u32::try_from(config.confirmations).unwrap_or(u32::MAX),
            retransmit_multiplier: config.retransmit_multiplier.max(1),
            strain: 0,
            strain_max: config.strain_max,
        }
    }

    /// This node may itself be what is wrong: its probes failed and nobody else could say so either, or it was suspected.
    pub(crate) fn strain(&mut self, by: u32) {
        self.strain = self.strain.saturating_add(by).min(self.strain_max);
    }

    /// Others accuse this node: perhaps it is too slow. Counts for little, or one liar could slow everybody down.
    pub(crate) fn accused(&mut self) {
        self.strain = self
            .strain
            .max(self.strain.saturating_add(1).min(STRAIN_BY_OTHERS_MAX));
        self.strain = self.strain.min(self.strain_max);
    }

    /// A probe was answered.
    pub(crate) fn relax(&mut self) {
        self.strain = self.strain.saturating_sub(1);
    }

    /// Lifeguard's local health multiplier, less one: 0 when all is well.
    pub(crate) const fn strained(&self) -> u32 {
        self.strain
    }

    /// From one probe to the next; longer if the target is far away, so that it has the time for an answer.
    pub(crate) fn probe_period(&self, round_trip: Option<Duration>) -> Duration {
        let stretched = self.probe_period.saturating_mul(self.strain + 1);
        stretched.max(self.probe_timeout(round_trip).saturating_mul(2))
    }

    /// From a ping to asking others.
    pub(crate) fn probe_timeout(&self, round_trip: Option<Duration>) -> Duration {
        let needed = round_trip.map_or(Duration::ZERO, |rtt| rtt.saturating_mul(3));
        let longest = self.probe_timeout.saturating_mul(STRETCH_MAX);
        needed
            .clamp(self.probe_timeout, longest)
            .saturating_mul(self.strain + 1)
    }

    /// From a ping to its first repetition; each further one takes half as long again.
    pub(crate) fn repeat_after(&self, round_trip: Option<Duration>) -> Duration {
        let timeout = self.probe_timeout(round_trip);
        let usual = round_trip.map_or(timeout / 2, |rtt| rtt.saturating_mul(4));
        usual.clamp((timeout / 8).max(SHORTEST), timeout)
    }

    /// From a request to ping somebody until the answer that it does not answer. Before the asker's period is over, as
    /// far as its settings are ours.
    pub(crate) fn nack_after(&self) -> Duration {
        let rest = self.probe_period.saturating_sub(self.probe_timeout);
        rest.max(SHORTEST).saturating_mul(4) / 5
    }

    /// The probe period of the configuration, for what has nothing to do with this node's health.
    pub(crate) const fn base_period(&self) -> Duration {
        self.probe_period
    }

    /// The probe timeout of the configuration.
    pub(crate) const fn base_timeout(&self) -> Duration {
        self.probe_timeout
    }

    /// How long a suspect has to refute in a mesh of `members`, when `accusers` distinct members accuse it.
    /// Logarithmic in the size, as the time that news takes is.
    pub(crate) fn suspicion(&self, members: usize, accusers: usize) -> Duration {
        let least = self
            .suspicion_per_doubling
            .saturating_mul(doublings(members).max(DOUBLINGS_MIN));
        let others = u32::try_from(members.saturating_sub(2)).unwrap_or(u32::MAX);
        let wanted = self.accusers_wanted.min(others).min(ACCUSERS_MAX);
        let confirmed = u32::try_from(accusers.saturating_sub(1)).unwrap_or(u32::MAX);
        if confirmed >= wanted {
            return least;
        }
        let most = least.saturating_mul(self.suspicion_stretch);
        let shrunk = (most - least).saturating_mul(log2(confirmed + 1)) / log2(wanted + 1).max(1);
        (most - shrunk).max(least)
    }

    /// How often each member repeats a piece of news (SWIM, section 4.1: λ log n). Not more often in a greater mesh than
    /// among 128: the part of the members that miss it all the same stays as small, and finds it by comparing digests,
    /// while the load of each does not grow.
    pub(crate) fn retransmits(&self, members: usize) -> u32 {
        self.retransmit_multiplier
            .saturating_mul(doublings(members).min(REPEATED_DOUBLINGS_MAX))
    }
}

/// The logarithm to base two, rounded up, of one more; in integers, as floating-point ones differ between machines.
const fn doublings(members: usize) -> u32 {
    usize::BITS - members.leading_zeros()
}

/// 1,000 times the logarithm to base two of 1 to 9.
fn log2(number: u32) -> u32 {
    const LOG2: [u32; 9] = [0, 1_000, 1_585, 2_000, 2_322, 2_585, 2_807, 3_000, 3_170];
    let place = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
    LOG2.get(place).copied().unwrap_or(3_170)
}

pub(crate) const SHORTEST: Duration = Duration::from_millis(1);

/// To three times the periods: Lifeguard, where nobody lies, has no such bound.
const STRAIN_BY_OTHERS_MAX: u32 = 2;

/// A far target gets at most so many times the configured timeout: a hostile one could answer late on purpose.
const STRETCH_MAX: u32 = 4;

const REPEATED_DOUBLINGS_MAX: u32 = 8;

/// A mesh of three is as slow to judge as one of seven: tiny meshes have nobody to spare.
const DOUBLINGS_MIN: u32 = 3;

/// More confirmations than this are not waited for; see the table of logarithms.
const ACCUSERS_MAX: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_with_the_logarithm_of_the_mesh() {
        let timing = Timing::new(&Config::lan());
        let waits = [1, 5, 32, 128, 1024].map(|n| timing.suspicion(n, 9).as_millis());
        assert_eq!(waits, [2100, 2100, 4200, 5600, 7700]);
        assert_eq!(
            [1, 5, 128, 10_000].map(|n| timing.retransmits(n)),
            [1, 3, 8, 8].map(|n| n * Config::lan().retransmit_multiplier)
        );
    }

    #[test]
    fn a_suspicion_shrinks_with_each_accuser_down_to_the_least() {
        let timing = Timing::new(&Config::lan());
        let waits = [1, 2, 3, 4].map(|n| timing.suspicion(128, n).as_millis());
        assert!(waits[0] > waits[1] && waits[1] > waits[2] && waits[2] == waits[3]);
        assert_eq!((waits[0], waits[2]), (6 * 5_600, 5_600));
        // Two members have nobody to confirm.
        assert_eq!(timing.suspicion(2, 1), timing.suspicion(2, 9));
    }

    #[test]
    fn a_strained_node_probes_slowly_and_recovers() {
        let mut timing = Timing::new(&Config::lan());
        timing.strain(100);
        assert_eq!(timing.probe_period(None), Duration::from_secs(9));
        assert_eq!(timing.probe_timeout(None), Duration::from_millis(4_500));
        (0..8).for_each(|_| timing.relax());
        assert_eq!(timing.probe_period(None), Duration::from_secs(1));
    }

    #[test]
    fn a_far_target_gets_more_time_within_a_bound() {
        let timing = Timing::new(&Config::lan());
        let far = Some(Duration::from_millis(400));
        assert_eq!(timing.probe_timeout(far), Duration::from_millis(1_200));
        assert_eq!(timing.probe_period(far), Duration::from_millis(2_400));
        let absurd = Some(Duration::from_secs(3_600));
        assert_eq!(timing.probe_timeout(absurd), Duration::from_secs(2));
        let near = Some(Duration::from_micros(300));
        assert_eq!(timing.probe_timeout(near), Duration::from_millis(500));
        assert_eq!(timing.repeat_after(near), Duration::from_micros(62_500));
    }

    #[test]
    fn zero_periods_do_not_spin() {
        let config = Config {
            probe_period: Duration::ZERO,
            probe_timeout: Duration::ZERO,
            ..Config::lan()
        };
        let timing = Timing::new(&config);
        assert!(timing.probe_period(None) >= SHORTEST);
        assert_eq!(timing.probe_timeout(None), SHORTEST);
        assert!(timing.nack_after() > Duration::ZERO && timing.repeat_after(None) >= SHORTEST);
    }
}
