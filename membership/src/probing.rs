//! Probes: who is there?
//!
//! Source: SWIM, sections 3.1 and 4.3. Where we differ: what a late ack carries is not read, as a refutation is also
//! sent by itself; the dead are probed too, slowly; a node that was paused gives its suspects more time.

use core::time::Duration;

use crate::membership::{RejectMessage, SHORTEST};
use crate::message::{Message, Purpose};
use crate::{Membership, NodeId, State, Time};

/// The probe of this period.
#[derive(Debug)]
pub(crate) struct Probe {
    target: NodeId,
    /// The incarnation at which it was found: a newer one was heard of since, so it lives.
    incarnation: u64,
    sequence: u64,
    answered: bool,
}

/// A question whose answer is awaited.
#[derive(Debug)]
pub(crate) struct Awaited {
    /// Who may answer: for a ping the target; for a request everybody that was asked.
    from: Vec<NodeId>,
    until: Time,
    purpose: Question,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// Our own ping.
    Ping,
    /// Our request to others; the sequence of the ping that it stands for.
    Request { ping: u64 },
    /// A ping for somebody else.
    Relay { origin: NodeId, sequence: u64 },
}

impl Awaited {
    pub(crate) fn is_ping(&self) -> bool {
        !self.is_request()
    }

    pub(crate) fn is_request(&self) -> bool {
        matches!(self.purpose, Question::Request { .. })
    }
}

impl Membership {
    /// The verdict on the probe that ends: SWIM's suspicion.
    pub(crate) fn finish_probe(&mut self, now: Time) {
        self.expire_questions(now);
        if let Some(probe) = self.probe.take()
            && !probe.answered
        {
            self.suspect(now, probe.target, probe.incarnation);
        }
    }

    pub(crate) fn start_probe(&mut self, now: Time) {
        if self.me.state == State::Left {
            return;
        }
        let Some(target) = self.ring.next(self.table.live(), &mut self.rng) else {
            return;
        };
        let incarnation = self.member(target).map_or(0, |member| member.incarnation);
        let sequence = self.ping(now, target, Question::Ping);
        self.probe = Some(Probe {
            target,
            incarnation,
            sequence,
            answered: false,
        });
        self.clocks.indirect = Some(now + self.timing.probe_timeout());
    }

    /// The direct ping was not answered in time: others try.
    pub(crate) fn ask_others(&mut self, now: Time) {
        let Some(&Probe {
            target,
            sequence: ping,
            answered: false,
            ..
        }) = self.probe.as_ref()
        else {
            return;
        };
        let asked = self.pick(self.config.indirect_probes, target);
        if asked.is_empty() {
            return;
        }
        let sequence = self.await_answer(now, asked.clone(), Question::Request { ping });
        for to in asked {
            let claims = self.news_for(to, self.config.piggyback_bytes_max);
            let purpose = Purpose::PingReq { sequence, target };
            self.send(to, &Message { purpose, claims });
        }
    }

    /// One of the dead, in turn; whoever answers is told that it is held for dead, and refutes.
    pub(crate) fn probe_dead(&mut self, now: Time) {
        if self.me.state == State::Left {
            return;
        }
        let after = (
            core::ops::Bound::Excluded(self.dead_cursor),
            core::ops::Bound::Unbounded,
        );
        let down = self.table.down();
        let Some(target) = down.range(after).next().or_else(|| down.first()).copied() else {
            return;
        };
        self.dead_cursor = target;
        self.ping(now, target, Question::Ping);
    }

    pub(crate) fn answer_ping(&mut self, from: NodeId, sequence: u64) {
        let claims = self.news_for(from, self.config.piggyback_bytes_max);
        let purpose = Purpose::Ack { sequence };
        self.send(from, &Message { purpose, claims });
    }

    pub(crate) fn relay_ping(&mut self, now: Time, origin: NodeId, sequence: u64, target: NodeId) {
        self.ping(now, target, Question::Relay { origin, sequence });
    }

    /// An answer that [`Membership::expects`].
    pub(crate) fn handle_ack(&mut self, sequence: u64) {
        let Some(awaited) = self.awaited.remove(&sequence) else {
            return;
        };
        match awaited.purpose {
            Question::Ping => self.answered(sequence),
            Question::Request { ping } => self.answered(ping),
            Question::Relay { origin, sequence } => {
                let claims = self.news_for(origin, self.config.piggyback_bytes_max);
                let purpose = Purpose::PingReqAck { sequence };
                self.send(origin, &Message { purpose, claims });
            }
        }
    }

    pub(crate) fn expects(
        &self,
        sequence: u64,
        from: NodeId,
        kind: fn(&Awaited) -> bool,
    ) -> Result<(), RejectMessage> {
        match self.awaited.get(&sequence) {
            Some(awaited) if kind(awaited) && awaited.from.contains(&from) => Ok(()),
            Some(_) | None => Err(RejectMessage::UnexpectedAck),
        }
    }

    pub(crate) fn may_relay(&self, target: NodeId) -> Result<(), RejectMessage> {
        let count = self.awaited.len();
        if !self.table.live().contains(&target) {
            Err(RejectMessage::UnknownTarget { target })
        } else if count >= self.config.relays_max {
            Err(RejectMessage::Busy { count })
        } else {
            Ok(())
        }
    }

    /// A process that was stopped for a while (a closed laptop) comes back to many deadlines at once, and to answers
    /// that are still to be read: nobody is judged by what was missed.
    pub(crate) fn forgive_after_pause(&mut self, now: Time) {
        let late = self
            .poll_timeout()
            .map_or(Duration::ZERO, |due| now.since(due));
        if late <= self.timing.probe_timeout() {
            return;
        }
        self.counters.pauses += 1;
        self.probe = None;
        self.clocks.indirect = None;
        let more = now + self.timing.suspicion(self.size());
        for id in self.table.suspects() {
            self.table.set_deadline(id, more);
        }
    }

    fn answered(&mut self, sequence: u64) {
        if let Some(probe) = &mut self.probe
            && probe.sequence == sequence
        {
            probe.answered = true;
            self.clocks.indirect = None;
        }
    }

    fn ping(&mut self, now: Time, target: NodeId, purpose: Question) -> u64 {
        let sequence = self.await_answer(now, vec![target], purpose);
        let claims = self.news_for(target, self.config.piggyback_bytes_max);
        let purpose = Purpose::Ping { sequence };
        self.send(target, &Message { purpose, claims });
        sequence
    }

    /// Bounded by the own probes of two periods and [`Config::relays_max`](crate::Config::relays_max).
    fn await_answer(&mut self, now: Time, from: Vec<NodeId>, purpose: Question) -> u64 {
        self.sequence = self.sequence.wrapping_add(1);
        let until = now + self.timing.probe_period().max(SHORTEST);
        self.awaited.insert(
            self.sequence,
            Awaited {
                from,
                until,
                purpose,
            },
        );
        self.sequence
    }

    fn expire_questions(&mut self, now: Time) {
        self.awaited.retain(|_, awaited| awaited.until > now);
    }
}
