//! What must never happen, and did.

use meshwork_crdt::Dot;
use meshwork_sync::{Key, Level};

use super::workload::StrongWrong;

/// A promise of Meshwork that a run has seen broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// Invariant 1: a write was acknowledged before it was durable where its level says.
    #[error(
        "n{machine} acknowledged {dot:?} of {key} at level {level}, which needs {needed} disks; it is durable on {durable:?}, its place is on {replicas:?}"
    )]
    NotDurable {
        /// Who acknowledged.
        machine: usize,
        /// The key.
        key: Key,
        /// The write.
        dot: Dot,
        /// As asked.
        level: Level,
        /// Disks that the level asks for.
        needed: usize,
        /// Machines whose disk holds it.
        durable: Vec<usize>,
        /// The replicas of its key, as that node sees it.
        replicas: Vec<usize>,
    },
    /// Invariant 2: one dot stands for two writes.
    #[error("n{machine} gave {dot:?} to a write of {key}; it is a write of {before} already")]
    DotTwice {
        /// Who gave it the second time.
        machine: usize,
        /// The dot.
        dot: Dot,
        /// What it stands for this time.
        key: Key,
        /// What it stood for.
        before: Key,
    },
    /// A replica counts for quorums and lacks what was acknowledged at one before it came in.
    #[error(
        "n{machine} counts for quorums of {key}, and lacks {dot:?}, which was acknowledged at {level} before it came in"
    )]
    CountsTooEarly {
        /// Which.
        machine: usize,
        /// The key.
        key: Key,
        /// The write.
        dot: Dot,
        /// As asked.
        level: Level,
    },
    /// A node let go of a copy that a replica lacks.
    #[error("n{machine} drops its copy of {key}, and its replica n{lacks} lacks some of it")]
    DroppedTooEarly {
        /// Who dropped it.
        machine: usize,
        /// The key.
        key: Key,
        /// Who should have it.
        lacks: usize,
    },
    /// A node answered what it was not asked over this connection: the answer may be taken for that to another question.
    #[error("n{from} answers question {id} of n{to}, which it was not asked over this connection")]
    AnswersUnasked {
        /// Who answers.
        from: usize,
        /// Whom.
        to: usize,
        /// The question's number.
        id: u64,
    },
    /// A node showed a peer a dot that a crash would have it draw again.
    #[error("n{from} shows n{to} its dot {dot}, and has made durable only those up to {durable}")]
    SentTooEarly {
        /// Who.
        from: usize,
        /// Whom.
        to: usize,
        /// The counter of the dot.
        dot: u64,
        /// That of the last one that is durable.
        durable: u64,
    },
    /// A node answered as if a key had never been written, and its record of it is damaged.
    #[error("n{machine} shows nothing of {key}, of which its record is damaged")]
    DamageHidden {
        /// Which.
        machine: usize,
        /// The key.
        key: Key,
    },
    /// A node sent a frame that no transport takes.
    #[error("n{machine} sent a frame of {bytes} bytes")]
    FrameTooLarge {
        /// Who.
        machine: usize,
        /// Its length.
        bytes: usize,
    },
    /// What one honest node sent another could not read.
    #[error("n{to} could not read a frame of n{from}: {reason}")]
    Unreadable {
        /// Sender.
        from: usize,
        /// Receiver.
        to: usize,
        /// What it said.
        reason: String,
    },
    /// Events followed each other without end and without time passing.
    #[error("events follow each other without end: {what}")]
    Spinning {
        /// What was done last.
        what: String,
    },
    /// A request was never answered although its node was running.
    #[error("a request was never answered: {what}")]
    Unanswered {
        /// Whose.
        what: String,
    },
    /// The faults were over for long, and the nodes still did not agree or had not come to rest.
    #[error("{seconds} s after the last fault: {what}")]
    NotConverged {
        /// How long.
        seconds: u64,
        /// What was not as it should be.
        what: String,
    },
    /// A client saw what it must not see, or did not see what it must.
    #[error("{0}")]
    Client(String),
    /// Strong keys, sequences or locks are not as they should be.
    #[error(transparent)]
    Strong(#[from] StrongWrong),
    /// A node panicked: our bug, whatever the cause.
    #[error("a node panicked: {0}")]
    Panicked(String),
}

impl Violation {
    /// What kind it is, in a word or two.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NotDurable { .. } => "not durable",
            Self::DotTwice { .. } => "dot used twice",
            Self::CountsTooEarly { .. } => "counts too early",
            Self::DroppedTooEarly { .. } => "dropped too early",
            Self::AnswersUnasked { .. } => "answers unasked",
            Self::SentTooEarly { .. } => "sent too early",
            Self::DamageHidden { .. } => "damage hidden",
            Self::FrameTooLarge { .. } => "frame too large",
            Self::Unreadable { .. } => "unreadable frame",
            Self::Spinning { .. } => "spinning",
            Self::Unanswered { .. } => "no answer",
            Self::NotConverged { .. } => "not converged",
            Self::Client(_) => "seen by a client",
            Self::Strong(_) => "strong keys",
            Self::Panicked(_) => "panic",
        }
    }
}
