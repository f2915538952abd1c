//! What the authors say to each other besides the document: which commit was the how-manieth of whom.
//!
//! The text itself travels through the mesh only. What is told here lets an author know a chunk when it arrives, wait for exactly
//! the commits that its next step is based on, and measure how long they took to get there.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A commit, as its author counts: from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) author: usize,
    pub(super) number: u64,
}

/// All commits so far.
#[derive(Debug, Default)]
pub(super) struct Commits {
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    by_hash: BTreeMap<[u8; 32], (Commit, Option<Instant>)>,
    ended: BTreeMap<usize, u64>,
    waits: Vec<Duration>,
}

impl Commits {
    /// A chunk is about to be written.
    pub(super) fn announce(&self, chunk: &[u8], commit: Commit) {
        let hash = *blake3::hash(chunk).as_bytes();
        self.lock().by_hash.insert(hash, (commit, None));
    }

    /// The author's node has acknowledged it.
    pub(super) fn acknowledged(&self, chunk: &[u8]) {
        if let Some((_, at)) = self.lock().by_hash.get_mut(blake3::hash(chunk).as_bytes()) {
            *at = Some(Instant::now());
        }
    }

    /// Whose commit a chunk is. `None`: nobody's, so the mesh made it up.
    pub(super) fn find(&self, chunk: &[u8]) -> Option<Commit> {
        let told = self.lock();
        told.by_hash
            .get(blake3::hash(chunk).as_bytes())
            .map(|(commit, _)| *commit)
    }

    /// The other author has this chunk now, maybe before its writer's node has told its writer that it is written.
    pub(super) fn arrived(&self, chunk: &[u8]) {
        let mut told = self.lock();
        if let Some((_, at)) = told.by_hash.get(blake3::hash(chunk).as_bytes()) {
            let wait = at.map_or(Duration::ZERO, |at| at.elapsed());
            told.waits.push(wait);
        }
    }

    /// An author is done.
    pub(super) fn end(&self, author: usize, commits: u64) {
        self.lock().ended.insert(author, commits);
    }

    /// How many commits an author made, once it is done.
    pub(super) fn ended(&self, author: usize) -> Option<u64> {
        self.lock().ended.get(&author).copied()
    }

    /// How many there are of both.
    pub(super) fn len(&self) -> usize {
        self.lock().by_hash.len()
    }

    /// How long commits that were acknowledged took to the other author: the median, and what 99 of 100 were under.
    pub(super) fn waits(&self) -> Waits {
        let mut waits = self.lock().waits.clone();
        waits.sort_unstable();
        let at = |percent: usize| {
            let index = waits.len().saturating_sub(1) * percent / 100;
            waits.get(index).copied().unwrap_or_default()
        };
        Waits {
            median: at(50),
            p99: at(99),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Times from a commit's acknowledgement at one author's node to its arrival at the other author, through the other's node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waits {
    pub(super) median: Duration,
    pub(super) p99: Duration,
}
