//! The durable queue of deltas that peers have not acknowledged.
//!
//! One record holds a delta and those who lack it, whatever their number; it is deleted when the last of them has
//! acknowledged. Who has acknowledged in between is only remembered in memory: after a restart they are told again, which
//! changes nothing (invariant 4). Offline writing, hinted handoff and retry are this one mechanism.

use std::collections::{BTreeMap, BTreeSet};

use meshwork_dht::Position;
use meshwork_membership::NodeId;
use meshwork_membership::planted::{Bug, planted};

use crate::journal::Journal;
use crate::message::Item;
use crate::records::{self, OutboxRecord};
use crate::store::scan_slots;
use crate::{ReadStore, Space, Store};

/// The queue. Sequence numbers order it; a peer is sent its entries oldest first.
#[derive(Debug)]
pub(crate) struct Outbox {
    entries: BTreeMap<u64, Entry>,
    queues: BTreeMap<NodeId, Queue>,
    by_position: BTreeMap<Position, u32>,
    next_seq: u64,
    first_unstored: u64,
    cached_bytes: usize,
    cache_bytes_max: usize,
    bytes: u64,
}

#[derive(Debug)]
struct Entry {
    position: Position,
    waiting: BTreeSet<NodeId>,
    /// The batch that makes it durable; it is not sent before.
    batch: u64,
    bytes: usize,
    item: Option<Item>,
}

/// What waits for one peer.
#[derive(Debug, Default)]
struct Queue {
    /// Not under way.
    ready: BTreeSet<u64>,
    bytes: u64,
    entries: u64,
}

/// How much waits for one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Deltas.
    pub entries: u64,
    /// Their encoded bytes.
    pub bytes: u64,
}

impl Outbox {
    pub(crate) fn new(cache_bytes_max: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            queues: BTreeMap::new(),
            by_position: BTreeMap::new(),
            next_seq: 1,
            first_unstored: 1,
            cached_bytes: 0,
            cache_bytes_max,
            bytes: 0,
        }
    }

    /// Reads the queue that an earlier run left. Damaged entries are counted and stepped over: what they held is also in the
    /// object, from where the comparison with the replicas brings it to them.
    pub(crate) fn restore(&mut self, store: &dyn Store) -> Result<u64, ReadStore> {
        let mut damaged = 0;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = scan_slots(store, Space::Outbox, &[], after.as_deref(), 1_000)?;
            let Some((last, _)) = page.last() else {
                return Ok(damaged);
            };
            after = Some(last.clone());
            for (key, value) in page {
                let seq = <[u8; 8]>::try_from(key.as_slice()).map(u64::from_be_bytes);
                let record = value.and_then(|value| records::decode::<OutboxRecord>(&value).ok());
                match (seq, record) {
                    (Ok(seq), Some(record)) => {
                        let item = Item {
                            key: record.key,
                            object: record.delta,
                        };
                        self.next_seq = self.next_seq.max(seq.saturating_add(1));
                        self.insert(seq, item, record.waiting.into_iter().collect(), 0);
                    }
                    _ => damaged += 1,
                }
            }
        }
    }

    /// Queues a delta for `waiting`, durable with the journal's open batch. Returns its sequence number.
    pub(crate) fn push(
        &mut self,
        item: Item,
        waiting: BTreeSet<NodeId>,
        journal: &mut Journal,
    ) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        let record = OutboxRecord {
            key: item.key.clone(),
            delta: item.object.clone(),
            waiting: waiting.iter().copied().collect(),
        };
        let batch = journal.put(
            Space::Outbox,
            seq.to_be_bytes().to_vec(),
            records::encode(&record),
        );
        self.insert(seq, item, waiting, batch);
        seq
    }

    fn insert(&mut self, seq: u64, item: Item, waiting: BTreeSet<NodeId>, batch: u64) {
        let position = item.key.position();
        let bytes = item_bytes(&item);
        for peer in &waiting {
            self.queues.entry(*peer).or_default().add(seq, bytes);
        }
        *self.by_position.entry(position).or_default() += 1;
        self.bytes += bytes as u64;
        // What is not durable yet can only be sent from memory.
        let cached = batch != 0 || self.cached_bytes + bytes <= self.cache_bytes_max;
        self.cached_bytes += if cached { bytes } else { 0 };
        let item = cached.then_some(item);
        self.entries.insert(
            seq,
            Entry {
                position,
                waiting,
                batch,
                bytes,
                item,
            },
        );
    }

    /// A batch became durable: where memory is short, its deltas leave it, since older ones are sent first.
    pub(crate) fn stored(&mut self, journal: &Journal) {
        for (seq, entry) in self.entries.range_mut(self.first_unstored..) {
            if !journal.is_durable(entry.batch) {
                break;
            }
            self.first_unstored = seq + 1;
            if self.cached_bytes > self.cache_bytes_max && entry.item.take().is_some() {
                self.cached_bytes -= entry.bytes;
            }
        }
    }

    /// Takes the next durable entries for `peer`, up to `bytes_max` in all but at least one, and marks them as under way.
    pub(crate) fn take(
        &mut self,
        peer: NodeId,
        bytes_max: usize,
        journal: &mut Journal,
        store: &dyn Store,
    ) -> Result<Vec<(u64, Item)>, ReadStore> {
        let mut taken: Vec<(u64, Item)> = Vec::new();
        let mut bytes = 0;
        while let Some(queue) = self.queues.get_mut(&peer) {
            let Some(seq) = queue.ready.first().copied() else {
                break;
            };
            let entry = self
                .entries
                .get(&seq)
                .expect("a queue names only entries that exist");
            // Planted: a peer learns of a dot that a crash undoes here, and ignores the write that draws it again.
            let leaves = journal.is_durable(entry.batch) || planted(Bug::SendBeforeDurable);
            if !leaves || (!taken.is_empty() && bytes + entry.bytes > bytes_max) {
                break;
            }
            queue.ready.remove(&seq);
            let item = match &entry.item {
                Some(item) => Some(item.clone()),
                None => read_item(store, seq)?,
            };
            match item {
                Some(item) => {
                    bytes += entry.bytes;
                    taken.push((seq, item));
                }
                None => {
                    self.acknowledge(peer, seq, journal);
                }
            }
        }
        Ok(taken)
    }

    /// `peer` has made the entry durable. Returns whether it was still waiting for it.
    pub(crate) fn acknowledge(&mut self, peer: NodeId, seq: u64, journal: &mut Journal) -> bool {
        let Some(entry) = self.entries.get_mut(&seq) else {
            return false;
        };
        if !entry.waiting.remove(&peer) {
            return false;
        }
        if let Some(queue) = self.queues.get_mut(&peer) {
            queue.remove(seq, entry.bytes);
        }
        if entry.waiting.is_empty() {
            self.remove(seq, journal);
        }
        true
    }

    /// What was under way to `peer` was not acknowledged: it waits again.
    pub(crate) fn again(&mut self, peer: NodeId, seqs: impl IntoIterator<Item = u64>) {
        let Some(queue) = self.queues.get_mut(&peer) else {
            return;
        };
        for seq in seqs {
            if self
                .entries
                .get(&seq)
                .is_some_and(|entry| entry.waiting.contains(&peer))
            {
                queue.ready.insert(seq);
            }
        }
    }

    /// The replicas of some keys have changed: entries follow them. `replicas` answers for a position who holds it now, this node left out.
    pub(crate) fn retarget(&mut self, replicas: impl Fn(&Position) -> BTreeSet<NodeId>) {
        let seqs: Vec<u64> = self.entries.keys().copied().collect();
        for seq in seqs {
            let Some(entry) = self.entries.get_mut(&seq) else {
                continue;
            };
            let now = replicas(&entry.position);
            let gone: Vec<NodeId> = entry.waiting.difference(&now).copied().collect();
            // With nobody to deliver to, the entry waits for those who were to have it.
            if gone.is_empty() || now.is_empty() {
                continue;
            }
            for peer in gone {
                entry.waiting.remove(&peer);
                if let Some(queue) = self.queues.get_mut(&peer) {
                    queue.remove(seq, entry.bytes);
                }
            }
            // Who took over from a peer that never had it is not known, so all of them get it.
            for peer in now {
                if entry.waiting.insert(peer) {
                    self.queues.entry(peer).or_default().add(seq, entry.bytes);
                }
            }
        }
        self.queues.retain(|_, queue| queue.entries > 0);
    }

    fn remove(&mut self, seq: u64, journal: &mut Journal) {
        let Some(entry) = self.entries.remove(&seq) else {
            return;
        };
        journal.delete(Space::Outbox, seq.to_be_bytes().to_vec());
        self.bytes -= entry.bytes as u64;
        if entry.item.is_some() {
            self.cached_bytes -= entry.bytes;
        }
        if let Some(count) = self.by_position.get_mut(&entry.position) {
            *count -= 1;
            if *count == 0 {
                self.by_position.remove(&entry.position);
            }
        }
    }

    /// Whether an entry, if it is still there, is durable.
    pub(crate) fn is_durable(&self, seq: u64, journal: &Journal) -> bool {
        self.entries
            .get(&seq)
            .is_none_or(|entry| journal.is_durable(entry.batch))
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether anything under `position` still waits for somebody.
    pub(crate) fn holds(&self, position: &Position) -> bool {
        self.by_position.contains_key(position)
    }

    pub(crate) fn lag(&self, peer: &NodeId) -> Lag {
        self.queues
            .get(peer)
            .map_or_else(Lag::default, |queue| Lag {
                entries: queue.entries,
                bytes: queue.bytes,
            })
    }

    /// Everybody for whom something waits.
    pub(crate) fn peers(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.queues
            .iter()
            .filter(|(_, queue)| queue.entries > 0)
            .map(|(peer, _)| *peer)
    }
}

impl Queue {
    fn add(&mut self, seq: u64, bytes: usize) {
        self.ready.insert(seq);
        self.entries += 1;
        self.bytes += bytes as u64;
    }

    fn remove(&mut self, seq: u64, bytes: usize) {
        self.ready.remove(&seq);
        self.entries -= 1;
        self.bytes -= bytes as u64;
    }
}

fn item_bytes(item: &Item) -> usize {
    item.object.len() + item.key.name().len() + item.key.namespace().len()
}

/// Reads an entry that had left memory. A damaged one is given up: the comparison with the replicas delivers it.
fn read_item(store: &dyn Store, seq: u64) -> Result<Option<Item>, ReadStore> {
    match store.get(Space::Outbox, &seq.to_be_bytes()) {
        Ok(bytes) => Ok(bytes
            .and_then(|bytes| records::decode::<OutboxRecord>(&bytes).ok())
            .map(|record| Item {
                key: record.key,
                object: record.delta,
            })),
        Err(ReadStore::Damaged { .. }) => Ok(None),
        Err(error @ ReadStore::Engine { .. }) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Output;

    struct Nothing;

    impl Store for Nothing {
        fn get(&self, _: Space, _: &[u8]) -> Result<Option<Vec<u8>>, ReadStore> {
            Ok(None)
        }

        fn scan(
            &self,
            _: Space,
            _: &[u8],
            _: Option<&[u8]>,
            _: usize,
        ) -> Result<Vec<crate::Record>, ReadStore> {
            Ok(Vec::new())
        }
    }

    fn node(n: u8) -> NodeId {
        NodeId::from_bytes([n; 32])
    }

    fn nodes(of: impl IntoIterator<Item = u8>) -> BTreeSet<NodeId> {
        of.into_iter().map(node).collect()
    }

    fn item() -> Item {
        Item {
            key: crate::Key::parse("a/a").unwrap(),
            object: vec![1; 10],
        }
    }

    fn seqs(outbox: &mut Outbox, peer: u8, journal: &mut Journal) -> Vec<u64> {
        let taken = outbox.take(node(peer), 1_000, journal, &Nothing).unwrap();
        taken.into_iter().map(|(seq, _)| seq).collect()
    }

    fn flush(journal: &mut Journal) {
        while let Some(Output::Store { id, .. }) = journal.next_batch() {
            journal.stored(id);
        }
    }

    #[test]
    fn nothing_is_sent_before_it_is_durable_and_nothing_twice_at_once() {
        let (mut outbox, mut journal) = (Outbox::new(100), Journal::new());
        let seq = outbox.push(item(), nodes([2]), &mut journal);
        assert_eq!(seqs(&mut outbox, 2, &mut journal), []);
        flush(&mut journal);
        assert_eq!(seqs(&mut outbox, 2, &mut journal), [seq]);
        assert_eq!(seqs(&mut outbox, 2, &mut journal), []);
        outbox.again(node(2), [seq]);
        assert_eq!(seqs(&mut outbox, 2, &mut journal), [seq]);
    }

    #[test]
    fn an_entry_leaves_with_its_last_acknowledgement_and_counts_it_once() {
        let (mut outbox, mut journal) = (Outbox::new(100), Journal::new());
        let seq = outbox.push(item(), nodes([2, 3]), &mut journal);
        flush(&mut journal);
        assert!(outbox.acknowledge(node(2), seq, &mut journal));
        assert!(!outbox.acknowledge(node(2), seq, &mut journal));
        assert!(!outbox.acknowledge(node(4), seq, &mut journal));
        assert_eq!((outbox.len(), outbox.lag(&node(2)).entries), (1, 0));
        assert!(outbox.acknowledge(node(3), seq, &mut journal));
        assert_eq!((outbox.len(), outbox.bytes()), (0, 0));
        assert!(!outbox.holds(&item().key.position()));
        outbox.again(node(3), [seq]);
        assert_eq!(seqs(&mut outbox, 3, &mut journal), []);
    }

    #[test]
    fn an_entry_follows_its_replicas_and_waits_when_there_are_none() {
        let (mut outbox, mut journal) = (Outbox::new(100), Journal::new());
        let seq = outbox.push(item(), nodes([2, 3]), &mut journal);
        flush(&mut journal);
        outbox.retarget(|_| BTreeSet::new());
        assert_eq!(outbox.peers().count(), 2);
        outbox.retarget(|_| nodes([3, 4]));
        assert_eq!(outbox.lag(&node(2)), Lag::default());
        assert_eq!(seqs(&mut outbox, 4, &mut journal), [seq]);
        assert!(outbox.acknowledge(node(4), seq, &mut journal));
        assert!(outbox.acknowledge(node(3), seq, &mut journal));
        assert_eq!(outbox.len(), 0);
    }
}
