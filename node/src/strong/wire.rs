//! What voters and learners send each other, in an encoding of our own: raft's protobuf is never read from a peer.

use bytes::Bytes;
use raft::Storage;
use raft::eraftpb::{Message, MessageType};
use serde::{Deserialize, Serialize};

use super::log::{Log, from_raft, snapshot_of, to_raft};
use super::records::{LogEntry, SnapshotHead, VoterId};

/// A message of the Raft protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RaftMessage {
    pub(crate) kind: Kind,
    pub(crate) from: VoterId,
    pub(crate) to: VoterId,
    pub(crate) term: u64,
    /// In a heartbeat, which has no use for it: what the leader has committed, whatever the follower has of it.
    pub(crate) index: u64,
    pub(crate) log_term: u64,
    pub(crate) commit: u64,
    pub(crate) commit_term: u64,
    pub(crate) entries: Vec<LogEntry>,
    pub(crate) reject: bool,
    pub(crate) reject_hint: u64,
    pub(crate) request_snapshot: u64,
    /// What a read or a transfer of leadership is told apart by.
    #[serde(with = "serde_bytes")]
    pub(crate) context: Vec<u8>,
    pub(crate) snapshot: Option<SnapshotHead>,
}

/// Which message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Append,
    AppendResponse,
    Vote,
    VoteResponse,
    PreVote,
    PreVoteResponse,
    Heartbeat,
    HeartbeatResponse,
    Snapshot,
    TimeoutNow,
}

/// A message that raft would not survive: the peer's fault. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RejectRaft {
    /// It is for a store that this node had once, or has not.
    #[error("a message for another voter")]
    NotForUs,
    /// It speaks of a place that no log of this group can have reached here.
    #[error("a message about entries that cannot be")]
    OutOfRange,
    /// Its sender is no voter or learner as whom it speaks.
    #[error("a message in another's name, or from outside the group")]
    Stranger,
}

impl RaftMessage {
    /// What raft wants sent; `None` for what it says to itself.
    pub(crate) fn from_raft(message: Message, log: &Log) -> Option<Self> {
        let kind = match message.get_msg_type() {
            MessageType::MsgAppend => Kind::Append,
            MessageType::MsgAppendResponse => Kind::AppendResponse,
            MessageType::MsgRequestVote => Kind::Vote,
            MessageType::MsgRequestVoteResponse => Kind::VoteResponse,
            MessageType::MsgRequestPreVote => Kind::PreVote,
            MessageType::MsgRequestPreVoteResponse => Kind::PreVoteResponse,
            MessageType::MsgHeartbeat => Kind::Heartbeat,
            MessageType::MsgHeartbeatResponse => Kind::HeartbeatResponse,
            MessageType::MsgSnapshot => Kind::Snapshot,
            MessageType::MsgTimeoutNow => Kind::TimeoutNow,
            MessageType::MsgHup
            | MessageType::MsgBeat
            | MessageType::MsgPropose
            | MessageType::MsgUnreachable
            | MessageType::MsgSnapStatus
            | MessageType::MsgCheckQuorum
            | MessageType::MsgTransferLeader
            | MessageType::MsgReadIndex
            | MessageType::MsgReadIndexResp => return None,
        };
        let snapshot = (kind == Kind::Snapshot).then(|| log.snapshot().clone());
        Some(Self {
            kind,
            from: message.from,
            to: message.to,
            term: message.term,
            index: message.index,
            log_term: message.log_term,
            commit: message.commit,
            commit_term: message.commit_term,
            entries: message.entries.iter().map(from_raft).collect(),
            reject: message.reject,
            reject_hint: message.reject_hint,
            request_snapshot: message.request_snapshot,
            context: message.context.to_vec(),
            snapshot,
        })
    }

    /// Checks what raft takes for granted and would end the process over.
    pub(crate) fn check(&self, me: VoterId, log: &Log) -> Result<(), RejectRaft> {
        if self.to != me {
            return Err(RejectRaft::NotForUs);
        }
        let last = log.last_index().unwrap_or(0);
        let terms = self.entries.iter().map(|entry| entry.term);
        let rising = terms.clone().is_sorted();
        let from_now = terms
            .clone()
            .all(|term| (self.log_term..=self.term).contains(&term));
        let sound = self.term > 0
            && self.term < TERM_MAX
            && self.index < INDEX_MAX
            && (self.entries.is_empty() || (self.kind == Kind::Append && rising && from_now));
        let possible = match self.kind {
            Kind::Heartbeat => self.commit <= last,
            Kind::AppendResponse => self.index <= last && self.reject_hint <= last,
            Kind::Snapshot => self.snapshot.as_ref().is_some_and(|snapshot| {
                snapshot.config.is_sound()
                    && snapshot.index < INDEX_MAX
                    && snapshot.bytes <= SNAPSHOT_BYTES_MAX
                    && (1..=self.term).contains(&snapshot.term)
            }),
            // Raft looks for the last entry of that term, and there is none in what is kept.
            Kind::Append => self.index < log.base().index || self.log_term >= log.base().term,
            Kind::Vote
            | Kind::VoteResponse
            | Kind::PreVote
            | Kind::PreVoteResponse
            | Kind::HeartbeatResponse
            | Kind::TimeoutNow => true,
        };
        (sound && possible)
            .then_some(())
            .ok_or(RejectRaft::OutOfRange)
    }

    /// How much is agreed on, as its sender says.
    pub(crate) const fn committed(&self) -> u64 {
        if matches!(self.kind, Kind::Heartbeat) {
            self.index
        } else {
            self.commit
        }
    }

    pub(crate) fn into_raft(self) -> Message {
        let mut message = Message::default();
        message.set_msg_type(match self.kind {
            Kind::Append => MessageType::MsgAppend,
            Kind::AppendResponse => MessageType::MsgAppendResponse,
            Kind::Vote => MessageType::MsgRequestVote,
            Kind::VoteResponse => MessageType::MsgRequestVoteResponse,
            Kind::PreVote => MessageType::MsgRequestPreVote,
            Kind::PreVoteResponse => MessageType::MsgRequestPreVoteResponse,
            Kind::Heartbeat => MessageType::MsgHeartbeat,
            Kind::HeartbeatResponse => MessageType::MsgHeartbeatResponse,
            Kind::Snapshot => MessageType::MsgSnapshot,
            Kind::TimeoutNow => MessageType::MsgTimeoutNow,
        });
        message.from = self.from;
        message.to = self.to;
        message.term = self.term;
        message.index = self.index;
        message.log_term = self.log_term;
        message.commit = self.commit;
        message.commit_term = self.commit_term;
        let entries = (self.index + 1..).zip(self.entries);
        message.entries = entries
            .map(|(index, entry)| to_raft(index, entry))
            .collect::<Vec<_>>()
            .into();
        message.reject = self.reject;
        message.reject_hint = self.reject_hint;
        message.request_snapshot = self.request_snapshot;
        message.context = Bytes::from(self.context);
        if let Some(snapshot) = &self.snapshot {
            message.set_snapshot(snapshot_of(snapshot));
        }
        message
    }
}

/// No group gets so far; a peer that says so wants numbers to overflow.
const TERM_MAX: u64 = 1 << 62;
const INDEX_MAX: u64 = 1 << 62;

/// No state is as large.
const SNAPSHOT_BYTES_MAX: u64 = 1 << 30;
