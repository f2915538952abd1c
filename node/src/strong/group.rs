//! One voter or learner: the Raft core, its log, and the state that it builds.
//!
//! Source: Ongaro and Ousterhout, "In search of an understandable consensus algorithm" (2014); Ongaro, "Consensus: bridging theory and
//! practice" (2014) for membership changes (4), reads (6.4), pre-vote (9.6) and the leader's parallel write (10.2.1). The protocol itself is
//! the crate `raft`. Where we differ:
//!
//! * All commands that came in together are one entry: one record, one flush, one broadcast.
//! * A change of the voters, and that it was committed, is on disk before anything leaves that follows from it: raft takes its voters from what
//!   it has applied, and a voter that forgot it could count an old majority.
//! * Voters take turns at asking for an election, instead of drawing lots; chance decides only within a turn, from our own seed.

mod snapshots;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use meshwork_membership::{NodeId, Time};
use meshwork_sync::{Batch, Store};
use raft::eraftpb::{Entry, EntryType};
use raft::{RawNode, Ready, StateRole};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use self::snapshots::{Incoming, Making, encode_snapshot, put_parts, read_snapshot};
use super::change::Change;
use super::command::Command;
use super::freshness::Freshness;
use super::log::Log;
use super::records::{Base, Config, Hard, Head, OpenGroup, SnapshotHead, VoterId};
use super::sessions::Answer;
use super::state::State;
use super::wire::{Kind, RaftMessage, RejectRaft};

/// How a group keeps time and how much it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// A voter that has not heard of a leader for so long, or up to twice as long, asks for an election. Default 1 s. Less finds a dead leader
    /// sooner; when it comes near the round trip between voters or the time of a flush, leaders change for nothing.
    pub election_timeout: Duration,
    /// A snapshot is made when the log has grown by so much, or by as much as the last snapshot if that is more, bytes. Default 8 MiB. More
    /// costs disk and memory and time at a start; less costs writing.
    pub snapshot_after_bytes: usize,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            election_timeout: Duration::from_secs(1),
            snapshot_after_bytes: 8 << 20,
        }
    }
}

/// What a group wants done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// To be sent; may be lost.
    Send(NodeId, Box<RaftMessage>),
    /// To be made durable, and handed back by its number.
    Store(u64, Arc<Batch>),
    /// Commands were applied: what each came to.
    Applied {
        index: u64,
        term: u64,
        answers: Vec<Option<Answer>>,
    },
    /// What was committed when the read was asked for has been applied.
    Read(u64),
    /// Leader or term have changed.
    Turned,
    /// The voters have changed.
    Reconfigured,
    /// A part of the leader's snapshot is to be fetched: which, and which part of it.
    Fetch(NodeId, u64, u32),
}

/// Who a voter is, and how it is to behave.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) head: Head,
    pub(crate) config: GroupConfig,
    pub(crate) seed: u64,
}

/// Whether a leader has heard of a member since it last looked, an election timeout ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Lately,
    Not,
}

/// What can be said of a group at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) term: u64,
    pub(crate) leader: Option<VoterId>,
    /// Whether this is the leader, and has applied all that was committed before its term.
    pub(crate) leads: bool,
}

/// An entry that this leader has made.
struct Proposed {
    index: u64,
    term: u64,
    commands: Vec<Command>,
}

/// The Raft core with what it needs.
pub(crate) struct Group {
    raft: RawNode<Log>,
    state: State,
    store: Arc<dyn Store + Send + Sync>,
    rng: ChaCha8Rng,
    config: GroupConfig,
    next_tick: Time,
    open: Batch,
    /// The last ready whose changes are in the open batch.
    open_ready: u64,
    next_batch: u64,
    /// Batches handed to the store, with the last ready in each.
    under_way: VecDeque<(u64, u64)>,
    /// What leaves once a batch is durable.
    held: BTreeMap<(u64, u64), Effect>,
    next_held: u64,
    effects: VecDeque<Effect>,
    /// Nothing leaves before this batch: it holds the voters.
    barrier: u64,
    /// Reads whose turn it is when this entry is applied.
    reads: BTreeMap<u64, u64>,
    next_read: u64,
    applied: u64,
    /// What this leader has put before the group and not seen applied, so that it need not be read again.
    proposed: VecDeque<Proposed>,
    stood: Standing,
    fresh: Freshness,
    /// Ours, in ticks; raft draws its own after each change, and is told this one again.
    timeout: usize,
    /// Bytes applied since the last snapshot.
    since_snapshot: usize,
    /// Where messages came from: a new member answers before it knows the voters.
    answering: BTreeMap<VoterId, NodeId>,
    making: Option<Making>,
    incoming: Option<Incoming>,
    /// Voters and learners that fetch a snapshot here, and when they were last heard of.
    fetching: BTreeMap<VoterId, Time>,
    halted: Option<String>,
}

impl core::fmt::Debug for Group {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Group")
            .field("standing", &self.stood)
            .field("applied", &self.applied)
            .finish_non_exhaustive()
    }
}

/// Ticks that an election timeout lasts; a leader is heard of at each.
const ELECTION_TICKS: usize = 10;

/// Batches handed to the store and not yet answered; two keep the disk busy while the next one gathers.
const UNDER_WAY_MAX: usize = 2;

/// Entries in one message, in bytes.
const APPEND_BYTES_MAX: u64 = 512 << 10;

/// Appends to one follower that it has not answered.
const APPENDS_IN_FLIGHT_MAX: usize = 64;

/// What has been proposed and not committed, in bytes.
const UNCOMMITTED_BYTES_MAX: u64 = 32 << 20;

impl Group {
    /// Forms a group of which this node is the only voter.
    pub(crate) fn form(
        store: Arc<dyn Store + Send + Sync>,
        who: Who,
        node: NodeId,
        now: Time,
    ) -> Self {
        let me = who.head.me;
        let config = Config {
            index: 1,
            voters: [me].into(),
            nodes: [(me, node)].into(),
            ..Config::default()
        };
        let hard = Hard {
            term: 1,
            vote: 0,
            commit: 1,
        };
        let (snapshot, parts) = encode_snapshot(&State::new(), Base { index: 1, term: 1 }, config);
        let mut group = Self::begin(store, who, (hard, snapshot), now);
        put_parts(&mut group.open, 1, parts);
        group.pump(now);
        group
    }

    /// Waits for the leader of a group to say what this node is in it.
    pub(crate) fn follow(store: Arc<dyn Store + Send + Sync>, who: Who, now: Time) -> Self {
        let nothing = SnapshotHead::default();
        let mut group = Self::begin(store, who, (Hard::default(), nothing), now);
        group.pump(now);
        group
    }

    fn begin(
        store: Arc<dyn Store + Send + Sync>,
        who: Who,
        (hard, snapshot): (Hard, SnapshotHead),
        now: Time,
    ) -> Self {
        let mut batch = Batch::default();
        let log = Log::begin(who.head, hard, snapshot, &mut batch);
        let mut group = Self::start(store, log, State::new(), who, now);
        group.open = batch;
        // Nothing is said in the name of a voter that a crash could undo.
        group.barrier = group.next_batch;
        group
    }

    /// Goes on with what an earlier run left.
    ///
    /// # Errors
    /// [`OpenGroup`] when the snapshot cannot be read.
    pub(crate) fn resume(
        store: Arc<dyn Store + Send + Sync>,
        log: Log,
        who: Who,
        now: Time,
    ) -> Result<Self, OpenGroup> {
        let state = read_snapshot(&*store, log.snapshot())?;
        let mut group = Self::start(store, log, state, who, now);
        group.pump(now);
        Ok(group)
    }

    fn start(
        store: Arc<dyn Store + Send + Sync>,
        log: Log,
        state: State,
        who: Who,
        now: Time,
    ) -> Self {
        let Who { config, seed, .. } = who;
        let applied = log.snapshot().index;
        let since_snapshot = log.bytes_behind_snapshot();
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raft = RawNode::new(&settings(log.head.me, applied), log, &logger);
        let raft = raft.expect("a log that was checked is one to begin with");
        let mut group = Self {
            raft,
            state,
            store,
            rng: ChaCha8Rng::seed_from_u64(seed),
            next_tick: now + tick(&config),
            config,
            open: Batch::default(),
            open_ready: 0,
            next_batch: 1,
            under_way: VecDeque::new(),
            held: BTreeMap::new(),
            next_held: 0,
            effects: VecDeque::new(),
            barrier: 0,
            reads: BTreeMap::new(),
            next_read: 0,
            applied,
            proposed: VecDeque::new(),
            stood: Standing::default(),
            fresh: Freshness::default(),
            timeout: ELECTION_TICKS,
            since_snapshot,
            answering: BTreeMap::new(),
            making: None,
            incoming: None,
            fetching: BTreeMap::new(),
            halted: None,
        };
        group.timeout = group.draw_timeout();
        if group.raft.raft.prs().is_singleton() && group.raft.raft.promotable() {
            // Nobody else can be asked.
            drop(group.raft.campaign());
        }
        group
    }

    /// A message from a voter or learner; whoever calls has made sure that it comes from the node that it speaks for.
    ///
    /// # Errors
    /// [`RejectRaft`]; nothing has changed then.
    pub(crate) fn handle_message(
        &mut self,
        now: Time,
        from: NodeId,
        message: RaftMessage,
    ) -> Result<(), RejectRaft> {
        let log = self.raft.store();
        message.check(log.head.me, log)?;
        self.answering.insert(message.from, from);
        if message.kind == Kind::Snapshot && !self.is_at_hand(&message) {
            self.fetch(now, from, message);
        } else {
            let said = (message.kind, message.from, message.term);
            let committed = message.committed();
            self.step(message);
            self.note_fresh(now, said, committed);
        }
        self.pump(now);
        Ok(())
    }

    /// Time goes on. An extra call does nothing.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        let tick = tick(&self.config);
        let mut left = ELECTION_TICKS;
        while self.next_tick <= now && left > 0 {
            self.next_tick = self.next_tick + tick;
            left -= 1;
            self.raft.tick();
            self.keep_timeout();
        }
        // A process that was frozen does not run after every tick that it missed.
        if self.next_tick <= now {
            self.next_tick = now + tick;
        }
        self.give_up_transfers(now);
        self.pump(now);
    }

    /// When [`Group::handle_timeout`] is to be called next.
    pub(crate) const fn poll_timeout(&self) -> Time {
        self.next_tick
    }

    /// A batch is durable, and so are all before it.
    pub(crate) fn handle_stored(&mut self, now: Time, id: u64) {
        let mut persisted = None;
        while let Some((_, ready)) = self.under_way.pop_front_if(|(batch, _)| *batch <= id) {
            persisted = Some(ready);
        }
        if let Some(ready) = persisted {
            self.raft.on_persist_ready(ready);
            self.advance();
        }
        let later = self.held.split_off(&(self.durable() + 1, 0));
        let ready = core::mem::replace(&mut self.held, later);
        self.effects.extend(ready.into_values());
        self.pump(now);
    }

    pub(crate) fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Puts commands before the group, as one entry, and says which. Refused when this is not the leader or too much is under way.
    ///
    /// # Errors
    /// The commands, as they were.
    pub(crate) fn propose(
        &mut self,
        now: Time,
        commands: Vec<Command>,
    ) -> Result<u64, Vec<Command>> {
        let taken = postcard::to_allocvec(&commands)
            .ok()
            .and_then(|data| self.raft.propose(Vec::new(), data).ok());
        if taken.is_none() {
            return Err(commands);
        }
        let index = self.raft.raft.raft_log.last_index();
        let term = self.raft.raft.term;
        self.proposed.push_back(Proposed {
            index,
            term,
            commands,
        });
        self.pump(now);
        Ok(index)
    }

    /// Puts a change of the voters before the group. It takes effect once it is committed, or never.
    pub(crate) fn propose_change(&mut self, now: Time, change: &Change) {
        if let Ok(context) = postcard::to_allocvec(change) {
            // One that is not taken now is found missing later.
            drop(self.raft.propose_conf_change(context, change.to_raft()));
            self.pump(now);
        }
    }

    /// Asks what is committed by now. Answered by [`Effect::Read`] with the number returned here, or never if this stops leading.
    pub(crate) fn read(&mut self, now: Time) -> u64 {
        self.next_read += 1;
        self.raft.read_index(self.next_read.to_be_bytes().to_vec());
        self.pump(now);
        self.next_read
    }

    /// Lets another voter lead.
    pub(crate) fn transfer(&mut self, now: Time, to: VoterId) {
        self.raft.transfer_leader(to);
        self.pump(now);
    }

    pub(crate) const fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn log(&self) -> &Log {
        self.raft.store()
    }

    pub(crate) const fn standing(&self) -> Standing {
        self.stood
    }

    /// How often a leader is at work, if it runs at all.
    pub(crate) fn tick(&self) -> Duration {
        tick(&self.config)
    }

    pub(crate) const fn applied(&self) -> u64 {
        self.applied
    }

    /// When what is applied here was last all that the group had agreed on, as far as this node can know; `None`: not in this run.
    pub(crate) fn current(&self, now: Time) -> Option<Time> {
        let (me, config) = (self.log().head.me, self.log().config());
        let alone = config.voters.iter().eq([&me]) && config.outgoing.is_empty();
        if alone && self.stood.leads {
            return Some(now);
        }
        self.fresh.current()
    }

    /// Why it can take no part any more.
    pub(crate) fn halted(&self) -> Option<&str> {
        self.halted.as_deref()
    }

    /// How far each voter and learner has come, by what it said to this leader, and whether it was heard of lately.
    pub(crate) fn progress(&self) -> impl Iterator<Item = (VoterId, u64, Heard)> + '_ {
        let ids = self.log().config().members().into_iter();
        ids.filter_map(|id| {
            let progress = self.raft.raft.prs().get(id)?;
            let heard = if progress.recent_active {
                Heard::Lately
            } else {
                Heard::Not
            };
            Some((id, progress.matched, heard))
        })
    }

    /// What was put before the group and is not committed, in bytes; effects that wait for the disk, and batches there.
    #[cfg(test)]
    pub(crate) fn queued(&self) -> (usize, usize, usize) {
        let log = self.log();
        let committed = self.raft.raft.raft_log.committed;
        let context = raft::GetEntriesContext::empty(false);
        let entries = raft::Storage::entries(log, committed + 1, log.last() + 1, None, context);
        let bytes = entries.unwrap().into_iter().map(|entry| entry.data.len());
        (bytes.sum(), self.held.len(), self.under_way.len())
    }

    fn step(&mut self, message: RaftMessage) {
        // What raft refuses it has no use for; whoever sent it finds out.
        drop(self.raft.step(message.into_raft()));
        self.keep_timeout();
    }

    /// Notes what a message that raft has taken says of how much is agreed on.
    fn note_fresh(&mut self, now: Time, (kind, from, term): (Kind, VoterId, u64), committed: u64) {
        let raft = &self.raft.raft;
        match kind {
            _ if raft.term != term => {}
            Kind::Append | Kind::Heartbeat if raft.leader_id == from && self.incoming.is_none() => {
                self.fresh.told(now, committed);
            }
            Kind::AppendResponse | Kind::HeartbeatResponse if raft.state == StateRole::Leader => {
                self.fresh.answered(now, term, from);
                if self.stood.leads {
                    let log = self.raft.store();
                    self.fresh.leads(now, (log.head.me, term), log.config());
                }
            }
            Kind::Append
            | Kind::Heartbeat
            | Kind::AppendResponse
            | Kind::HeartbeatResponse
            | Kind::Vote
            | Kind::VoteResponse
            | Kind::PreVote
            | Kind::PreVoteResponse
            | Kind::Snapshot
            | Kind::TimeoutNow => {}
        }
    }

    /// How long this voter waits for a leader, in ticks. All have another turn in each term, and wait for those before them: the first to
    /// miss a leader has won before the second asks, and one that cannot win holds the others up once.
    fn draw_timeout(&mut self) -> usize {
        let (me, config) = (self.log().head.me, self.log().config());
        let voters = config.voters.union(&config.outgoing);
        let mut others: Vec<VoterId> = voters.copied().collect();
        others.retain(|voter| Some(*voter) != self.stood.leader);
        let count = others.len().max(1);
        let place = others.iter().position(|voter| *voter == me).unwrap_or(0);
        let rounds = self.stood.term % u64::try_from(count).unwrap_or(1);
        let turn = (place + usize::try_from(rounds).unwrap_or(0)) % count;
        let apart = (ELECTION_TICKS - 1) / count;
        // Two may have the same turn while one knows of other voters than the other.
        let late = self.rng.random_range(0..(apart / 2).max(1));
        // Whoever heard of the leader a tick later must miss it too, or it does not listen.
        ELECTION_TICKS + 1 + turn * apart + late
    }

    fn keep_timeout(&mut self) {
        self.raft.raft.set_randomized_election_timeout(self.timeout);
    }

    /// The last batch that is durable.
    fn durable(&self) -> u64 {
        let first = self
            .under_way
            .front()
            .map_or(self.next_batch, |(batch, _)| *batch);
        first - 1
    }

    /// Takes in all that raft has worked out.
    fn pump(&mut self, now: Time) {
        while self.halted.is_none() && self.raft.has_ready() {
            let ready = self.raft.ready();
            self.take(now, ready);
            self.keep_timeout();
        }
        self.note_standing();
        self.fresh.applied(self.applied);
        self.make_snapshot();
        self.flush();
    }

    fn take(&mut self, now: Time, mut ready: Ready) {
        let number = ready.number();
        if !ready.snapshot().is_empty() {
            self.install();
        }
        let entries = ready.take_entries();
        self.raft.mut_store().append(entries, &mut self.open);
        if let Some(hard) = ready.hs().filter(|_| ready.must_sync()) {
            self.raft.mut_store().set_hard(hard, &mut self.open);
        }
        for state in ready.take_read_states() {
            if let Ok(id) = state.request_ctx.as_slice().try_into() {
                self.reads.insert(u64::from_be_bytes(id), state.index);
            }
        }
        let at_once = ready.take_messages();
        let after = ready.take_persisted_messages();
        let committed = ready.take_committed_entries();
        self.raft.advance_append_async(ready);
        self.apply(committed);
        let latest = self.note_ready(number);
        for message in at_once {
            self.send(now, self.barrier, message);
        }
        for message in after {
            self.send(now, latest, message);
        }
    }

    /// Says which batch makes a ready durable: the open one, if it changed anything or others wait there.
    fn note_ready(&mut self, number: u64) -> u64 {
        if !self.open.is_empty() {
            self.open_ready = number;
            return self.next_batch;
        }
        if let Some((batch, ready)) = self.under_way.back_mut() {
            *ready = number;
            return *batch;
        }
        self.raft.on_persist_ready(number);
        self.durable()
    }

    fn send(&mut self, now: Time, after: u64, message: raft::eraftpb::Message) {
        let log = self.raft.store();
        let Some(node) = self.address_of(message.to) else {
            return;
        };
        let Some(mut message) = RaftMessage::from_raft(message, log) else {
            return;
        };
        if message.kind == Kind::Heartbeat {
            message.index = self.raft.raft.raft_log.committed;
        }
        if message.kind == Kind::Snapshot {
            self.fetching.insert(message.to, now);
        }
        self.after(after, Effect::Send(node, Box::new(message)));
    }

    fn address_of(&self, id: VoterId) -> Option<NodeId> {
        let offered = self
            .incoming
            .as_ref()
            .and_then(|incoming| incoming.offer.snapshot.as_ref());
        let configs = [Some(self.log().config()), offered.map(|head| &head.config)];
        let mut nodes = configs
            .into_iter()
            .flatten()
            .filter_map(|config| config.nodes.get(&id));
        nodes.next().or_else(|| self.answering.get(&id)).copied()
    }

    fn after(&mut self, batch: u64, effect: Effect) {
        if batch <= self.durable() {
            self.effects.push_back(effect);
        } else {
            self.held.insert((batch, self.next_held), effect);
            self.next_held += 1;
        }
    }

    fn apply(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            self.applied = entry.index;
            self.since_snapshot += entry.data.len();
            let readable = match entry.entry_type {
                EntryType::EntryNormal => self.apply_commands(&entry),
                EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
                    self.apply_change(&entry)
                }
            };
            if readable.is_none() {
                let newer =
                    "an entry cannot be read: it was written by a later release; upgrade this node";
                self.halted = Some(newer.into());
                return;
            }
        }
        self.advance();
        let due = self.reads.extract_if(.., |_, index| *index <= self.applied);
        let due: Vec<u64> = due.map(|(id, _)| id).collect();
        for id in due {
            self.after(self.barrier, Effect::Read(id));
        }
    }

    fn apply_commands(&mut self, entry: &Entry) -> Option<()> {
        if entry.data.is_empty() {
            return Some(());
        }
        let commands = match self.proposed_as(entry) {
            Some(commands) => commands,
            None => postcard::from_bytes(&entry.data).ok()?,
        };
        let answers = commands
            .into_iter()
            .map(|command| self.state.apply(command));
        let applied = Effect::Applied {
            index: entry.index,
            term: entry.term,
            answers: answers.collect(),
        };
        self.after(self.barrier, applied);
        Some(())
    }

    /// What this node itself has put into an entry.
    fn proposed_as(&mut self, entry: &Entry) -> Option<Vec<Command>> {
        let mut found = None;
        while let Some(proposed) = self
            .proposed
            .pop_front_if(|proposed| proposed.index <= entry.index)
        {
            let same = (proposed.index, proposed.term) == (entry.index, entry.term);
            found = same.then_some(proposed.commands);
        }
        found
    }

    fn apply_change(&mut self, entry: &Entry) -> Option<()> {
        let change: Change = if entry.context.is_empty() {
            Change::default()
        } else {
            postcard::from_bytes(&entry.context).ok()?
        };
        if entry.index <= self.log().config().index {
            return Some(());
        }
        match self.raft.apply_conf_change(&change.to_raft()) {
            Ok(roles) => {
                let config = change.applied(entry.index, self.log().config(), &roles);
                self.raft.mut_store().set_config(config, &mut self.open);
                self.note_reconfigured();
            }
            // The same for everybody: it makes no sense where it stands, and changes nothing.
            Err(error) => tracing::warn!(%error, "a change of the voters cannot be applied"),
        }
        Some(())
    }

    fn note_standing(&mut self) {
        let raft = &self.raft.raft;
        let leads = raft.state == StateRole::Leader && raft.apply_to_current_term();
        let standing = Standing {
            term: raft.term,
            leader: (raft.leader_id != 0).then_some(raft.leader_id),
            leads,
        };
        if standing != self.stood {
            self.stood = standing;
            self.timeout = self.draw_timeout();
            self.keep_timeout();
            if !leads {
                self.reads.clear();
                self.proposed.clear();
            }
            self.after(self.barrier, Effect::Turned);
        }
    }

    /// Other voters are in the open batch: nothing leaves that follows from them before that is durable.
    fn note_reconfigured(&mut self) {
        self.timeout = self.draw_timeout();
        self.barrier = self.next_batch;
        self.after(self.barrier, Effect::Reconfigured);
    }

    /// Tells raft how far the state has come, as far as it may know.
    fn advance(&mut self) {
        let log = &self.raft.raft.raft_log;
        let upto = self.applied.min(log.persisted).min(log.committed);
        if upto > log.applied() {
            self.raft.advance_apply_to(upto);
        }
    }

    fn flush(&mut self) {
        while self.under_way.len() < UNDER_WAY_MAX && !self.open.is_empty() {
            let batch = Arc::new(core::mem::take(&mut self.open));
            let id = self.next_batch;
            self.next_batch += 1;
            self.under_way.push_back((id, self.open_ready));
            self.effects.push_back(Effect::Store(id, batch));
            // A snapshot goes down behind what is urgent.
            self.make_snapshot();
        }
    }
}

fn tick(config: &GroupConfig) -> Duration {
    config.election_timeout / u32::try_from(ELECTION_TICKS).unwrap_or(1)
}

fn settings(me: VoterId, applied: u64) -> raft::Config {
    raft::Config {
        id: me,
        election_tick: ELECTION_TICKS,
        heartbeat_tick: 1,
        applied,
        max_size_per_msg: APPEND_BYTES_MAX,
        max_inflight_msgs: APPENDS_IN_FLIGHT_MAX,
        check_quorum: true,
        pre_vote: true,
        // Followers hear of a commit with the next append or heartbeat.
        skip_bcast_commit: true,
        batch_append: true,
        max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
        max_committed_size_per_ready: APPEND_BYTES_MAX,
        ..raft::Config::default()
    }
}
