//! What an application asks of the engine, and what it gets back.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use meshwork_crdt::{ApplyOp, CausalContext, Dot, Object, Op};

use crate::Key;

/// Names one request; chosen by the caller, echoed in the answer.
pub type RequestId = u64;

/// How many replicas must have taken part before a request is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// This node alone: works with no network.
    Local,
    /// One replica of the key.
    #[default]
    One,
    /// More than half of the key's replicas.
    Quorum,
    /// Every replica of the key.
    All,
}

impl Level {
    /// How many of `replicas` it takes.
    #[must_use]
    pub const fn needed(self, replicas: usize) -> usize {
        match self {
            Self::Local => 0,
            Self::One => 1,
            Self::Quorum => replicas / 2 + 1,
            Self::All => replicas,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::One => "one",
            Self::Quorum => "quorum",
            Self::All => "all",
        })
    }
}

/// The text names no level. The caller's mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a level is local, one, quorum or all")]
pub struct ParseLevel;

impl FromStr for Level {
    type Err = ParseLevel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Local, Self::One, Self::Quorum, Self::All]
            .into_iter()
            .find(|level| level.to_string() == text)
            .ok_or(ParseLevel)
    }
}

/// A change of one key.
#[derive(Clone, Debug)]
pub struct Write {
    /// The key.
    pub key: Key,
    /// What to do to its value.
    pub op: Op,
    /// How many replicas must hold it before the answer.
    pub level: Level,
    /// When to answer at the latest, from now.
    pub timeout: Duration,
}

/// A look at one key.
#[derive(Clone, Debug)]
pub struct Read {
    /// The key.
    pub key: Key,
    /// What the asker has already; the answer holds only what is missing from it.
    pub since: CausalContext,
    /// How many replicas' states are merged into the answer.
    pub level: Level,
    /// When to answer at the latest, from now.
    pub timeout: Duration,
}

/// A write is durable on as many replicas as its level asked for, and is on its way to the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The dot of the write.
    pub dot: Dot,
    /// Replicas known to hold it durably by now.
    pub acknowledged: usize,
}

/// Why a write was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The namespace belongs to the strong group. The caller's mistake; nothing changed.
    #[error(
        "{namespace} is a strong namespace: its keys are written through the strong group alone"
    )]
    Strong {
        /// Which.
        namespace: String,
    },
    /// The operation does not fit the value. The caller's mistake; nothing changed.
    #[error(transparent)]
    Apply(#[from] ApplyOp),
    /// A value is over its limit. The caller's mistake; nothing changed.
    #[error("the value is {bytes} bytes long; at most {bytes_max} are allowed")]
    ValueTooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The object would grow over its limit. Nothing changed; use more keys.
    #[error(
        "the object holds {bytes} bytes already; at most {bytes_max} are allowed under one key"
    )]
    ObjectTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Too many requests are under way. Nothing changed; try again shortly.
    #[error("too many requests are under way; try again shortly")]
    Busy,
    /// As many deltas as are allowed wait for peers. Nothing changed; let the peers come back, or remove the dead ones.
    #[error(
        "{entries} deltas wait for peers already; bring the peers back or let them leave the mesh"
    )]
    OutboxFull {
        /// How many.
        entries: usize,
    },
    /// Too few replicas can be reached for the level. Nothing changed; use a lower level, or try again.
    #[error(
        "only {reachable} of the {needed} replicas needed can be reached; a lower level would still be kept and delivered"
    )]
    Unavailable {
        /// Replicas within reach, this node included.
        reachable: usize,
        /// Replicas that the level needs.
        needed: usize,
    },
    /// The deadline passed. The write is durable here and on its way: it has happened, on fewer replicas than asked for.
    #[error(
        "{acknowledged} of {needed} replicas answered in time; the write is kept here and will be delivered"
    )]
    Timeout {
        /// Replicas that hold it.
        acknowledged: usize,
        /// Replicas that the level needs.
        needed: usize,
    },
    /// The node is leaving the mesh, and could not see to its delivery. Nothing changed; write through another node.
    #[error("this node is leaving the mesh; write through another one")]
    Leaving,
    /// The key's record here is damaged. Nothing changed; it is repaired as soon as a replica can be reached.
    #[error(
        "this node's record of the key is damaged; it is repaired once another replica can be reached"
    )]
    Damaged,
    /// The store cannot take it. What was asked may yet happen if the store recovers.
    #[error(transparent)]
    Store(#[from] StoreFailure),
}

/// What a read found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// What the asker lacked: merged into what it has, it gives the state that was read.
    pub object: Object,
    /// Replicas whose states were merged.
    pub answered: usize,
}

/// Why a read was not answered. Reads change nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The namespace belongs to the strong group. The caller's mistake.
    #[error("{namespace} is a strong namespace: its keys are read through the strong group alone")]
    Strong {
        /// Which.
        namespace: String,
    },
    /// Too many requests are under way; try again shortly.
    #[error("too many requests are under way; try again shortly")]
    Busy,
    /// Too few replicas can be reached for the level.
    #[error(
        "only {reachable} of the {needed} replicas needed can be reached; level local reads this node's own copy"
    )]
    Unavailable {
        /// Replicas within reach, this node included.
        reachable: usize,
        /// Replicas that the level needs.
        needed: usize,
    },
    /// The deadline passed.
    #[error("{answered} of {needed} replicas answered in time")]
    Timeout {
        /// Replicas that answered.
        answered: usize,
        /// Replicas that the level needs.
        needed: usize,
    },
    /// The key's record here is damaged, and no other replica was asked.
    #[error(
        "this node's record of the key is damaged; it is repaired once another replica can be reached"
    )]
    Damaged,
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreFailure),
}

/// Why the store could not make a batch durable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreFailure {
    /// There is no room. Reads go on; writes are taken again when there is.
    #[error("the disk is full: free some space; writes are taken again then")]
    Full,
    /// The disk failed. Nothing is taken any more, since nothing it says can be believed: restart on a sound disk.
    #[error(
        "the disk failed ({reason}): nothing is written any more; restart the node on a sound disk"
    )]
    Broken {
        /// What it said.
        reason: String,
    },
}
