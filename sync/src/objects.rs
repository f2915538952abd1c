//! Objects by position: a bounded cache of decoded ones in front of the store.
//!
//! On disk an object is a base record and the deltas merged since. A small object is written whole each time; to a large one
//! a delta is appended, and the base is rewritten once the deltas have grown as large as it, so that a write costs in
//! proportion to its delta and a read in proportion to the object.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use meshwork_crdt::{Limits, Object};
use meshwork_dht::Position;
use meshwork_membership::planted::{Bug, planted};

use crate::journal::Journal;
use crate::records::{self, BaseRecord, LogRecord, Mark};
use crate::store::scan_slots;
use crate::{Key, ReadStore, Space, Store};

/// The cache. Entries that are not durable yet never leave it, since the store does not show them.
#[derive(Debug)]
pub(crate) struct Objects {
    entries: BTreeMap<Position, Entry>,
    /// Every entry once, with the use that it was put here for: one that was used since goes to the end instead of leaving.
    by_use: VecDeque<(u64, Position)>,
    next_use: u64,
    bytes: usize,
    bytes_max: usize,
    /// Removed objects by the batch that makes it so: until then the store still shows them.
    removed: BTreeMap<Position, u64>,
}

/// One object in memory.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) object: Arc<Object>,
    pub(crate) mark: Mark,
    /// The batch that makes it durable.
    pub(crate) batch: u64,
    base_bytes: usize,
    log_bytes: usize,
    next_seq: u64,
    last_use: u64,
    /// Its place in the queue of those that may leave.
    queued: u64,
}

/// What merging a delta did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    /// Digest of the version before; none when the object is new.
    pub(crate) before: Option<[u8; 32]>,
    /// Digest of the version after.
    pub(crate) after: [u8; 32],
    /// The batch that makes the state after durable.
    pub(crate) batch: u64,
    /// What was there before was damaged and is lost.
    pub(crate) damaged: bool,
}

impl Applied {
    /// Whether the delta held anything that was not there.
    pub(crate) fn changed(&self) -> bool {
        self.before != Some(self.after)
    }
}

/// Below this many bytes an object is always written whole.
const WHOLE_BYTES_MAX: usize = 2 << 10;

/// Most deltas behind one base, so that a read stays one short scan.
const LOG_RECORDS_MAX: u64 = 4_096;

impl Objects {
    pub(crate) const fn new(bytes_max: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            by_use: VecDeque::new(),
            next_use: 0,
            bytes: 0,
            bytes_max,
            removed: BTreeMap::new(),
        }
    }

    /// The object at `position`, from memory or the store.
    ///
    /// A damaged object is an error here; merging a peer's copy with [`Objects::merge`] repairs it.
    pub(crate) fn load(
        &mut self,
        store: &dyn Store,
        journal: &Journal,
        position: &Position,
    ) -> Result<Option<&Entry>, ReadStore> {
        if !self.entries.contains_key(position) {
            if self.removed.contains_key(position) {
                return Ok(None);
            }
            // Before the new one comes in, so that it is not the one that leaves.
            self.evict(journal);
            match read(store, position) {
                Ok(Some(entry)) => self.insert(*position, entry),
                Ok(None) => return Ok(None),
                // Planted: what cannot be read counts as never written, and nobody is asked for it.
                Err(ReadStore::Damaged { .. }) if planted(Bug::DamageTakenForAbsence) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        let entry = self.entries.get_mut(position);
        self.next_use += 1;
        Ok(entry.map(|entry| {
            entry.last_use = self.next_use;
            &*entry
        }))
    }

    /// The state that is durable, whatever memory holds.
    pub(crate) fn load_durable(
        &self,
        store: &dyn Store,
        position: &Position,
    ) -> Result<Option<Arc<Object>>, ReadStore> {
        Ok(read(store, position)?.map(|entry| entry.object))
    }

    /// Merges `delta` and writes what changed into the journal's open batch.
    ///
    /// `written` is the delta's own dot when this store drew it. A damaged object counts as absent, and is then whole again
    /// as far as `delta` goes.
    pub(crate) fn merge(
        &mut self,
        store: &dyn Store,
        journal: &mut Journal,
        key: &Key,
        delta: &Object,
        written: Option<u64>,
    ) -> Result<Applied, ReadStore> {
        let position = key.position();
        let (fresh, damaged) = match self.load(store, journal, &position) {
            Ok(found) => (found.is_none(), false),
            Err(ReadStore::Damaged { .. }) => {
                clear(store, journal, &position)?;
                (true, true)
            }
            Err(error @ ReadStore::Engine { .. }) => return Err(error),
        };
        if fresh {
            // Its deletion goes down before what is written now, and the entry stays in memory until then.
            self.removed.remove(&position);
            self.insert(position, Entry::absent(key.clone()));
        }
        let entry = self
            .entries
            .get_mut(&position)
            .expect("it was loaded or inserted above");
        let before = (!fresh).then_some(entry.mark.digest);
        // Planted: what arrives last wins whole.
        if planted(Bug::MergeByArrival) && written.is_none() {
            entry.object = Arc::default();
        }
        Arc::make_mut(&mut entry.object).join(delta);
        let after = entry.object.digest();
        if before == Some(after) && written.is_none() {
            return Ok(Applied {
                before,
                after,
                batch: entry.batch,
                damaged,
            });
        }
        entry.mark = Mark {
            digest: after,
            written: written.or(entry.mark.written),
        };
        let bytes_before = entry.bytes();
        entry.write(&position, delta, journal);
        self.bytes = self.bytes - bytes_before + entry.bytes();
        let batch = entry.batch;
        self.evict(journal);
        Ok(Applied {
            before,
            after,
            batch,
            damaged,
        })
    }

    /// Forgets the object here and deletes its records, damaged ones too. Returns the digest that it had.
    pub(crate) fn remove(
        &mut self,
        store: &dyn Store,
        journal: &mut Journal,
        position: &Position,
    ) -> Result<Option<[u8; 32]>, ReadStore> {
        let digest = match self.load(store, journal, position) {
            Ok(found) => found.map(|entry| entry.mark.digest),
            Err(ReadStore::Damaged { .. }) => {
                clear(store, journal, position)?;
                self.removed.insert(*position, journal.latest());
                return Ok(None);
            }
            Err(error @ ReadStore::Engine { .. }) => return Err(error),
        };
        if let Some(entry) = self.forget(position) {
            for seq in 0..entry.next_seq {
                let batch = journal.delete(Space::Objects, records::object_key(position, seq));
                self.removed.insert(*position, batch);
            }
        }
        Ok(digest)
    }

    /// Versions of the objects in memory after `from` and up to `to`.
    pub(crate) fn in_memory(
        &self,
        from: Option<Position>,
        to: Option<Position>,
    ) -> impl Iterator<Item = (Position, [u8; 32])> + '_ {
        let from = from.map_or(Bound::Unbounded, Bound::Excluded);
        let to = to.map_or(Bound::Unbounded, Bound::Included);
        self.entries
            .range((from, to))
            .map(|(position, entry)| (*position, entry.mark.digest))
    }

    /// Whether the object was removed, although the store may still show it.
    pub(crate) fn is_removed(&self, position: &Position) -> bool {
        self.removed.contains_key(position)
    }

    /// A batch became durable.
    pub(crate) fn stored(&mut self, journal: &Journal) {
        self.removed.retain(|_, batch| !journal.is_durable(*batch));
        self.evict(journal);
    }

    fn insert(&mut self, position: Position, entry: Entry) {
        self.forget(&position);
        self.next_use += 1;
        self.bytes += entry.bytes();
        if self.by_use.len() > 2 * self.entries.len() + EVICT_LOOK {
            // Places of entries that left by another way.
            let entries = &self.entries;
            let current = |(queued, position): &(u64, Position)| {
                let entry = entries.get(position);
                entry.is_some_and(|entry| entry.queued == *queued)
            };
            self.by_use.retain(current);
        }
        self.by_use.push_back((self.next_use, position));
        let (last_use, queued) = (self.next_use, self.next_use);
        self.entries.insert(
            position,
            Entry {
                last_use,
                queued,
                ..entry
            },
        );
    }

    fn forget(&mut self, position: &Position) -> Option<Entry> {
        let entry = self.entries.remove(position)?;
        self.bytes -= entry.bytes();
        Some(entry)
    }

    /// Drops durable entries that were not used for long until the cache fits ("second chance", Corbató 1968).
    fn evict(&mut self, journal: &Journal) {
        let mut passed_over = 0;
        while self.bytes > self.bytes_max && passed_over < EVICT_LOOK {
            let Some((use_number, position)) = self.by_use.pop_front() else {
                return;
            };
            // An older place in the queue than the entry's own is of one that left and came back.
            let Some(entry) = self
                .entries
                .get_mut(&position)
                .filter(|entry| entry.queued == use_number)
            else {
                continue;
            };
            if entry.last_use == use_number && journal.is_durable(entry.batch) {
                self.forget(&position);
            } else {
                passed_over += usize::from(!journal.is_durable(entry.batch));
                self.next_use += 1;
                (entry.queued, entry.last_use) = (self.next_use, self.next_use);
                self.by_use.push_back((self.next_use, position));
            }
        }
    }
}

/// How many entries are looked at for one that may leave; the ones passed over are about to become durable.
const EVICT_LOOK: usize = 64;

impl Entry {
    fn absent(key: Key) -> Self {
        let object = Object::new();
        let mark = Mark {
            digest: object.digest(),
            written: None,
        };
        Self {
            key,
            object: Arc::new(object),
            mark,
            batch: 0,
            base_bytes: 0,
            log_bytes: 0,
            next_seq: 0,
            last_use: 0,
            queued: 0,
        }
    }

    fn bytes(&self) -> usize {
        self.base_bytes + self.log_bytes
    }

    /// Size on disk, for the limit on objects.
    pub(crate) fn encoded_bytes(&self) -> usize {
        self.bytes()
    }

    fn write(&mut self, position: &Position, delta: &Object, journal: &mut Journal) {
        let small = self.next_seq == 0 || self.base_bytes <= WHOLE_BYTES_MAX;
        let delta = if small { Vec::new() } else { delta.encode() };
        let log_bytes = self.log_bytes + delta.len();
        if small || log_bytes > self.base_bytes || self.next_seq > LOG_RECORDS_MAX {
            let object = self.object.encode();
            (self.base_bytes, self.log_bytes) = (object.len(), 0);
            let record = BaseRecord {
                key: self.key.clone(),
                mark: self.mark,
                object,
            };
            for seq in 1..self.next_seq {
                journal.delete(Space::Objects, records::object_key(position, seq));
            }
            self.next_seq = 1;
            let bytes = records::encode(&record);
            self.batch = journal.put(Space::Objects, records::object_key(position, 0), bytes);
        } else {
            self.log_bytes = log_bytes;
            let bytes = records::encode(&LogRecord {
                mark: self.mark,
                delta,
            });
            let key = records::object_key(position, self.next_seq);
            self.batch = journal.put(Space::Objects, key, bytes);
            self.next_seq += 1;
        }
    }
}

/// Reads and joins the records of one object.
pub(crate) fn read(store: &dyn Store, position: &Position) -> Result<Option<Entry>, ReadStore> {
    // A stored object that does not decode has a right checksum and wrong bytes: it is handled as damage.
    let damaged = |seq| ReadStore::Damaged {
        space: Space::Objects,
        key: records::object_key(position, seq),
    };
    let mut entry: Option<Entry> = None;
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(Space::Objects, position.as_bytes(), after.as_deref(), 256)?;
        let full = page.len() == 256;
        for (record_key, bytes) in page {
            let (_, seq) = records::parse_object_key(&record_key).ok_or_else(|| damaged(0))?;
            match &mut entry {
                None => {
                    let record: BaseRecord = records::decode(&bytes)
                        .ok()
                        .filter(|_| seq == 0)
                        .ok_or_else(|| damaged(seq))?;
                    let object = Object::decode(&record.object, &Limits::LOCAL)
                        .ok()
                        .ok_or_else(|| damaged(seq))?;
                    entry = Some(Entry {
                        object: Arc::new(object),
                        mark: record.mark,
                        base_bytes: record.object.len(),
                        next_seq: 1,
                        ..Entry::absent(record.key)
                    });
                }
                Some(entry) => {
                    let record: LogRecord =
                        records::decode(&bytes).ok().ok_or_else(|| damaged(seq))?;
                    let delta = Object::decode(&record.delta, &Limits::LOCAL)
                        .ok()
                        .ok_or_else(|| damaged(seq))?;
                    Arc::make_mut(&mut entry.object).join(&delta);
                    entry.mark = record.mark;
                    entry.log_bytes += record.delta.len();
                    entry.next_seq = seq + 1;
                }
            }
            after = Some(record_key);
        }
        if !full {
            return Ok(entry.map(|mut entry| {
                entry.mark.digest = entry.object.digest();
                entry
            }));
        }
    }
}

/// Deletes every record at `position`, damaged ones too.
fn clear(store: &dyn Store, journal: &mut Journal, position: &Position) -> Result<(), ReadStore> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let prefix = position.as_bytes();
        let page = scan_slots(store, Space::Objects, prefix, after.as_deref(), 256)?;
        let Some((last, _)) = page.last() else {
            return Ok(());
        };
        after = Some(last.clone());
        for (key, _) in page {
            journal.delete(Space::Objects, key);
        }
    }
}

#[cfg(test)]
mod tests;
