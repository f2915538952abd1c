//! What waits for the disk: the batch that is open, the batches under way, and the outputs that may leave only after them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use meshwork_membership::NodeId;
use meshwork_membership::planted::{Bug, planted};

use crate::engine::Output;
use crate::{Batch, Change, Space, StoreFailure};

/// Gathers changes into batches and holds back outputs until the batch they depend on is durable.
///
/// While batches are under way further changes gather in the open one: that is the group commit. A batch that failed because
/// the disk is full is not dropped, since memory already shows it; it goes down again with the next one.
#[derive(Debug)]
pub(crate) struct Journal {
    open: Batch,
    open_bytes: usize,
    open_id: u64,
    /// The first id whose changes are in the open batch: an earlier one than its own after a failure.
    open_first: u64,
    under_way: VecDeque<UnderWay>,
    /// By the batch that they wait for, so that what is durable never waits behind what is not.
    held: BTreeMap<(u64, u64), Output>,
    next_held: u64,
    failure: Option<StoreFailure>,
}

/// A batch handed to the store, with the range of ids whose changes it holds.
#[derive(Debug)]
struct UnderWay {
    first: u64,
    id: u64,
    batch: Arc<Batch>,
}

/// Batches handed to the store and not yet answered; two keep the disk busy while the next one gathers.
const UNDER_WAY_MAX: usize = 2;

/// The open batch may grow to this before writes are refused; with those under way it stays below what a store takes at once.
const OPEN_BYTES_MAX: usize = 16 << 20;

fn change_bytes(change: &Change) -> usize {
    match change {
        Change::Put { key, value, .. } => key.len() + value.len(),
        Change::Delete { key, .. } => key.len(),
    }
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self {
            open: Batch::default(),
            open_bytes: 0,
            open_id: 1,
            open_first: 1,
            under_way: VecDeque::new(),
            held: BTreeMap::new(),
            next_held: 0,
            failure: None,
        }
    }

    pub(crate) fn put(&mut self, space: Space, key: Vec<u8>, value: Vec<u8>) -> u64 {
        self.open_bytes += key.len() + value.len();
        self.open.put(space, key, value);
        self.open_id
    }

    pub(crate) fn delete(&mut self, space: Space, key: Vec<u8>) -> u64 {
        self.open_bytes += key.len();
        self.open.delete(space, key);
        self.open_id
    }

    /// Lets `output` leave once everything put so far is durable.
    pub(crate) fn hold(&mut self, output: Output) {
        self.hold_until(self.latest(), output);
    }

    /// The batch that makes everything put so far durable.
    pub(crate) fn latest(&self) -> u64 {
        if self.open.is_empty() {
            self.open_id - 1
        } else {
            self.open_id
        }
    }

    /// Lets `output` leave once `batch` is durable.
    pub(crate) fn hold_until(&mut self, batch: u64, output: Output) {
        self.held.insert((batch, self.next_held), output);
        self.next_held += 1;
    }

    /// Whether `batch` is durable. Batch 0 stands for what was there from the start.
    pub(crate) fn is_durable(&self, batch: u64) -> bool {
        let first_pending = self
            .under_way
            .front()
            .map_or(self.open_first, |front| front.first);
        batch < first_pending
    }

    /// Whether so much waits for the disk that nothing more should be taken in: backpressure, for clients and peers alike.
    pub(crate) const fn is_full(&self) -> bool {
        self.open_bytes > OPEN_BYTES_MAX
    }

    /// The next batch for the store, when there is one and the store is not busy or broken.
    pub(crate) fn next_batch(&mut self) -> Option<Output> {
        if self.open.is_empty() || self.failure.is_some() || self.under_way.len() >= UNDER_WAY_MAX {
            return None;
        }
        // Batches that follow each other are about as long.
        let next = Batch {
            changes: Vec::with_capacity(self.open.changes.len()),
        };
        let batch = Arc::new(core::mem::replace(&mut self.open, next));
        self.open_bytes = 0;
        let (first, id) = (self.open_first, self.open_id);
        self.open_id += 1;
        self.open_first = self.open_id;
        self.under_way.push_back(UnderWay {
            first,
            id,
            batch: Arc::clone(&batch),
        });
        Some(Output::Store { id, batch })
    }

    /// The store made a batch durable: batches end in the order in which they were handed over.
    pub(crate) fn stored(&mut self, id: u64) {
        while self.under_way.front().is_some_and(|front| front.id <= id) {
            self.under_way.pop_front();
        }
    }

    /// The store could not take batch `id`, and so none after it: they all go back in front of the open one.
    pub(crate) fn failed(&mut self, id: u64, failure: StoreFailure) {
        let mut again = Vec::new();
        while let Some(last) = self.under_way.pop_back_if(|last| last.id >= id) {
            self.open_first = last.first;
            again.push(last.batch);
        }
        let mut changes: Vec<Change> = again
            .into_iter()
            .rev()
            .flat_map(|batch| Arc::unwrap_or_clone(batch).changes)
            .collect();
        // Planted: memory goes on to show what was refused, and no later batch brings it to the disk.
        if planted(Bug::FullDiskForgets) {
            changes.clear();
        }
        changes.append(&mut self.open.changes);
        self.open.changes = changes;
        self.open_bytes = self.open.changes.iter().map(change_bytes).sum();
        if !matches!(self.failure, Some(StoreFailure::Broken { .. })) {
            self.failure = Some(failure);
        }
    }

    /// The store can no longer be believed: nothing more goes down.
    pub(crate) fn broke(&mut self, reason: String) {
        self.failure = Some(StoreFailure::Broken { reason });
    }

    /// Tries a full disk again; a broken one stays broken.
    pub(crate) fn retry(&mut self) {
        if self.failure == Some(StoreFailure::Full) {
            self.failure = None;
        }
    }

    /// Lets go of what was to be sent to `peer`. Its connection is gone, and after a restart it counts its questions anew: an answer
    /// to an old one must not be taken for an answer to a new one.
    pub(crate) fn forget_peer(&mut self, peer: NodeId) {
        // Planted: an acknowledgement that waits for the disk reaches a later run of the peer, which takes it for one of its own push.
        if planted(Bug::LateAnswerTaken) {
            return;
        }
        self.held
            .retain(|_, output| !matches!(output, Output::Send { to, .. } if *to == peer));
    }

    /// How many outputs wait for the disk.
    pub(crate) fn held_len(&self) -> usize {
        self.held.len()
    }

    pub(crate) const fn failure(&self) -> Option<&StoreFailure> {
        self.failure.as_ref()
    }

    /// The next output whose batch is durable.
    pub(crate) fn release(&mut self) -> Option<Output> {
        let first = self.held.first_entry()?;
        let (batch, _) = *first.key();
        // Planted: the client is told of a write that a crash can still undo.
        let early =
            planted(Bug::AnswerBeforeDurable) && matches!(first.get(), Output::Written { .. });
        if self.is_durable(batch) || early {
            self.held.pop_first().map(|(_, output)| output)
        } else {
            None
        }
    }

    /// Takes out the held outputs that `given_up` picks, so that they can be answered with a failure instead.
    pub(crate) fn give_up(&mut self, mut given_up: impl FnMut(&Output) -> bool) -> Vec<Output> {
        self.held
            .extract_if(.., |_, output| given_up(output))
            .map(|(_, output)| output)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(id: u64) -> Output {
        Output::Found {
            id,
            result: Err(crate::ReadError::Busy),
        }
    }

    fn taken(journal: &mut Journal) -> u64 {
        match journal.next_batch() {
            Some(Output::Store { id, .. }) => id,
            other => panic!("no batch but {other:?}"),
        }
    }

    #[test]
    fn an_output_leaves_only_after_the_batch_it_depends_on() {
        let mut journal = Journal::new();
        let batch = journal.put(Space::Meta, vec![1], vec![]);
        journal.hold(answer(7));
        assert_eq!(journal.release(), None);
        assert_eq!(taken(&mut journal), batch);
        assert_eq!(journal.release(), None);
        journal.stored(batch);
        assert_eq!(journal.release(), Some(answer(7)));
    }

    #[test]
    fn what_is_durable_leaves_although_the_disk_is_full() {
        let mut journal = Journal::new();
        let stuck = journal.put(Space::Meta, vec![1], vec![1]);
        journal.hold(answer(1));
        taken(&mut journal);
        journal.failed(stuck, StoreFailure::Full);
        journal.hold_until(0, answer(2));
        assert_eq!(journal.release(), Some(answer(2)));
        assert_eq!(journal.release(), None);
    }

    #[test]
    fn a_broken_store_is_not_made_whole_by_a_full_one() {
        let mut journal = Journal::new();
        let id = journal.put(Space::Meta, vec![1], vec![]);
        taken(&mut journal);
        journal.broke("EIO".into());
        journal.failed(id, StoreFailure::Full);
        journal.retry();
        assert!(matches!(
            journal.failure(),
            Some(StoreFailure::Broken { .. })
        ));
    }

    #[test]
    fn what_failed_is_not_durable_until_it_was_stored_again() {
        let mut journal = Journal::new();
        let first = journal.put(Space::Meta, vec![1], vec![1]);
        taken(&mut journal);
        let second = journal.put(Space::Meta, vec![2], vec![2]);
        taken(&mut journal);
        journal.failed(first, StoreFailure::Full);
        journal.failed(second, StoreFailure::Full);
        assert!(!journal.is_durable(first));
        assert_eq!(
            journal.next_batch(),
            None,
            "nothing is stored while the disk is full"
        );
        journal.retry();
        let again = taken(&mut journal);
        assert!(!journal.is_durable(first) && !journal.is_durable(second));
        journal.stored(again);
        assert!(journal.is_durable(first) && journal.is_durable(second));
    }

    #[test]
    fn what_a_lost_peer_was_to_be_sent_is_not_sent_to_it_later() {
        let send = |to| Output::Send {
            to: NodeId::from_bytes([to; 32]),
            message: crate::Message::PushAck {
                id: 1,
                refused: vec![],
            },
        };
        let mut journal = Journal::new();
        let batch = journal.put(Space::Meta, vec![1], vec![]);
        journal.hold(send(1));
        journal.hold(send(2));
        journal.forget_peer(NodeId::from_bytes([1; 32]));
        taken(&mut journal);
        journal.stored(batch);
        assert_eq!(journal.release(), Some(send(2)));
        assert_eq!(journal.release(), None);
    }

    #[test]
    fn a_disk_that_falls_behind_fills_the_journal_until_it_takes_the_batch() {
        let mut journal = Journal::new();
        for n in 0..4 {
            assert!(!journal.is_full());
            journal.put(Space::Objects, vec![n], vec![0; OPEN_BYTES_MAX / 3 - 100]);
        }
        assert!(journal.is_full());
        let first = taken(&mut journal);
        assert!(!journal.is_full());
        journal.failed(first, StoreFailure::Full);
        assert!(journal.is_full(), "what failed waits again");
    }

    #[test]
    fn a_broken_disk_is_not_tried_again() {
        let mut journal = Journal::new();
        let id = journal.put(Space::Meta, vec![1], vec![]);
        taken(&mut journal);
        journal.failed(
            id,
            StoreFailure::Broken {
                reason: "EIO".into(),
            },
        );
        journal.retry();
        assert_eq!(journal.next_batch(), None);
    }
}
