//! The storage thread: gathers batches while the disk is busy, makes them durable with one flush, and answers in order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use meshwork_sync::{Batch, Change};

use super::engine::Engine;
use super::free_space::FreeSpace;
use super::group::batch_bytes;
use super::storage_thread::{CommitLimits, OnOutcome, Shared, Waiting, Worker};

/// The way into the store for writes. One thread behind it owns all of them.
///
/// [`submit`](Self::submit) never blocks. Every batch that it takes is answered once, in the order of submission, by a call of the function
/// given to [`OpenStore::open`](super::OpenStore::open), on the storage thread. That function may block: the thread then waits with it,
/// the queue fills, and `submit` says [`SubmitBatch::Busy`]. A driver gives a function that sends into a bounded channel
/// (`tokio::sync::mpsc::Sender::blocking_send` for one) and keeps receiving until [`close`](Self::close) has returned.
///
/// **After a failure nothing is stored until the driver has seen it.** Later batches may build on the one that failed, so all that was
/// submitted before [`resume_after`](Self::resume_after) fails with [`StoreFailure::Skipped`].
///
/// Dropped without `close`, it stores what was submitted, closes the engine, and lets the thread end on its own.
#[derive(Debug)]
pub struct Committer {
    queue: SyncSender<Waiting>,
    shared: Arc<Shared>,
    queue_bytes_max: u64,
    thread: JoinHandle<Result<(), String>>,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable, and reads see it.
    Stored {
        /// As submitted.
        id: u64,
    },
    /// It was not made durable and must not be acknowledged to anyone. Reads do not see it (but with `sled`, they may); whether it is
    /// there after a restart is open, as for a write that was under way when the power went.
    StoreFailed {
        /// As submitted.
        id: u64,
        /// Why.
        reason: StoreFailure,
    },
}

/// Why a batch was not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreFailure {
    /// The disk is full, or nearly: the environment's fault. Say so to the writer, and call [`Committer::resume_after`]; each batch looks
    /// anew whether there is room.
    #[error("the disk is full: {bytes_free} bytes free, {bytes_needed} needed")]
    Full {
        /// Left on the file system.
        bytes_free: u64,
        /// For this batch, with the reserve.
        bytes_needed: u64,
    },
    /// There is room again after a full disk, but the engine did not open anew: the environment's fault. It is tried again with each batch
    /// after [`Committer::resume_after`]; reads fail meanwhile.
    #[error("the store did not open again after a full disk: {reason}")]
    NotRecovered {
        /// What the engine said.
        reason: String,
    },
    /// A batch before this one failed. Submit it again, if it still makes sense, after [`Committer::resume_after`].
    #[error("batch {failed}, submitted before this one, failed")]
    Skipped {
        /// The batch that failed.
        failed: u64,
    },
    /// The disk or the engine failed, and the store takes no more writes while this process lives. Stop the node: what was acknowledged
    /// is on the disk as far as the disk can be believed.
    #[error("the store is read-only: {reason}")]
    ReadOnly {
        /// What the engine said first.
        reason: String,
    },
}

/// A batch was not taken. Nothing changed, and there is no answer to wait for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitBatch {
    /// The queue is full: back pressure. An answer to an earlier batch is sure to come; submit this one again after it.
    #[error("the storage queue is full")]
    Busy {
        /// The batch, given back.
        batch: Arc<Batch>,
    },
    /// The storage thread is gone: our bug, or a panic in the function that takes outcomes. Stop the node.
    #[error("the storage thread is gone")]
    Stopped,
    /// A key is empty or longer than [`KEY_BYTES_MAX`]: the caller's fault.
    #[error("a key of {bytes} bytes cannot be stored")]
    Key {
        /// Its length.
        bytes: usize,
    },
    /// The batch is larger than [`BATCH_BYTES_MAX`]: the caller's fault.
    #[error("a batch of {bytes} bytes cannot be stored")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
}

/// The store did not close cleanly. What was acknowledged is durable all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseStore {
    /// The engine failed while it closed.
    #[error("the store did not close: {reason}")]
    Engine {
        /// What it said.
        reason: String,
    },
    /// The storage thread panicked: our bug, or that of the function that takes outcomes.
    #[error("the storage thread panicked")]
    Panicked,
}

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1_100;

/// The largest batch, in bytes of keys, values and their overhead: 64 MiB.
pub const BATCH_BYTES_MAX: u64 = 64 * 1024 * 1024;

impl Committer {
    pub(super) fn start(
        engine: Arc<dyn Engine>,
        free_space: Box<dyn FreeSpace>,
        limits: CommitLimits,
        on_outcome: OnOutcome,
    ) -> std::io::Result<Self> {
        let (queue, waiting) = sync_channel(limits.queue_batches);
        let worker = Worker::new(engine, free_space, limits, waiting, on_outcome);
        let shared = worker.shared();
        let thread = thread::Builder::new()
            .name("meshwork-store".into())
            .spawn(move || worker.run())?;
        Ok(Self {
            queue,
            shared,
            queue_bytes_max: limits.queue_bytes,
            thread,
        })
    }

    /// Queues a batch to be made durable. `id` comes back with its [`Outcome`]; ids rise, and none is `u64::MAX`.
    ///
    /// Never blocks. An empty batch is answered after those before it, and costs no flush of its own.
    ///
    /// # Errors
    /// See [`SubmitBatch`].
    pub fn submit(&self, id: u64, batch: impl Into<Arc<Batch>>) -> Result<(), SubmitBatch> {
        let batch = batch.into();
        let bytes = check(&batch)?;
        let queued = self.shared.queued_bytes.fetch_add(bytes, Ordering::AcqRel);
        // A batch larger than the whole queue is let in when it is alone.
        if queued > 0 && queued.saturating_add(bytes) > self.queue_bytes_max {
            self.shared.release(bytes);
            return Err(SubmitBatch::Busy { batch });
        }
        let waiting = Waiting {
            id,
            batch,
            bytes,
            resumed_after: self.shared.resumed_after.load(Ordering::Acquire),
        };
        self.queue.try_send(waiting).map_err(|error| {
            self.shared.release(bytes);
            match error {
                TrySendError::Full(waiting) => SubmitBatch::Busy {
                    batch: waiting.batch,
                },
                TrySendError::Disconnected(_) => SubmitBatch::Stopped,
            }
        })
    }

    /// Says that the failure of batch `failed` has been dealt with: what is submitted from now on does not build on it.
    ///
    /// To be called for each [`StoreFailure::Full`] and [`StoreFailure::NotRecovered`]. Does nothing for an id that is not that of the
    /// last batch that failed by itself.
    pub fn resume_after(&self, failed: u64) {
        self.shared.resumed_after.store(failed, Ordering::Release);
    }

    /// Stores and answers all that was submitted, closes the engine and waits for the thread. Blocks for as long as the disk takes.
    ///
    /// Reads of the store fail from then on, and its folder may be opened again.
    ///
    /// # Errors
    /// See [`CloseStore`].
    pub fn close(self) -> Result<(), CloseStore> {
        let Self { queue, thread, .. } = self;
        drop(queue);
        match thread.join() {
            Ok(closed) => closed.map_err(|reason| CloseStore::Engine { reason }),
            Err(_panic) => Err(CloseStore::Panicked),
        }
    }
}

fn check(batch: &Batch) -> Result<u64, SubmitBatch> {
    for change in &batch.changes {
        let (Change::Put { key, .. } | Change::Delete { key, .. }) = change;
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(SubmitBatch::Key { bytes: key.len() });
        }
    }
    match batch_bytes(batch) {
        bytes if bytes > BATCH_BYTES_MAX => Err(SubmitBatch::TooLarge { bytes }),
        bytes => Ok(bytes),
    }
}
