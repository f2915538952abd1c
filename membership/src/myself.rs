//! What others say about this node, and its answers.

use crate::message::{Claim, INCARNATION_MAX, Message, Purpose};
use crate::planted::{Bug, planted};
use crate::{Event, Membership, NodeId, State, Time};

/// What this node says about itself, for those that know it already.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Described {
    /// Of the metadata.
    pub(crate) hash: u32,
    /// The incarnation at which it changed.
    pub(crate) since: u64,
}

/// Whether somebody else lives under this node's id.
///
/// A former life of this node left claims behind, with another instance; they are outbid once or twice. Somebody who
/// outbids in turn is alive.
#[derive(Debug, Default)]
pub(crate) struct Rivals {
    instance: u64,
    outbid: u32,
}

impl Rivals {
    /// Counts; says whether this instance was outbid so often that it must be alive.
    fn outbid(&mut self, instance: u64) -> bool {
        if self.instance != instance {
            *self = Self {
                instance,
                outbid: 0,
            };
        }
        self.outbid = self.outbid.saturating_add(1);
        self.outbid == OUTBID_MAX
    }
}

impl Membership {
    pub(crate) fn full_claim_about_me(&self) -> Claim {
        Claim {
            meta: Some(self.me.meta.clone()),
            ..self.brief_claim_about_me()
        }
    }

    /// For those that know the metadata; others will ask.
    fn brief_claim_about_me(&self) -> Claim {
        Claim {
            id: self.me.id,
            incarnation: self.me.incarnation,
            state: self.me.state,
            gone_secs: 0,
            accusers: Vec::new(),
            described: match self.me.state {
                State::Alive => self.described.hash,
                State::Suspect | State::Down | State::Left => 0,
            },
            meta: None,
        }
    }

    /// For who may know this node since that incarnation.
    fn claim_about_me_since(&self, incarnation: u64) -> Claim {
        if incarnation < self.described.since {
            self.full_claim_about_me()
        } else {
            self.brief_claim_about_me()
        }
    }

    /// Spreads what this node says about itself, and remembers it.
    pub(crate) fn announce_me(&mut self, now: Time) {
        let claim = self.full_claim_about_me();
        self.tell_all(now, claim);
        self.remember(now, self.me.id);
    }

    /// Refutes what is false and not older than what this node said last; corrects who holds something older.
    pub(crate) fn handle_claim_about_me(&mut self, now: Time, from: NodeId, claim: &Claim) {
        let mine = self.me.incarnation;
        let agrees = claim.state == self.me.state
            && claim.meta.as_ref().is_none_or(|meta| *meta == self.me.meta)
            && (claim.described == 0 || claim.described == self.described.hash);
        if claim.incarnation == mine && agrees {
            return;
        }
        if claim.incarnation < mine {
            if claim.state != State::Alive || claim.incarnation < self.described.since {
                self.reply_with_me(now, from, claim.incarnation);
            }
            return;
        }
        if claim.incarnation - mine > RAISE_MAX || claim.incarnation >= INCARNATION_MAX {
            self.counters.jumps_refused += 1;
            self.reply_with_me(now, from, 0);
            return;
        }
        // Planted: who was suspected once, for a pause or a lossy link, is held for dead by all for good.
        if planted(Bug::SuspicionNotRefuted) {
            return;
        }
        if now < self.refute_after {
            // Answered with the next round of gossip: who accuses without end makes no storm.
            self.accused_at = self.accused_at.max(Some(claim.incarnation));
            self.clocks.gossip.get_or_insert(self.refute_after);
            return;
        }
        let rival = claim.meta.as_ref().map(|meta| meta.instance);
        if let Some(instance) = rival.filter(|instance| *instance != self.me.meta.instance)
            && self.rivals.outbid(instance)
        {
            self.emit(Event::Impostor { instance });
        }
        if matches!(claim.state, State::Suspect | State::Down) {
            // Who is suspected may be too slow itself (Lifeguard).
            self.timing.accused();
        }
        self.raise_above(now, claim.incarnation);
        self.reply_with_me(now, from, claim.incarnation);
    }

    /// Refutes what came too soon after the last refutation.
    pub(crate) fn refute_again(&mut self, now: Time) {
        if now >= self.refute_after
            && let Some(incarnation) = self.accused_at.take()
            && incarnation >= self.me.incarnation
        {
            self.raise_above(now, incarnation);
        }
    }

    fn raise_above(&mut self, now: Time, incarnation: u64) {
        self.refute_after = now + self.config.gossip_period;
        let known_since = self.me.incarnation;
        self.me.incarnation = incarnation.saturating_add(1);
        self.counters.refutations += 1;
        let claim = self.claim_about_me_since(known_since);
        self.tell_all(now, claim);
        self.remember(now, self.me.id);
        self.emit(Event::Refuted {
            incarnation: self.me.incarnation,
        });
    }

    fn reply_with_me(&mut self, now: Time, to: NodeId, known_at: u64) {
        let claims = vec![self.claim_about_me_since(known_at)];
        let purpose = Purpose::Gossip;
        let pause = self.config.gossip_period;
        if let Some(record) = self.table.get_mut(to) {
            let dealings = record.dealings_mut();
            if dealings.corrected.is_some_and(|at| at + pause > now) {
                return;
            }
            dealings.corrected = Some(now);
        }
        self.send(to, &Message { purpose, claims });
    }
}

/// How far one claim may raise this node's own incarnation. More than [`JUMP_MAX`](crate::claims) by far, as what others were
/// made to believe must be outbid; too little for a liar to reach [`INCARNATION_MAX`] within months.
pub(crate) const RAISE_MAX: u64 = 1 << 36;

/// A former life was seldom known at more than two incarnations.
const OUTBID_MAX: u32 = 4;
