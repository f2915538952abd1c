//! What members send to each other.
//!
//! A version byte, then [postcard](https://postcard.jamesmunns.com/wire-format). A ping or ack without news is
//! 4 to 12 bytes; every second ack has 12 more.

use serde::{Deserialize, Serialize};

use crate::meta::{self, InvalidMeta};
use crate::{Coordinate, Meta, NodeId, State};

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
        /// Where the sender is, now and then.
        coordinate: Option<Coordinate>,
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
    /// "I am well, but it did not answer me in time": Lifeguard's nack.
    PingReqNack {
        /// That of the request.
        sequence: u64,
    },
    /// Only news.
    Gossip,
    /// "Is this the digest of your list too? If not, tell me where yours differs."
    Digest {
        /// A sum over the live members.
        sum: u64,
    },
    /// "It is not: these are the sums of its parts."
    Sums {
        /// For the members whose ids begin with the same five bits.
        sums: [u32; Purpose::BUCKETS],
    },
    /// "In these parts ours differ: this is what I have there."
    Have {
        /// A bit for each part that differs.
        buckets: u32,
        /// A hash for each member there.
        #[serde(deserialize_with = "meta::list::<_, _, { Purpose::HASHES_MAX }>")]
        hashes: Vec<u32>,
    },
    /// "The claims with these hashes I do not have." With those that the other does not have.
    Want {
        /// As they came.
        #[serde(deserialize_with = "meta::list::<_, _, { Purpose::HASHES_MAX }>")]
        hashes: Vec<u32>,
    },
    /// A part of a list, with more to come.
    ExchangePart,
    /// "Send me your list": from who joins.
    ExchangeAsk {
        /// A sum over the live members that it knows.
        sum: u64,
        /// How many those are.
        known: u32,
    },
    /// The last part of the answer.
    ExchangeAnswer,
}

impl Purpose {
    /// Parts of a list that are compared for themselves.
    pub const BUCKETS: usize = 32;

    /// Hashes in one message.
    pub const HASHES_MAX: usize = 1 << 15;
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
    /// For `Suspect`: the [`NodeId::tag`]s of those whose own probes failed. At most [`Claim::ACCUSERS_MAX`].
    #[serde(deserialize_with = "meta::list::<_, _, { Claim::ACCUSERS_MAX }>")]
    pub accusers: Vec<u32>,
    /// For `Alive` without `meta`: the [`Meta::hash`] of what it says about itself, as before; else 0.
    pub described: u32,
    /// What it said about itself at that incarnation. Always there in exchanges.
    pub meta: Option<Meta>,
}

impl Message {
    /// Claims in one message: what a message of the greatest size can hold at most.
    pub const CLAIMS_MAX: usize = MESSAGE_BYTES_MAX / CLAIM_BYTES_MIN;

    /// The bytes to send. Not checked against [`MESSAGE_BYTES_MAX`]: the core never builds a longer one.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "no value can make it panic")]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![WIRE_VERSION]).expect("its fields have known lengths")
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
        if let Purpose::Ack {
            coordinate: Some(coordinate),
            ..
        } = &message.purpose
            && !coordinate.is_valid()
        {
            return Err(DecodeMessage::Malformed);
        }
        message.claims.iter().try_for_each(Claim::check)?;
        Ok(message)
    }
}

impl Claim {
    /// Accusers in one claim; more change nothing.
    pub const ACCUSERS_MAX: usize = 8;

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
            None if self.state == State::Alive && self.described == 0 => {
                Err(DecodeMessage::Malformed)
            }
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

const WIRE_VERSION: u8 = 2;

/// An id, and one byte for each other field.
const CLAIM_BYTES_MIN: usize = NodeId::BYTES + 6;
