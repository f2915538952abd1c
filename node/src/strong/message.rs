//! What nodes send each other about strong keys.

use std::collections::{BTreeMap, BTreeSet};

use meshwork_membership::NodeId;
use meshwork_sync::{Key, Prefix};
use serde::{Deserialize, Serialize};

use super::command::{Command, Found, Link, Mode, Revision, SessionId, Token};
use super::frames::{MESSAGES_MAX, SHARED_BYTES_MAX};
use super::records::{GroupId, VoterId};
use super::sessions::Answer;
use super::stale::Stale;
use super::wire::RaftMessage;

/// What a frame about strong keys has in it, behind one byte of version: messages in postcard, one behind the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Message {
    /// Between voters and learners.
    Raft(GroupId, Box<RaftMessage>),
    /// A part of a snapshot is wanted.
    Fetch {
        group: GroupId,
        to: VoterId,
        snapshot: u64,
        part: u32,
    },
    /// And here it is.
    Part {
        group: GroupId,
        snapshot: u64,
        part: u32,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// What everybody should know of the group.
    Roster(Box<Roster>),
    /// From a node that can vote and knows of no group: may it form one?
    MayForm,
    /// From the mesh's founder: it may, and nobody else.
    Form,
    /// A question for the leader.
    Ask { id: u64, ask: Ask },
    /// And what came of it.
    Reply { id: u64, reply: Reply },
}

/// What everybody in the mesh should know of the group: where it is found, and which namespaces are its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Roster {
    pub(crate) group: GroupId,
    /// How many groups of the mesh were lost before this one.
    pub(crate) era: u64,
    /// The entry as of which this holds; a later one counts.
    pub(crate) index: u64,
    /// Voters and learners, and where each is found.
    pub(crate) nodes: BTreeMap<VoterId, NodeId>,
    /// Those of them whose majority decides.
    pub(crate) voters: BTreeSet<VoterId>,
    pub(crate) namespaces: BTreeSet<String>,
}

/// Eras that a mesh may have.
const ERAS_MAX: u64 = 1 << 20;

/// Neither revisions, sessions nor fencing tokens of a lost group come again: those of an era begin so far apart.
const COUNTS_PER_ERA: u64 = 1 << 40;

impl Roster {
    /// What revisions, sessions and tokens of its group begin behind.
    pub(crate) const fn counts_from(&self) -> u64 {
        self.era * COUNTS_PER_ERA
    }

    /// Whether its group has agreed on anything: before that nobody is told of it.
    pub(crate) const fn is_formed(&self) -> bool {
        self.index > 0
    }

    /// Whether it can be that of a group which has agreed on anything.
    pub(crate) fn is_sound(&self) -> bool {
        let found = self.voters.iter().all(|id| self.nodes.contains_key(id));
        self.is_formed() && !self.voters.is_empty() && found && self.era <= ERAS_MAX
    }

    /// Whether nobody votes but on this node.
    pub(crate) fn is_alone(&self, node: NodeId) -> bool {
        let mut voters = self.voters.iter().map(|voter| self.nodes.get(voter));
        voters.all(|at| at == Some(&node))
    }
}

/// A question for the group. Only the leader answers it, unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// To be agreed on. Only what a client may say: [`Command::Open`] and [`Command::Request`].
    Command(Command),
    /// Answered as of a moment after it was asked.
    Read(Query),
    /// These sessions live.
    KeepAlive(Vec<SessionId>),
    /// What becomes of a session that waits for a lock; answered when it is known.
    Turn { session: SessionId, lock: Key },
    /// What changes after a revision; answered when something has, or after a while with nothing.
    Changes { prefix: Prefix, after: Revision },
    /// Answered by any voter or learner, as of what it has applied.
    Stale(Query),
    /// Who holds a lock; answered when it is not as it was seen.
    Holder { lock: Key, seen: Seen },
}

/// A question about the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Query {
    /// Keys, as of one moment.
    Get(Vec<Key>),
    /// Keys under a prefix, in order, up to `max`.
    List {
        /// Which.
        prefix: Prefix,
        /// Only those behind this one.
        after: Option<Key>,
        /// How many at most; never more than 1,000, nor more than half a MiB: ask again behind the last.
        max: u32,
    },
    /// Who holds a lock and who waits for it.
    Lock(Key),
    /// A backup of all of it, which the leader holds from then on while parts of it are asked for.
    Backup,
    /// A part of it.
    BackupPart {
        /// As [`Finding::Backup`] named it.
        backup: u64,
        /// Counts them, from 0.
        part: u32,
    },
}

impl Query {
    /// What it costs to keep, about, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let names = match self {
            Self::Get(keys) => keys.iter().map(|key| key.name().len() + KEY_BYTES).sum(),
            Self::List { prefix, after, .. } => {
                let after = after.as_ref().map_or(0, |after| after.name().len());
                prefix.namespace.len() + prefix.name.len() + after
            }
            Self::Lock(lock) => lock.name().len(),
            Self::Backup | Self::BackupPart { .. } => 0,
        };
        names + KEY_BYTES
    }
}

/// What a key costs beside its name and value, about.
pub(crate) const KEY_BYTES: usize = 128;

/// What a [`Query`] found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Finding {
    /// The values of the keys that were asked for, in that order.
    Got {
        /// As of this moment.
        revision: Revision,
        /// `None`: there is no such key.
        found: Vec<Option<Found>>,
    },
    /// Keys and values.
    Listed {
        /// As of this moment.
        revision: Revision,
        /// In order.
        keys: Vec<(Key, Found)>,
    },
    /// A lock.
    Lock {
        /// Who holds it.
        holders: Vec<LockHolder>,
        /// How many wait.
        waiters: u32,
    },
    /// A backup is held.
    Backup {
        /// What it is asked for by.
        backup: u64,
        /// How long it is, in bytes.
        bytes: u64,
    },
    /// A part of a backup.
    BackupPart {
        /// Up to 256 KiB; empty behind the last part, and when the backup is not held any more.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
}

/// Who holds a lock, and what it lets others read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// Who.
    pub session: SessionId,
    /// Alone, or beside others.
    pub mode: Mode,
    /// Under which token.
    pub token: Token,
    /// What it lets others read.
    #[serde(with = "serde_bytes")]
    pub note: Vec<u8>,
}

/// How a lock was last seen. Whoever leads the group may know less than that: its tokens tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seen {
    /// Held under this token.
    Held(Token),
    /// Held by nobody, after it was held under this token; 0: it was never seen held.
    Free(Token),
}

/// Changes of keys, in order and without gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Each change, and where in history it was made. Those of one revision are there together or not at all.
    pub keys: Vec<(Revision, Key)>,
    /// All up to this revision are told.
    pub upto: Revision,
}

/// What became of a session that waited for a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Turn {
    /// It holds the lock.
    Granted(Token),
    /// It would have waited for itself.
    Deadlock(Vec<Link>),
    /// It waits no more: its patience was over, or its session.
    Gone,
}

/// An answer to an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reply {
    Command(Answer),
    Finding(Finding),
    /// Those of the sessions that have ended.
    Ended(Vec<SessionId>),
    Turn(Turn),
    /// `None` when more has changed than is remembered, or than fits one answer.
    Changes(Option<Changes>),
    Stale(Stale<Finding>),
    /// Somebody else leads, if anybody does. Nothing came of the question.
    NotLeader(Option<NodeId>),
    /// Somebody else leads by now, if anybody does. The command had been put before the group and may yet be agreed on.
    Lost(Option<NodeId>),
    /// Too much is under way. Nothing came of the question.
    Busy,
}

/// A frame about strong keys that makes no sense: the peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame about strong keys does not decode")]
pub struct DecodeStrong;

/// The first byte of every frame: a version, and the highest bit, which tells it from the frames of replication.
const VERSION: u8 = 0x81;

impl Message {
    /// Whether a frame is about strong keys, by its first byte.
    pub(crate) fn is_strong(frame: &[u8]) -> bool {
        frame.first().is_some_and(|first| first & 0x80 != 0)
    }

    /// A frame with nothing else in it.
    #[cfg(test)]
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.encode_behind(Vec::new())
    }

    /// Puts it behind what is in a frame already.
    pub(crate) fn encode_behind(&self, mut frame: Vec<u8>) -> Vec<u8> {
        if frame.is_empty() {
            frame.push(VERSION);
        }
        postcard::to_extend(self, frame).expect("encoding into a growing vector cannot fail")
    }

    /// A frame with nothing in it but a message that was encoded behind others.
    pub(crate) fn frame_of(message: &[u8]) -> Vec<u8> {
        [&[VERSION], message].concat()
    }

    /// The messages of a frame, in order.
    pub(crate) fn decode(frame: &[u8]) -> Result<Vec<Self>, DecodeStrong> {
        let mut rest = frame.strip_prefix(&[VERSION]).ok_or(DecodeStrong)?;
        let mut messages = Vec::new();
        while !rest.is_empty() {
            let (message, behind) = postcard::take_from_bytes(rest).ok().ok_or(DecodeStrong)?;
            messages.push(message);
            rest = behind;
            let shares = messages.len() > 1 || !rest.is_empty();
            if messages.len() > MESSAGES_MAX || (shares && frame.len() > SHARED_BYTES_MAX) {
                return Err(DecodeStrong);
            }
        }
        Ok(messages)
    }
}
