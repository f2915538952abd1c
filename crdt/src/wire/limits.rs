//! How much a decoder takes in, and why it refuses.

use core::fmt;

use crate::Dot;

/// Bounds on what a decoder takes in. Checked before memory is taken.
///
/// Higher bounds let larger objects in; what a hostile peer can make us hold grows with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one encoded object, payload or context; 16 MiB.
    pub bytes_max: usize,
    /// How deep values nest in maps, the root being 1; 64. Never more than [`Limits::DEPTH_MAX`].
    pub depth_max: usize,
    /// Replicas in one context; 10,000.
    pub replicas_max: usize,
    /// Runs in one context; 1,000,000.
    pub runs_max: usize,
    /// Live dots, fields and elements in one object, all counted; 1,000,000.
    pub entries_max: usize,
    /// Bytes of one field name or set element; 64 KiB.
    pub key_bytes_max: usize,
}

impl Limits {
    /// Deeper than this nothing is ever decoded or written, so that recursion has a bound.
    pub const DEPTH_MAX: usize = 64;

    /// The bounds for bytes from peers and clients.
    pub const DEFAULT: Self = Self {
        bytes_max: 16 << 20,
        depth_max: Self::DEPTH_MAX,
        replicas_max: 10_000,
        runs_max: 1_000_000,
        entries_max: 1_000_000,
        key_bytes_max: 64 << 10,
    };

    /// The bounds for what we stored ourselves: only the depth. Joins of states that were each within
    /// bounds may be larger than any of them, and must be readable.
    pub const LOCAL: Self = Self {
        bytes_max: usize::MAX,
        depth_max: Self::DEPTH_MAX,
        replicas_max: usize::MAX,
        runs_max: usize::MAX,
        entries_max: usize::MAX,
        key_bytes_max: usize::MAX,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Which of the [`Limits`] was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bound {
    /// [`Limits::bytes_max`].
    Bytes,
    /// [`Limits::depth_max`].
    Depth,
    /// [`Limits::replicas_max`].
    Replicas,
    /// [`Limits::runs_max`].
    Runs,
    /// [`Limits::entries_max`].
    Entries,
    /// [`Limits::key_bytes_max`].
    KeyBytes,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Depth => "levels",
            Self::Replicas => "replicas",
            Self::Runs => "runs",
            Self::Entries => "entries",
            Self::KeyBytes => "key bytes",
        })
    }
}

/// Why bytes are not an object or a context. Whoever made them is at fault; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeObject {
    /// Ends too early, or claims more than there is.
    #[error("{needed} more bytes are claimed, {left} are there")]
    Truncated {
        /// Bytes that must follow at the least.
        needed: u64,
        /// Bytes that do.
        left: usize,
    },
    /// Goes on after the end.
    #[error("{bytes} bytes follow the end")]
    Trailing {
        /// How many bytes follow.
        bytes: usize,
    },
    /// Larger than we take in.
    #[error("{found} {bound}, more than {max}")]
    TooLarge {
        /// What there is too much of.
        bound: Bound,
        /// How much was claimed.
        found: u64,
        /// How much is taken in.
        max: usize,
    },
    /// A format of a later release.
    #[error("format version {0} is unknown")]
    UnknownVersion(u8),
    /// A kind of a later release.
    #[error("kind tag {0} is unknown")]
    UnknownKind(u8),
    /// A number that is not written in the shortest way, or does not fit.
    #[error("a number is not in its shortest form")]
    BadVarint,
    /// Entries out of order or repeated.
    #[error("entries are not in strictly rising order")]
    Unsorted,
    /// An empty store or context entry, which the canonical form leaves out.
    #[error("an empty store was written out")]
    EmptyStore,
    /// A counter of 0 or beyond 64 bits.
    #[error("a counter is out of range")]
    CounterOverflow,
    /// A live dot that the context has not seen.
    #[error("dot {0} is not in the context")]
    DotOutsideContext(Dot),
    /// A dot that is live in two places.
    #[error("dot {0} is live twice")]
    DotRepeated(Dot),
    /// A dot among the removed that is in the context too.
    #[error("a removed dot is in the context")]
    RemovedIsSeen,
    /// A value of a dot, or a name, that its kind does not write so.
    #[error("a value is not written as its kind writes it")]
    BadValue,
    /// A replica index beyond the context's replicas.
    #[error("replica index {0} is out of range")]
    BadReplicaIndex(u64),
}
