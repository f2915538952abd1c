//! Finding what gossip lost: comparing lists without sending them.
//!
//! A digest is 12 bytes. If it differs, sums of 32 parts of the list follow, then a hash of each member in the parts that
//! differ, then the claims that one side lacks. memberlist's push-pull sends both lists whole each time.
//!
//! Digests are compared often after a change and seldom at rest: the last to hear hears soon, and a mesh at rest is quiet.

use core::time::Duration;

use std::collections::BTreeSet;

use rand::RngExt;

use crate::membership::RejectMessage;
use crate::message::{Claim, Message, Purpose};
use crate::table::{Record, Step, bucket_of, compared_by};
use crate::{Membership, NodeId, State, Time};

impl Membership {
    /// Something changed, or this node is new: digests are compared again within `wait`.
    pub(crate) fn unsettle(&mut self, now: Time, wait: Duration) {
        let wait = wait.min(self.config.push_pull_period);
        self.digest_wait = self.digest_wait.min(wait);
        let at = now + self.up_to(wait);
        self.clocks.push_pull = self.clocks.push_pull.min(at);
    }

    fn up_to(&mut self, wait: Duration) -> Duration {
        let micros = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.rng.random_range(micros / 2..=micros.max(1)))
    }

    /// Compares digests with a random member: every second time with one that answered lately, as who reaches only a few
    /// would seldom reach a random one.
    pub(crate) fn offer_digest(&mut self, now: Time) {
        let longest = self.config.push_pull_period.max(crate::timing::SHORTEST);
        self.digest_wait = self.digest_wait.saturating_mul(2).min(longest);
        let wait = self.up_to(self.digest_wait);
        self.clocks.push_pull = now + wait.max(crate::timing::SHORTEST);
        let reached = if self.rng.random_bool(0.5) {
            self.one_reached()
        } else {
            None
        };
        let reached = reached.filter(|id| self.table.live().contains(id));
        let random = self.pick(1, self.me.id).into_iter().next();
        if let Some(to) = reached.or(random) {
            self.send_digest(to);
        }
    }

    pub(crate) fn send_digest(&mut self, to: NodeId) {
        let sum = self.table.digest(&self.me);
        self.tell(to, Purpose::Digest { sum });
    }

    /// "Is this your digest too?"
    pub(crate) fn compare_digest(&mut self, now: Time, from: NodeId, sum: u64) {
        let differs = sum != self.table.digest(&self.me);
        if differs && self.table.get(from).is_some() && !self.exchanged_lately(now, from) {
            self.send_sums(now, from, Vec::new());
        }
    }

    pub(crate) fn send_sums(&mut self, now: Time, to: NodeId, claims: Vec<Claim>) {
        self.note_exchange(now, to, Step::Have);
        let sums = self.table.sums(&self.me);
        let purpose = Purpose::Sums { sums };
        self.send(to, &Message { purpose, claims });
    }

    /// A step of a comparison that this node awaits from that peer: each once, and none out of turn.
    pub(crate) fn awaits(&self, now: Time, from: NodeId, step: Step) -> Result<(), RejectMessage> {
        let record = self.table.get(from);
        let open = record.and_then(|record| record.dealings()?.exchanged);
        let patience = self.timing.base_period().saturating_mul(4);
        if open.is_some_and(|(at, open)| open == step && at + patience > now) {
            Ok(())
        } else {
            Err(RejectMessage::UnexpectedAck)
        }
    }

    /// A question for this node's list, or sums after a digest: seldom from the same peer, but as an answer.
    pub(crate) fn admit_comparison(&self, now: Time, from: NodeId) -> Result<(), RejectMessage> {
        if self.exchanged_lately(now, from) {
            let answer = self.awaits(now, from, Step::Sums);
            answer.map_err(|_not_asked| RejectMessage::TooSoon)
        } else {
            Ok(())
        }
    }

    pub(crate) fn handle_sums(&mut self, now: Time, from: NodeId, sums: &[u32; Purpose::BUCKETS]) {
        self.joining.compares(from);
        if self.table.get(from).is_none() {
            return;
        }
        let mut buckets = 0u32;
        for (at, (mine, theirs)) in self.table.sums(&self.me).iter().zip(sums).enumerate() {
            if mine != theirs {
                buckets |= 1 << at;
            }
        }
        if buckets == 0 {
            return;
        }
        self.note_exchange(now, from, Step::Want);
        let mut hashes: Vec<u32> = self
            .parts(buckets)
            .map(|r| compared_by(&r.member))
            .collect();
        if is_in(buckets, self.me.id) {
            hashes.push(compared_by(&self.me));
        }
        hashes.truncate(Purpose::HASHES_MAX);
        let purpose = Purpose::Have { buckets, hashes };
        let claims = Vec::new();
        self.send(from, &Message { purpose, claims });
    }

    pub(crate) fn handle_have(&mut self, now: Time, from: NodeId, buckets: u32, hashes: &[u32]) {
        self.note_exchange(now, from, Step::Done);
        let theirs: BTreeSet<u32> = hashes.iter().copied().collect();
        let mut mine = BTreeSet::new();
        let mut claims = Vec::new();
        for record in self.parts(buckets) {
            let hash = compared_by(&record.member);
            mine.insert(hash);
            // A member needs to hear nothing about itself but accusations, which come otherwise.
            if !theirs.contains(&hash) && record.member.id != from {
                claims.push(self.full_claim(record));
            }
        }
        if is_in(buckets, self.me.id) && !theirs.contains(&compared_by(&self.me)) {
            claims.push(self.full_claim_about_me());
        }
        mine.insert(compared_by(&self.me));
        let hashes = theirs.difference(&mine).copied().collect();
        self.send_claims(from, Purpose::Want { hashes }, claims);
    }

    pub(crate) fn handle_want(&mut self, now: Time, from: NodeId, hashes: &[u32]) {
        self.note_exchange(now, from, Step::Done);
        if hashes.is_empty() {
            return;
        }
        let wanted: BTreeSet<u32> = hashes.iter().copied().collect();
        let is_wanted = |record: &&Record| wanted.contains(&compared_by(&record.member));
        let mut claims: Vec<Claim> = self
            .table
            .records()
            .filter(is_wanted)
            .map(|record| self.full_claim(record))
            .collect();
        if wanted.contains(&compared_by(&self.me)) {
            claims.push(self.full_claim_about_me());
        }
        if !claims.is_empty() {
            self.send_claims(from, Purpose::ExchangePart, claims);
        }
    }

    /// As many messages as are needed, of which the last has the purpose.
    pub(crate) fn send_claims(&mut self, to: NodeId, last: Purpose, claims: Vec<Claim>) {
        let of_frame = if let Purpose::Want { hashes } = &last {
            FRAME_BYTES + HASH_BYTES_MAX * hashes.len()
        } else {
            FRAME_BYTES
        };
        let bytes_max = self.config.exchange_bytes_max.min(crate::MESSAGE_BYTES_MAX);
        let bytes_max = bytes_max.saturating_sub(of_frame);
        let mut part: Vec<Claim> = Vec::new();
        let mut bytes = 0;
        for claim in claims {
            let more = claim.bytes();
            if bytes + more > bytes_max && !part.is_empty() {
                let claims = core::mem::take(&mut part);
                let purpose = Purpose::ExchangePart;
                self.send(to, &Message { purpose, claims });
                bytes = 0;
            }
            bytes += more;
            part.push(claim);
        }
        let (purpose, claims) = (last, part);
        self.send(to, &Message { purpose, claims });
    }

    pub(crate) fn exchanged_lately(&self, now: Time, with: NodeId) -> bool {
        let pause = self.timing.base_period() / 2;
        self.table
            .get(with)
            .and_then(|record| record.dealings()?.exchanged)
            .is_some_and(|(at, _)| at + pause > now)
    }

    pub(crate) fn note_exchange(&mut self, now: Time, with: NodeId, step: Step) {
        if let Some(record) = self.table.get_mut(with) {
            record.dealings_mut().exchanged = Some((now, step));
        }
    }

    /// Members in these parts of the list that are worth telling about: a departed one is of no use to who never knew it.
    fn parts(&self, buckets: u32) -> impl Iterator<Item = &Record> {
        (0..32u8)
            .filter(move |at| buckets & (1 << at) != 0)
            .flat_map(|at| self.table.bucket(at))
            .filter(|record| record.member.state != State::Left)
    }
}

const fn is_in(buckets: u32, id: NodeId) -> bool {
    buckets & (1 << bucket_of(id)) != 0
}

/// The version byte, the purpose, and the length of the list.
const FRAME_BYTES: usize = 64;

/// A number of 32 bits in postcard.
const HASH_BYTES_MAX: usize = 5;
