//! Probes: who is there?
//!
//! Source: SWIM, sections 3.1 and 4.3; Lifeguard (Dadgar, Phillips, Currey 2018), section IV-A. Where we differ, and why:
//!
//! * A ping is repeated while its answer is awaited, first after a few round trips. A repetition costs some ten bytes, a
//!   false suspicion is news to the whole mesh twice: at 20 % loss this is what keeps the traffic low.
//! * One of those asked to ping too is who last reached the target for us, another one whom we reached lately ourselves.
//!   A node that reaches only a few, or is reached by a few only, neither accuses everybody nor is accused by everybody.
//! * What a late ack carries is not read, as a refutation is also sent by itself.
//! * The dead are probed too, slowly. A node that was paused gives its suspects more time.

use core::time::Duration;

use std::collections::VecDeque;

use rand::RngExt;

use crate::message::{Message, Purpose};
use crate::planted::{Bug, planted};
use crate::questions::{Awaited, Question};
use crate::{Coordinate, Membership, NodeId, State, Time};

/// The probe of this period.
#[derive(Debug)]
pub(crate) struct Probe {
    target: NodeId,
    /// The incarnation at which it was found: a newer one was heard of since, so it lives.
    incarnation: u64,
    /// Of the ping and its repetitions: each has its own, so that an answer measures the way.
    sequences: Vec<u64>,
    /// The request to others, once there is one, and how many were asked.
    request: Option<(u64, u32)>,
    /// From one repetition of the ping to the next.
    wait: Duration,
    answered: bool,
}

/// Who answered this node's own pings lately.
#[derive(Debug, Default)]
pub(crate) struct Reached(VecDeque<NodeId>);

impl Reached {
    fn add(&mut self, id: NodeId) {
        if !self.0.contains(&id) {
            if self.0.len() == REACHED_MAX {
                self.0.pop_front();
            }
            self.0.push_back(id);
        }
    }
}

impl Membership {
    /// The verdict on the probe that ends: SWIM's suspicion.
    pub(crate) fn finish_probe(&mut self, now: Time) {
        self.clocks.repeat = None;
        self.clocks.indirect = None;
        let probe = self.probe.take();
        if let Some(probe) = probe
            && !probe.answered
        {
            let silent = self.unanswered_by_relays(&probe);
            self.timing.strain(silent);
            self.accuse(now, probe.target, probe.incarnation);
        }
        self.questions.expire(now);
    }

    /// Relays from which not even a "no" came; with none to ask, the doubt falls on this node too.
    fn unanswered_by_relays(&mut self, probe: &Probe) -> u32 {
        let Some((request, asked)) = probe.request else {
            return 1;
        };
        let nacks = match self
            .questions
            .remove(request)
            .map(|awaited| awaited.purpose)
        {
            Some(Question::Request { nacks }) => nacks.len(),
            Some(Question::Ping | Question::Relay { .. }) | None => 0,
        };
        asked.saturating_sub(u32::try_from(nacks).unwrap_or(u32::MAX))
    }

    pub(crate) fn start_probe(&mut self, now: Time) {
        self.clocks.probe = now + self.timing.probe_period(None);
        if self.me.state == State::Left {
            return;
        }
        let Some(target) = self.ring.next(self.table.live(), &mut self.rng) else {
            return;
        };
        let incarnation = self.member(target).map_or(0, |member| member.incarnation);
        let round_trip = self.distance(target);
        self.clocks.probe = now + self.timing.probe_period(round_trip);
        let sequence = self.ping_for_probe(now, target);
        let wait = self.timing.repeat_after(round_trip);
        self.clocks.repeat = Some(now + wait);
        self.clocks.indirect = Some(now + self.timing.probe_timeout(round_trip));
        self.probe = Some(Probe {
            target,
            incarnation,
            sequences: vec![sequence],
            request: None,
            wait,
            answered: false,
        });
    }

    /// Pings once more, and again after half as long again.
    pub(crate) fn repeat_ping(&mut self, now: Time) {
        self.clocks.repeat = None;
        let Some(probe) = self.probe.as_mut().filter(|probe| !probe.answered) else {
            return;
        };
        probe.wait = probe.wait.saturating_mul(3) / 2;
        let (target, next) = (probe.target, now + probe.wait);
        if next < self.clocks.probe {
            self.clocks.repeat = Some(next);
        }
        let sequence = self.ping_for_probe(now, target);
        if let Some(probe) = self.probe.as_mut() {
            probe.sequences.push(sequence);
        }
    }

    /// An answer that is too late for the verdict still tells how far the target is, so that the next probe waits longer.
    fn ping_for_probe(&mut self, now: Time, target: NodeId) -> u64 {
        let until = self.clocks.probe + self.timing.base_timeout().saturating_mul(4);
        self.ping(now, target, Question::Ping, until)
    }

    /// The direct ping was not answered in time: others try, and it is repeated.
    pub(crate) fn ask_others(&mut self, now: Time) {
        let Some(probe) = self.probe.as_mut().filter(|probe| !probe.answered) else {
            return;
        };
        let target = probe.target;
        let rest = self.clocks.probe.since(now);
        if let Some((sequence, _)) = probe.request {
            return self.ask_again(sequence, target);
        }
        // What is left of the period is enough for two more.
        probe.wait = rest / 5;
        self.repeat_ping(now);
        let asked = self.relays_for(target);
        if asked.is_empty() {
            return;
        }
        self.clocks.indirect = Some(now + rest / 2);
        let count = u32::try_from(asked.len()).unwrap_or(u32::MAX);
        let question = Question::Request { nacks: Vec::new() };
        let until = self.clocks.probe + self.timing.base_timeout();
        let sequence = self.await_answer(now, asked.clone(), question, until);
        if let Some(probe) = self.probe.as_mut() {
            probe.request = Some((sequence, count));
        }
        for to in asked {
            self.tell(to, Purpose::PingReq { sequence, target });
        }
    }

    /// A request may have been lost, or its answer: those who did not say anything yet are asked once more.
    fn ask_again(&mut self, sequence: u64, target: NodeId) {
        let Some(awaited) = self.questions.get_mut(sequence) else {
            return;
        };
        let mut silent = awaited.from.clone();
        if let Question::Request { nacks } = &awaited.purpose {
            silent.retain(|id| !nacks.contains(id));
        }
        for to in silent {
            self.tell(to, Purpose::PingReq { sequence, target });
        }
    }

    /// Who last reached the target for us, somebody whom we reached lately, and others at random.
    fn relays_for(&mut self, target: NodeId) -> Vec<NodeId> {
        let count = self.config.indirect_probes;
        let known = self
            .table
            .get(target)
            .and_then(|record| record.dealings()?.relay);
        let reached = self.one_reached();
        let live = self.table.live();
        let mut relays: Vec<NodeId> = Vec::with_capacity(count);
        for id in known.into_iter().chain(reached) {
            if relays.len() < count && id != target && live.contains(&id) && !relays.contains(&id) {
                relays.push(id);
            }
        }
        for id in self.pick(count, target) {
            if relays.len() < count && !relays.contains(&id) {
                relays.push(id);
            }
        }
        relays
    }

    /// Somebody who answered lately, at random.
    pub(crate) fn one_reached(&mut self) -> Option<NodeId> {
        let count = self.reached.0.len();
        let at = self.rng.random_range(0..count.max(1));
        self.reached.0.get(at).copied()
    }

    /// One of the dead, in turn; whoever answers is told that it is held for dead, and refutes.
    pub(crate) fn probe_dead(&mut self, now: Time) {
        // Planted: with no probe of the dead, the halves of a mesh that was split take each other for dead for good.
        if self.me.state == State::Left || planted(Bug::DeadNotProbed) {
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
        let until = now + self.timing.base_period();
        self.ping(now, target, Question::Ping, until);
        // It may have said goodbye to others meanwhile.
        if let Some(other) = self.pick(1, target).into_iter().next()
            && let Some(record) = self.table.get(target)
        {
            let claims = vec![self.brief_claim(record)];
            let purpose = Purpose::ExchangePart;
            self.send(other, &Message { purpose, claims });
        }
    }

    pub(crate) fn answer_ping(&mut self, from: NodeId, sequence: u64) {
        // Every second time is often enough.
        let coordinate = sequence
            .is_multiple_of(2)
            .then(|| self.vivaldi.coordinate());
        self.tell(
            from,
            Purpose::Ack {
                sequence,
                coordinate,
            },
        );
    }

    /// An answer that [`Membership::expects`].
    pub(crate) fn handle_ack(
        &mut self,
        now: Time,
        from: NodeId,
        sequence: u64,
        coordinate: Option<Coordinate>,
    ) {
        let Some(Awaited {
            measures, purpose, ..
        }) = self.questions.remove(sequence)
        else {
            return;
        };
        if let Some(record) = self.table.get_mut(from) {
            let known = &mut record.dealings_mut().coordinate;
            *known = coordinate.or(*known);
        }
        self.measured(from, measures.map(|asked| now.since(asked)));
        match purpose {
            Question::Ping => {
                self.reached.add(from);
                if let Some(record) = self.table.get_mut(from) {
                    let dealings = record.dealings_mut();
                    dealings.answered = Some(now);
                    dealings.relay = None;
                }
                self.answered(|probe| probe.sequences.contains(&sequence));
            }
            Question::Relay {
                origin, sequence, ..
            } => self.tell(origin, Purpose::PingReqAck { sequence }),
            // Refused by `expects`.
            Question::Request { .. } => {}
        }
    }

    /// Somebody who was asked reached the target.
    pub(crate) fn handle_request_ack(&mut self, from: NodeId, sequence: u64) {
        self.questions.remove(sequence);
        let asked = |probe: &Probe| {
            probe
                .request
                .is_some_and(|(request, _)| request == sequence)
        };
        if let Some(target) = self.answered(asked)
            && let Some(record) = self.table.get_mut(target)
        {
            record.dealings_mut().relay = Some(from);
        }
    }

    /// Somebody who was asked did not reach the target, but us.
    pub(crate) fn handle_nack(&mut self, from: NodeId, sequence: u64) {
        if let Some(awaited) = self.questions.get_mut(sequence)
            && let Question::Request { nacks } = &mut awaited.purpose
            && !nacks.contains(&from)
        {
            nacks.push(from);
        }
    }

    /// The probe, if it is this one, is answered; whose it was.
    fn answered(&mut self, this: impl Fn(&Probe) -> bool) -> Option<NodeId> {
        let probe = self.probe.as_mut().filter(|probe| this(probe))?;
        if !probe.answered {
            probe.answered = true;
            self.clocks.indirect = None;
            self.clocks.repeat = None;
            self.timing.relax();
        }
        Some(probe.target)
    }
}

const REACHED_MAX: usize = 8;
