//! What the store asks of a storage engine, and how its failures are told apart.

use std::any::Any;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use meshwork_sync::{Record, Space};

use super::group::Group;

/// A storage engine: ordered records in a few spaces, changed by durable groups.
///
/// [`commit`](Engine::commit) is called by one thread; reads may come from any thread at the same time. An engine knows nothing of
/// record checksums: what it stores has been sealed, and what it returns is checked by [`Records`](super::Records).
pub trait Engine: Debug + Send + Sync {
    /// Makes a group durable, all of it or nothing, and then visible to reads. Blocks until the disk has said yes.
    ///
    /// # Errors
    /// See [`CommitGroup`]: after `Full`, [`Engine::recover`] comes before the next commit; after `Fatal`, there is no next commit.
    fn commit(&self, group: &Group) -> Result<(), CommitGroup>;

    /// The bytes under `key`.
    ///
    /// # Errors
    /// See [`ReadEngine`].
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, ReadEngine>;

    /// Up to `records_max` records under `prefix`, after `after`, in the order of their keys.
    ///
    /// # Errors
    /// See [`ReadEngine`].
    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        records_max: usize,
    ) -> Result<Vec<Record>, ReadEngine>;

    /// Makes the engine fit for writing again after [`CommitGroup::Full`], by opening it anew if it must. Reads wait meanwhile.
    ///
    /// # Errors
    /// What the engine said. The caller tries again before the next commit.
    fn recover(&self) -> Result<(), String>;

    /// Flushes and lets go of the files. Later calls fail; a second close does nothing.
    ///
    /// # Errors
    /// What the engine said; what was acknowledged is durable all the same.
    fn close(&self) -> Result<(), String>;
}

/// A group was not made durable. Whether it shows up again after a restart is open, as after any crash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitGroup {
    /// The disk is full: the environment's fault. Reads go on; writes go on after [`Engine::recover`].
    #[error("the disk is full")]
    Full,
    /// The engine stopped by itself before this group, after something failed in the background, and wrote nothing of it. It does not say
    /// what failed. With the disk nearly full that was it, and this is as `Full`; otherwise it is as `Fatal`.
    #[error("the store stopped: {reason}")]
    Halted {
        /// What the engine said.
        reason: String,
    },
    /// The engine or the disk failed, a failed flush above all. A flush is never tried again: the kernel may have dropped the pages and
    /// answer yes the second time (Rebello et al., "Can applications recover from fsync failures?", ATC 2020).
    #[error("the store failed: {reason}")]
    Fatal {
        /// What the engine said.
        reason: String,
    },
}

/// A read failed in the engine. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadEngine {
    /// A checksum inside the engine's files is wrong.
    #[error("a block is damaged: {reason}")]
    Damaged {
        /// What the engine said.
        reason: String,
    },
    /// Anything else: the disk failed, the engine panicked, or it is closed.
    #[error("{reason}")]
    Failed {
        /// What the engine said.
        reason: String,
    },
}

impl ReadEngine {
    pub(super) fn closed() -> Self {
        Self::Failed {
            reason: "the store is closed".into(),
        }
    }
}

/// Runs engine code that may panic on damaged files, and turns a panic into a value.
///
/// No bytes from a disk may panic a node, and neither engine promises that. Needs `panic = "unwind"`, the default.
pub(super) fn catch_panic<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
        let text = panic_text(payload.as_ref());
        format!("the storage engine panicked: {text}")
    })
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no text")
}
