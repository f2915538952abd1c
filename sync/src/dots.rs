//! Where dots come from: one counter for the whole store, so that none is used twice (invariant 2).

use meshwork_crdt::{Dot, ReplicaId};

/// Draws dots. The last one drawn is made durable in the same batch as what it stamps, and nothing leaves the node before that
/// batch is durable, so a dot lost in a crash was never seen by anybody.
#[derive(Debug)]
pub(crate) struct Dots {
    replica: ReplicaId,
    last: u64,
    recorded: u64,
}

impl Dots {
    /// Goes on after the last dot that an earlier run recorded; 0 for a new store.
    pub(crate) const fn new(replica: ReplicaId, last: u64) -> Self {
        Self {
            replica,
            last,
            recorded: last,
        }
    }

    pub(crate) const fn next(&mut self) -> Dot {
        self.last += 1;
        Dot {
            replica: self.replica,
            counter: self.last,
        }
    }

    /// The last dot drawn, when it has not been recorded yet.
    pub(crate) fn take_unrecorded(&mut self) -> Option<u64> {
        (self.recorded != self.last).then(|| {
            self.recorded = self.last;
            self.last
        })
    }
}
