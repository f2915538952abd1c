//! Who accuses whom, and how long a suspect has to refute.
//!
//! Source: Lifeguard (Dadgar, Phillips, Currey 2018), section IV-B; that one observer is not enough evidence is the lesson of
//! Rapid (Suresh and others, ATC 2018). Where we differ from both, and why:
//!
//! * A suspicion names those whose own probes failed, as a set that is merged on its way. Whoever passes it on adds nothing.
//! * A few of those that hear of it probe by themselves, so that a real crash is confirmed within two periods, and a
//!   suspect that lives hears of it by several ways.
//! * Whom the accused answered a moment ago does not believe a word of it.

use core::time::Duration;

use rand::RngExt;

use crate::message::Claim;
use crate::table::Held;
use crate::{Event, Membership, NodeId, State, Time};

impl Membership {
    /// This node's own probe failed.
    pub(crate) fn accuse(&mut self, now: Time, id: NodeId, incarnation: u64) {
        self.suspect(now, id, incarnation, &[self.me.id.tag()]);
        // If it refutes and we do not hear of it, others will know better.
        self.unsettle(now, self.config.gossip_period.saturating_mul(10));
    }

    /// Somebody's probe failed, it is said.
    pub(crate) fn handle_accusation(&mut self, now: Time, from: NodeId, claim: &Claim) {
        let Some(record) = self.table.get(claim.id) else {
            return;
        };
        let period = self.timing.base_period();
        let answered = record.dealings().and_then(|with| with.answered);
        let answered = answered.is_some_and(|at| at + period > now);
        if answered && record.member.state == State::Alive {
            // It answered us a moment ago. If it died since, our next probe will say so.
            self.charge(now, claim.id);
            self.ring.hurry(claim.id);
            return;
        }
        let new = record.member.state == State::Alive;
        if claim.accusers.is_empty() {
            self.suspect(now, claim.id, claim.incarnation, &[from.tag()]);
        } else {
            self.suspect(now, claim.id, claim.incarnation, &claim.accusers);
        }
        if new {
            self.verify(claim.id);
        }
    }

    /// A few of all that hear of a suspicion probe by themselves: independent evidence comes soon, at a cost that does not
    /// grow with the mesh.
    fn verify(&mut self, id: NodeId) {
        let others = self.size().saturating_sub(2).max(1);
        if self.rng.random_range(0..others) < VERIFIERS {
            self.ring.hurry(id);
        }
    }

    /// Starts a suspicion, or adds accusers to the one that is running at this incarnation, unless it is too late for one.
    /// An accusation at a newer incarnation starts it anew: a liar may so keep a dead member among the suspects, but not
    /// hurry an honest one out.
    pub(crate) fn suspect(&mut self, now: Time, id: NodeId, incarnation: u64, accusers: &[u32]) {
        let Some(known) = self.member(id).map(Held::from) else {
            return;
        };
        let anew = match known.state {
            State::Alive => incarnation >= known.incarnation,
            State::Suspect => incarnation > known.incarnation,
            State::Down | State::Left => false,
        };
        if anew {
            let suspect = Held {
                incarnation,
                state: State::Suspect,
                since: now,
            };
            let longest = now + self.timing.suspicion(self.size(), 0);
            self.hold(now, id, suspect, Some(longest));
            if let Some(record) = self.table.get_mut(id) {
                record.case_mut().counts_from = now;
            }
            self.add_accusers(now, id, accusers);
            if known.state == State::Alive {
                self.emit(Event::Suspected(id));
            }
            self.spread_state_of(now, id);
            self.charge(now, id);
        } else if known.state == State::Suspect
            && incarnation == known.incarnation
            && self.add_accusers(now, id, accusers)
        {
            self.spread_state_of(now, id);
        }
    }

    /// Notes who accuses a suspect and how long it still has; says whether there was anybody new.
    fn add_accusers(&mut self, now: Time, id: NodeId, accusers: &[u32]) -> bool {
        let enough = self.config.confirmations.saturating_add(1);
        let enough = enough.min(Claim::ACCUSERS_MAX);
        let (size, timing) = (self.size(), self.timing);
        let Some(record) = self.table.get_mut(id) else {
            return false;
        };
        let latest = record.deadline;
        let case = record.case_mut();
        let before = case.accusers.len();
        for accuser in accusers {
            if case.accusers.len() < enough && !case.accusers.contains(accuser) {
                case.accusers.push(*accuser);
            }
        }
        let count = case.accusers.len();
        if count == before {
            return false;
        }
        let sooner = case.counts_from + timing.suspicion(size, count);
        // Not in the past: that would look as if this node had been paused.
        let deadline = latest.unwrap_or(sooner).min(sooner).max(now);
        self.table.set_deadline(id, deadline);
        true
    }

    pub(crate) fn handle_death(&mut self, now: Time, from: NodeId, claim: &Claim) {
        self.suspect(now, claim.id, claim.incarnation, &[from.tag()]);
        let enough = self.config.confirmations.max(1);
        let full = self.timing.suspicion(self.size(), usize::MAX);
        let Some(record) = self.table.get_mut(claim.id) else {
            return;
        };
        let (state, latest) = (record.member.state, record.deadline.unwrap_or(now));
        if state != State::Suspect {
            return;
        }
        let case = record.case_mut();
        if case.down_by.add(from, enough) >= enough {
            // Not in the past, as above.
            let sooner = latest.min(case.counts_from + full / 2).max(now);
            self.table.set_deadline(claim.id, sooner);
        }
    }

    /// A process that was stopped for a while (a closed laptop) comes back to many deadlines at once, and to answers
    /// that are still to be read: nobody is judged by what was missed.
    pub(crate) fn forgive_after_pause(&mut self, now: Time) {
        let late = self
            .poll_timeout()
            .map_or(Duration::ZERO, |due| now.since(due));
        if late <= self.timing.base_timeout() {
            return;
        }
        self.counters.pauses += 1;
        self.probe = None;
        self.clocks.indirect = None;
        self.clocks.repeat = None;
        let size = self.size();
        for id in self.table.suspects() {
            let Some(record) = self.table.get_mut(id) else {
                continue;
            };
            let case = record.case_mut();
            case.counts_from = now;
            let more = now + self.timing.suspicion(size, case.accusers.len());
            self.table.set_deadline(id, more);
        }
    }
}

/// About so many of those that hear of a suspicion probe by themselves.
const VERIFIERS: usize = 4;
