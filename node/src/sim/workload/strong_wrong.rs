//! What was not as it should be with strong keys.

use meshwork_sync::Key;

use super::linear::CheckHistory;
use crate::strong::Token;

/// A strong group broke a promise.
///
/// Times are microseconds since the run began; what happened at one moment is told apart by one more or less.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StrongWrong {
    /// Strong keys are linearizable, and this one's history is not.
    #[error("{key}: no order explains what its clients saw: {history}")]
    History {
        /// The key.
        key: Key,
        /// Where it breaks.
        history: CheckHistory,
    },
    /// Numbers of a sequence were given out twice.
    #[error("{sequence}: the {count} numbers from {first} on were not all new")]
    DrawnTwice {
        /// The sequence.
        sequence: Key,
        /// The first of them.
        first: u64,
        /// How many.
        count: u32,
    },
    /// A sequence went back.
    #[error("{sequence}: {first} was drawn after {before} had been answered")]
    DrawnBack {
        /// The sequence.
        sequence: Key,
        /// The first number of a draw.
        first: u64,
        /// The greatest that was answered before that was asked for.
        before: u64,
    },
    /// A sequence went on by more, or by less, than was drawn.
    #[error(
        "{sequence}: {drawn} numbers were drawn; clients have {answered} of them, and heard nothing of {open} at most"
    )]
    DrawsLost {
        /// The sequence.
        sequence: Key,
        /// How far it has come.
        drawn: u64,
        /// Numbers that clients have.
        answered: u64,
        /// Numbers in draws that were never answered.
        open: u64,
    },
    /// A grant has a fencing token that is not greater than that of one before.
    #[error("{lock} was granted under token {}, and {} had been granted before", token.0, before.0)]
    TokenBack {
        /// The lock.
        lock: Key,
        /// The token.
        token: Token,
        /// The greatest that was granted before this one was asked for, or the same.
        before: Token,
    },
    /// A holder wrote what its lock protects after one who came later.
    #[error("{key} was written under token {}, and under {} before", token.0, before.0)]
    HeldByTwo {
        /// What the lock protects.
        key: Key,
        /// Whose write was let through.
        token: Token,
        /// Whose write it found.
        before: Token,
    },
    /// A guard said that the lock is held, after the group had said that it is not.
    #[error("{lock} was held under token {} no more, and its guard was not told", token.0)]
    LostUnawares {
        /// The lock.
        lock: Key,
        /// Under which token.
        token: Token,
    },
    /// A write went through under a token that had been given back.
    #[error("{lock}: a write went through under token {}, which had been given back", token.0)]
    NotFenced {
        /// The lock.
        lock: Key,
        /// The token.
        token: Token,
    },
    /// All was well, and the group did not answer.
    #[error("node {node} got no answer of the strong group for {seconds} s: {reason}")]
    Unanswered {
        /// Where it was asked.
        node: u32,
        /// For how long.
        seconds: u64,
        /// What was said last.
        reason: String,
    },
}
