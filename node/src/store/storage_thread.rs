//! The storage thread behind a [`Committer`](super::Committer): the only one that writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use meshwork_sync::Batch;

use super::committer::{Outcome, StoreFailure};
use super::engine::{CommitGroup, Engine};
use super::free_space::FreeSpace;
use super::group::Group;

/// The limits of a committer.
#[derive(Debug, Clone, Copy)]
pub(super) struct CommitLimits {
    pub(super) queue_batches: usize,
    pub(super) queue_bytes: u64,
    pub(super) group_bytes: u64,
    pub(super) reserve_bytes: u64,
}

/// What is called with each outcome, on the storage thread.
pub(super) type OnOutcome = Box<dyn FnMut(Outcome) + Send>;

/// Whether there is any point in asking the engine to write.
#[derive(Debug)]
enum Health {
    Writing,
    /// After a full disk: the engine must be made fit first.
    Recover,
    ReadOnly {
        reason: String,
    },
}

/// The thread's own state.
pub(super) struct Worker {
    engine: Arc<dyn Engine>,
    free_space: Box<dyn FreeSpace>,
    limits: CommitLimits,
    waiting: Receiver<Waiting>,
    shared: Arc<Shared>,
    on_outcome: OnOutcome,
    health: Health,
    /// The last batch that failed by itself.
    failed_last: u64,
}

/// The answers to one round of batches, in order.
type Answers = Vec<(u64, Result<(), StoreFailure>)>;

impl Worker {
    pub(super) fn new(
        engine: Arc<dyn Engine>,
        free_space: Box<dyn FreeSpace>,
        limits: CommitLimits,
        waiting: Receiver<Waiting>,
        on_outcome: OnOutcome,
    ) -> Self {
        let shared = Shared {
            queued_bytes: AtomicU64::new(0),
            resumed_after: AtomicU64::new(NO_BATCH),
        };
        Self {
            engine,
            free_space,
            limits,
            waiting,
            shared: Arc::new(shared),
            on_outcome,
            health: Health::Writing,
            failed_last: NO_BATCH,
        }
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Until all submitters are gone and the queue is empty.
    pub(super) fn run(mut self) -> Result<(), String> {
        while let Ok(first) = self.waiting.recv() {
            let round = self.gather(first);
            let answers = self.commit(round);
            for (id, result) in answers {
                (self.on_outcome)(match result {
                    Ok(()) => Outcome::Stored { id },
                    Err(reason) => Outcome::StoreFailed { id, reason },
                });
            }
        }
        self.engine.close()
    }

    /// What has come in while the last round was being flushed, up to the size of a group.
    fn gather(&self, first: Waiting) -> Vec<Waiting> {
        let mut bytes = first.bytes;
        let mut round = vec![first];
        while bytes < self.limits.group_bytes && round.len() < self.limits.queue_batches {
            let Ok(next) = self.waiting.try_recv() else {
                break;
            };
            bytes = bytes.saturating_add(next.bytes);
            round.push(next);
        }
        // Before the answers: who was told `Busy` must find room when the next answer comes.
        self.shared.release(round.iter().map(|one| one.bytes).sum());
        round
    }

    fn commit(&mut self, round: Vec<Waiting>) -> Answers {
        let mut room = self.room();
        let mut group = Group::default();
        let mut answers = Answers::with_capacity(round.len());
        for one in round {
            let result = self.admit(&one, &mut room);
            if result.is_ok() {
                group.add(&one.batch);
            }
            answers.push((one.id, result));
        }
        if !group.is_empty()
            && let Err(cause) = self.commit_group(&group)
        {
            self.fail_round(cause, &mut answers);
        }
        answers
    }

    /// Commits a group. An engine that stopped before it because the disk was full for a while is opened anew first: it has refused this
    /// group without writing any of it, so this is no second try of a flush.
    fn commit_group(&self, group: &Group) -> Result<(), CommitGroup> {
        match self.engine.commit(group) {
            Err(CommitGroup::Halted { .. }) if self.is_nearly_full() => {
                self.engine
                    .recover()
                    .map_err(|reason| CommitGroup::Halted { reason })?;
                self.engine.commit(group)
            }
            result => result,
        }
    }

    /// Whether a batch may go into the group. What it takes of `room` is twice its size: once in the journal, once in a table.
    fn admit(&mut self, one: &Waiting, room: &mut u64) -> Result<(), StoreFailure> {
        if let Health::ReadOnly { reason } = &self.health {
            return Err(StoreFailure::ReadOnly {
                reason: reason.clone(),
            });
        }
        if self.failed_last != NO_BATCH && one.resumed_after != self.failed_last {
            return Err(StoreFailure::Skipped {
                failed: self.failed_last,
            });
        }
        if one.batch.is_empty() {
            return Ok(());
        }
        let bytes = one.bytes.saturating_mul(2);
        let admitted = match room.checked_sub(bytes.saturating_add(self.limits.reserve_bytes)) {
            None => Err(StoreFailure::Full {
                bytes_free: *room,
                bytes_needed: bytes.saturating_add(self.limits.reserve_bytes),
            }),
            Some(_) => self.recover(),
        };
        match admitted {
            Ok(()) => *room = room.saturating_sub(bytes),
            Err(_) => self.failed_last = one.id,
        }
        admitted
    }

    fn recover(&mut self) -> Result<(), StoreFailure> {
        if matches!(self.health, Health::Recover) {
            self.engine
                .recover()
                .map_err(|reason| StoreFailure::NotRecovered { reason })?;
            tracing::info!("store takes writes again");
            self.health = Health::Writing;
        }
        Ok(())
    }

    /// Turns the answers of a round whose group failed: the first batch in the group bears the cause, all behind it are skipped.
    fn fail_round(&mut self, cause: CommitGroup, answers: &mut Answers) {
        let Some(first) = answers.iter().position(|(_, result)| result.is_ok()) else {
            return;
        };
        let reason = self.failure(cause);
        let mut failed = answers.iter_mut().skip(first);
        if let Some((id, result)) = failed.next() {
            self.failed_last = *id;
            *result = Err(reason.clone());
        }
        for (_, result) in failed {
            *result = Err(match &reason {
                StoreFailure::ReadOnly { .. } => reason.clone(),
                StoreFailure::Full { .. }
                | StoreFailure::NotRecovered { .. }
                | StoreFailure::Skipped { .. } => StoreFailure::Skipped {
                    failed: self.failed_last,
                },
            });
        }
    }

    fn failure(&mut self, cause: CommitGroup) -> StoreFailure {
        let reason = match cause {
            CommitGroup::Full => None,
            CommitGroup::Halted { .. } if self.is_nearly_full() => None,
            CommitGroup::Halted { reason } | CommitGroup::Fatal { reason } => Some(reason),
        };
        match reason {
            Some(reason) => {
                tracing::error!(%reason, "store is read-only from now on");
                self.health = Health::ReadOnly {
                    reason: reason.clone(),
                };
                StoreFailure::ReadOnly { reason }
            }
            None => {
                self.health = Health::Recover;
                StoreFailure::Full {
                    bytes_free: self.room(),
                    bytes_needed: self.limits.reserve_bytes,
                }
            }
        }
    }

    /// Whether work in the background may have found the disk full. It has given back by now what it took.
    fn is_nearly_full(&self) -> bool {
        let background = self.limits.reserve_bytes.saturating_add(BACKGROUND_BYTES);
        self.room() < background
    }

    /// Bytes left on the file system. When it cannot say, the engine will find out.
    fn room(&self) -> u64 {
        self.free_space.bytes_free().unwrap_or(u64::MAX)
    }
}

/// A batch in the queue.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: u64,
    pub(super) batch: Arc<Batch>,
    pub(super) bytes: u64,
    /// The last failure that the submitter knew of.
    pub(super) resumed_after: u64,
}

/// What the driver's side and the storage thread both touch.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) queued_bytes: AtomicU64,
    pub(super) resumed_after: AtomicU64,
}

impl Shared {
    pub(super) fn release(&self, bytes: u64) {
        self.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// What an engine may take for a while to merge its tables.
const BACKGROUND_BYTES: u64 = 256 * 1024 * 1024;

/// An id that no batch has.
pub(super) const NO_BATCH: u64 = u64::MAX;
