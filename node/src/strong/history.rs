//! What changed, for those who watch.

use std::collections::VecDeque;

use meshwork_sync::Key;

use super::command::{Link, Revision, SessionId, Token};

/// Something that others may wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A key has another value, or is gone.
    Key {
        /// Which one.
        key: Key,
    },
    /// A session holds a lock.
    Granted {
        /// The lock.
        lock: Key,
        /// Who.
        session: SessionId,
        /// Under which token.
        token: Token,
    },
    /// A session stands in line for a lock.
    Queued {
        /// The lock.
        lock: Key,
        /// Who.
        session: SessionId,
    },
    /// A session no longer holds a lock: it has given it back.
    Released {
        /// The lock.
        lock: Key,
        /// Who.
        session: SessionId,
    },
    /// A session no longer waits for a lock: its patience was over, or it gave up its place.
    GaveUp {
        /// The lock.
        lock: Key,
        /// Who.
        session: SessionId,
    },
    /// A session no longer waits for a lock: it would have waited for itself.
    Deadlocked {
        /// The lock.
        lock: Key,
        /// Who.
        session: SessionId,
        /// Who waited for what.
        cycle: Vec<Link>,
    },
    /// A session has ended.
    Ended {
        /// Which one.
        session: SessionId,
    },
}

/// The latest changes, in order. What a node applied itself, and so no part of a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct History {
    changes: VecDeque<(Revision, Change)>,
    /// Changes up to this revision are not all here.
    forgotten: Revision,
}

/// Changes that are remembered.
const CHANGES_MAX: usize = 65_536;

impl History {
    /// Nothing is known of what was before.
    pub(crate) const fn from(forgotten: Revision) -> Self {
        let changes = VecDeque::new();
        Self { changes, forgotten }
    }

    pub(crate) fn push(&mut self, revision: Revision, change: Change) {
        if self.changes.len() >= CHANGES_MAX
            && let Some((oldest, _)) = self.changes.pop_front()
        {
            self.forgotten = oldest;
        }
        self.changes.push_back((revision, change));
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &(Revision, Change)> {
        self.changes.iter()
    }

    /// What changed after a revision; `None` when some of it is forgotten.
    pub(crate) fn after(
        &self,
        revision: Revision,
    ) -> Option<impl Iterator<Item = &(Revision, Change)>> {
        if revision < self.forgotten {
            return None;
        }
        let first = self.changes.partition_point(|(at, _)| *at <= revision);
        Some(self.changes.range(first..))
    }
}
