//! Joining, and coming back: whom to ask for a list.

use core::time::Duration;

use std::collections::BTreeSet;

use crate::message::{Claim, INCARNATION_MAX, Message, Purpose};
use crate::table::Step;
use crate::{Event, Member, Membership, NodeId, Remembered, State, Time};

/// Seeds that did not answer yet.
#[derive(Debug, Default)]
pub(crate) struct Joining {
    seeds: BTreeSet<NodeId>,
    at: Option<Time>,
    wait: Duration,
    list: List,
}

/// Whether this node knows its mesh.
#[derive(Debug, Default)]
enum List {
    #[default]
    Known,
    /// Not yet; it makes do with what it has at that time, which is set when the first member speaks to it.
    Sought(Option<Time>),
}

impl Joining {
    pub(crate) fn next(&self) -> Option<Time> {
        self.again_at().into_iter().chain(self.given_up_at()).min()
    }

    /// When seeds that did not answer are asked again.
    fn again_at(&self) -> Option<Time> {
        self.at.filter(|_| !self.seeds.is_empty())
    }

    /// When the list of the mesh is sought no more.
    const fn given_up_at(&self) -> Option<Time> {
        match self.list {
            List::Sought(until) => until,
            List::Known => None,
        }
    }

    pub(crate) fn give_up(&mut self) {
        self.seeds.clear();
    }

    /// A seed wants to compare, which tells who has a list all that it lacks.
    pub(crate) fn compares(&mut self, seed: NodeId) {
        if matches!(self.list, List::Known) {
            self.seeds.remove(&seed);
        }
    }
}

impl Membership {
    /// Finds the mesh through a node that the driver can reach: asks it for its list, and tries again until it answers
    /// (less and less often, down to once in [`Config::dead_probe_period`](crate::Config::dead_probe_period)).
    ///
    /// Not more than 64 seeds are tried at once; more are ignored. Its own id is ignored.
    pub fn join(&mut self, now: Time, seed: NodeId) {
        if seed == self.me.id || self.joining.seeds.len() >= SEEDS_MAX {
            return;
        }
        self.joining.seeds.insert(seed);
        self.joining.wait = self.timing.base_period();
        self.joining.at = Some(now + self.joining.wait);
        self.ask_exchange(now, seed);
        // Others join at the same time, when a whole mesh is started.
        self.unsettle(now, self.config.gossip_period);
    }

    /// This node is new in its mesh, or what it kept of it is gone or old. What it hears of first may be a small part of the
    /// mesh, so [`Membership::has_list`] is false until one who has the whole list has sent it, or until
    /// a minute has passed since it first heard of anybody. Call it once, after [`Membership::new`].
    pub fn seek_list(&mut self) {
        self.joining.list = List::Sought(None);
    }

    /// Whether the members are those of the mesh, as far as anybody knows, and not the few that were heard of first. It becomes true
    /// with [`Event::Listed`].
    #[must_use]
    pub const fn has_list(&self) -> bool {
        matches!(self.joining.list, List::Known)
    }

    fn take_list(&mut self) {
        if !self.has_list() {
            self.joining.list = List::Known;
            self.emit(Event::Listed);
        }
    }

    /// All of somebody's list is here.
    pub(crate) fn handle_list(&mut self, from: NodeId) {
        if self.joining.seeds.remove(&from) {
            self.take_list();
        }
    }

    /// Takes in what was kept on disk, and compares lists with three of them, chosen at random. Call it once, after
    /// [`Membership::new`]. There are no events for them: see [`Membership::members`]. Entries about this node itself or
    /// with bad metadata are ignored, and so are those beyond the bounds of the configuration.
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
        // It is on disk as it is.
        self.unsaved.remove(&id);
    }

    /// One seed after another, with growing pauses.
    pub(crate) fn retry_joins(&mut self, now: Time) {
        if self.joining.given_up_at().is_some_and(|at| at <= now) {
            self.take_list();
        }
        if self.joining.again_at().is_none_or(|at| at > now) {
            return;
        }
        let slowest = self.config.dead_probe_period.max(self.timing.base_period());
        self.joining.wait = self.joining.wait.saturating_mul(2).min(slowest);
        self.joining.at = Some(now + self.joining.wait);
        for seed in self.joining.seeds.clone() {
            self.ask_exchange(now, seed);
        }
    }

    /// Whoever speaks to us and is not in our list is asked for its own; whoever is held for dead is told so.
    pub(crate) fn greet(&mut self, now: Time, from: NodeId) {
        if let List::Sought(until) = &mut self.joining.list {
            until.get_or_insert(now + LIST_PATIENCE);
            // Asked until one answers, as seeds are.
            let known = self.joining.seeds.contains(&from);
            if !known && self.joining.seeds.len() < SOUGHT_FROM {
                self.join(now, from);
            }
        }
        let Some(record) = self.table.get_mut(from) else {
            let pause = self.timing.base_period();
            if self.greeted.is_none_or(|at| at + pause <= now) {
                self.greeted = Some(now);
                self.ask_exchange(now, from);
            }
            return;
        };
        record.dealings_mut().heard = Some(now);
        if record.member.state == State::Down {
            self.charge(now, from);
        }
    }

    /// After a split, the first of the other half to come back brings the rest of it. Not each of them, and not each time
    /// that a slow member comes back: what differs otherwise is found by comparing digests with anybody.
    pub(crate) fn compare_with_returned(&mut self, now: Time, id: NodeId) {
        let pause = self.timing.base_period();
        if self.returned.is_none_or(|at| at + pause <= now) {
            self.returned = Some(now);
            self.send_digest(id);
        }
    }

    /// Only for those in our list, where it is noted when they were answered last: a list is much for a short question.
    /// Who knows next to nobody gets all of it; others what differs.
    pub(crate) fn answer_exchange(&mut self, now: Time, to: NodeId, sum: u64, known: u32) {
        if self.table.get(to).is_none() {
            return;
        }
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let newcomer = known.saturating_mul(4) <= self.table.live().len();
        if !newcomer && sum != self.table.digest(&self.me) {
            let me = self.full_claim_about_me();
            return self.send_sums(now, to, vec![me]);
        }
        self.note_exchange(now, to, Step::Done);
        let mut claims = vec![self.full_claim_about_me()];
        if newcomer {
            let worth = |state| state != State::Left;
            let others = self.table.records().filter(|r| worth(r.member.state));
            claims.extend(others.map(|record| self.full_claim(record)));
        }
        // Who has no list of the mesh tells what it knows, and does not let the other take that for one.
        let last = if self.has_list() {
            Purpose::ExchangeAnswer
        } else {
            Purpose::ExchangePart
        };
        self.send_claims(to, last, claims);
    }

    /// Says who this node is, and asks for what it does not know.
    fn ask_exchange(&mut self, now: Time, to: NodeId) {
        self.note_exchange(now, to, Step::Sums);
        // Who seeks the list asks for all of it: the members that are down are in no comparison.
        let known = match self.has_list() {
            true => u32::try_from(self.table.live().len()).unwrap_or(u32::MAX),
            false => 0,
        };
        let sum = self.table.digest(&self.me);
        let purpose = Purpose::ExchangeAsk { sum, known };
        let claims: Vec<Claim> = vec![self.full_claim_about_me()];
        self.send(to, &Message { purpose, claims });
    }
}

const SEEDS_MAX: usize = 64;

/// In meshes whose members all lost their lists nobody has one to send.
const LIST_PATIENCE: Duration = Duration::from_secs(60);

const RESTORED_ASKED: usize = 3;

/// More are not asked for the whole list at once.
const SOUGHT_FROM: usize = 3;
