//! The names of kinds.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::wire::{Reader, Writer};
use crate::{DecodeObject, Shape};

/// What a value is. Displayed and parsed as `flag`, `counter`, `register`, `set`, `map`, `document`, `custom:7`, and
/// so on: see [`Kind::NAMED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// [`crate::EwFlag`].
    Flag,
    /// [`crate::PnCounter`].
    Counter,
    /// [`crate::MvRegister`].
    Register,
    /// [`crate::AwSet`].
    Set,
    /// [`crate::OrMap`].
    Map,
    /// [`crate::Document`].
    Document,
    /// [`crate::DwFlag`].
    DwFlag,
    /// [`crate::GCounter`].
    GCounter,
    /// [`crate::Max`].
    Max,
    /// [`crate::Min`].
    Min,
    /// [`crate::GSet`].
    GSet,
    /// [`crate::RwSet`].
    RwSet,
    /// [`crate::Fenced`].
    Fenced,
    /// [`crate::BoundedCounter`].
    BoundedCounter,
    /// [`crate::Sequence`].
    Sequence,
    /// A kind of a later release, by its tag and shape: [`crate::Opaque`].
    Unknown(u8, Shape),
    /// [`crate::Custom`], with the application's tag.
    Custom(u16),
}

impl Kind {
    /// The kinds with a name of their own, by tag: what each is called, and the shape that it is written with.
    ///
    /// The first six are written without their shape, since no release was without them. Tags rise in the order of kinds, so
    /// sorted is sorted in memory and in bytes.
    pub const NAMED: [(Self, u8, &'static str, Option<Shape>); 15] = [
        (Self::Flag, 1, "flag", None),
        (Self::Counter, 2, "counter", None),
        (Self::Register, 3, "register", None),
        (Self::Set, 4, "set", None),
        (Self::Map, 5, "map", None),
        (Self::Document, 6, "document", None),
        (Self::DwFlag, 7, "dw-flag", Some(Shape::FUN)),
        (Self::GCounter, 8, "g-counter", Some(Shape::FUN)),
        (Self::Max, 9, "max", Some(Shape::FUN)),
        (Self::Min, 10, "min", Some(Shape::FUN)),
        (Self::GSet, 11, "g-set", Some(Shape::SET.in_map())),
        (Self::RwSet, 12, "rw-set", Some(Shape::FUN.in_map())),
        (Self::Fenced, 13, "fenced", Some(Shape::FUN)),
        (
            Self::BoundedCounter,
            14,
            "bounded-counter",
            Some(Shape::FUN),
        ),
        (Self::Sequence, 15, "sequence", Some(Shape::FUN.in_map())),
    ];
    const CUSTOM: u8 = 255;

    pub(crate) fn write(self, writer: &mut Writer) {
        let named = Self::NAMED.iter().find(|row| row.0 == self);
        match (self, named) {
            (Self::Custom(tag), _) => {
                writer.byte(Self::CUSTOM);
                writer.bytes(&tag.to_be_bytes());
            }
            (Self::Unknown(tag, shape), _) => {
                writer.byte(tag);
                writer.byte(shape.to_byte());
            }
            (_, Some((_, tag, _, shape))) => {
                writer.byte(*tag);
                shape.iter().for_each(|shape| writer.byte(shape.to_byte()));
            }
            (_, None) => debug_assert!(false, "a kind without a row: {self:?}"),
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeObject> {
        let tag = reader.byte()?;
        if tag == Self::CUSTOM {
            return Ok(Self::Custom(u16::from_be_bytes(reader.array()?)));
        }
        let unknown = DecodeObject::UnknownKind(tag);
        match Self::NAMED.iter().find(|row| row.1 == tag) {
            Some((kind, _, _, None)) => Ok(*kind),
            Some((kind, _, _, Some(shape))) => match reader.byte()? {
                byte if byte == shape.to_byte() => Ok(*kind),
                _ => Err(unknown),
            },
            None if tag == 0 => Err(unknown),
            None => match Shape::from_byte(reader.byte()?) {
                Some(shape) => Ok(Self::Unknown(tag, shape)),
                None => Err(unknown),
            },
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, Self::NAMED.iter().find(|row| row.0 == *self)) {
            (Self::Custom(tag), _) => write!(f, "custom:{tag}"),
            (Self::Unknown(tag, _), _) => write!(f, "unknown:{tag}"),
            (_, Some((_, _, name, _))) => f.write_str(name),
            (_, None) => Err(fmt::Error),
        }
    }
}

impl FromStr for Kind {
    type Err = ParseKind;

    fn from_str(text: &str) -> Result<Self, ParseKind> {
        if let Some(tag) = text.strip_prefix("custom:") {
            return tag.parse().map(Self::Custom).or(Err(ParseKind));
        }
        let named = Self::NAMED.iter().find(|row| row.2 == text);
        named.map(|row| row.0).ok_or(ParseKind)
    }
}

/// The text names no kind: the caller's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no such kind; there are flag, counter, register, set, map, document, dw-flag, g-counter, max, min, g-set, rw-set, fenced, bounded-counter, sequence and custom:TAG"
)]
pub struct ParseKind;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn names_round_trip_and_others_are_refused() {
        let kinds = Kind::NAMED.iter().map(|row| row.0);
        for kind in kinds.chain([Kind::Custom(0), Kind::Custom(65_535)]) {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        for text in ["", "Flag", "custom", "custom:", "custom:65536", "custom:-1"] {
            assert_eq!(text.parse::<Kind>(), Err(ParseKind));
        }
    }

    #[test]
    fn kinds_are_listed_in_the_order_of_their_tags() {
        assert!(Kind::NAMED.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
    }

    #[test]
    fn the_refusal_names_every_kind() {
        let refusal = ParseKind.to_string();
        for (_, _, name, _) in Kind::NAMED {
            assert!(refusal.contains(name), "{name}");
        }
    }
}
