//! What to believe.
//!
//! A claim about a member wins by a higher incarnation, or by a graver state at the same one (SWIM, section 4.2).
//! Where we differ, so that one liar evicts nobody who can still speak for itself:
//!
//! * `Down` from a peer is an accusation, not a verdict. It starts this node's own suspicion; when
//!   [`Config::confirmations`](crate::Config::confirmations) distinct peers say it, half of a suspicion's least time is enough.
//! * `Left` is believed from the leaver itself, or from that many distinct peers. From one peer it only decides that the
//!   member, should it fall silent, has left rather than died; of one that is silent already it is believed.
//! * A claim that another made may raise an incarnation by [`JUMP_MAX`] at most; its owner may raise it to anything. An
//!   incarnation that is too far above what the owner says for it to have been the owner's was made up: the owner is believed.
//! * Whoever is held for anything but `Alive` is told so by whoever holds it, so that it can refute.
//! * A refutation carries a hash of the metadata in place of them. Who knows others asks the member itself.
//! * What came by comparing lists is not spread as news: it is news to this node only, and others find it the same way.
//! * In an exchange of lists, the `Down` of the peer against our `Alive` makes us probe, not suspect: after a split
//!   heals, one half would suspect the other otherwise.

use core::time::Duration;

use crate::message::{Claim, Message, Purpose};
use crate::myself::RAISE_MAX;
use crate::table::{Held, Record};
use crate::{Event, Member, Membership, NodeId, State, Time};

/// How a claim came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// News of somebody's finding.
    Gossip,
    /// Somebody's list: perhaps old.
    Exchange,
}

impl Membership {
    pub(crate) fn handle_claim(&mut self, now: Time, from: NodeId, claim: Claim, via: Via) {
        if claim.id == self.me.id {
            return self.handle_claim_about_me(now, from, &claim);
        }
        let Some(known) = self.table.get(claim.id).map(|record| &record.member) else {
            return self.handle_unknown(now, from, claim, via);
        };
        let (incarnation, state) = (known.incarnation, known.state);
        let first_hand = claim.id == from;
        if !first_hand && claim.incarnation > incarnation.saturating_add(JUMP_MAX) {
            self.counters.jumps_refused += 1;
            return;
        }
        let departed = state == State::Left && claim.incarnation <= incarnation;
        if departed && !first_hand && claim.state != State::Left {
            return self.tell_of_goodbye(now, from, claim.id);
        }
        if claim.incarnation < incarnation {
            if first_hand && incarnation - claim.incarnation > RAISE_MAX {
                self.revive(now, from, claim, via);
            } else if first_hand {
                self.charge(now, claim.id);
            }
            return;
        }
        match claim.state {
            State::Alive if claim.incarnation > incarnation => self.revive(now, from, claim, via),
            State::Alive if first_hand || via == Via::Exchange => self.doubt(now, from, &claim),
            State::Alive => {}
            State::Suspect => self.handle_accusation(now, from, &claim),
            State::Down if via == Via::Exchange && state == State::Alive => {
                self.ring.hurry(claim.id);
            }
            State::Down => self.handle_death(now, from, &claim),
            State::Left => self.handle_goodbye(now, from, &claim),
        }
    }

    /// Somebody who is not in the list. Only who has metadata can be reached and placed.
    fn handle_unknown(&mut self, now: Time, from: NodeId, claim: Claim, via: Via) {
        let Some(meta) = claim.meta.clone() else {
            // Somebody whom all others seem to know.
            let soon = self.timing.base_period();
            return self.unsettle(now, soon);
        };
        let deadline = if claim.state.is_live() {
            if !self.make_room_for(now, from, &claim) {
                self.counters.members_refused += 1;
                return;
            }
            None
        } else {
            let gone_for = Duration::from_secs(claim.gone_secs.into());
            let left = self.config.forget_after.saturating_sub(gone_for);
            // An expired member must not come back by hearsay; a departed one is of no use to who never knew it.
            if left.is_zero() || claim.state == State::Left {
                return;
            }
            Some(now + left)
        };
        let state = if claim.state.is_live() {
            State::Alive
        } else {
            State::Down
        };
        self.put(
            now,
            Member {
                id: claim.id,
                incarnation: claim.incarnation,
                state,
                meta,
                since: now,
            },
            deadline,
        );
        if state == State::Alive {
            if via == Via::Gossip || claim.id == from {
                let accusers = Vec::new();
                let told = claim.clone();
                self.tell_all(
                    now,
                    Claim {
                        state,
                        accusers,
                        ..told
                    },
                );
            }
            self.emit(Event::Joined(claim.id));
            if claim.state == State::Suspect {
                self.suspect(now, claim.id, claim.incarnation, &claim.accusers);
            }
        } else {
            self.emit(Event::Down(claim.id));
            self.bound_the_gone(now);
        }
    }

    /// Room for one more live member. One that speaks for itself takes the place of one that only others spoke of.
    fn make_room_for(&mut self, now: Time, from: NodeId, claim: &Claim) -> bool {
        if self.table.live().len() < self.config.members_max {
            return true;
        }
        let made_up = if claim.id == from {
            self.table.unheard()
        } else {
            None
        };
        made_up.is_some_and(|id| {
            self.forget(now, id);
            self.emit(Event::Expired(id));
            true
        })
    }

    /// A newer claim of life: from its owner, who alone raises it, however it came here.
    fn revive(&mut self, now: Time, from: NodeId, claim: Claim, via: Via) {
        let Some(record) = self.table.get(claim.id) else {
            return;
        };
        let known = Held::from(&record.member);
        let changed = match &claim.meta {
            Some(meta) => *meta != record.member.meta,
            None if claim.described == record.described => false,
            // It changed its metadata, and we missed it: only itself may say what they are.
            None => return self.charge(now, claim.id),
        };
        if !known.state.is_live() && !self.make_room_for(now, from, &claim) {
            self.counters.members_refused += 1;
            return;
        }
        let held = Held {
            incarnation: claim.incarnation,
            state: State::Alive,
            since: match known.state {
                State::Alive => known.since,
                State::Suspect | State::Down | State::Left => now,
            },
        };
        if let Some(meta) = claim.meta.clone().filter(|_| changed) {
            self.put(now, held.member(claim.id, meta), None);
        } else {
            self.hold(now, claim.id, held, None);
        }
        match known.state {
            State::Alive => {}
            State::Suspect | State::Down => self.emit(Event::Recovered(claim.id)),
            State::Left => self.emit(Event::Joined(claim.id)),
        }
        if changed {
            self.emit(Event::Changed(claim.id));
        }
        let id = claim.id;
        if via == Via::Gossip || id == from {
            self.tell_all(now, claim);
        }
        if !known.state.is_live() && id == from {
            self.compare_with_returned(now, id);
        }
    }

    /// `Alive`, at the incarnation at which we hold it for something else, or with other metadata: it should say so itself.
    fn doubt(&mut self, now: Time, from: NodeId, claim: &Claim) {
        let differs = self.table.get(claim.id).is_some_and(|record| {
            let known = &record.member;
            let described = match &claim.meta {
                Some(meta) => *meta == known.meta,
                None => claim.described == record.described,
            };
            known.state != State::Alive || (claim.id == from && !described)
        });
        if differs {
            self.charge(now, claim.id);
        }
    }

    fn handle_goodbye(&mut self, now: Time, from: NodeId, claim: &Claim) {
        let enough = self.config.confirmations.max(1);
        let Some(record) = self.table.get_mut(claim.id) else {
            return;
        };
        if record.member.state == State::Left {
            return;
        }
        // Who is silent already has nothing to say against it.
        let silent = record.member.state == State::Down;
        if claim.id == from || silent || record.case_mut().left_by.add(from, enough) >= enough {
            self.bury(now, claim.id, claim.incarnation, State::Left);
        } else {
            self.charge_with(now, claim.id, claim.clone());
            // Others may have heard it too.
            self.unsettle(now, self.config.gossip_period);
        }
    }

    /// A member that was away when another left hears of it once it speaks of the other: lists tell only of those who are there.
    fn tell_of_goodbye(&mut self, now: Time, to: NodeId, id: NodeId) {
        let pause = self.config.gossip_period;
        let Some(record) = self.table.get_mut(id) else {
            return;
        };
        let told = &mut record.dealings_mut().told;
        if told.is_none_or(|told| told + pause <= now) {
            *told = Some(now);
            let claim = self.table.get(id).map(|record| self.brief_claim(record));
            let (purpose, claims) = (Purpose::Gossip, claim.into_iter().collect());
            self.send(to, &Message { purpose, claims });
        }
    }

    /// A suspect's time is over, or that of one who is gone.
    pub(crate) fn handle_deadline(&mut self, now: Time, id: NodeId) {
        let Some(record) = self.table.get(id) else {
            return;
        };
        let incarnation = record.member.incarnation;
        match record.member.state {
            State::Suspect if record.case().is_none_or(|case| case.left_by.is_empty()) => {
                self.bury(now, id, incarnation, State::Down);
            }
            State::Suspect => self.bury(now, id, incarnation, State::Left),
            State::Down => {
                self.forget(now, id);
                self.emit(Event::Expired(id));
            }
            State::Left | State::Alive => self.forget(now, id),
        }
    }

    /// Holds a member for `Down` or `Left`, and says so.
    fn bury(&mut self, now: Time, id: NodeId, incarnation: u64, state: State) {
        let deadline = now + self.config.forget_after;
        let held = Held {
            incarnation,
            state,
            since: now,
        };
        self.hold(now, id, held, Some(deadline));
        self.emit(if state == State::Left {
            Event::Left(id)
        } else {
            Event::Down(id)
        });
        self.spread_state_of(now, id);
        self.bound_the_gone(now);
    }

    fn bound_the_gone(&mut self, now: Time) {
        while self.table.gone() > self.config.dead_remembered_max {
            let Some(id) = self.table.least_worth_remembering() else {
                return;
            };
            let was_down = self.table.down().contains(&id);
            self.forget(now, id);
            self.counters.gone_forgotten += 1;
            if was_down {
                self.emit(Event::Expired(id));
            }
        }
    }

    pub(crate) fn put(&mut self, now: Time, member: Member, deadline: Option<Time>) {
        let id = member.id;
        let old = self.member(id).map(Held::from);
        self.table.put(member, deadline);
        self.indexed(now, id, old);
    }

    /// The same for one whose metadata are as before.
    pub(crate) fn hold(&mut self, now: Time, id: NodeId, held: Held, deadline: Option<Time>) {
        let Some(old) = self.member(id).map(Held::from) else {
            return;
        };
        self.table.hold(id, held, deadline);
        self.indexed(now, id, Some(old));
    }

    /// What follows from a change of the list.
    fn indexed(&mut self, now: Time, id: NodeId, old: Option<Held>) {
        let Some(held) = self.member(id).map(Held::from) else {
            return;
        };
        let was_live = old.is_some_and(|old| old.state.is_live());
        if !was_live && held.state.is_live() {
            self.ring.insert(id, &mut self.rng);
            if !self.gossip.is_empty() {
                self.clocks.gossip.get_or_insert(now);
            }
        }
        // A suspicion is not worth a write.
        let same = old.is_some_and(|old| old.incarnation == held.incarnation);
        if !(same && was_live && held.state.is_live()) {
            self.remember(now, id);
        }
    }

    fn forget(&mut self, now: Time, id: NodeId) {
        self.table.remove(id);
        self.gossip.remove(id);
        self.remember(now, id);
    }

    pub(crate) fn spread_state_of(&mut self, now: Time, id: NodeId) {
        if let Some(claim) = self.table.get(id).map(|record| self.brief_claim(record)) {
            self.tell_all(now, claim);
        }
    }

    /// Whom we hold for something else than `Alive` hears it first, with everything that is sent to it (SWIM, section 4.2;
    /// Lifeguard's buddy system).
    pub(crate) fn charge_against(&self, id: NodeId) -> Option<Claim> {
        self.table
            .get(id)
            .filter(|record| record.member.state != State::Alive)
            .map(|record| self.brief_claim(record))
    }

    /// Tells a member what we know about it, so that it can correct it. Not more often than news is sent.
    pub(crate) fn charge(&mut self, now: Time, id: NodeId) {
        if let Some(claim) = self.table.get(id).map(|record| self.full_claim(record)) {
            self.charge_with(now, id, claim);
        }
    }

    fn charge_with(&mut self, now: Time, id: NodeId, claim: Claim) {
        let pause = self.config.gossip_period;
        let Some(record) = self.table.get_mut(id) else {
            return;
        };
        let dealings = record.dealings_mut();
        if dealings.told.is_none_or(|told| told + pause <= now) {
            dealings.told = Some(now);
            let (purpose, claims) = (Purpose::Gossip, vec![claim]);
            self.send(id, &Message { purpose, claims });
        }
    }

    /// What we hold a member for; with its metadata only where that is needed.
    pub(crate) fn brief_claim(&self, record: &Record) -> Claim {
        Claim {
            id: record.member.id,
            incarnation: record.member.incarnation,
            state: record.member.state,
            gone_secs: self.gone_secs(record),
            accusers: match record.case() {
                Some(case) if record.member.state == State::Suspect => case.accusers.clone(),
                Some(_) | None => Vec::new(),
            },
            described: 0,
            meta: None,
        }
    }

    pub(crate) fn full_claim(&self, record: &Record) -> Claim {
        Claim {
            meta: Some(record.member.meta.clone()),
            ..self.brief_claim(record)
        }
    }

    /// How much of the time after which one who is gone is forgotten has passed.
    pub(crate) fn gone_secs(&self, record: &Record) -> u32 {
        let left = match (record.member.state, record.deadline) {
            (State::Down | State::Left, Some(at)) => at.since(self.clocks.now),
            _ => self.config.forget_after,
        };
        let gone = self.config.forget_after.saturating_sub(left);
        u32::try_from(gone.as_secs()).unwrap_or(u32::MAX)
    }
}

/// How far others may raise a member's incarnation in one claim. It raises its own one by one, so that only one who missed
/// this many changes needs to hear it from the member itself.
const JUMP_MAX: u64 = 1 << 16;
