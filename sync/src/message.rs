//! What replicas say to each other.
//!
//! A message is one version byte and a postcard body inside one frame, so nothing in it is larger than the frame; objects,
//! contexts and reconciliation payloads travel as bytes that their own decoders check.

use serde::{Deserialize, Serialize};

use crate::{Key, PartitionSet, Prefix};

/// Version of the messages that this crate speaks.
pub const WIRE_VERSION: u8 = 1;

/// An object or a part of one, on its way to a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// What it is filed under.
    pub key: Key,
    /// An encoded `Object`: a delta or a whole state, which merge alike.
    #[serde(with = "serde_bytes")]
    pub object: Vec<u8>,
}

/// Why a receiver did not merge an item.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error,
)]
#[non_exhaustive]
pub enum Refusal {
    /// The key or the object does not decode within the limits. Sending it again will not help.
    #[error("it does not decode, or passes a limit")]
    Malformed,
    /// A stamp inside lies too far ahead of the receiver's clock. It may be taken later.
    #[error("its clock is ahead")]
    ClockAhead,
    /// The object would pass the receiver's size limit.
    #[error("the object grows too large")]
    TooLarge,
    /// The receiver's disk is full or failed. It may be taken later.
    #[error("the disk is full or failed")]
    Storage,
    /// The key's namespace belongs to the strong group. Sending it again will not help.
    #[error("its namespace belongs to the strong group")]
    Strong,
}

/// One message between two members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Message {
    /// Merge these. Answered by [`Message::PushAck`] once they are durable.
    Push {
        /// Chosen by the sender, echoed in the answer.
        id: u64,
        /// What to merge.
        items: Vec<Item>,
    },
    /// The items of a push are durable, but for those refused.
    PushAck {
        /// The push.
        id: u64,
        /// Indexes of refused items and why.
        refused: Vec<(u32, Refusal)>,
    },
    /// Asks for what the asker lacks of a key.
    Get {
        /// Chosen by the asker, echoed in the answer.
        id: u64,
        /// The key.
        key: Key,
        /// Encoded context of what the asker has.
        #[serde(with = "serde_bytes")]
        have: Vec<u8>,
    },
    /// Answers [`Message::Get`], in one part or several.
    Got {
        /// The question.
        id: u64,
        /// Whether the sender has all that was acknowledged for this key's partition, so that the answer counts for a quorum.
        complete: bool,
        /// Whether this is the last part.
        last: bool,
        /// Encoded part of the object; empty when nothing is missing.
        #[serde(with = "serde_bytes")]
        object: Vec<u8>,
        /// Encoded context of what the sender has.
        #[serde(with = "serde_bytes")]
        version: Vec<u8>,
    },
    /// One step of a comparison of partitions.
    Reconcile {
        /// Chosen by the initiator.
        session: u64,
        /// Which side speaks and what it says.
        step: Step,
    },
    /// Tell me of changes under these prefixes; replaces what was asked for before and lapses after a minute.
    Subscribe {
        /// The prefixes; none ends the subscription.
        prefixes: Vec<Prefix>,
    },
    /// A key that the receiver subscribed to has changed.
    Changed {
        /// The key.
        key: Key,
        /// Digest of its new version.
        digest: [u8; 32],
    },
}

/// One step of a comparison of partitions between an initiator and a responder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Step {
    /// Initiator: a question about what the responder holds of these partitions.
    Ask {
        /// Which partitions.
        partitions: PartitionSet,
        /// An encoded [`Request`](crate::reconcile::Request).
        #[serde(with = "serde_bytes")]
        request: Vec<u8>,
    },
    /// Responder: an encoded [`Reply`](crate::reconcile::Reply).
    Reply {
        /// Its bytes.
        #[serde(with = "serde_bytes")]
        reply: Vec<u8>,
        /// Those of the partitions that are not placed on the responder as it sees it: it may be about to let go of them itself.
        strays: PartitionSet,
    },
    /// Responder: what was wanted has been pushed and acknowledged.
    Sent,
    /// Responder: not here, not now; begin again later.
    Stop,
}

/// Bytes are not a message of ours. The peer's fault; nothing changed; drop the message and count it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeMessage {
    /// There are no bytes.
    #[error("the message is empty")]
    Empty,
    /// The version is not spoken here.
    #[error("wire version {found} is not spoken here (this node speaks {WIRE_VERSION})")]
    Version {
        /// The version found.
        found: u8,
    },
    /// The body does not decode.
    #[error("the message body is malformed")]
    Malformed,
    /// A key, a prefix or a list inside is over its limit.
    #[error("the message passes a limit: {what}")]
    Limit {
        /// Which one.
        what: &'static str,
    },
}

impl Message {
    /// The message as the bytes of one frame.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "a vector grows as needed")]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![WIRE_VERSION])
            .expect("encoding into a growing vector cannot fail")
    }

    /// Reads the bytes of one frame. Memory taken stays within a small multiple of their length.
    ///
    /// # Errors
    /// [`DecodeMessage`] for anything that [`Message::encode`] would not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeMessage> {
        let (version, body) = bytes.split_first().ok_or(DecodeMessage::Empty)?;
        if *version != WIRE_VERSION {
            return Err(DecodeMessage::Version { found: *version });
        }
        // The cause is not kept: what a hostile peer got wrong in its bytes helps nobody.
        let (message, rest) = postcard::take_from_bytes::<Self>(body)
            .ok()
            .ok_or(DecodeMessage::Malformed)?;
        if !rest.is_empty() {
            return Err(DecodeMessage::Malformed);
        }
        message.check()?;
        Ok(message)
    }

    fn check(&self) -> Result<(), DecodeMessage> {
        let limit = |fits: bool, what| {
            if fits {
                Ok(())
            } else {
                Err(DecodeMessage::Limit { what })
            }
        };
        match self {
            Self::Push { items, .. } => {
                limit(items.iter().all(|item| item.key.check().is_ok()), "key")
            }
            Self::Get { key, .. } | Self::Changed { key, .. } => limit(key.check().is_ok(), "key"),
            Self::Subscribe { prefixes } => limit(
                prefixes.iter().all(|prefix| prefix.check().is_ok()),
                "prefix",
            ),
            Self::PushAck { .. } | Self::Got { .. } | Self::Reconcile { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> Key {
        Key::parse("notes/today").unwrap()
    }

    #[test]
    fn messages_round_trip() {
        for message in [
            Message::Push {
                id: 7,
                items: vec![Item {
                    key: key(),
                    object: vec![1, 2],
                }],
            },
            Message::PushAck {
                id: 7,
                refused: vec![(0, Refusal::ClockAhead)],
            },
            Message::Get {
                id: 1,
                key: key(),
                have: vec![],
            },
            Message::Reconcile {
                session: 3,
                step: Step::Reply {
                    reply: vec![1],
                    strays: PartitionSet::from(&std::collections::BTreeSet::new()),
                },
            },
            Message::Changed {
                key: key(),
                digest: [9; 32],
            },
        ] {
            assert_eq!(Message::decode(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn other_versions_trailing_bytes_and_limits_are_refused() {
        let good = Message::Get {
            id: 1,
            key: key(),
            have: vec![],
        }
        .encode();
        let mut newer = good.clone();
        newer[0] = 9;
        assert_eq!(
            Message::decode(&newer),
            Err(DecodeMessage::Version { found: 9 })
        );
        let mut longer = good;
        longer.push(0);
        assert_eq!(Message::decode(&longer), Err(DecodeMessage::Malformed));
        assert_eq!(Message::decode(&[]), Err(DecodeMessage::Empty));
        let long = Prefix {
            namespace: "n".repeat(65),
            name: vec![],
        };
        let long = Message::Subscribe {
            prefixes: vec![long],
        };
        assert_eq!(
            Message::decode(&long.encode()),
            Err(DecodeMessage::Limit { what: "prefix" })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(mut bytes: Vec<u8>) {
            if let Some(first) = bytes.first_mut() {
                *first = WIRE_VERSION;
            }
            if let Ok(message) = Message::decode(&bytes) {
                prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
            }
        }
    }
}
