//! What members send to each other.
//!
//! A version byte, then [postcard](https://postcard.jamesmunns.com/wire-format). A ping or ack without news is
//! 4 to 12 bytes.

use serde::{Deserialize, Serialize};

use crate::meta::{self, InvalidMeta};
use crate::{Meta, NodeId, State};

/// The longest message that is read or written: 1 MiB.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// The greatest incarnation that a claim may carry. A node raises its own by one for each change or refutation,
/// so it is never reached in earnest; above it there is room to outbid a liar.
pub const INCARNATION_MAX: u64 = 1 << 62;

/// A message: its purpose, and what its sender claims about members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// What it is for.
    pub purpose: Purpose,
    /// News, or for an exchange the sender's whole list.
    #[serde(deserialize_with = "meta::list::<_, _, { Message::CLAIMS_MAX }>")]
    pub claims: Vec<Claim>,
}

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// "Are you there?"
    Ping {
        /// To be repeated in the ack.
        sequence: u64,
    },
    /// "I am."
    Ack {
        /// That of the ping.
        sequence: u64,
    },
    /// "Ping that member for me."
    PingReq {
        /// To be repeated in the answer.
        sequence: u64,
        /// Whom.
        target: NodeId,
    },
    /// "It answered."
    PingReqAck {
        /// That of the request.
        sequence: u64,
    },
    /// Only news.
    Gossip,
    /// "Is this the digest of your list too? If not, send it to me and ask for mine."
    Digest {
        /// A sum over the live members.
        sum: u64,
    },
    /// A part of a list, with more to come.
    ExchangePart,
    /// The last part of a list; "now send me yours".
    ExchangeAsk,
    /// The last part of the answer.
    ExchangeAnswer,
}

/// What one member says about another, or about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// About whom.
    pub id: NodeId,
    /// At which of its incarnations.
    pub incarnation: u64,
    /// What it is held for.
    pub state: State,
    /// For `Down` and `Left`: for how long, in whole seconds.
    pub gone_secs: u32,
    /// What it said about itself at that incarnation. Always there for `Alive` and in exchanges.
    pub meta: Option<Meta>,
}

impl Message {
    /// Claims in one message: what a message of the greatest size can hold at most.
    pub const CLAIMS_MAX: usize = MESSAGE_BYTES_MAX / CLAIM_BYTES_MIN;

    /// The bytes to send. Not checked against [`MESSAGE_BYTES_MAX`]: the core never builds a longer one.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "no value can make it panic")]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![WIRE_VERSION];
        bytes.extend(postcard::to_allocvec(self).expect("its fields have known lengths"));
        bytes
    }

    /// Reads a message. Takes at most about 9 bytes of memory for each byte read, and nothing from a length that was
    /// only promised.
    ///
    /// # Errors
    /// The peer's fault, or it speaks a newer protocol; see [`DecodeMessage`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeMessage> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(DecodeMessage::TooLarge { bytes: bytes.len() });
        }
        let (version, rest) = bytes.split_first().ok_or(DecodeMessage::Malformed)?;
        if *version != WIRE_VERSION {
            return Err(DecodeMessage::Version { version: *version });
        }
        let (message, rest) = postcard::take_from_bytes::<Self>(rest)
            .map_err(|_malformed| DecodeMessage::Malformed)?;
        if !rest.is_empty() {
            return Err(DecodeMessage::Malformed);
        }
        message.claims.iter().try_for_each(Claim::check)?;
        Ok(message)
    }
}

impl Claim {
    /// Bytes that it takes in a message.
    pub(crate) fn bytes(&self) -> usize {
        postcard::to_allocvec(self)
            .expect("its fields have known lengths")
            .len()
    }

    fn check(&self) -> Result<(), DecodeMessage> {
        if self.incarnation > INCARNATION_MAX {
            return Err(DecodeMessage::Incarnation {
                about: self.id,
                incarnation: self.incarnation,
            });
        }
        match &self.meta {
            Some(meta) => meta.check().map_err(DecodeMessage::Meta),
            None if self.state == State::Alive => Err(DecodeMessage::Malformed),
            None => Ok(()),
        }
    }
}

/// The bytes are no message. Nothing changed; the peer is faulty, hostile, or newer than this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeMessage {
    /// Longer than [`MESSAGE_BYTES_MAX`].
    #[error("message of {bytes} bytes")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// A protocol that this node does not speak.
    #[error("protocol version {version} is not known")]
    Version {
        /// The version byte.
        version: u8,
    },
    /// Not what any member writes.
    #[error("malformed")]
    Malformed,
    /// A claim with an incarnation above [`INCARNATION_MAX`].
    #[error("absurd incarnation {incarnation} of {about:.8}")]
    Incarnation {
        /// Whose.
        about: NodeId,
        /// The incarnation.
        incarnation: u64,
    },
    /// A claim whose metadata breaks a limit.
    #[error("metadata: {0}")]
    Meta(#[source] InvalidMeta),
}

const WIRE_VERSION: u8 = 1;

/// An id, and one byte for each other field.
const CLAIM_BYTES_MIN: usize = NodeId::BYTES + 4;
