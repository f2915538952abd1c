//! Questions whose answers are awaited, and pings that are done for others.
//!
//! A relay that gets no answer says so in time (Lifeguard's nack), so that the asker knows that its own network works.

use core::time::Duration;

use std::collections::{BTreeMap, BTreeSet};

use crate::membership::RejectMessage;
use crate::message::{Message, Purpose};
use crate::{Membership, NodeId, Time};

/// All open questions by their sequence numbers, and when relays are to be reminded.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    open: BTreeMap<u64, Awaited>,
    wakes: BTreeSet<(Time, u64)>,
}

/// A question whose answer is awaited.
#[derive(Debug)]
pub(crate) struct Awaited {
    /// Who may answer: for a ping the target; for a request everybody that was asked.
    pub(crate) from: Vec<NodeId>,
    /// When it was asked, unless it was asked again since: then an answer measures nothing.
    pub(crate) measures: Option<Time>,
    pub(crate) until: Time,
    pub(crate) purpose: Question,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    /// Our own ping.
    Ping,
    /// Our request to others, and who said that the target does not answer.
    Request { nacks: Vec<NodeId> },
    /// A ping for somebody else.
    Relay {
        origin: NodeId,
        sequence: u64,
        repeated: bool,
    },
}

impl Awaited {
    pub(crate) const fn is_request(&self) -> bool {
        matches!(self.purpose, Question::Request { .. })
    }

    pub(crate) const fn is_ping(&self) -> bool {
        !self.is_request()
    }
}

impl Questions {
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn get_mut(&mut self, sequence: u64) -> Option<&mut Awaited> {
        self.open.get_mut(&sequence)
    }

    pub(crate) fn insert(&mut self, sequence: u64, awaited: Awaited) {
        self.open.insert(sequence, awaited);
    }

    pub(crate) fn remove(&mut self, sequence: u64) -> Option<Awaited> {
        self.open.remove(&sequence)
    }

    pub(crate) fn next_wake(&self) -> Option<Time> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// Forgets what is not awaited any more.
    pub(crate) fn expire(&mut self, now: Time) {
        self.open.retain(|_, awaited| awaited.until > now);
    }

    fn wake(&mut self, at: Time, sequence: u64) {
        self.wakes.insert((at, sequence));
    }

    fn due(&mut self, now: Time) -> Option<u64> {
        let (at, sequence) = *self.wakes.first().filter(|(at, _)| *at <= now)?;
        self.wakes.remove(&(at, sequence));
        Some(sequence)
    }
}

impl Membership {
    pub(crate) fn relay_ping(&mut self, now: Time, origin: NodeId, sequence: u64, target: NodeId) {
        let question = Question::Relay {
            origin,
            sequence,
            repeated: false,
        };
        let wait = self.timing.nack_after();
        let own = self.ping(now, target, question, now + wait + wait);
        self.questions.wake(now + wait / 3, own);
    }

    /// Pings for others that were not answered: once more, then the asker is told.
    pub(crate) fn remind_relays(&mut self, now: Time) {
        while let Some(own) = self.questions.due(now) {
            self.remind_relay(now, own);
        }
    }

    fn remind_relay(&mut self, now: Time, own: u64) {
        let wait = self.timing.nack_after();
        let Some(awaited) = self.questions.get_mut(own) else {
            return;
        };
        let Question::Relay {
            origin,
            sequence,
            repeated,
        } = &mut awaited.purpose
        else {
            return;
        };
        if *repeated {
            let (to, sequence) = (*origin, *sequence);
            self.tell(to, Purpose::PingReqNack { sequence });
        } else {
            *repeated = true;
            awaited.measures = None;
            let targets = awaited.from.clone();
            for target in targets {
                self.tell(target, Purpose::Ping { sequence: own });
            }
            self.questions.wake(now + wait * 2 / 3, own);
        }
    }

    pub(crate) fn expects(
        &mut self,
        sequence: u64,
        from: NodeId,
        kind: fn(&Awaited) -> bool,
    ) -> Result<(), RejectMessage> {
        match self.questions.get_mut(sequence) {
            Some(awaited) if kind(awaited) && awaited.from.contains(&from) => Ok(()),
            Some(_) | None => Err(RejectMessage::UnexpectedAck),
        }
    }

    pub(crate) fn may_relay(&self, target: NodeId) -> Result<(), RejectMessage> {
        let count = self.questions.len();
        if !self.table.live().contains(&target) {
            Err(RejectMessage::UnknownTarget { target })
        } else if count >= self.config.relays_max {
            Err(RejectMessage::Busy { count })
        } else {
            Ok(())
        }
    }

    pub(crate) fn ping(
        &mut self,
        now: Time,
        target: NodeId,
        purpose: Question,
        until: Time,
    ) -> u64 {
        let sequence = self.await_answer(now, vec![target], purpose, until);
        self.tell(target, Purpose::Ping { sequence });
        sequence
    }

    /// Bounded by the own probes of a few periods and [`Config::relays_max`](crate::Config::relays_max).
    pub(crate) fn await_answer(
        &mut self,
        now: Time,
        from: Vec<NodeId>,
        purpose: Question,
        until: Time,
    ) -> u64 {
        self.sequence = self.sequence.wrapping_add(1);
        let awaited = Awaited {
            from,
            measures: Some(now),
            until,
            purpose,
        };
        self.questions.insert(self.sequence, awaited);
        self.sequence
    }

    /// Sends something small, with the news that fits.
    pub(crate) fn tell(&mut self, to: NodeId, purpose: Purpose) {
        let claims = self.news_for(to, self.config.piggyback_bytes_max);
        self.send(to, &Message { purpose, claims });
    }

    /// What a peer's answer says about the way to it.
    pub(crate) fn measured(&mut self, peer: NodeId, round_trip: Option<Duration>) {
        let Some(record) = self.table.get_mut(peer) else {
            return;
        };
        let Some(round_trip) = round_trip else {
            return;
        };
        let dealings = record.dealings_mut();
        dealings.round_trips.add(round_trip);
        if let (Some(coordinate), Some(typical)) =
            (dealings.coordinate, dealings.round_trips.typical())
        {
            self.vivaldi.moved_by(&mut self.rng, &coordinate, typical);
        }
    }
}
