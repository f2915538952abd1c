//! The engine: what comes in, what goes out, and the state in between.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use meshwork_crdt::{Hlc, HybridClock, Limits, Merges, ReplicaId};
use meshwork_dht::{Partition, Placement, Position, View};
use meshwork_membership::planted::{Bug, planted};
use meshwork_membership::{NodeId, Time};

use crate::dots::Dots;
use crate::feed::Feed;
use crate::holdings::Holdings;
use crate::index::Index;
use crate::journal::Journal;
use crate::links::Link;
use crate::message::{DecodeMessage, Message, Refusal};
use crate::objects::{Applied, Objects};
use crate::outbox::{Lag, Outbox};
use crate::reads::PendingRead;
use crate::records::{self, meta};
use crate::repair::Repair;
use crate::request::{Found, ReadError, RequestId, StoreFailure, WriteError, Written};
use crate::stored::stored_dots;
use crate::writes::PendingWrite;
use crate::{Batch, Config, Key, PartitionSet, Prefix, ReadStore, Space, Store};

/// The replication engine of one node: a pure state machine.
///
/// Hand it what happened with a `handle_*` method or a command, then take [`Replication::poll_output`] until it is empty, and
/// call [`Replication::handle_timeout`] when [`Replication::poll_timeout`] says so. It reads the store by plain calls; what it
/// writes are [`Output::Store`] batches, to be answered in order by [`Replication::handle_stored`] or
/// [`Replication::handle_store_failed`].
pub struct Replication {
    pub(crate) config: Config,
    pub(crate) me: NodeId,
    pub(crate) store: Arc<dyn Store + Send + Sync>,
    pub(crate) merges: Merges,
    pub(crate) limits: Limits,
    pub(crate) clock: HybridClock,
    pub(crate) dots: Dots,
    pub(crate) journal: Journal,
    pub(crate) objects: Objects,
    pub(crate) index: Index,
    pub(crate) outbox: Outbox,
    pub(crate) holdings: Holdings,
    pub(crate) links: BTreeMap<NodeId, Link>,
    pub(crate) writes: BTreeMap<RequestId, PendingWrite>,
    pub(crate) waiting_for: BTreeMap<u64, RequestId>,
    pub(crate) reads: BTreeMap<u64, PendingRead>,
    pub(crate) repair: Repair,
    pub(crate) feed: Feed,
    pub(crate) timers: BTreeSet<(Time, Timer)>,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) counts: Counts,
    pub(crate) now: Time,
    last_id: u64,
    deliver: bool,
    pub(crate) takes_writes: bool,
    /// Namespaces of the strong group: none of this engine's business.
    pub(crate) strong: BTreeSet<String>,
}

/// What the driver must do next.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Send a message to a connected peer; if that fails it is lost, and asked for or sent again later.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Make a batch durable.
    Store {
        /// To be handed back.
        id: u64,
        /// The changes; shared, since the engine keeps them until they are durable.
        batch: Arc<Batch>,
    },
    /// A write is answered.
    Written {
        /// The request.
        id: RequestId,
        /// How it ended.
        result: Result<Written, WriteError>,
    },
    /// A read is answered.
    Found {
        /// The request.
        id: RequestId,
        /// How it ended.
        result: Result<Found, ReadError>,
    },
    /// What [`Replication::keep`] was given is durable.
    Kept {
        /// As given.
        id: u64,
    },
    /// Items were not merged. Told once for each reason, side and connection.
    Refused {
        /// The other node.
        peer: NodeId,
        /// Which side refused.
        by: Refuser,
        /// Why.
        reason: Refusal,
    },
    /// A watched key has changed, here or at a peer. It may be told more than once.
    Changed {
        /// The key.
        key: Key,
        /// Digest of its new version.
        digest: [u8; 32],
    },
}

/// Which side of a connection refused something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refuser {
    /// This node refused what the peer sent.
    Us,
    /// The peer refused what this node sent.
    Peer,
}

/// What a timer is for; a late one finds nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Write(RequestId),
    Read(u64),
    Hedge(u64),
    Push(NodeId, u64),
    Unpark(NodeId, u64),
    Session(NodeId, u64),
    AntiEntropy,
    CompareAgain,
    Sweep,
    RetryStore,
    Index,
}

impl Timer {
    /// The one that sorts behind all others of its time.
    const LAST: Self = Self::Index;
}

/// Counters since the start, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Writes coordinated here and merged.
    pub writes: u64,
    /// Reads answered here.
    pub reads: u64,
    /// Items merged that a peer pushed.
    pub items_received: u64,
    /// Items that a peer pushed and this node refused.
    pub items_refused: u64,
    /// Items that this node pushed and a peer refused.
    pub items_refused_by_peers: u64,
    /// Stamps refused since they lay too far ahead.
    pub clock_ahead: u64,
    /// Own stamps that peers refused for that reason: this node's clock is wrong.
    pub clock_ahead_by_peers: u64,
    /// Objects sent to replicas that a read found behind.
    pub read_repairs: u64,
    /// Comparisons with peers carried through.
    pub comparisons: u64,
    /// Differences that comparisons found.
    pub differences: u64,
    /// Comparisons that fell back to listing.
    pub listings: u64,
    /// Damaged records met.
    pub damaged: u64,
    /// Messages refused as malformed.
    pub malformed: u64,
    /// Requests that ran into their deadline.
    pub timeouts: u64,
}

/// Where the store comes from, which decides what its node may claim to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The first node of its mesh: what it holds is all there is.
    Founder,
    /// A node that joined: it holds a partition completely only after it compared with the others.
    Joiner,
    /// A copy or a backup that was restored: it may lack what was acknowledged after it was made.
    Restored,
}

/// Who and what an engine works for.
#[derive(Debug)]
pub struct Identity {
    /// The node.
    pub node: NodeId,
    /// The store's replica id.
    pub replica: ReplicaId,
    /// The same for all members of a mesh; keys the ids that comparisons are made of.
    pub mesh_key: [u8; 32],
    /// Where the store comes from.
    pub origin: Origin,
}

/// A message from a peer is refused. The peer's fault; nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RejectMessage {
    /// It does not decode.
    #[error(transparent)]
    Decode(#[from] DecodeMessage),
    /// It answers something that was not asked.
    #[error("the message answers nothing that was asked")]
    Unasked,
    /// It asks for more than one peer may.
    #[error("the peer asks for more than it may: {what}")]
    OverLimit {
        /// What there was too much of.
        what: &'static str,
    },
}

impl Replication {
    /// Goes on with what the store holds.
    ///
    /// # Errors
    /// [`ReadStore`] when the engine's own facts in the store cannot be read.
    pub fn open(
        identity: &Identity,
        config: Config,
        merges: Merges,
        store: Arc<dyn Store + Send + Sync>,
        now: Time,
    ) -> Result<Self, ReadStore> {
        let last_dot = stored_dots(&*store)?;
        let recorded = store.get(Space::Meta, meta::COMPLETE)?;
        let complete = match (identity.origin, recorded) {
            // Planted: a copy from before what was acknowledged since answers as if it had it.
            (Origin::Restored, _) if !planted(Bug::RestoredCountsAsComplete) => BTreeSet::new(),
            (Origin::Restored | Origin::Joiner, None) => BTreeSet::new(),
            (_, Some(bytes)) => records::decode::<PartitionSet>(&bytes)
                .map(|set| set.partitions())
                .unwrap_or_default(),
            (Origin::Founder, None) => Partition::all().collect(),
        };
        let mut outbox = Outbox::new(config.outbox_cache_bytes);
        let damaged = outbox.restore(&*store)?;
        let limits = Limits {
            bytes_max: config.object_bytes_max,
            ..Limits::default()
        };
        let drift_ms = u64::try_from(config.drift_max.as_millis()).unwrap_or(u64::MAX);
        let mut engine = Self {
            me: identity.node,
            merges,
            clock: HybridClock::new(Hlc::default(), drift_ms),
            dots: Dots::new(identity.replica, last_dot),
            journal: Journal::new(),
            objects: Objects::new(config.object_cache_bytes),
            index: Index::new(identity.mesh_key),
            outbox,
            holdings: Holdings::new(identity.node, config.replication_factor, complete),
            links: BTreeMap::new(),
            writes: BTreeMap::new(),
            waiting_for: BTreeMap::new(),
            reads: BTreeMap::new(),
            repair: Repair::default(),
            feed: Feed::default(),
            timers: BTreeSet::new(),
            outputs: VecDeque::new(),
            counts: Counts {
                damaged,
                ..Counts::default()
            },
            now,
            last_id: 0,
            deliver: false,
            takes_writes: true,
            strong: BTreeSet::new(),
            limits,
            config,
            store,
        };
        engine
            .timers
            .insert((now + engine.config.anti_entropy_period, Timer::AntiEntropy));
        engine.timers.insert((now + SWEEP_PERIOD, Timer::Sweep));
        engine.timers.insert((now, Timer::Index));
        engine.record_complete();
        Ok(engine)
    }

    /// The placed members have changed.
    pub fn handle_view(&mut self, now: Time, view: View) {
        self.now = now;
        let held: Vec<Partition> = self
            .index
            .partitions()
            .filter(|partition| self.holdings.is_replica(*partition))
            .collect();
        if !self.holdings.set_view(view) {
            return;
        }
        // What was written while this was its place, complete or not, may be nowhere else: a node that has just joined takes
        // itself for the whole mesh until it hears of the others.
        for partition in held {
            self.holdings.leave_at_rest(partition);
        }
        let holdings = &self.holdings;
        // Planted: deltas wait for ever for a node that is gone, and reach nobody who took its place.
        if !planted(Bug::OutboxNotRetargeted) {
            self.outbox
                .retarget(|position| holdings.others(position.partition()));
        }
        self.record_complete();
        // What a session settles it settles under one view.
        self.end_sessions();
        self.compare_where_due();
        self.deliver = true;
    }

    /// A connection to a peer is up.
    pub fn handle_connected(&mut self, now: Time, peer: NodeId) {
        self.now = now;
        if self.links.contains_key(&peer) {
            // The old connection's end was not noticed: what was under way on it is lost.
            self.handle_disconnected(now, peer);
        }
        self.links.insert(peer, Link::default());
        self.send_subscription(peer);
        self.compare_where_due();
        self.deliver = true;
    }

    /// The connection to a peer is gone: what was under way to it waits for the next one.
    pub fn handle_disconnected(&mut self, now: Time, peer: NodeId) {
        self.now = now;
        if let Some(link) = self.links.remove(&peer) {
            self.drop_pushes(peer, link);
        }
        self.journal.forget_peer(peer);
        self.feed.forget_peer(&peer);
        self.end_session(peer);
        self.ask_instead_of(peer);
    }

    /// A message from a connected peer. `wall_ms` is the wall clock, in milliseconds since 1970.
    ///
    /// # Errors
    /// [`RejectMessage`] says what is wrong with it; nothing has changed then.
    pub fn handle_message(
        &mut self,
        now: Time,
        wall_ms: u64,
        from: NodeId,
        bytes: &[u8],
    ) -> Result<(), RejectMessage> {
        self.now = now;
        let message = Message::decode(bytes).inspect_err(|_| self.counts.malformed += 1)?;
        match message {
            Message::Push { id, items } => {
                self.receive_push(wall_ms, from, id, items);
                Ok(())
            }
            Message::PushAck { id, refused } => self.receive_push_ack(from, id, &refused),
            Message::Get { id, key, have } => self.receive_get(from, id, &key, &have),
            Message::Got {
                id,
                complete,
                last,
                object,
                version,
            } => {
                let part = crate::reads::Part {
                    complete,
                    last,
                    object,
                    version,
                };
                self.receive_got(wall_ms, from, id, &part)
            }
            Message::Reconcile { session, step } => self.receive_step(from, session, step),
            Message::Subscribe { prefixes } => {
                if prefixes.len() > self.config.watches_per_peer_max {
                    return Err(RejectMessage::OverLimit {
                        what: "watched prefixes",
                    });
                }
                self.feed
                    .subscribe(from, prefixes, now + SUBSCRIPTION_LEASE);
                Ok(())
            }
            Message::Changed { key, digest } => {
                self.receive_changed(key, digest);
                Ok(())
            }
        }
    }

    /// A batch is durable.
    pub fn handle_stored(&mut self, id: u64) {
        self.journal.stored(id);
        self.outbox.stored(&self.journal);
        self.objects.stored(&self.journal);
        self.deliver = true;
    }

    /// A batch, and so every later one, could not be made durable.
    ///
    /// Writes are refused until the store takes batches again; what failed is tried again each second when the disk was full.
    pub fn handle_store_failed(&mut self, now: Time, id: u64, failure: StoreFailure) {
        // Planted: what the disk did not take is acknowledged, and gone after a restart.
        if planted(Bug::FailedBatchStored) {
            return self.handle_stored(id);
        }
        self.now = now;
        self.journal.failed(id, failure.clone());
        self.give_up(&failure);
        if failure == StoreFailure::Full {
            self.timers.insert((now + STORE_RETRY, Timer::RetryStore));
        }
    }

    /// Answers what waits for batches that may never become durable.
    fn give_up(&mut self, failure: &StoreFailure) {
        let given_up = self
            .journal
            .give_up(|output| matches!(output, Output::Written { .. } | Output::Found { .. }));
        for output in given_up {
            self.outputs.push_back(match output {
                Output::Written { id, .. } => Output::Written {
                    id,
                    result: Err(WriteError::Store(failure.clone())),
                },
                Output::Found { id, .. } => Output::Found {
                    id,
                    result: Err(ReadError::Store(failure.clone())),
                },
                other @ (Output::Send { .. }
                | Output::Store { .. }
                | Output::Kept { .. }
                | Output::Refused { .. }
                | Output::Changed { .. }) => other,
            });
        }
        self.fail_pending_writes(failure);
    }

    /// Does what is due. An extra call does nothing.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        // What is set for this very moment meanwhile waits for the next call: a long job works in pieces.
        let due: Vec<(Time, Timer)> = self.timers.range(..=(now, Timer::LAST)).copied().collect();
        for (at, timer) in due {
            if !self.timers.remove(&(at, timer)) {
                continue;
            }
            match timer {
                Timer::Write(id) => self.write_timed_out(id),
                Timer::Read(id) => self.read_timed_out(id),
                Timer::Hedge(id) => self.hedge(id),
                Timer::Push(peer, id) => self.push_timed_out(peer, id),
                Timer::Unpark(peer, seq) => {
                    self.outbox.again(peer, [seq]);
                    self.deliver = true;
                }
                Timer::Session(peer, session) => self.session_timed_out(peer, session),
                Timer::AntiEntropy => {
                    self.timers
                        .insert((now + self.config.anti_entropy_period, Timer::AntiEntropy));
                    self.compare_with_all();
                }
                Timer::CompareAgain => self.compare_where_due(),
                Timer::Sweep => {
                    self.timers.insert((now + SWEEP_PERIOD, Timer::Sweep));
                    self.sweep();
                }
                Timer::RetryStore => self.journal.retry(),
                Timer::Index => self.index_more(),
            }
        }
    }

    /// When [`Replication::handle_timeout`] is to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The next thing to do; call it until it returns `None` after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
            if let Some(output) = self.journal.release() {
                return Some(output);
            }
            if core::mem::take(&mut self.deliver) {
                self.deliver_outbox();
                continue;
            }
            // Planted: after a crash dots are drawn again that peers have seen already.
            if let Some(last) = self.dots.take_unrecorded()
                && !planted(Bug::DotsNotDurable)
            {
                self.journal.put(
                    Space::Meta,
                    meta::DOTS.to_vec(),
                    last.to_be_bytes().to_vec(),
                );
            }
            return self.journal.next_batch();
        }
    }

    /// Begins to tell of changes under `prefix` by [`Output::Changed`].
    pub fn watch(&mut self, prefix: Prefix) {
        if self.feed.watch(prefix) {
            self.send_subscriptions();
        }
    }

    /// Ends one [`Replication::watch`] of `prefix`.
    pub fn unwatch(&mut self, prefix: &Prefix) {
        if self.feed.unwatch(prefix) {
            self.send_subscriptions();
        }
    }

    /// Where keys are placed.
    #[must_use]
    pub const fn placement(&self) -> &Placement {
        self.holdings.placement()
    }

    /// Counters since the start.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// What waits for one peer.
    #[must_use]
    pub fn lag(&self, peer: &NodeId) -> Lag {
        self.outbox.lag(peer)
    }

    /// What waits in all: deltas, not counted once a peer but once.
    #[must_use]
    pub fn outbox(&self) -> Lag {
        Lag {
            entries: self.outbox.len() as u64,
            bytes: self.outbox.bytes(),
        }
    }

    /// Partitions that are placed here and not complete, and those that are still to be handed over.
    #[must_use]
    pub fn moving(&self) -> (usize, usize) {
        (self.holdings.filling_len(), self.holdings.leaving_len())
    }

    /// Objects held here, as far as they have been counted since the start.
    #[must_use]
    pub fn objects_len(&self) -> usize {
        self.index.len()
    }

    /// Why writes are refused at present, if they are.
    #[must_use]
    pub const fn store_failure(&self) -> Option<&StoreFailure> {
        self.journal.failure()
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Whether [`Replication::next_id`] ever gave out this id.
    pub(crate) const fn was_drawn(&self, id: u64) -> bool {
        id >= 1 && id <= self.last_id
    }

    /// Hands over at once whatever is held here and not placed here, copies in use too: for a node on its way out.
    pub fn hand_over(&mut self, now: Time) {
        self.now = now;
        for partition in self.index.resting(now, core::time::Duration::ZERO) {
            self.holdings.leave_at_rest(partition);
        }
        self.compare_where_due();
    }

    /// Keeps a record beside the engine's own, durable with its next batch; `None` removes it. Nothing is answered.
    pub fn put_record(&mut self, space: Space, key: Vec<u8>, value: Option<Vec<u8>>) {
        match value {
            Some(value) => self.journal.put(space, key, value),
            None => self.journal.delete(space, key),
        };
    }

    /// As [`Replication::put_record`], answered by [`Output::Kept`] once it is durable.
    pub fn keep(&mut self, id: u64, space: Space, key: Vec<u8>, value: Vec<u8>) {
        self.journal.put(space, key, value);
        self.journal.hold(Output::Kept { id });
    }

    pub(crate) fn send(&mut self, to: NodeId, message: Message) {
        self.outputs.push_back(Output::Send { to, message });
    }

    pub(crate) const fn deliver_soon(&mut self) {
        self.deliver = true;
    }

    pub(crate) fn record_complete(&mut self) {
        let bits = self.holdings.encode_complete();
        self.journal.put(Space::Meta, meta::COMPLETE.to_vec(), bits);
    }

    /// Brings the index up to date with a merge and tells those who watch.
    pub(crate) fn merged(&mut self, key: &Key, applied: Applied) {
        let position = key.position();
        if applied.damaged {
            self.found_damaged(&records::object_key(&position, 0));
        }
        if !applied.changed() {
            return;
        }
        if applied.damaged && self.index.is_built() {
            self.recount(position.partition());
        } else {
            let before = applied.before.as_ref();
            self.index.replace(&position, before, Some(&applied.after));
        }
        let digest = applied.after;
        if self.feed.is_watched_here(key) {
            self.journal.hold(Output::Changed {
                key: key.clone(),
                digest,
            });
        }
        for peer in self.feed.subscribers(key) {
            let message = Message::Changed {
                key: key.clone(),
                digest,
            };
            self.journal.hold(Output::Send { to: peer, message });
        }
    }

    fn receive_changed(&mut self, key: Key, digest: [u8; 32]) {
        // A replica hears of its own keys when it merges them.
        if self.feed.is_watched_here(&key)
            && !self.holdings.is_replica(key.position().partition())
            && self.feed.is_news(&key, digest)
        {
            self.outputs.push_back(Output::Changed { key, digest });
        }
    }

    fn send_subscriptions(&mut self) {
        let peers: Vec<NodeId> = self.links.keys().copied().collect();
        let prefixes = self.feed.prefixes(self.config.watches_per_peer_max);
        for peer in peers {
            self.send(
                peer,
                Message::Subscribe {
                    prefixes: prefixes.clone(),
                },
            );
        }
    }

    fn send_subscription(&mut self, peer: NodeId) {
        let prefixes = self.feed.prefixes(self.config.watches_per_peer_max);
        if !prefixes.is_empty() {
            self.send(peer, Message::Subscribe { prefixes });
        }
    }

    /// Lets go of what lapsed, and hands over copies of keys that are not placed here and have come to rest.
    fn sweep(&mut self) {
        #[cfg(feature = "planted")]
        self.forget_tombstones();
        self.feed.expire(self.now);
        if !self
            .feed
            .prefixes(self.config.watches_per_peer_max)
            .is_empty()
        {
            self.send_subscriptions();
        }
        for partition in self.index.resting(self.now, self.config.stray_idle) {
            self.holdings.leave_at_rest(partition);
        }
        self.compare_where_due();
    }

    /// The replicas of a position but for this node.
    pub(crate) fn others(&self, position: &Position) -> BTreeSet<NodeId> {
        self.holdings.others(position.partition())
    }

    /// Turns a failed read of the store into the failure that requests are answered with.
    pub(crate) fn store_broke(&mut self, error: ReadStore) -> Option<StoreFailure> {
        match error {
            ReadStore::Damaged { key, .. } => {
                self.found_damaged(&key);
                if let Some((position, _)) = records::parse_object_key(&key) {
                    self.recount(position.partition());
                }
                None
            }
            ReadStore::Engine { reason } => {
                let failure = StoreFailure::Broken {
                    reason: reason.clone(),
                };
                if self.journal.failure() != Some(&failure) {
                    self.journal.broke(reason);
                    self.give_up(&failure);
                }
                Some(failure)
            }
        }
    }

    /// A record is damaged: until its partition was compared with the others, answers do not count.
    pub(crate) fn found_damaged(&mut self, key: &[u8]) {
        // Planted: see `Objects::load`.
        if planted(Bug::DamageTakenForAbsence) {
            return;
        }
        self.counts.damaged += 1;
        let Some((position, _)) = records::parse_object_key(key) else {
            return;
        };
        // A damaged copy that is not placed here can only be handed over as far as it is sound, and dropped.
        self.holdings.leave_at_rest(position.partition());
        if self.holdings.doubt(position.partition()) {
            self.record_complete();
        }
    }
}

impl core::fmt::Debug for Replication {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Replication")
            .field("me", &self.me)
            .field("outbox", &self.outbox())
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

/// How often lapsed subscriptions and resting copies are looked for.
const SWEEP_PERIOD: core::time::Duration = core::time::Duration::from_secs(20);
/// How long a peer's subscription holds without being renewed: three sweeps.
const SUBSCRIPTION_LEASE: core::time::Duration = core::time::Duration::from_secs(60);
/// How soon a full disk is tried again.
const STORE_RETRY: core::time::Duration = core::time::Duration::from_secs(1);
