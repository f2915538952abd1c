//! How old what a voter or learner has applied may be.

use std::collections::{BTreeMap, BTreeSet};

use meshwork_membership::Time;

use super::records::{Config, VoterId};

/// When this voter or learner last held all that the group had agreed on, as far as it can know.
///
/// On one that follows, that is when its leader last said how much is agreed on, once so much has been applied. On the leader it is when a
/// majority last answered it: until then nobody can have agreed on anything without it.
#[derive(Debug, Default)]
pub(crate) struct Freshness {
    current: Option<Time>,
    /// What the leader had committed, and when it said so.
    told: Option<(u64, Time)>,
    /// When each member last answered this leader, in this term.
    answered: BTreeMap<VoterId, Time>,
    term: u64,
}

impl Freshness {
    /// The leader says how far it has committed.
    pub(crate) fn told(&mut self, now: Time, committed: u64) {
        // What it said before is applied sooner, unless that was a lie.
        if self.told.is_none_or(|(before, _)| committed < before) {
            self.told = Some((committed, now));
        }
    }

    /// So much is applied by now.
    pub(crate) fn applied(&mut self, index: u64) {
        if let Some((_, at)) = self.told.take_if(|(committed, _)| *committed <= index) {
            self.current = self.current.max(Some(at));
        }
    }

    /// A member has answered this leader.
    pub(crate) fn answered(&mut self, now: Time, term: u64, member: VoterId) {
        if self.term != term {
            self.term = term;
            self.answered.clear();
        }
        self.answered.insert(member, now);
    }

    /// This node leads, and has applied all that it knows to be committed.
    pub(crate) fn leads(&mut self, now: Time, (me, term): (VoterId, u64), config: &Config) {
        let at = |voters: &BTreeSet<VoterId>| {
            let heard = voters.iter().map(|voter| match voter {
                voter if *voter == me => Some(now),
                _ if self.term != term => None,
                voter => self.answered.get(voter).copied(),
            });
            let mut heard: Vec<Option<Time>> = heard.collect();
            heard.sort_unstable_by(|a, b| b.cmp(a));
            heard.get(voters.len() / 2).copied().flatten()
        };
        let both = match config.outgoing.is_empty() {
            true => at(&config.voters),
            false => at(&config.voters).min(at(&config.outgoing)),
        };
        self.current = self.current.max(both);
    }

    /// When it was; `None`: not in this run.
    pub(crate) const fn current(&self) -> Option<Time> {
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(us: u64) -> Time {
        Time::ZERO + std::time::Duration::from_micros(us)
    }

    #[test]
    fn a_follower_is_current_once_it_has_applied_what_it_was_told_of() {
        let mut fresh = Freshness::default();
        fresh.told(at(5), 10);
        fresh.told(at(7), 12);
        fresh.applied(9);
        assert_eq!(fresh.current(), None);
        fresh.applied(11);
        assert_eq!(fresh.current(), Some(at(5)));
        fresh.told(at(3), 11);
        fresh.applied(11);
        assert_eq!(fresh.current(), Some(at(5)), "never back");
    }

    #[test]
    fn a_leader_is_current_as_of_the_last_answers_of_a_majority() {
        let mut fresh = Freshness::default();
        let config = |voters: &[VoterId], outgoing: &[VoterId]| Config {
            voters: voters.iter().copied().collect(),
            outgoing: outgoing.iter().copied().collect(),
            ..Config::default()
        };
        fresh.leads(at(1), (1, 1), &config(&[1], &[]));
        assert_eq!(fresh.current(), Some(at(1)), "alone it always is");
        let three = config(&[1, 2, 3], &[]);
        fresh.answered(at(4), 1, 2);
        fresh.leads(at(9), (1, 1), &three);
        assert_eq!(fresh.current(), Some(at(4)));
        fresh.answered(at(6), 1, 3);
        fresh.leads(at(9), (1, 1), &three);
        assert_eq!(fresh.current(), Some(at(6)));
        fresh.answered(at(8), 1, 2);
        fresh.leads(at(9), (1, 1), &config(&[1, 2, 3], &[1, 4, 5]));
        assert_eq!(fresh.current(), Some(at(6)), "of both majorities");
        fresh.leads(at(12), (1, 2), &three);
        assert_eq!(
            fresh.current(),
            Some(at(6)),
            "not by answers of another term"
        );
    }
}
