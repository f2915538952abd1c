//! What the group agrees on, one after the other, and what comes of it.

use core::fmt;

use meshwork_sync::Key;
use serde::{Deserialize, Serialize};

use super::backup::ReadBackup;

/// A client of the group that lives as long as it is heard of.
///
/// It is what makes a retry safe, what holds locks, and what keys can belong to: when it ends, its locks are released and its keys
/// deleted. The number is that of the command that opened it and is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// A point in the group's history: the number of commands that were applied. A key's is that of its last change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Revision(pub u64);

/// A fencing token: every grant of any lock has a greater one than all before it, whatever was deleted, restored or
/// replaced meanwhile. What a lock protects refuses a token that is less than the greatest it has seen.
///
/// Source: Kleppmann, "How to do distributed locking" (2016); the "sequencer" of Burrows, "The Chubby lock service" (2006), section 2.4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Token(pub u64);

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Command {
    /// Begins a session. One whose answer is lost ends by itself.
    Open {
        /// How long it lives without being heard of, in milliseconds.
        ttl_ms: u32,
    },
    /// What a session asks for, applied once however often it is sent.
    Request {
        /// Who asks.
        session: SessionId,
        /// Counts the session's requests, from 1.
        sequence: u64,
        /// The answers up to this one have arrived, and are asked for no more.
        answered: u64,
        /// What it asks for.
        request: Request,
    },
    /// From the leader: the session was not heard of for as long as it lives without.
    ///
    /// Only the leader of a term proposes it, by its own monotonic clock, not counting the time in which it did not run; and it answers
    /// keep-alives only after it has applied all entries of former terms. So none from a former leader is applied after a keep-alive was
    /// answered.
    Expire {
        /// Which one.
        session: SessionId,
    },
    /// From the leader: the patience of a waiter is over.
    GiveUp {
        /// Who waits.
        session: SessionId,
        /// For what.
        lock: Key,
    },
    /// From the leader of a group that follows on one that was lost: no revision, session or fencing token up to this one is given to anybody.
    Skip {
        /// Below 2^62.
        count: u64,
    },
}

impl Command {
    /// What it costs to carry, about, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let Self::Request { request, .. } = self else {
            return SMALL_BYTES;
        };
        let values = match request {
            Request::Transact(transaction) => transaction.bytes(),
            Request::Acquire { note, .. } => note.len(),
            Request::Create { namespace } => namespace.len(),
            Request::Stage { bytes, .. } => bytes.len(),
            Request::Release { .. } | Request::Draw { .. } | Request::Close | Request::Restore => 0,
        };
        values + SMALL_BYTES
    }
}

impl Command {
    /// Every key, lock and sequence that it names.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        let request = match self {
            Self::Request { request, .. } => Some(request),
            Self::Open { .. } | Self::Expire { .. } | Self::GiveUp { .. } | Self::Skip { .. } => {
                None
            }
        };
        let named = request.and_then(|request| match request {
            Request::Acquire { lock, .. } | Request::Release { lock } => Some(lock),
            Request::Draw { sequence, .. } => Some(sequence),
            Request::Transact(_)
            | Request::Create { .. }
            | Request::Close
            | Request::Stage { .. }
            | Request::Restore => None,
        });
        let transaction = request.and_then(|request| match request {
            Request::Transact(transaction) => Some(transaction),
            Request::Acquire { .. }
            | Request::Release { .. }
            | Request::Create { .. }
            | Request::Draw { .. }
            | Request::Close
            | Request::Stage { .. }
            | Request::Restore => None,
        });
        let keys = transaction.into_iter().flat_map(Transaction::all_keys);
        named.into_iter().chain(keys)
    }
}

/// A command without the values in it.
const SMALL_BYTES: usize = 64;

/// What a session can ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Request {
    /// Reads and changes keys at one point in history. Answered by [`Outcome::Done`].
    Transact(Transaction),
    /// Takes a lock or queues for it. Answered by [`Outcome::Granted`] or [`Outcome::Waits`]. Who holds it already is granted what it holds.
    Acquire {
        /// The lock.
        lock: Key,
        /// Alone, or beside others.
        mode: Mode,
        /// What to do when it is not free.
        wait: Wait,
        /// For others to read while it is held: where the leader of a service is reached, say.
        #[serde(with = "serde_bytes")]
        note: Vec<u8>,
    },
    /// Gives a lock back, or waits for it no more. Answered by [`Outcome::Released`], also when there was nothing to give back.
    Release {
        /// The lock.
        lock: Key,
    },
    /// Makes a namespace the group's. Answered by [`Outcome::Created`], also when it was before.
    Create {
        /// Its name.
        namespace: String,
    },
    /// Draws numbers that nobody else gets. Answered by [`Outcome::Drawn`].
    Draw {
        /// The sequence; each begins at 1.
        sequence: Key,
        /// How many.
        count: u32,
    },
    /// Ends the session. Answered by [`Outcome::Closed`].
    Close,
    /// Hands over a part of a [`Backup`](super::Backup) that is to be restored. Answered by [`Outcome::Staged`]. The group must be blank: no
    /// namespace, no key, no sequence, no lock. Nothing of it is seen before [`Request::Restore`]; it is forgotten when the session ends.
    Stage {
        /// How many bytes came before; at 0 it begins anew.
        offset: u64,
        /// The part, of up to 256 KiB.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// Lets the backup that was handed over take the place of the state. Answered by [`Outcome::Restored`].
    ///
    /// Revisions and fencing tokens go on behind those of both. Sessions live on, those of the backup have ended. What was handed over is
    /// forgotten, also when this is refused.
    Restore,
}

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Mode {
    /// Beside others that share it.
    Shared,
    /// Alone.
    Exclusive,
}

/// What to do when a lock is not free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wait {
    /// Nothing: [`Refusal::Held`].
    No,
    /// Queue, first come, first served, for so many milliseconds; a new leader begins to count anew.
    Ms(u32),
    /// Queue for as long as the session lives.
    Forever,
}

/// If all conditions hold `then`, else `otherwise`; both see one point in history, and what they did before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// Done when they do.
    pub then: Vec<KeyOp>,
    /// Done when one does not.
    pub otherwise: Vec<KeyOp>,
}

impl Transaction {
    /// Every key and lock that it names.
    fn all_keys(&self) -> impl Iterator<Item = &Key> {
        let locks = self
            .conditions
            .iter()
            .filter_map(|condition| match condition {
                Condition::Held { lock, .. } => Some(lock),
                Condition::Value { .. } | Condition::Unchanged { .. } => None,
            });
        self.keys().chain(locks)
    }

    /// Every key it touches.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        let conditions = self
            .conditions
            .iter()
            .filter_map(|condition| match condition {
                Condition::Value { key, .. } | Condition::Unchanged { key, .. } => Some(key),
                // A lock is in no namespace: only its name looks like it.
                Condition::Held { .. } => None,
            });
        let ops = self.then.iter().chain(&self.otherwise);
        conditions.chain(ops.map(|op| match op {
            KeyOp::Get { key } | KeyOp::Put { key, .. } | KeyOp::Delete { key } => key,
        }))
    }

    fn bytes(&self) -> usize {
        let conditions = self.conditions.iter().map(|condition| match condition {
            Condition::Value { key, value } => {
                key.name().len() + value.as_ref().map_or(0, Vec::len)
            }
            Condition::Unchanged { key, .. } | Condition::Held { lock: key, .. } => {
                key.name().len()
            }
        });
        let ops = self.then.iter().chain(&self.otherwise).map(|op| match op {
            KeyOp::Get { key } | KeyOp::Delete { key } => key.name().len(),
            KeyOp::Put { key, value, .. } => key.name().len() + value.len(),
        });
        conditions.chain(ops).map(|bytes| bytes + SMALL_BYTES).sum()
    }
}

/// Something that holds or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Condition {
    /// The key has this value; `None`: there is no such key.
    Value {
        /// The key.
        key: Key,
        /// Its value.
        #[serde(with = "serde_bytes")]
        value: Option<Vec<u8>>,
    },
    /// The key was not changed after this; [`Revision`] 0: there is no such key.
    Unchanged {
        /// The key.
        key: Key,
        /// Its revision, as it was read.
        since: Revision,
    },
    /// The lock is held under this token: whoever was paused beyond the end of its session is stopped here.
    Held {
        /// The lock.
        lock: Key,
        /// As it was granted.
        token: Token,
    },
}

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum KeyOp {
    /// Reads a key.
    Get {
        /// The key.
        key: Key,
    },
    /// Writes a key.
    Put {
        /// The key.
        key: Key,
        /// Its new value.
        #[serde(with = "serde_bytes")]
        value: Vec<u8>,
        /// Whose it is from now on.
        owner: Owner,
    },
    /// Removes a key.
    Delete {
        /// The key.
        key: Key,
    },
}

/// How long a key lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// Until it is deleted.
    Nobody,
    /// No longer than the session that writes it.
    Session,
}

/// What a request did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Outcome {
    /// A session has begun.
    Opened {
        /// Its number.
        session: SessionId,
    },
    /// A transaction was carried out.
    Done {
        /// Where in history.
        revision: Revision,
        /// Which branch.
        branch: Branch,
        /// What each of its steps found before it.
        found: Vec<Option<Found>>,
    },
    /// The lock is held.
    Granted {
        /// Under this token.
        token: Token,
    },
    /// The lock is waited for.
    Waits {
        /// So many come before.
        ahead: u32,
    },
    /// The lock is neither held nor waited for.
    Released,
    /// The namespace is the group's.
    Created {
        /// Whether it was not before.
        new: bool,
    },
    /// The numbers from `first` on, as many as were asked for.
    Drawn {
        /// The first of them.
        first: u64,
    },
    /// The session is over.
    Closed,
    /// A part of a backup is there.
    Staged {
        /// All of it so far.
        bytes: u64,
    },
    /// The backup is the state.
    Restored {
        /// From here on.
        revision: Revision,
    },
}

/// Which branch of a transaction was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Branch {
    /// All conditions held.
    Then,
    /// One did not.
    Otherwise,
}

/// A key's value, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The value.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
    /// Its last change.
    pub revision: Revision,
}

/// A request is refused: it changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The session has ended, and its locks with it. Whether an earlier sending of this request was applied is not known any more. Begin another.
    #[error("session {session} has expired; begin another")]
    SessionExpired {
        /// Which one.
        session: SessionId,
    },
    /// The client had said that it has this answer.
    #[error("request {sequence} was answered and forgotten")]
    Forgotten {
        /// Which one.
        sequence: u64,
    },
    /// The session has too many answers that it did not say it has.
    #[error("more than {max} answers wait to be taken; say which have arrived")]
    TooManyAnswers {
        /// How many may.
        max: usize,
    },
    /// Something is larger than it may be.
    #[error("{what} of {size} is over the limit of {max}")]
    TooLarge {
        /// What is.
        what: TooLarge,
        /// How large, in bytes or steps.
        size: usize,
        /// How large it may be.
        max: usize,
    },
    /// The group holds as much as it may.
    #[error("the group holds as many {0}")]
    Full(Full),
    /// The group has no such namespace.
    #[error(
        "{namespace:?} is no strong namespace: create it first (`meshwork namespace create {namespace} --strong`)"
    )]
    NoNamespace {
        /// Its name.
        namespace: String,
    },
    /// Another session holds the lock.
    #[error("session {by} holds the lock")]
    Held {
        /// One that does.
        by: SessionId,
    },
    /// To wait would be to wait for oneself.
    #[error("deadlock: {}", describe(cycle))]
    Deadlock {
        /// Who waits for what; the last one's lock is held or wanted by the first.
        cycle: Vec<Link>,
    },
    /// There is something in the group that a backup would take the place of.
    #[error(
        "the group holds something already, and a backup goes into a group that holds nothing: found a new mesh \
         (`meshwork init --mesh NAME --voter` in an empty folder), and restore it there before anything else is done"
    )]
    NotBlank,
    /// Somebody else is restoring a backup.
    #[error("session {by} is restoring a backup: wait until that is done, or has been given up")]
    Restoring {
        /// Who.
        by: SessionId,
    },
    /// A part of a backup is not the next one.
    #[error("the next part of the backup begins at byte {expected}")]
    OutOfPlace {
        /// How much is there.
        expected: u64,
    },
    /// What was handed over cannot be restored.
    #[error(transparent)]
    BadBackup(#[from] ReadBackup),
}

/// What can be too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TooLarge {
    /// A value or a note.
    Value,
    /// Conditions and steps of a transaction together.
    Transaction,
    /// The values that a transaction writes, or that its steps find, together.
    Values,
    /// A backup, or a part of one.
    Backup,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Value => "a value",
            Self::Transaction => "a transaction",
            Self::Values => "what a transaction writes or finds",
            Self::Backup => "a backup, or a part of one,",
        })
    }
}

/// What there can be too many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Full {
    /// Keys and values, in bytes.
    Bytes,
    /// Sessions.
    Sessions,
    /// Sessions that wait for one lock.
    Waiters,
    /// Locks that are held or waited for.
    Locks,
    /// Sequences, or numbers in one.
    Sequences,
    /// Strong namespaces.
    Namespaces,
    /// What answers found that clients have not said they have, in bytes.
    Answers,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes as it may; delete some keys",
            Self::Sessions => "sessions as it may; end some leases, locks or elections",
            Self::Waiters => "sessions as may wait for one lock",
            Self::Locks => "locks as it may; let some go",
            Self::Sequences => "sequences, or numbers of one, as it may",
            Self::Namespaces => "namespaces as it may",
            Self::Answers => {
                "answers with values in them as it may; each lease keeps its last one until it asks for something else or ends"
            }
        })
    }
}

/// A session waits for a lock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Link {
    /// Who.
    pub session: SessionId,
    /// For what.
    pub lock: Key,
}

fn describe(cycle: &[Link]) -> String {
    let links = cycle
        .iter()
        .map(|Link { session, lock }| format!("session {session} waits for {lock}"));
    links.collect::<Vec<_>>().join(", ")
}
