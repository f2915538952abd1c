//! The id of one store that writes.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// Names one store: 64 random bits drawn when the store is created. The actor of every CRDT.
///
/// A cloned or restored store must draw a new one before its first write, because a [`Dot`](crate::Dot)
/// is used once, ever. Displayed and parsed as 16 lower-case hexadecimal digits.
///
/// # Examples
/// ```
/// use meshwork_crdt::ReplicaId;
/// let id: ReplicaId = "00000000000000ff".parse()?;
/// assert_eq!(id.to_bytes()[7], 255);
/// assert_eq!(id.to_string(), "00000000000000ff");
/// # Ok::<(), meshwork_crdt::ParseReplicaId>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReplicaId([u8; 8]);

impl ReplicaId {
    /// The id made of these bytes; their order is the order of ids.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The bytes of the id.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for ReplicaId {
    type Err = ParseReplicaId;

    fn from_str(text: &str) -> Result<Self, ParseReplicaId> {
        let digits = text.as_bytes();
        if digits.len() != 16 {
            return Err(ParseReplicaId::Length {
                bytes: digits.len(),
            });
        }
        let mut id = [0; 8];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair
                .iter()
                .try_fold(0, |high, digit| Some(high << 4 | hex_value(*digit)?))
                .ok_or(ParseReplicaId::Digit)?;
        }
        Ok(Self(id))
    }
}

/// Why a text is not a [`ReplicaId`]: the caller's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseReplicaId {
    /// Not 16 digits long.
    #[error("a replica id has 16 digits, not {bytes}")]
    Length {
        /// Length of the text given.
        bytes: usize,
    },
    /// Something else than `0-9a-f`; upper case is refused, so that an id has one spelling.
    #[error("a replica id has only the digits 0-9 and a-f")]
    Digit,
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn text_round_trips_and_other_spellings_are_refused() {
        let id = ReplicaId::from_bytes([0, 1, 2, 0xab, 4, 5, 6, 0xff]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(
            "00".parse::<ReplicaId>(),
            Err(ParseReplicaId::Length { bytes: 2 })
        );
        assert_eq!(
            "000102AB040506FF".parse::<ReplicaId>(),
            Err(ParseReplicaId::Digit)
        );
        assert_eq!(
            "0é0102ab04050fF".parse::<ReplicaId>(),
            Err(ParseReplicaId::Digit)
        );
    }
}
