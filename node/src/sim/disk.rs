//! A machine's disk: the real engine seam over memory, a queue with group commit, and the faults of disks.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use meshwork_sync::{Batch, Space, StoreFailure, forget_complete};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::store::{CommitGroup, Engine, Fault, Group, Memory, Records, Survives};
use crate::strong::forget_group;

/// What is stored, and what is on its way there.
#[derive(Debug)]
pub(crate) struct Disk {
    engine: Arc<Memory>,
    /// Handed over by the node and not yet begun.
    queue: VecDeque<(u64, Arc<Batch>)>,
    /// What one flush will make durable.
    under_way: Vec<(u64, Arc<Batch>)>,
    /// How long a flush takes, in microseconds.
    pub(crate) flush_us: Range<u64>,
    pub(crate) full: bool,
    pub(crate) fail_next_flush: bool,
    /// Set by the first failed flush until the process ends.
    broken: bool,
}

/// What became of a batch.
pub(crate) enum Ended {
    Stored(u64),
    Failed(u64, StoreFailure),
}

impl Disk {
    pub(crate) fn new(seed: u64, flush_us: Range<u64>) -> Self {
        Self {
            engine: Arc::new(Memory::new(seed)),
            queue: VecDeque::new(),
            under_way: Vec::new(),
            flush_us,
            full: false,
            fail_next_flush: false,
            broken: false,
        }
    }

    /// What is durable, with checksums checked.
    pub(crate) fn records(&self) -> Arc<Records> {
        let engine: Arc<dyn Engine> = self.engine.clone();
        Arc::new(Records::new(engine))
    }

    /// Takes a batch; the flush that begins with it, if the disk was idle, takes this long.
    pub(crate) fn submit(
        &mut self,
        rng: &mut ChaCha8Rng,
        id: u64,
        batch: Arc<Batch>,
    ) -> Option<Duration> {
        self.queue.push_back((id, batch));
        self.under_way.is_empty().then(|| self.begin(rng)).flatten()
    }

    /// Begins to flush all that waits.
    pub(crate) fn begin(&mut self, rng: &mut ChaCha8Rng) -> Option<Duration> {
        if self.queue.is_empty() {
            return None;
        }
        self.under_way.extend(self.queue.drain(..));
        Some(Duration::from_micros(
            rng.random_range(self.flush_us.clone()),
        ))
    }

    /// The flush has ended.
    pub(crate) fn end(&mut self) -> Vec<Ended> {
        let batches = std::mem::take(&mut self.under_way);
        let group = group_of(batches.iter().map(|(_, batch)| &**batch));
        if self.broken || std::mem::take(&mut self.fail_next_flush) {
            // Handed to the system and not flushed: what of it is there after a power cut is open.
            self.broken = true;
            self.engine.inject(Fault::FailFlush);
        } else if self.full {
            self.engine.inject(Fault::Full);
        }
        let outcome = self.engine.commit(&group).map_err(|error| match error {
            CommitGroup::Full => StoreFailure::Full,
            CommitGroup::Halted { reason } | CommitGroup::Fatal { reason } => {
                StoreFailure::Broken { reason }
            }
        });
        match outcome {
            Ok(()) => batches.iter().map(|(id, _)| Ended::Stored(*id)).collect(),
            Err(failure) => {
                // What followed a batch that failed fails with it, and the node hands it over again.
                self.queue.clear();
                let first = batches.first().map(|(id, _)| Ended::Failed(*id, failure));
                first.into_iter().collect()
            }
        }
    }

    /// The process is gone: the system may still write what was under way; what waited is lost.
    pub(crate) fn crash(&mut self, rng: &mut ChaCha8Rng) {
        self.queue.clear();
        let batches = std::mem::take(&mut self.under_way);
        if !batches.is_empty() && !self.full && !self.broken && rng.random_bool(0.5) {
            let group = group_of(batches.iter().map(|(_, batch)| &**batch));
            drop(self.engine.commit(&group));
        }
        self.engine.power_cut(Survives::Whole);
        self.broken = false;
        self.fail_next_flush = false;
    }

    /// Whether some of what is being written is like that.
    pub(crate) fn is_writing(&self, like: impl Fn(&Batch) -> bool) -> bool {
        self.under_way.iter().any(|(_, batch)| like(batch))
    }

    /// Whether nothing is being written.
    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.is_empty() && self.queue.is_empty()
    }

    /// Whether a flush has failed since the process was started.
    pub(crate) const fn is_broken(&self) -> bool {
        self.broken
    }

    pub(crate) fn flip_bit(&self, space: Space, key: &[u8], bit: usize) -> bool {
        self.engine.flip_bit(space, key, bit)
    }

    /// A copy of what is durable.
    pub(crate) fn image(&self, seed: u64) -> Arc<Memory> {
        Arc::new(self.engine.image(seed))
    }

    /// Puts another image in the place of what is there. The start that finds it out makes it claim nothing, before all else.
    pub(crate) fn restore(&mut self, image: Arc<Memory>) {
        self.engine = image;
        let mut batch = Batch::default();
        forget_complete(&mut batch);
        let engine: Arc<dyn Engine> = self.engine.clone();
        drop(forget_group(&Records::new(engine), &mut batch));
        drop(self.engine.commit(&group_of([&batch])));
    }
}

fn group_of<'a>(batches: impl IntoIterator<Item = &'a Batch>) -> Group {
    let mut group = Group::default();
    for batch in batches {
        group.add(batch);
    }
    group
}
