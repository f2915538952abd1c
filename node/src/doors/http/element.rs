//! How elements of lists are named in JSON.

use std::str::FromStr;

use meshwork_crdt::{Dot, ReplicaId};
use serde::de::{Deserialize, Deserializer, Error};

/// The name of an element as the door shows it: the dot that inserted it, `0123456789abcdef:17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element(pub(super) Dot);

/// The text names no element.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an element is named as it is shown, such as 0123456789abcdef:17")]
pub(super) struct ParseElement;

impl FromStr for Element {
    type Err = ParseElement;

    fn from_str(text: &str) -> Result<Self, ParseElement> {
        let (replica, counter) = text.split_once(':').ok_or(ParseElement)?;
        let replica: ReplicaId = replica.parse().or(Err(ParseElement))?;
        let dot = Dot::new(replica, counter.parse().or(Err(ParseElement))?);
        // A name has one spelling: numbers can also be written as +17 or 017.
        match dot.to_string() == text {
            true => Ok(Self(dot)),
            false => Err(ParseElement),
        }
    }
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_other_spellings_are_refused() {
        for counter in [1, 17, u64::MAX] {
            let dot = Dot::new(ReplicaId::from_bytes(*b"\x00\xffeplica"), counter);
            assert_eq!(dot.to_string().parse(), Ok(Element(dot)));
        }
        for text in [
            "",
            "17",
            ":17",
            "0123456789abcdef",
            "0123456789abcdef:",
            "0123456789ABCDEF:17",
            "0123456789abcdef:+17",
            "0123456789abcdef:017",
            "0123456789abcdef:-1",
            "0123456789abcdef:18446744073709551616",
            "0123456789abcdef:17:17",
        ] {
            assert_eq!(text.parse::<Element>(), Err(ParseElement), "{text}");
        }
    }
}
