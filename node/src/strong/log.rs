//! The log of the group as this node has it: whole in memory, mirrored in the store.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use meshwork_sync::{Batch, Space, Store};
use raft::eraftpb::{ConfState, Entry, EntryType, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use super::records::{
    BASE, Base, Blob, Body, CONFIG, Config, HARD, HEAD, Hard, Head, LogEntry, OpenGroup, SNAPSHOT,
    SnapshotHead, VoterId, damaged, decode, encode, entry_key, part_key, read, required,
    unreadable,
};

/// Log, vote, voters and snapshot. What changes goes into a [`Batch`] at the same time.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) head: Head,
    hard: Hard,
    config: Config,
    snapshot: SnapshotHead,
    base: Base,
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Log {
    /// The log of a group that begins with its state at `snapshot`, in these parts: that of a new one, or of a node that has caught up.
    pub(crate) fn begin(head: Head, hard: Hard, snapshot: SnapshotHead, batch: &mut Batch) -> Self {
        let log = Self {
            head,
            hard,
            config: snapshot.config.clone(),
            base: Base {
                index: snapshot.index,
                term: snapshot.term,
            },
            snapshot,
            entries: VecDeque::new(),
            bytes: 0,
        };
        batch.put(Space::Strong, HEAD, encode(&log.head));
        batch.put(Space::Strong, HARD, encode(&log.hard));
        batch.put(Space::Strong, CONFIG, encode(&log.config));
        batch.put(Space::Strong, BASE, encode(&log.base));
        batch.put(Space::Strong, SNAPSHOT, encode(&log.snapshot));
        log
    }

    /// What an earlier run left; `None` if this store belongs to no group.
    ///
    /// # Errors
    /// [`OpenGroup`] when a record is damaged or missing: nothing is cut out, since it may be what this voter has promised.
    pub(crate) fn open(store: &Arc<dyn Store + Send + Sync>) -> Result<Option<Self>, OpenGroup> {
        let store = &**store;
        let Some(head) = read(store, HEAD)? else {
            return Ok(None);
        };
        let mut log = Self {
            head,
            hard: required(store, HARD)?,
            config: required(store, CONFIG)?,
            snapshot: required(store, SNAPSHOT)?,
            base: required(store, BASE)?,
            entries: VecDeque::new(),
            bytes: 0,
        };
        log.read_entries(store)?;
        let last = log.last();
        let blank = log.snapshot.index == 0;
        if !(blank || log.config.is_sound()) || log.hard.commit > last || log.snapshot.index > last
        {
            return Err(damaged(HARD));
        }
        Ok(Some(log))
    }

    fn read_entries(&mut self, store: &dyn Store) -> Result<(), OpenGroup> {
        let mut after = entry_key(self.base.index);
        loop {
            let page = store.scan(Space::Strong, super::records::ENTRIES, Some(&after), 256);
            let page = page.map_err(unreadable)?;
            let Some((key, _)) = page.last() else {
                return Ok(());
            };
            after.clone_from(key);
            for (key, bytes) in &page {
                let index = self.last() + 1;
                let entry: Option<LogEntry> = decode(bytes);
                let entry = entry.filter(|_| *key == entry_key(index));
                let entry = entry.ok_or_else(|| damaged(&entry_key(index)))?;
                self.push(to_raft(index, entry));
            }
        }
    }

    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) const fn snapshot(&self) -> &SnapshotHead {
        &self.snapshot
    }

    /// The last entry's index.
    pub(crate) fn last(&self) -> u64 {
        self.base.index + self.entries.len() as u64
    }

    /// The entry behind which the log begins.
    pub(crate) const fn base(&self) -> Base {
        self.base
    }

    /// What the entries behind the snapshot amount to.
    pub(crate) fn bytes_behind_snapshot(&self) -> usize {
        let skipped = usize::try_from(self.snapshot.index - self.base.index).unwrap_or(usize::MAX);
        self.entries.iter().skip(skipped).map(bytes_of).sum()
    }

    /// What the entries that are kept amount to.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends, and replaces what is there from the first of them on.
    pub(crate) fn append(&mut self, entries: Vec<Entry>, batch: &mut Batch) {
        let Some(first) = entries.first().map(|entry| entry.index) else {
            return;
        };
        let last = self.last();
        while self.last() >= first
            && let Some(old) = self.entries.pop_back()
        {
            self.bytes -= bytes_of(&old);
        }
        for entry in entries {
            let index = entry.index;
            batch.put(Space::Strong, entry_key(index), encode(&from_raft(&entry)));
            self.push(entry);
        }
        for index in self.last() + 1..=last {
            batch.delete(Space::Strong, entry_key(index));
        }
    }

    pub(crate) fn set_hard(&mut self, hard: &HardState, batch: &mut Batch) {
        self.hard = Hard {
            term: hard.term,
            vote: hard.vote,
            commit: hard.commit,
        };
        batch.put(Space::Strong, HARD, encode(&self.hard));
    }

    /// Notes the voters as of an entry that was applied, and with them that it was committed: a voter that forgot either could take
    /// an old majority for one of today.
    pub(crate) fn set_config(&mut self, config: Config, batch: &mut Batch) {
        self.hard.commit = self.hard.commit.max(config.index);
        self.config = config;
        batch.put(Space::Strong, HARD, encode(&self.hard));
        batch.put(Space::Strong, CONFIG, encode(&self.config));
    }

    /// A newer snapshot counts from now on. The log still reaches back to the one before it, for those who lag a little.
    pub(crate) fn compact(&mut self, snapshot: SnapshotHead, batch: &mut Batch) {
        let old = core::mem::replace(&mut self.snapshot, snapshot);
        batch.put(Space::Strong, SNAPSHOT, encode(&self.snapshot));
        for part in 0..old.parts {
            batch.delete(Space::Strong, part_key(old.index, part));
        }
        for index in self.base.index + 1..=old.index {
            batch.delete(Space::Strong, entry_key(index));
            if let Some(entry) = self.entries.pop_front() {
                self.bytes -= bytes_of(&entry);
            }
        }
        self.base = Base {
            index: old.index,
            term: old.term,
        };
        batch.put(Space::Strong, BASE, encode(&self.base));
    }

    /// Goes on from a snapshot of the leader's: nothing of the log before it counts.
    pub(crate) fn install(&mut self, snapshot: SnapshotHead, batch: &mut Batch) {
        for index in self.base.index + 1..=self.last() {
            batch.delete(Space::Strong, entry_key(index));
        }
        for part in 0..self.snapshot.parts {
            batch.delete(Space::Strong, part_key(self.snapshot.index, part));
        }
        let hard = Hard {
            commit: self.hard.commit.max(snapshot.index),
            ..self.hard
        };
        *self = Self::begin(self.head, hard, snapshot, batch);
    }

    fn push(&mut self, entry: Entry) {
        self.bytes += bytes_of(&entry);
        self.entries.push_back(entry);
    }

    fn entry(&self, index: u64) -> Option<&Entry> {
        let place = index.checked_sub(self.base.index + 1)?;
        self.entries.get(usize::try_from(place).ok()?)
    }
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let mut hard = HardState::default();
        hard.term = self.hard.term;
        hard.vote = self.hard.vote;
        hard.commit = self.hard.commit.max(self.snapshot.index);
        Ok(RaftState::new(hard, conf_state(&self.config)))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.base.index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let mut room = max_size.into().unwrap_or(u64::MAX);
        let mut entries = Vec::new();
        for index in low..high {
            let Some(entry) = self.entry(index) else {
                return Err(raft::Error::Store(StorageError::Unavailable));
            };
            let bytes = bytes_of(entry) as u64;
            if bytes > room && !entries.is_empty() {
                break;
            }
            room = room.saturating_sub(bytes);
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base.index {
            return Ok(self.base.term);
        }
        // A node that has caught up by a snapshot knows the term of its last entry and of none before.
        if index < self.base.index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let entry = self.entry(index);
        entry
            .map(|entry| entry.term)
            .ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        // A member takes no snapshot that does not know it: one is made.
        let known = self.snapshot.config.members().contains(&to);
        if self.snapshot.index < request_index || !known {
            let wait = StorageError::SnapshotTemporarilyUnavailable;
            return Err(raft::Error::Store(wait));
        }
        Ok(snapshot_of(&self.snapshot))
    }
}

/// What raft is told of a snapshot: its parts go a way of their own.
pub(crate) fn snapshot_of(head: &SnapshotHead) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let metadata = snapshot.mut_metadata();
    metadata.index = head.index;
    metadata.term = head.term;
    metadata.set_conf_state(conf_state(&head.config));
    snapshot
}

pub(crate) fn conf_state(config: &Config) -> ConfState {
    let ids = |ids: &BTreeSet<VoterId>| ids.iter().copied().collect();
    ConfState {
        voters: ids(&config.voters),
        voters_outgoing: ids(&config.outgoing),
        learners: ids(&config.learners),
        learners_next: ids(&config.learners_next),
        auto_leave: config.auto_leave,
        ..ConfState::default()
    }
}

pub(crate) fn from_raft(entry: &Entry) -> LogEntry {
    let body = match entry.entry_type {
        EntryType::EntryNormal => Body::Commands(Blob(entry.data.clone())),
        // What protobuf says in `data`, for raft alone, our own encoding says in `context`.
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
            Body::Config(Blob(entry.context.clone()))
        }
    };
    LogEntry {
        term: entry.term,
        body,
    }
}

pub(crate) fn to_raft(index: u64, entry: LogEntry) -> Entry {
    let mut raft = Entry {
        index,
        term: entry.term,
        ..Entry::default()
    };
    match entry.body {
        Body::Commands(Blob(data)) => raft.data = data,
        Body::Config(Blob(context)) => {
            raft.set_entry_type(EntryType::EntryConfChangeV2);
            raft.context = context;
        }
    }
    raft
}

/// What an entry costs, about.
fn bytes_of(entry: &Entry) -> usize {
    entry.data.len() + entry.context.len() + ENTRY_BYTES
}

const ENTRY_BYTES: usize = 64;
