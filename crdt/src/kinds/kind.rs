//! The names of kinds.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::DecodeObject;
use crate::wire::{Reader, Writer};

/// What a value is. Displayed and parsed as `flag`, `counter`, `register`, `set`, `map`, `document`, `custom:7`.
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
    /// [`crate::Custom`], with the application's tag.
    Custom(u16),
}

impl Kind {
    /// Tags rise in the order of kinds, so sorted is sorted in memory and in bytes.
    pub(crate) fn write(self, writer: &mut Writer) {
        let tag = match self {
            Self::Flag => 1,
            Self::Counter => 2,
            Self::Register => 3,
            Self::Set => 4,
            Self::Map => 5,
            Self::Document => 6,
            Self::Custom(_) => 255,
        };
        writer.byte(tag);
        if let Self::Custom(tag) = self {
            writer.bytes(&tag.to_be_bytes());
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeObject> {
        match reader.byte()? {
            1 => Ok(Self::Flag),
            2 => Ok(Self::Counter),
            3 => Ok(Self::Register),
            4 => Ok(Self::Set),
            5 => Ok(Self::Map),
            6 => Ok(Self::Document),
            255 => Ok(Self::Custom(u16::from_be_bytes(reader.array()?))),
            tag => Err(DecodeObject::UnknownKind(tag)),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Counter => f.write_str("counter"),
            Self::Register => f.write_str("register"),
            Self::Set => f.write_str("set"),
            Self::Map => f.write_str("map"),
            Self::Document => f.write_str("document"),
            Self::Custom(tag) => write!(f, "custom:{tag}"),
        }
    }
}

impl FromStr for Kind {
    type Err = ParseKind;

    fn from_str(text: &str) -> Result<Self, ParseKind> {
        match text {
            "flag" => Ok(Self::Flag),
            "counter" => Ok(Self::Counter),
            "register" => Ok(Self::Register),
            "set" => Ok(Self::Set),
            "map" => Ok(Self::Map),
            "document" => Ok(Self::Document),
            _ => {
                let tag = text
                    .strip_prefix("custom:")
                    .and_then(|tag| tag.parse().ok());
                tag.map(Self::Custom).ok_or(ParseKind)
            }
        }
    }
}

/// The text names no kind: the caller's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such kind; there are flag, counter, register, set, map, document and custom:TAG")]
pub struct ParseKind;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn names_round_trip_and_others_are_refused() {
        let kinds = [
            Kind::Flag,
            Kind::Counter,
            Kind::Register,
            Kind::Set,
            Kind::Map,
            Kind::Document,
            Kind::Custom(0),
            Kind::Custom(65_535),
        ];
        for kind in kinds {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        for text in ["", "Flag", "custom", "custom:", "custom:65536", "custom:-1"] {
            assert_eq!(text.parse::<Kind>(), Err(ParseKind));
        }
    }
}
