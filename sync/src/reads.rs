//! Coordinating reads: ask as many replicas as the level needs, merge what they answer, repair those that are behind.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use meshwork_crdt::{CausalContext, Object};
use meshwork_dht::Position;
use meshwork_membership::planted::{Bug, planted};
use meshwork_membership::{NodeId, Time};

use crate::engine::{Output, RejectMessage, Replication, Timer};
use crate::links::Purpose as PushPurpose;
use crate::message::{Item, Message};
use crate::request::{Found, Level, Read, ReadError, RequestId, Write};
use crate::{Key, ReadStore};

/// A read that waits for replicas.
#[derive(Debug)]
pub(crate) struct PendingRead {
    key: Key,
    have: CausalContext,
    purpose: Purpose,
    needed: usize,
    /// Answers that count: this node's own, and those of complete replicas.
    answered: usize,
    merged: Object,
    /// What makes this node's part of it durable.
    batch: u64,
    /// What replicas have sent so far.
    bytes: usize,
    asked: BTreeSet<NodeId>,
    versions: BTreeMap<NodeId, CausalContext>,
    deadline: Time,
    hedge_at: Time,
}

/// What a read is for.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// An application asked.
    Answer(RequestId),
    /// A write on a node that is no replica wants to see what it supersedes.
    BeforeWrite {
        /// The write's request.
        id: RequestId,
        /// The wall clock when it came in.
        wall_ms: u64,
        /// When it is to be answered.
        deadline: Time,
        /// The write.
        write: Box<Write>,
    },
}

/// One part of a replica's answer.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) complete: bool,
    pub(crate) last: bool,
    pub(crate) object: Vec<u8>,
    pub(crate) version: Vec<u8>,
}

/// How much replicas may send for one read, in largest objects: as many may be merged from concurrent writes.
const RECEIVED_FACTOR: usize = 8;

impl PendingRead {
    pub(crate) fn new(key: Key, have: CausalContext, purpose: Purpose, needed: usize) -> Self {
        Self {
            key,
            have,
            purpose,
            needed,
            answered: 0,
            merged: Object::new(),
            batch: 0,
            bytes: 0,
            asked: BTreeSet::new(),
            versions: BTreeMap::new(),
            deadline: Time::ZERO,
            hedge_at: Time::ZERO,
        }
    }
}

impl Replication {
    /// Reads one key. Answered by [`Output::Found`] with the same `id`.
    ///
    /// The states of as many replicas as the level asks for are merged, and replicas that turn out to be behind are sent what
    /// they lack. [`Level::Local`] answers with this node's own copy, whatever it is.
    pub fn read(&mut self, now: Time, id: RequestId, read: Read) {
        self.now = now;
        if self.reads.len() + self.writes.len() >= self.config.requests_max {
            self.outputs.push_back(Output::Found {
                id,
                result: Err(ReadError::Busy),
            });
            return;
        }
        if self.strong.contains(read.key.namespace()) {
            let namespace = read.key.namespace().to_owned();
            let result = Err(ReadError::Strong { namespace });
            return self.outputs.push_back(Output::Found { id, result });
        }
        let position = read.key.position();
        let partition = position.partition();
        let counts_here =
            self.holdings.is_replica(partition) && self.holdings.is_complete(partition);
        let needed = read
            .level
            .needed(self.holdings.replicas(&position).len().max(1));
        if read.level == Level::Local || (needed == 1 && counts_here) {
            self.answer_here(id, &read);
            return;
        }
        let reachable = self.reachable(&position);
        if reachable < needed {
            let result = Err(ReadError::Unavailable { reachable, needed });
            self.outputs.push_back(Output::Found { id, result });
            return;
        }
        let purpose = Purpose::Answer(id);
        let mut pending = PendingRead::new(read.key, read.since, purpose, needed);
        // This node's own copy is merged even where it does not count.
        match self.shown(&position) {
            Ok((object, batch)) => {
                pending.merged = object.delta_since(&pending.have).unwrap_or_default();
                pending.batch = batch;
                pending.answered = usize::from(counts_here);
            }
            // The others may have it; this node's copy does not count.
            Err(error) => drop(self.store_broke(error)),
        }
        self.ask(pending, read.timeout);
    }

    fn answer_here(&mut self, id: RequestId, read: &Read) {
        self.counts.reads += 1;
        match self.shown(&read.key.position()) {
            Ok((object, batch)) => {
                let result = Ok(Found {
                    object: object.delta_since(&read.since).unwrap_or_default(),
                    answered: 1,
                });
                self.journal.hold_until(batch, Output::Found { id, result });
            }
            Err(error) => {
                let error = self
                    .store_broke(error)
                    .map_or(ReadError::Damaged, ReadError::Store);
                self.outputs.push_back(Output::Found {
                    id,
                    result: Err(error),
                });
            }
        }
    }

    /// The state that may be shown once a batch is durable: nobody may see what a crash can still undo.
    ///
    /// While the disk takes nothing that is the durable one, since memory shows writes that may never become so.
    fn shown(&mut self, position: &Position) -> Result<(Arc<Object>, u64), ReadStore> {
        let loaded = self.objects.load(&*self.store, &self.journal, position)?;
        let Some(entry) = loaded else {
            return Ok((Arc::default(), 0));
        };
        // Planted: a reader sees what a crash undoes.
        if planted(Bug::ReadBeforeDurable) {
            return Ok((entry.object.clone(), 0));
        }
        if self.journal.failure().is_none() || self.journal.is_durable(entry.batch) {
            return Ok((entry.object.clone(), entry.batch));
        }
        let durable = self.objects.load_durable(&*self.store, position)?;
        Ok((durable.unwrap_or_default(), 0))
    }

    /// Begins to ask replicas: as many as are needed and, where that is one, the others after a while.
    pub(crate) fn ask(&mut self, mut pending: PendingRead, timeout: Duration) {
        let id = self.next_id();
        pending.deadline = self.now + timeout;
        pending.hedge_at = self.now + self.config.hedge_after;
        self.timers.insert((pending.deadline, Timer::Read(id)));
        self.timers.insert((pending.hedge_at, Timer::Hedge(id)));
        let first = if pending.needed <= 1 { 1 } else { usize::MAX };
        self.reads.insert(id, pending);
        self.ask_more(id, first);
    }

    /// Asks up to `count` connected replicas that were not asked yet.
    fn ask_more(&mut self, id: u64, count: usize) {
        let Some(pending) = self.reads.get_mut(&id) else {
            return;
        };
        let replicas = self.holdings.replicas(&pending.key.position());
        let next: Vec<NodeId> = replicas
            .iter()
            .filter(|node| self.links.contains_key(node) && !pending.asked.contains(node))
            .take(count)
            .copied()
            .collect();
        let have = pending.have.encode();
        let messages: Vec<(NodeId, Message)> = next
            .into_iter()
            .map(|node| {
                pending.asked.insert(node);
                (
                    node,
                    Message::Get {
                        id,
                        key: pending.key.clone(),
                        have: have.clone(),
                    },
                )
            })
            .collect();
        for (node, message) in messages {
            self.send(node, message);
        }
    }

    pub(crate) fn hedge(&mut self, id: u64) {
        self.ask_more(id, usize::MAX);
    }

    /// A peer that was asked is gone: ask those that were not.
    pub(crate) fn ask_instead_of(&mut self, peer: NodeId) {
        let waiting: Vec<u64> = self
            .reads
            .iter()
            .filter(|(_, pending)| {
                pending.asked.contains(&peer) && !pending.versions.contains_key(&peer)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            self.ask_more(id, usize::MAX);
        }
    }

    /// Answers a peer's question with what it lacks.
    pub(crate) fn receive_get(
        &mut self,
        from: NodeId,
        id: u64,
        key: &Key,
        have: &[u8],
    ) -> Result<(), RejectMessage> {
        let have = CausalContext::decode(have, &self.limits)
            .ok()
            .ok_or(RejectMessage::OverLimit { what: "context" })?;
        let position = key.position();
        let partition = position.partition();
        let complete = self.holdings.is_replica(partition) && self.holdings.is_complete(partition);
        if self.journal.held_len() >= self.config.requests_max {
            // The disk is behind: whoever asks in vain asks another replica.
            return Ok(());
        }
        let (object, batch) = match self.shown(&position) {
            Ok(shown) => shown,
            Err(error) => {
                // No answer is better than one that leaves out what was lost.
                self.store_broke(error);
                return Ok(());
            }
        };
        let missing = object.delta_since(&have);
        let parts = missing.map_or_else(Vec::new, |part| part.split(self.config.push_bytes_max));
        let version = object.version().encode();
        let mut parts: Vec<Vec<u8>> = parts.iter().map(Object::encode).collect();
        if parts.is_empty() {
            parts.push(Vec::new());
        }
        let count = parts.len();
        for (at, object) in parts.into_iter().enumerate() {
            let last = at + 1 == count;
            let version = if last { version.clone() } else { Vec::new() };
            let message = Message::Got {
                id,
                complete,
                last,
                object,
                version,
            };
            self.journal
                .hold_until(batch, Output::Send { to: from, message });
        }
        Ok(())
    }

    pub(crate) fn receive_got(
        &mut self,
        wall_ms: u64,
        from: NodeId,
        id: u64,
        part: &Part,
    ) -> Result<(), RejectMessage> {
        let malformed = RejectMessage::OverLimit { what: "object" };
        let object = match part.object.as_slice() {
            [] => None,
            bytes => Some(
                Object::decode(bytes, &self.limits)
                    .ok()
                    .ok_or(malformed.clone())?,
            ),
        };
        let version = match part.last {
            true => Some(
                CausalContext::decode(&part.version, &self.limits)
                    .ok()
                    .ok_or(malformed)?,
            ),
            false => None,
        };
        if let Some(object) = &object
            && self.check_clock(object, wall_ms).is_err()
        {
            return Err(RejectMessage::OverLimit {
                what: "clock drift",
            });
        }
        // A late answer of a read that has ended is no fault.
        let Some(pending) = self.reads.get_mut(&id) else {
            return Ok(());
        };
        if !pending.asked.contains(&from) || pending.versions.contains_key(&from) {
            return Err(RejectMessage::Unasked);
        }
        pending.bytes += part.object.len();
        if pending.bytes > RECEIVED_FACTOR * self.config.object_bytes_max {
            return Err(RejectMessage::OverLimit { what: "answer" });
        }
        if let Some(object) = object {
            pending.merged.join(&object);
        }
        if let Some(version) = version {
            // Without a part that was lost on the way the answer does not count.
            let mut seen = pending.have.clone();
            seen.join(pending.merged.version());
            let whole = seen.is_superset(&version);
            pending.answered += usize::from(part.complete && whole);
            pending.versions.insert(from, version);
        }
        // Planted: whoever answers first is believed alone.
        let enough = pending.answered >= pending.needed || planted(Bug::FirstAnswerWins);
        // Replicas that are all still filling: together they are all there is.
        let everybody = pending.versions.len() >= pending.asked.len()
            && pending.asked.len() + 1 >= self.holdings.replicas(&pending.key.position()).len();
        if enough || (everybody && matches!(pending.purpose, Purpose::BeforeWrite { .. })) {
            self.end_read(id);
        }
        Ok(())
    }

    pub(crate) fn read_timed_out(&mut self, id: u64) {
        let Some(pending) = self.reads.get(&id) else {
            return;
        };
        match pending.purpose {
            Purpose::BeforeWrite { .. } => self.end_read(id),
            Purpose::Answer(request) => {
                self.counts.timeouts += 1;
                let PendingRead {
                    answered, needed, ..
                } = *pending;
                self.take_read(id);
                let result = Err(ReadError::Timeout { answered, needed });
                self.outputs.push_back(Output::Found {
                    id: request,
                    result,
                });
            }
        }
    }

    fn take_read(&mut self, id: u64) -> Option<PendingRead> {
        let pending = self.reads.remove(&id)?;
        self.timers.remove(&(pending.deadline, Timer::Read(id)));
        self.timers.remove(&(pending.hedge_at, Timer::Hedge(id)));
        Some(pending)
    }

    fn end_read(&mut self, id: u64) {
        let Some(pending) = self.take_read(id) else {
            return;
        };
        let position = pending.key.position();
        match pending.purpose {
            Purpose::BeforeWrite {
                id,
                wall_ms,
                deadline,
                mut write,
            } => {
                write.timeout = deadline.since(self.now);
                self.fetched(wall_ms, id, &write, &pending.merged);
            }
            Purpose::Answer(request) => {
                self.counts.reads += 1;
                let batch = self.repair_after_read(&position, &pending);
                let found = Found {
                    object: pending.merged,
                    answered: pending.answered,
                };
                self.journal.hold_until(
                    batch,
                    Output::Found {
                        id: request,
                        result: Ok(found),
                    },
                );
            }
        }
    }

    /// Sends the replicas that answered what they turned out to lack, this node included. Returns the batch to wait for.
    fn repair_after_read(&mut self, position: &Position, pending: &PendingRead) -> u64 {
        let mut batch = pending.batch;
        if self.holdings.is_replica(position.partition()) && !pending.merged.version().is_empty() {
            let key = &pending.key;
            match self
                .objects
                .merge(&*self.store, &mut self.journal, key, &pending.merged, None)
            {
                Ok(applied) => {
                    batch = batch.max(applied.batch);
                    self.counts.read_repairs += u64::from(applied.changed());
                    self.merged(key, applied);
                }
                Err(error) => drop(self.store_broke(error)),
            }
        }
        if self.journal.failure().is_some() {
            return batch;
        }
        let pushes: Vec<(NodeId, Object)> =
            match self.objects.load(&*self.store, &self.journal, position) {
                Ok(Some(entry)) => pending
                    .versions
                    .iter()
                    .filter_map(|(node, version)| Some((*node, entry.object.delta_since(version)?)))
                    .collect(),
                // No copy here: what was merged is only what the asker lacked, and repairs that much.
                Ok(None) | Err(_) => pending
                    .versions
                    .iter()
                    .filter_map(|(node, version)| {
                        Some((*node, pending.merged.delta_since(version)?))
                    })
                    .collect(),
            };
        for (node, object) in pushes {
            self.counts.read_repairs += 1;
            for part in object.split(self.config.push_bytes_max) {
                let item = Item {
                    key: pending.key.clone(),
                    object: part.encode(),
                };
                self.push(node, PushPurpose::ReadRepair, vec![item]);
            }
        }
        batch
    }
}
