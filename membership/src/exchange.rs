//! Whole lists: on joining, now and then, and with whoever comes back from the dead.
//!
//! What gossip lost is found by comparing a digest with a random member: 12 bytes at rest, where memberlist's push-pull
//! sends the whole list each time.

use core::time::Duration;

use std::collections::BTreeSet;

use crate::message::{Claim, INCARNATION_MAX, Message, Purpose};
use crate::{Member, Membership, NodeId, Remembered, State, Time};

/// Seeds that did not answer yet.
#[derive(Debug, Default)]
pub(crate) struct Joining {
    seeds: BTreeSet<NodeId>,
    at: Option<Time>,
    wait: Duration,
}

impl Joining {
    pub(crate) fn next(&self) -> Option<Time> {
        self.at.filter(|_| !self.seeds.is_empty())
    }

    pub(crate) fn give_up(&mut self) {
        self.seeds.clear();
    }

    pub(crate) fn answered(&mut self, seed: NodeId) {
        self.seeds.remove(&seed);
    }
}

impl Membership {
    /// Finds the mesh through a node that the driver can reach: exchanges lists with it, and tries again until it answers
    /// (less and less often, down to once in [`Config::dead_probe_period`](crate::Config::dead_probe_period)).
    ///
    /// Not more than 64 seeds are tried at once; more are ignored. Its own id is ignored.
    pub fn join(&mut self, now: Time, seed: NodeId) {
        if seed == self.me.id || self.joining.seeds.len() >= SEEDS_MAX {
            return;
        }
        self.joining.seeds.insert(seed);
        self.joining.wait = self.timing.probe_period();
        self.joining.at = Some(now + self.joining.wait);
        self.ask_exchange(now, seed);
    }

    /// Takes in what was kept on disk, and exchanges lists with three of them, chosen at random. Call it once, after
    /// [`Membership::new`]. There are no events for them: see [`Membership::members`]. Entries about this node itself or with bad metadata are ignored, and so are those beyond
    /// the bounds of the configuration.
    pub fn restore(&mut self, now: Time, remembered: Vec<Remembered>) {
        for entry in remembered {
            self.restore_one(now, entry);
        }
        for to in self.pick(RESTORED_ASKED, self.me.id) {
            self.join(now, to);
        }
    }

    fn restore_one(&mut self, now: Time, entry: Remembered) {
        let left = self.config.forget_after.saturating_sub(entry.gone_for);
        let full = if entry.state.is_live() {
            self.table.live().len() >= self.config.members_max
        } else {
            left.is_zero() || self.table.gone() >= self.config.dead_remembered_max
        };
        let invalid = entry.incarnation > INCARNATION_MAX || entry.meta.check().is_err();
        if full || invalid || entry.id == self.me.id {
            return;
        }
        let state = if entry.state.is_live() {
            State::Alive
        } else {
            entry.state
        };
        let deadline = (!state.is_live()).then(|| now + left);
        let Remembered {
            id,
            incarnation,
            meta,
            ..
        } = entry;
        self.put(
            now,
            Member {
                id,
                incarnation,
                state,
                meta,
                since: now,
            },
            deadline,
        );
    }

    /// One seed after another, with growing pauses.
    pub(crate) fn retry_joins(&mut self, now: Time) {
        if self.joining.next().is_none_or(|at| at > now) {
            return;
        }
        let slowest = self
            .config
            .dead_probe_period
            .max(self.timing.probe_period());
        self.joining.wait = self.joining.wait.saturating_mul(2).min(slowest);
        self.joining.at = Some(now + self.joining.wait);
        for seed in self.joining.seeds.clone() {
            self.ask_exchange(now, seed);
        }
    }

    /// Compares digests with a random member.
    pub(crate) fn offer_digest(&mut self) {
        let sum = self.table.digest(&self.me);
        for to in self.pick(1, self.me.id) {
            let claims = self.news_for(to, self.config.piggyback_bytes_max);
            let purpose = Purpose::Digest { sum };
            self.send(to, &Message { purpose, claims });
        }
    }

    pub(crate) fn compare_digest(&mut self, now: Time, from: NodeId, sum: u64) {
        if sum != self.table.digest(&self.me) && !self.exchanged_lately(now, from) {
            self.ask_exchange(now, from);
        }
    }

    /// Whoever speaks to us and is not in our list is asked for its own; whoever is held for dead is told so.
    pub(crate) fn greet(&mut self, now: Time, from: NodeId) {
        let Some(record) = self.table.get_mut(from) else {
            let pause = self.timing.probe_period();
            if self.greeted.is_none_or(|at| at + pause <= now) {
                self.greeted = Some(now);
                self.ask_exchange(now, from);
            }
            return;
        };
        record.heard = true;
        if record.member.state == State::Down {
            self.charge(now, from);
        }
    }

    /// After a split, the first of the other half to come back brings the rest of it.
    pub(crate) fn ask_exchange_of_returned(&mut self, now: Time, id: NodeId) {
        if !self.exchanged_lately(now, id) {
            self.ask_exchange(now, id);
        }
    }

    /// Only for those in our list, where it is noted when they were answered last: a list is much for a short question.
    pub(crate) fn answer_exchange(&mut self, now: Time, to: NodeId) {
        if self.table.get(to).is_none() {
            return;
        }
        self.note_exchange(now, to);
        self.send_list(to, Purpose::ExchangeAnswer);
    }

    pub(crate) fn exchanged_lately(&self, now: Time, with: NodeId) -> bool {
        let pause = self.timing.probe_period() / 2;
        self.table
            .get(with)
            .and_then(|record| record.exchanged)
            .is_some_and(|at| at + pause > now)
    }

    fn ask_exchange(&mut self, now: Time, to: NodeId) {
        self.note_exchange(now, to);
        self.send_list(to, Purpose::ExchangeAsk);
    }

    fn note_exchange(&mut self, now: Time, with: NodeId) {
        if let Some(record) = self.table.get_mut(with) {
            record.exchanged = Some(now);
        }
    }

    /// The whole list, this node first, in as many messages as are needed.
    fn send_list(&mut self, to: NodeId, last: Purpose) {
        let bytes_max = self.config.exchange_bytes_max.min(crate::MESSAGE_BYTES_MAX) - FRAME_BYTES;
        let mut part: Vec<Claim> = vec![self.claim_about_me()];
        let mut bytes = 0;
        let mut parts = Vec::new();
        for record in self.table.records() {
            let claim = self.full_claim(record);
            bytes += claim.bytes();
            if bytes > bytes_max {
                bytes = claim.bytes();
                parts.push(core::mem::take(&mut part));
            }
            part.push(claim);
        }
        for claims in parts {
            let purpose = Purpose::ExchangePart;
            self.send(to, &Message { purpose, claims });
        }
        let (purpose, claims) = (last, part);
        self.send(to, &Message { purpose, claims });
    }
}

const SEEDS_MAX: usize = 64;

const RESTORED_ASKED: usize = 3;

/// The version byte, the purpose, and the length of the list.
const FRAME_BYTES: usize = 64;
