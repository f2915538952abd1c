//! What the two sides say to each other.

use core::fmt;
use core::marker::PhantomData;

use meshwork_dht::Position;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{CodedSymbol, Root, ShortId, limits};

/// What an initiator asks.
///
/// It does not say about which set: what carries it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Request {
    /// Are our sets equal? If not, send the first symbols. 19 to 32 bytes.
    Probe {
        /// The root of the initiator's set.
        root: Root,
        /// In how many ids the sets probably differ, as last time; 0 if that is not known.
        differences: u32,
    },
    /// The symbols so far were not enough.
    More {
        /// The root of the set that they were made of. If yours is another by now, start again from index 0.
        seen: Root,
        /// The first index that is missing.
        from: u32,
        /// How many symbols to send.
        symbols: u32,
    },
    /// Send the objects with these ids; at most [`limits::IDS_MAX`].
    Want {
        /// Ids that only the responder has.
        #[serde(deserialize_with = "ids")]
        ids: Vec<ShortId>,
    },
    /// List the ids of positions in a range.
    List {
        /// Only greater ones; from the beginning if there is none.
        after: Option<Position>,
        /// None greater than this one; to the end if there is none.
        until: Option<Position>,
    },
}

/// What a responder answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reply {
    /// The roots are equal, and so are the sets. 2 bytes.
    Same,
    /// Coded symbols of the responder's set; at most [`limits::FLIGHT_SYMBOLS_MAX`].
    Symbols {
        /// The root of the set that they were made of.
        root: Root,
        /// The index of the first.
        from: u32,
        /// Those from there on.
        #[serde(deserialize_with = "symbols")]
        symbols: Vec<CodedSymbol>,
    },
    /// The sets differ too much for symbols; list instead.
    TooDifferent {
        /// The root of the responder's set.
        root: Root,
    },
    /// The ids of positions in the range asked for; at most [`limits::IDS_MAX`].
    Page {
        /// In the order of their positions.
        #[serde(deserialize_with = "ids")]
        ids: Vec<ShortId>,
        /// The last position, if the page was full before the end of the range.
        last: Option<Position>,
    },
}

/// The bytes are not a message of this version: the peer's fault. Nothing changed; drop the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeMessage {
    /// Of a version that this node does not know.
    #[error("reconciliation message of unknown version {found}")]
    Version {
        /// The version that it claims.
        found: u8,
    },
    /// Cut short, too long, or not a message at all.
    #[error("malformed reconciliation message of {bytes} bytes")]
    Malformed {
        /// Its length.
        bytes: usize,
    },
}

impl Request {
    /// The requests that ask for all these ids, none of them too long.
    pub fn wants(ids: &[ShortId]) -> impl Iterator<Item = Self> {
        ids.chunks(limits::IDS_MAX)
            .map(|ids| Self::Want { ids: ids.to_vec() })
    }

    /// Its bytes: a version, then the message in postcard.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// [`DecodeMessage`] for all other bytes, after at most 512 KiB of memory.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeMessage> {
        from_bytes(bytes)
    }
}

impl Reply {
    /// Its bytes: a version, then the message in postcard.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// [`DecodeMessage`] for all other bytes, after at most 512 KiB of memory.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeMessage> {
        from_bytes(bytes)
    }
}

fn to_bytes(message: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(message, vec![VERSION])
        .expect("these messages serialize, and a vector takes any number of bytes")
}

fn from_bytes<'a, M: Deserialize<'a>>(bytes: &'a [u8]) -> Result<M, DecodeMessage> {
    let malformed = DecodeMessage::Malformed { bytes: bytes.len() };
    match bytes.split_first() {
        None => Err(malformed),
        Some((&VERSION, body)) => match postcard::take_from_bytes(body) {
            Ok((message, [])) => Ok(message),
            Ok(_) | Err(_) => Err(malformed),
        },
        Some((&found, _)) => Err(DecodeMessage::Version { found }),
    }
}

fn ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ShortId>, D::Error> {
    deserializer.deserialize_seq(Bounded::<ShortId, { limits::IDS_MAX }>(PhantomData))
}

fn symbols<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<CodedSymbol>, D::Error> {
    const MAX: usize = limits::FLIGHT_SYMBOLS_MAX as usize;
    deserializer.deserialize_seq(Bounded::<CodedSymbol, MAX>(PhantomData))
}

/// Reads a list of at most `MAX` elements, and reserves nothing on the word of a length prefix.
struct Bounded<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Bounded<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            if list.len() == MAX {
                return Err(A::Error::invalid_length(MAX + 1, &self));
            }
            list.push(element);
        }
        Ok(list)
    }
}

/// The first byte of every message.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn any_ids() -> impl Strategy<Value = Vec<ShortId>> {
        vec(any::<u64>().prop_map(ShortId::from_u64), 0..20)
    }

    fn any_root() -> impl Strategy<Value = Root> {
        any_ids().prop_map(|ids| {
            let mut root = Root::default();
            ids.into_iter().for_each(|id| root.insert(id));
            root
        })
    }

    fn any_position() -> impl Strategy<Value = Option<Position>> {
        any::<Option<[u8; 32]>>().prop_map(|bytes| bytes.map(Position::from_bytes))
    }

    fn any_request() -> impl Strategy<Value = Request> {
        prop_oneof![
            (any_root(), any::<u32>())
                .prop_map(|(root, differences)| Request::Probe { root, differences }),
            (any_root(), any::<u32>(), any::<u32>()).prop_map(|(seen, from, symbols)| {
                Request::More {
                    seen,
                    from,
                    symbols,
                }
            }),
            any_ids().prop_map(|ids| Request::Want { ids }),
            (any_position(), any_position())
                .prop_map(|(after, until)| Request::List { after, until }),
        ]
    }

    fn any_reply() -> impl Strategy<Value = Reply> {
        let symbols = || vec(any::<[u8; 14]>().prop_map(CodedSymbol::from), 0..20);
        prop_oneof![
            Just(Reply::Same),
            any_root().prop_map(|root| Reply::TooDifferent { root }),
            (any_root(), any::<u32>(), symbols()).prop_map(|(root, from, symbols)| {
                Reply::Symbols {
                    root,
                    from,
                    symbols,
                }
            }),
            (any_ids(), any_position()).prop_map(|(ids, last)| Reply::Page { ids, last }),
        ]
    }

    #[test]
    fn bytes_of_a_known_message_never_change() {
        let ids = vec![ShortId::from_u64(0x0102_0304_0506_0708)];
        let bytes = Request::Want { ids }.to_bytes();
        assert_eq!(bytes, [1, 2, 1, 8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(Reply::Same.to_bytes(), [1, 0]);
    }

    #[test]
    fn other_versions_trailing_bytes_and_nothing_are_refused() {
        let malformed = |bytes| Err(DecodeMessage::Malformed { bytes });
        assert_eq!(
            Reply::from_bytes(&[2, 0]),
            Err(DecodeMessage::Version { found: 2 })
        );
        assert_eq!(Reply::from_bytes(&[1, 0, 0]), malformed(3));
        assert_eq!(Reply::from_bytes(&[]), malformed(0));
    }

    #[test]
    fn list_beyond_its_limit_and_length_without_elements_are_refused() {
        let ids = vec![ShortId::from_u64(1); limits::IDS_MAX + 1];
        let bytes = Request::Want { ids: ids.clone() }.to_bytes();
        assert!(Request::from_bytes(&bytes).is_err());
        assert_eq!(Request::wants(&ids).count(), 2);
        for request in Request::wants(&ids) {
            assert_eq!(Request::from_bytes(&request.to_bytes()), Ok(request));
        }
        assert!(Request::from_bytes(&[1, 2, 0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
    }

    proptest! {
        #[test]
        fn requests_round_trip(request in any_request()) {
            prop_assert_eq!(Request::from_bytes(&request.to_bytes()), Ok(request));
        }

        #[test]
        fn replies_round_trip(reply in any_reply()) {
            prop_assert_eq!(Reply::from_bytes(&reply.to_bytes()), Ok(reply));
        }

        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in vec(any::<u8>(), 0..200)) {
            for version in [None, Some(VERSION)] {
                if let (Some(version), Some(first)) = (version, bytes.first_mut()) {
                    *first = version;
                }
                if let Ok(request) = Request::from_bytes(&bytes) {
                    prop_assert_eq!(Request::from_bytes(&request.to_bytes()), Ok(request));
                }
                if let Ok(reply) = Reply::from_bytes(&bytes) {
                    prop_assert_eq!(Reply::from_bytes(&reply.to_bytes()), Ok(reply));
                }
            }
        }
    }
}
