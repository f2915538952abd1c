//! Coordinating writes: merge here, queue for the others, answer when enough of them hold it.

use std::collections::BTreeSet;

use meshwork_crdt::{CausalContext, Dot, Object, Op, Stamp};
use meshwork_dht::Position;
use meshwork_membership::planted::{Bug, planted};
use meshwork_membership::{NodeId, Time};

use crate::engine::{Output, Replication, Timer};
use crate::message::Item;
use crate::reads::{PendingRead, Purpose};
use crate::request::{RequestId, StoreFailure, Write, WriteError, Written};
use crate::{Key, ReadStore};

/// A write that waits for replicas.
#[derive(Debug)]
pub(crate) struct PendingWrite {
    seq: u64,
    dot: Dot,
    /// Whether this node is one of the replicas.
    here: usize,
    /// The others that hold it. A change of placement sends it again to some of them, so they are not just counted.
    others: Vec<NodeId>,
    needed: usize,
    /// What makes it durable here.
    batch: u64,
    deadline: Time,
}

impl PendingWrite {
    /// Replicas that hold it.
    const fn acknowledged(&self) -> usize {
        self.here + self.others.len()
    }
}

impl Replication {
    /// Writes one key. Answered by [`Output::Written`] with the same `id`; `wall_ms` is the wall clock, in milliseconds since 1970.
    ///
    /// The change is merged into this node's own copy and queued for the replicas in one durable batch before anything leaves
    /// the node. Where this node is no replica of the key it first fetches what it lacks, so that the write supersedes what its
    /// user could see; with nobody in reach it writes at once and blind.
    pub fn write(&mut self, now: Time, wall_ms: u64, id: RequestId, write: Write) {
        self.now = now;
        if let Err(error) = self.admit(&write) {
            return self.refuse_write(id, error);
        }
        let position = write.key.position();
        let is_replica = self.holdings.is_replica(position.partition());
        if is_replica || !self.reaches_any(&position) {
            self.write_here(wall_ms, id, &write);
        } else {
            self.fetch_before(wall_ms, id, write);
        }
    }

    /// Leaves these namespaces to the strong group: their keys are neither read nor written here, nor taken from peers.
    pub fn leave_to_strong(&mut self, namespaces: BTreeSet<String>) {
        self.strong = namespaces;
    }

    /// Refuses writes from here on with [`WriteError::Leaving`]: for a node that hands over what it has.
    pub const fn take_no_more_writes(&mut self) {
        self.takes_writes = false;
    }

    fn admit(&self, write: &Write) -> Result<(), WriteError> {
        if !self.takes_writes {
            return Err(WriteError::Leaving);
        }
        if self.strong.contains(write.key.namespace()) {
            let namespace = write.key.namespace().to_owned();
            return Err(WriteError::Strong { namespace });
        }
        if let Some(failure) = self.journal.failure() {
            return Err(failure.clone().into());
        }
        let requests = self.reads.len() + self.writes.len();
        if requests >= self.config.requests_max || self.journal.is_full() {
            return Err(WriteError::Busy);
        }
        if self.outbox.len() >= self.config.outbox_entries_max {
            return Err(WriteError::OutboxFull {
                entries: self.outbox.len(),
            });
        }
        let (bytes, bytes_max) = (op_bytes(&write.op), self.config.value_bytes_max);
        if bytes > bytes_max {
            return Err(WriteError::ValueTooLarge { bytes, bytes_max });
        }
        let position = write.key.position();
        let needed = write
            .level
            .needed(self.holdings.replicas(&position).len().max(1));
        let reachable = self.reachable(&position);
        if reachable < needed {
            return Err(WriteError::Unavailable { reachable, needed });
        }
        // A node that has just joined and heard of nobody yet is no quorum, although it sees no other.
        let factor = self.config.replication_factor;
        let needed = write.level.needed(factor);
        if self.is_newcomer(&position) && needed > 1 {
            let reachable = 0;
            return Err(WriteError::Unavailable { reachable, needed });
        }
        Ok(())
    }

    /// Whether this node knows no other replica and cannot know that there is none.
    fn is_newcomer(&self, position: &Position) -> bool {
        let partition = position.partition();
        self.others(position).is_empty() && !self.holdings.is_complete(partition)
    }

    /// Replicas of a position in reach, this node included when it is one.
    pub(crate) fn reachable(&self, position: &Position) -> usize {
        self.holdings
            .replicas(position)
            .iter()
            .filter(|node| **node == self.me || self.links.contains_key(node))
            .count()
    }

    fn reaches_any(&self, position: &Position) -> bool {
        self.holdings
            .replicas(position)
            .iter()
            .any(|node| self.links.contains_key(node))
    }

    fn fetch_before(&mut self, wall_ms: u64, id: RequestId, write: Write) {
        let have = match self
            .objects
            .load(&*self.store, &self.journal, &write.key.position())
        {
            Ok(Some(entry)) => entry.object.version().clone(),
            Ok(None) | Err(_) => CausalContext::default(),
        };
        let timeout = self.config.fetch_timeout.min(write.timeout);
        let key = write.key.clone();
        let purpose = Purpose::BeforeWrite {
            id,
            wall_ms,
            deadline: self.now + write.timeout,
            write: Box::new(write),
        };
        self.ask(PendingRead::new(key, have, purpose, 1), timeout);
    }

    /// The fetch before a write has ended, one way or the other.
    pub(crate) fn fetched(&mut self, wall_ms: u64, id: RequestId, write: &Write, found: &Object) {
        if !found.version().is_empty() {
            match self
                .objects
                .merge(&*self.store, &mut self.journal, &write.key, found, None)
            {
                Ok(applied) => self.merged(&write.key, applied),
                Err(error) => {
                    self.store_broke(error);
                }
            }
        }
        // Much may have happened since it was admitted.
        match self.admit(write) {
            Ok(()) => self.write_here(wall_ms, id, write),
            Err(error) => self.refuse_write(id, error),
        }
    }

    fn refuse_write(&mut self, id: RequestId, error: WriteError) {
        let result = Err(error);
        self.outputs.push_back(Output::Written { id, result });
    }

    fn write_here(&mut self, wall_ms: u64, id: RequestId, write: &Write) {
        match self.apply(wall_ms, &write.key, &write.op) {
            Ok((dot, seq)) => self.await_replicas(id, write, dot, seq),
            Err(error) => self.refuse_write(id, error),
        }
    }

    /// Merges the change here and queues it. Returns its dot and its place in the outbox, if it has to go anywhere.
    fn apply(
        &mut self,
        wall_ms: u64,
        key: &Key,
        op: &Op,
    ) -> Result<(Dot, Option<u64>), WriteError> {
        let position = key.position();
        let partition = position.partition();
        let loaded = self.objects.load(&*self.store, &self.journal, &position);
        let (object, written, bytes) = match loaded {
            Ok(Some(entry)) => (
                entry.object.clone(),
                entry.mark.written,
                entry.encoded_bytes(),
            ),
            Ok(None) => (Object::new().into(), None, 0),
            Err(error) => return Err(self.write_error(error)),
        };
        let bytes_max = self.config.object_bytes_max;
        if bytes + op_bytes(op) > bytes_max && !matches!(op, Op::Delete) {
            return Err(WriteError::ObjectTooLarge { bytes, bytes_max });
        }
        let dot = self.dots.next();
        let stamp = Stamp {
            dot,
            claim_after: written,
            hlc: self.clock.now(wall_ms),
        };
        let delta = object.apply(&stamp, op, &self.merges)?;
        drop(object);
        let applied = self
            .objects
            .merge(
                &*self.store,
                &mut self.journal,
                key,
                &delta,
                Some(dot.counter),
            )
            .map_err(|error| self.write_error(error))?;
        self.merged(key, applied);
        self.counts.writes += 1;
        if !self.holdings.is_replica(partition) {
            self.index.touch(partition, self.now);
        }
        let others = self.others(&position);
        if others.is_empty() {
            return Ok((dot, None));
        }
        let item = Item {
            key: key.clone(),
            object: delta.encode(),
        };
        let seq = self.outbox.push(item, others, &mut self.journal);
        Ok((dot, Some(seq)))
    }

    fn write_error(&mut self, error: ReadStore) -> WriteError {
        self.store_broke(error)
            .map_or(WriteError::Damaged, WriteError::Store)
    }

    fn await_replicas(&mut self, id: RequestId, write: &Write, dot: Dot, seq: Option<u64>) {
        let position = write.key.position();
        let replicas = self.holdings.replicas(&position).len();
        let here = usize::from(self.holdings.is_replica(position.partition()));
        let needed = write.level.needed(replicas.max(1));
        match seq {
            Some(seq) if needed > here => {
                let deadline = self.now + write.timeout;
                self.timers.insert((deadline, Timer::Write(id)));
                self.waiting_for.insert(seq, id);
                self.writes.insert(
                    id,
                    PendingWrite {
                        seq,
                        dot,
                        here,
                        others: Vec::new(),
                        needed,
                        batch: self.journal.latest(),
                        deadline,
                    },
                );
            }
            Some(_) | None => {
                let result = Ok(Written {
                    dot,
                    acknowledged: here,
                });
                self.journal.hold(Output::Written { id, result });
            }
        }
        self.deliver_soon();
    }

    /// A replica holds what the outbox had under `seq`. It was sent only once durable here.
    pub(crate) fn write_acknowledged(&mut self, peer: NodeId, seq: u64) {
        let Some(id) = self.waiting_for.get(&seq).copied() else {
            return;
        };
        let Some(pending) = self.writes.get_mut(&id) else {
            return;
        };
        // Planted: one replica that is told twice, after a change of placement, makes a quorum.
        if !pending.others.contains(&peer) || planted(Bug::AckCountedTwice) {
            pending.others.push(peer);
        }
        if pending.acknowledged() >= pending.needed {
            let done = Written {
                dot: pending.dot,
                acknowledged: pending.acknowledged(),
            };
            self.end_write(id, |_| Ok(done));
        }
    }

    pub(crate) fn write_timed_out(&mut self, id: RequestId) {
        if self.writes.contains_key(&id) {
            self.counts.timeouts += 1;
        }
        self.end_write(id, |pending| {
            Err(WriteError::Timeout {
                acknowledged: pending.acknowledged(),
                needed: pending.needed,
            })
        });
    }

    fn end_write(
        &mut self,
        id: RequestId,
        result: impl FnOnce(&PendingWrite) -> Result<Written, WriteError>,
    ) {
        if let Some(pending) = self.writes.remove(&id) {
            self.waiting_for.remove(&pending.seq);
            self.timers.remove(&(pending.deadline, Timer::Write(id)));
            // A write that times out is still promised to be durable here.
            let result = result(&pending);
            self.journal
                .hold_until(pending.batch, Output::Written { id, result });
        }
    }

    /// Answers what waits for replicas with the store's failure, since the batches behind it may never become durable.
    pub(crate) fn fail_pending_writes(&mut self, failure: &StoreFailure) {
        let waiting: Vec<RequestId> = self
            .writes
            .iter()
            .filter(|(_, pending)| !self.outbox.is_durable(pending.seq, &self.journal))
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            if let Some(pending) = self.writes.remove(&id) {
                self.waiting_for.remove(&pending.seq);
                self.timers.remove(&(pending.deadline, Timer::Write(id)));
                let result = Err(WriteError::Store(failure.clone()));
                self.outputs.push_back(Output::Written { id, result });
            }
        }
    }
}

/// Bytes that an operation brings along.
fn op_bytes(mut op: &Op) -> usize {
    let mut bytes = op.payload().len();
    while let Op::Field { op: inner, .. } = op {
        op = inner;
        bytes += op.payload().len();
    }
    bytes
}
