//! The state machine: its state, its commands, and who handles which input.

use std::collections::{BTreeSet, VecDeque};

use core::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::claims::Via;
use crate::coordinate::Vivaldi;
use crate::exchange::Joining;
use crate::gossip::GossipQueue;
use crate::message::{Claim, DecodeMessage, INCARNATION_MAX, Message, Purpose};
use crate::meta::InvalidMeta;
use crate::myself::{Described, Rivals};
use crate::probing::{Probe, Reached};
use crate::questions::{Awaited, Questions};
use crate::ring::Ring;
use crate::table::{Step, Table};
use crate::timing::{SHORTEST, Timing};
use crate::{Config, Coordinate, Counters, Event, Member, Meta, NodeId, Output, State, Time};

/// One node's view of the mesh, as a state machine. The crate's documentation says how to drive it.
#[derive(Debug)]
pub struct Membership {
    pub(crate) me: Member,
    pub(crate) config: Config,
    pub(crate) timing: Timing,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) table: Table,
    pub(crate) ring: Ring,
    pub(crate) gossip: GossipQueue,
    pub(crate) probe: Option<Probe>,
    pub(crate) questions: Questions,
    pub(crate) reached: Reached,
    pub(crate) vivaldi: Vivaldi,
    pub(crate) described: Described,
    pub(crate) sequence: u64,
    pub(crate) dead_cursor: NodeId,
    pub(crate) joining: Joining,
    pub(crate) rivals: Rivals,
    pub(crate) refute_after: Time,
    pub(crate) accused_at: Option<u64>,
    pub(crate) greeted: Option<Time>,
    pub(crate) returned: Option<Time>,
    pub(crate) digest_wait: Duration,
    pub(crate) clocks: Clocks,
    pub(crate) counters: Counters,
    pub(crate) unsaved: BTreeSet<NodeId>,
    pub(crate) outputs: VecDeque<Output>,
}

/// When the next step of each kind is due.
#[derive(Debug)]
pub(crate) struct Clocks {
    /// The time of the latest input.
    pub(crate) now: Time,
    pub(crate) probe: Time,
    pub(crate) repeat: Option<Time>,
    pub(crate) indirect: Option<Time>,
    pub(crate) gossip: Option<Time>,
    pub(crate) push_pull: Time,
    pub(crate) dead_probe: Time,
    pub(crate) save: Option<Time>,
}

impl Clocks {
    /// First steps are spread over their periods, or nodes that start together would stay in step.
    fn new(config: &Config, now: Time, rng: &mut ChaCha8Rng) -> Self {
        let mut within = |period: Duration| {
            let micros = u64::try_from(period.as_micros()).unwrap_or(u64::MAX);
            now + Duration::from_micros(rng.random_range(0..=micros))
        };
        Self {
            now,
            probe: within(config.probe_period),
            push_pull: within(config.push_pull_period),
            dead_probe: within(config.dead_probe_period),
            repeat: None,
            indirect: None,
            gossip: None,
            save: None,
        }
    }
}

impl Membership {
    /// A node that knows nobody yet.
    ///
    /// `incarnation_floor` is one more than the incarnation that was [`Remembered`](crate::Remembered) under this node's own id, else 0:
    /// starting lower than in a former life costs one round trip. `seed` should differ from node to node and from
    /// start to start.
    ///
    /// # Errors
    /// `meta` breaks a limit of [`Meta`].
    pub fn new(
        id: NodeId,
        meta: Meta,
        incarnation_floor: u64,
        config: Config,
        seed: u64,
        now: Time,
    ) -> Result<Self, InvalidMeta> {
        meta.check()?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let incarnation = incarnation_floor.min(INCARNATION_MAX);
        let mut core = Self {
            described: Described {
                hash: meta.hash(),
                since: incarnation,
            },
            me: Member {
                id,
                incarnation,
                state: State::Alive,
                meta,
                since: now,
            },
            timing: Timing::new(&config),
            clocks: Clocks::new(&config, now, &mut rng),
            table: Table::default(),
            ring: Ring::default(),
            gossip: GossipQueue::default(),
            probe: None,
            questions: Questions::default(),
            reached: Reached::default(),
            vivaldi: Vivaldi::default(),
            returned: None,
            digest_wait: config.push_pull_period,
            // Random, so that a late ack from a former life matches nothing; small, as it travels with each ping.
            sequence: u64::from(rng.random::<u16>()),
            dead_cursor: NodeId::from_bytes(rng.random()),
            joining: Joining::default(),
            rivals: Rivals::default(),
            refute_after: now,
            accused_at: None,
            greeted: None,
            counters: Counters::default(),
            unsaved: BTreeSet::new(),
            outputs: VecDeque::new(),
            config,
            rng,
        };
        core.announce_me(now);
        Ok(core)
    }

    /// Changes what this node says about itself. All members learn it by gossip.
    ///
    /// # Errors
    /// `meta` breaks a limit of [`Meta`]; nothing changed.
    pub fn set_meta(&mut self, now: Time, meta: Meta) -> Result<(), InvalidMeta> {
        meta.check()?;
        if self.me.meta != meta {
            self.me.meta = meta;
            self.me.incarnation = self.me.incarnation.saturating_add(1);
            self.described = Described {
                hash: self.me.meta.hash(),
                since: self.me.incarnation,
            };
            self.announce_me(now);
        }
        Ok(())
    }

    /// Says goodbye: at once to up to [`Config::leave_direct_max`] members, to the rest by gossip.
    ///
    /// The driver should go on driving for about a second, then stop. There is no way back but a new core.
    pub fn leave(&mut self, now: Time) {
        if self.me.state == State::Left {
            return;
        }
        self.me.state = State::Left;
        self.me.since = now;
        self.me.incarnation = self.me.incarnation.saturating_add(1);
        self.probe = None;
        self.clocks.indirect = None;
        self.clocks.repeat = None;
        self.joining.give_up();
        self.announce_me(now);
        let message = Message {
            purpose: Purpose::Gossip,
            claims: vec![self.full_claim_about_me()],
        };
        for to in self.pick(self.config.leave_direct_max, self.me.id) {
            self.send(to, &message);
        }
    }

    /// Takes in what a member sent.
    ///
    /// `from` must be who the transport proved it to be: what a member says about itself counts for more than what
    /// others say about it.
    ///
    /// # Errors
    /// The message is refused, and nothing changed. The driver counts it and goes on.
    pub fn handle_message(
        &mut self,
        now: Time,
        from: NodeId,
        bytes: &[u8],
    ) -> Result<(), RejectMessage> {
        let Message { purpose, claims } = Message::decode(bytes)?;
        if from == self.me.id {
            return Err(RejectMessage::FromMyself);
        }
        self.admit(now, from, &purpose)?;
        let via = via(&purpose);
        self.clocks.now = now;
        let before = self.table.sum();
        let repeats = self.timing.retransmits(self.size());
        for claim in claims {
            self.gossip.heard(&claim, repeats);
            self.handle_claim(now, from, claim, via);
        }
        self.greet(now, from);
        if before != self.table.sum() {
            self.unsettle(now, self.settles_within(via));
        }
        self.handle_purpose(now, from, purpose);
        Ok(())
    }

    fn handle_purpose(&mut self, now: Time, from: NodeId, purpose: Purpose) {
        match purpose {
            Purpose::Ping { sequence } => self.answer_ping(from, sequence),
            Purpose::Ack {
                sequence,
                coordinate,
            } => self.handle_ack(now, from, sequence, coordinate),
            Purpose::PingReqAck { sequence } => self.handle_request_ack(from, sequence),
            Purpose::PingReqNack { sequence } => self.handle_nack(from, sequence),
            Purpose::PingReq { sequence, target } => self.relay_ping(now, from, sequence, target),
            Purpose::Digest { sum } => self.compare_digest(now, from, sum),
            Purpose::Sums { sums } => self.handle_sums(now, from, &sums),
            Purpose::Have { buckets, hashes } => self.handle_have(now, from, buckets, &hashes),
            Purpose::Want { hashes } => self.handle_want(now, from, &hashes),
            Purpose::ExchangeAsk { sum, known } => self.answer_exchange(now, from, sum, known),
            Purpose::ExchangeAnswer => self.handle_list(from),
            Purpose::ExchangePart | Purpose::Gossip => {}
        }
    }

    /// Refuses what was not asked for or is asked for too often, before anything is believed.
    fn admit(&mut self, now: Time, from: NodeId, purpose: &Purpose) -> Result<(), RejectMessage> {
        match purpose {
            Purpose::Ack { sequence, .. } => self.expects(*sequence, from, Awaited::is_ping),
            Purpose::PingReqAck { sequence } | Purpose::PingReqNack { sequence } => {
                self.expects(*sequence, from, Awaited::is_request)
            }
            Purpose::PingReq { target, .. } => self.may_relay(*target),
            Purpose::Sums { .. } | Purpose::ExchangeAsk { .. } => self.admit_comparison(now, from),
            Purpose::Have { .. } => self.awaits(now, from, Step::Have),
            Purpose::Want { .. } => self.awaits(now, from, Step::Want),
            Purpose::Ping { .. }
            | Purpose::Gossip
            | Purpose::Digest { .. }
            | Purpose::ExchangePart
            | Purpose::ExchangeAnswer => Ok(()),
        }
    }

    /// News is about by then; what came by comparing lists others may lack too, and nobody else tells them.
    fn settles_within(&self, via: Via) -> Duration {
        match via {
            Via::Gossip => self.config.gossip_period.saturating_mul(10),
            Via::Exchange => self.config.gossip_period,
        }
    }

    /// A hint from the transport that a peer cannot be reached: it is probed soon. Never a verdict.
    pub fn handle_unreachable(&mut self, _now: Time, peer: NodeId) {
        if self.table.live().contains(&peer) {
            self.ring.hurry(peer);
        }
    }

    /// Does what is due. An extra call does nothing.
    pub fn handle_timeout(&mut self, now: Time) {
        self.clocks.now = now;
        self.forgive_after_pause(now);
        if self.clocks.repeat.is_some_and(|at| at <= now) {
            self.repeat_ping(now);
        }
        if self.clocks.indirect.is_some_and(|at| at <= now) {
            self.clocks.indirect = None;
            self.ask_others(now);
        }
        self.remind_relays(now);
        if self.clocks.probe <= now {
            self.finish_probe(now);
            self.start_probe(now);
        }
        let before = self.table.sum();
        while let Some(id) = self.table.due(now) {
            self.handle_deadline(now, id);
        }
        if before != self.table.sum() {
            self.unsettle(now, self.settles_within(Via::Gossip));
        }
        if self.clocks.dead_probe <= now {
            self.clocks.dead_probe = now + self.config.dead_probe_period.max(SHORTEST);
            self.probe_dead(now);
        }
        if self.clocks.push_pull <= now {
            self.offer_digest(now);
        }
        self.retry_joins(now);
        if self.clocks.gossip.is_some_and(|at| at <= now) {
            self.spread(now);
        }
        if self.clocks.save.is_some_and(|at| at <= now) {
            self.clocks.save = None;
            self.save();
        }
    }

    /// When [`Membership::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let clocks = &self.clocks;
        [
            Some(clocks.probe),
            Some(clocks.push_pull),
            Some(clocks.dead_probe),
            clocks.repeat,
            clocks.indirect,
            self.questions.next_wake(),
            clocks.gossip,
            clocks.save,
            self.table.next_deadline(),
            self.joining.next(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// This node as the others should see it.
    #[must_use]
    pub const fn me(&self) -> &Member {
        &self.me
    }

    /// All other members in the order of their ids: also those that are `Down`, and those that `Left` and are not forgotten yet.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.table.records().map(|record| &record.member)
    }

    /// Another member.
    #[must_use]
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.table.get(id).map(|record| &record.member)
    }

    /// Where this node is, for estimates of round trips.
    #[must_use]
    pub fn coordinate(&self) -> Coordinate {
        self.vivaldi.coordinate()
    }

    /// About how long a message to another member and its answer take: the middle one of the last three that were
    /// measured, else an estimate from network coordinates; `None` as long as neither is known.
    #[must_use]
    pub fn distance(&self, to: NodeId) -> Option<Duration> {
        let dealings = self.table.get(to)?.dealings()?;
        let estimate = || Some(self.coordinate().distance(&dealings.coordinate?));
        dealings.round_trips.typical().or_else(estimate)
    }

    /// How far this node slows itself down since its own probes failed: 0 when all is well, up to [`Config::strain_max`].
    #[must_use]
    pub const fn strain(&self) -> u32 {
        self.timing.strained()
    }

    /// What was refused so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Members that count for the size of the mesh, with this one.
    pub(crate) fn size(&self) -> usize {
        self.table.live().len() + 1
    }

    pub(crate) fn send(&mut self, to: NodeId, message: &Message) {
        let message = message.encode();
        self.outputs.push_back(Output::Send { to, message });
    }

    pub(crate) fn emit(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Spreads a claim.
    pub(crate) fn tell_all(&mut self, now: Time, claim: Claim) {
        self.gossip.push(claim);
        self.clocks.gossip.get_or_insert(now);
    }

    /// Random live members.
    pub(crate) fn pick(&mut self, count: usize, but: NodeId) -> Vec<NodeId> {
        self.ring.pick(count, but, self.table.live(), &mut self.rng)
    }

    /// News that fits into a message, with what is held against its receiver first.
    pub(crate) fn news_for(&mut self, to: NodeId, bytes_max: usize) -> Vec<Claim> {
        let times = self.timing.retransmits(self.size());
        let mut claims: Vec<_> = self.charge_against(to).into_iter().collect();
        let used: usize = claims.iter().map(Claim::bytes).sum();
        claims.extend(self.gossip.take(bytes_max.saturating_sub(used), times));
        claims
    }

    /// Who gets the next round of gossip: random members. A node that doubts itself makes sure of one that it reached lately,
    /// as otherwise an accusation of its might find nobody who passes it on to the accused.
    fn listeners(&mut self) -> Vec<NodeId> {
        let mut to = self.pick(self.config.gossip_fanout, self.me.id);
        if self.timing.strained() > 0
            && let Some(reached) = self.one_reached()
            && self.table.live().contains(&reached)
            && !to.contains(&reached)
        {
            to.pop();
            to.push(reached);
        }
        to
    }

    /// One round of gossip.
    fn spread(&mut self, now: Time) {
        self.refute_again(now);
        self.clocks.gossip = None;
        for to in self.listeners() {
            let claims = self.news_for(to, self.config.gossip_bytes_max);
            if !claims.is_empty() {
                let purpose = Purpose::Gossip;
                self.send(to, &Message { purpose, claims });
            }
        }
        // With nobody to tell, the next one to come starts it again.
        if !self.gossip.is_empty() && !self.table.live().is_empty() {
            self.clocks.gossip = Some(now + self.config.gossip_period.max(SHORTEST));
        }
    }
}

/// A message is refused: the peer's fault or a race. Nothing changed; the driver counts it and goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RejectMessage {
    /// The bytes are no message. The peer is faulty, hostile or newer.
    #[error(transparent)]
    Decode(#[from] DecodeMessage),
    /// The sender has this node's own id. The transport's or an impostor's fault.
    #[error("a message from this node's own id")]
    FromMyself,
    /// An answer to no open question of this node to that peer: late, repeated or made up.
    #[error("an answer to no open question")]
    UnexpectedAck,
    /// A ping is asked for to somebody who is not a live member: nobody can be made to send to strangers.
    #[error("a ping request for {target:.8}, who is no live member")]
    UnknownTarget {
        /// Whom the peer wanted pinged.
        target: NodeId,
    },
    /// Too many pings for others are open. The peer may ask again.
    #[error("{count} open questions")]
    Busy {
        /// How many are open.
        count: usize,
    },
    /// Lists were exchanged with that peer within the last probe period. It may ask again later.
    #[error("lists were exchanged a moment ago")]
    TooSoon,
}

const fn via(purpose: &Purpose) -> Via {
    match purpose {
        Purpose::ExchangePart
        | Purpose::ExchangeAsk { .. }
        | Purpose::ExchangeAnswer
        | Purpose::Sums { .. }
        | Purpose::Have { .. }
        | Purpose::Want { .. } => Via::Exchange,
        Purpose::Ping { .. }
        | Purpose::Ack { .. }
        | Purpose::PingReq { .. }
        | Purpose::PingReqAck { .. }
        | Purpose::PingReqNack { .. }
        | Purpose::Digest { .. }
        | Purpose::Gossip => Via::Gossip,
    }
}
