//! The name of one write.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::ReplicaId;

/// Names one write: the `counter`-th write of the store `replica`. Used once, ever.
///
/// Counters start at 1 and are store-wide: one store never uses a counter for two objects.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    /// The store that wrote.
    pub replica: ReplicaId,
    /// Which of its writes, from 1; 0 names nothing and is refused everywhere.
    pub counter: u64,
}

impl Dot {
    /// The dot of these parts.
    #[must_use]
    pub const fn new(replica: ReplicaId, counter: u64) -> Self {
        Self { replica, counter }
    }
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.replica, self.counter)
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
