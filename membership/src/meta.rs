//! What a member says about itself.

use core::fmt;
use core::marker::PhantomData;

use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// A member's description of itself; it reaches all members by gossip, so it should be small: at most about 1,200 bytes.
///
/// Checked against the limits below before it is stored, and while it is decoded, before memory is taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Meta {
    /// A name for people. At most [`Meta::NAME_BYTES_MAX`] bytes; need not be unique.
    #[serde(deserialize_with = "text::<_, { Meta::NAME_BYTES_MAX }>")]
    pub name: String,
    /// Where the transport can reach it, best first. At most [`Meta::ADDRESSES_MAX`] of [`Meta::ADDRESS_BYTES_MAX`] bytes.
    #[serde(deserialize_with = "addresses")]
    pub addresses: Vec<String>,
    /// The failure zone, by which replicas are spread. At most [`Meta::ZONE_BYTES_MAX`] bytes; empty is a zone too.
    #[serde(deserialize_with = "text::<_, { Meta::ZONE_BYTES_MAX }>")]
    pub zone: String,
    /// Its share of the data relative to the other members: 1 to [`Meta::WEIGHT_MAX`].
    pub weight: u16,
    /// What it is willing to do, as bits that the application assigns.
    pub roles: u32,
    /// The oldest protocol that it speaks.
    pub wire_min: u8,
    /// The newest protocol that it speaks; not below `wire_min`.
    pub wire_max: u8,
    /// Drawn at random by each process when it starts: tells a restart from a change of mind.
    pub instance: u64,
    /// The id of its store: tells that a node lost its data.
    pub replica: [u8; 8],
}

impl Meta {
    /// Bytes of a name.
    pub const NAME_BYTES_MAX: usize = 64;
    /// Number of addresses.
    pub const ADDRESSES_MAX: usize = 8;
    /// Bytes of one address.
    pub const ADDRESS_BYTES_MAX: usize = 128;
    /// Bytes of a zone.
    pub const ZONE_BYTES_MAX: usize = 64;
    /// The greatest weight.
    pub const WEIGHT_MAX: u16 = 1024;

    /// Tells two descriptions apart without sending them; never 0. Not a secure one: whoever forges a description that has
    /// the hash of another could as well forge a claim.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "no value can make it panic")]
    pub fn hash(&self) -> u32 {
        let bytes = postcard::to_allocvec(self).expect("its fields have known lengths");
        let sum = crate::table::hash(bytes.into_iter());
        u32::try_from(sum >> 32).unwrap_or(1).max(1)
    }

    /// Whether all limits are kept. `Meta::default()` does not: its weight is zero.
    ///
    /// # Errors
    /// The first limit that is not kept.
    pub fn check(&self) -> Result<(), InvalidMeta> {
        let texts = [
            (Self::NAME_BYTES_MAX, &self.name),
            (Self::ZONE_BYTES_MAX, &self.zone),
        ];
        let addresses = self.addresses.iter().map(|a| (Self::ADDRESS_BYTES_MAX, a));
        for (bytes_max, text) in texts.into_iter().chain(addresses) {
            check_text(text, bytes_max)?;
        }
        if self.addresses.len() > Self::ADDRESSES_MAX {
            return Err(InvalidMeta::Addresses {
                count: self.addresses.len(),
            });
        }
        if !(1..=Self::WEIGHT_MAX).contains(&self.weight) {
            return Err(InvalidMeta::Weight {
                weight: self.weight,
            });
        }
        if self.wire_min > self.wire_max {
            return Err(InvalidMeta::Wire {
                min: self.wire_min,
                max: self.wire_max,
            });
        }
        Ok(())
    }
}

/// A limit of [`Meta`] is not kept. The fault of whoever wrote it; nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMeta {
    /// A name, zone or address is too long.
    #[error("text of {bytes} bytes where {bytes_max} are allowed")]
    Text {
        /// Its length.
        bytes: usize,
        /// The most allowed there.
        bytes_max: usize,
    },
    /// A name, zone or address holds a control character, which could forge lines in a log.
    #[error("text with a control character")]
    Control,
    /// Too many addresses.
    #[error("{count} addresses where {} are allowed", Meta::ADDRESSES_MAX)]
    Addresses {
        /// How many.
        count: usize,
    },
    /// The weight is zero or too great.
    #[error("weight {weight} is not within 1 and {}", Meta::WEIGHT_MAX)]
    Weight {
        /// The weight.
        weight: u16,
    },
    /// The oldest protocol is newer than the newest one.
    #[error("protocol range {min} to {max} is empty")]
    Wire {
        /// The oldest.
        min: u8,
        /// The newest.
        max: u8,
    },
}

fn check_text(text: &str, bytes_max: usize) -> Result<(), InvalidMeta> {
    if text.len() > bytes_max {
        return Err(InvalidMeta::Text {
            bytes: text.len(),
            bytes_max,
        });
    }
    if text.chars().any(char::is_control) {
        return Err(InvalidMeta::Control);
    }
    Ok(())
}

/// Reads a text of at most `BYTES_MAX` bytes, measured before it is copied.
fn text<'de, D: Deserializer<'de>, const BYTES_MAX: usize>(from: D) -> Result<String, D::Error> {
    from.deserialize_str(TextVisitor::<BYTES_MAX>)
}

struct TextVisitor<const BYTES_MAX: usize>;

impl<const BYTES_MAX: usize> Visitor<'_> for TextVisitor<BYTES_MAX> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "text of at most {BYTES_MAX} bytes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        check_text(text, BYTES_MAX).map_err(E::custom)?;
        Ok(text.to_owned())
    }
}

fn addresses<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let list: Vec<Address> = list::<D, Address, { Meta::ADDRESSES_MAX }>(from)?;
    Ok(list.into_iter().map(|Address(text)| text).collect())
}

#[derive(Deserialize)]
struct Address(#[serde(deserialize_with = "text::<_, { Meta::ADDRESS_BYTES_MAX }>")] String);

/// Reads at most `COUNT_MAX` elements, and takes memory only for those that are there.
pub(crate) fn list<'de, D, T, const COUNT_MAX: usize>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    from.deserialize_seq(ListVisitor::<T, COUNT_MAX>(PhantomData))
}

struct ListVisitor<T, const COUNT_MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const COUNT_MAX: usize> Visitor<'de> for ListVisitor<T, COUNT_MAX> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {COUNT_MAX} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = seq.next_element()? {
            if list.len() == COUNT_MAX {
                return Err(A::Error::invalid_length(COUNT_MAX + 1, &self));
            }
            list.push(element);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Spoil = fn(&mut Meta);

    fn valid() -> Meta {
        Meta {
            name: "n".repeat(Meta::NAME_BYTES_MAX),
            addresses: vec!["a".repeat(Meta::ADDRESS_BYTES_MAX); Meta::ADDRESSES_MAX],
            zone: "z".repeat(Meta::ZONE_BYTES_MAX),
            weight: Meta::WEIGHT_MAX,
            ..Meta::default()
        }
    }

    fn decode(meta: &Meta) -> Result<Meta, postcard::Error> {
        postcard::from_bytes(&postcard::to_allocvec(meta).unwrap())
    }

    #[test]
    fn the_greatest_allowed_is_allowed() {
        valid().check().unwrap();
        assert_eq!(decode(&valid()), Ok(valid()));
    }

    #[test]
    fn each_limit_is_checked_by_the_check_and_sizes_by_the_decoder() {
        let cases: [(Spoil, InvalidMeta); 6] = [
            (
                |m| m.name.push('n'),
                InvalidMeta::Text {
                    bytes: 65,
                    bytes_max: 64,
                },
            ),
            (
                |m| m.zone.push('z'),
                InvalidMeta::Text {
                    bytes: 65,
                    bytes_max: 64,
                },
            ),
            (
                |m| m.addresses[7].push('a'),
                InvalidMeta::Text {
                    bytes: 129,
                    bytes_max: 128,
                },
            ),
            (
                |m| m.addresses.push(String::new()),
                InvalidMeta::Addresses { count: 9 },
            ),
            (|m| m.name = "\u{1b}[2J".into(), InvalidMeta::Control),
            (|m| m.zone = "a\nb".into(), InvalidMeta::Control),
        ];
        for (spoil, reason) in cases {
            let mut meta = valid();
            spoil(&mut meta);
            assert_eq!(meta.check(), Err(reason));
            assert!(decode(&meta).is_err());
        }
    }

    #[test]
    fn weight_and_protocol_range_are_checked() {
        for weight in [0, Meta::WEIGHT_MAX + 1] {
            let meta = Meta { weight, ..valid() };
            assert_eq!(meta.check(), Err(InvalidMeta::Weight { weight }));
        }
        let meta = Meta {
            wire_min: 2,
            wire_max: 1,
            ..valid()
        };
        assert_eq!(meta.check(), Err(InvalidMeta::Wire { min: 2, max: 1 }));
    }
}
