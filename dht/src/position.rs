//! Where a key lies.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Partition;

/// The position of a key: 256 bits of BLAKE3 over its namespace and name.
///
/// Nobody can choose two keys with one position, or cheaply choose keys that crowd one partition of the whole mesh
/// beyond trying names. Shown as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position([u8; Self::BYTES]);

impl Position {
    /// Length in bytes.
    pub const BYTES: usize = 32;

    /// The position of `key` in `namespace`.
    ///
    /// The namespace is preceded by its length, so that no two pairs are hashed alike.
    #[must_use]
    pub fn of(namespace: &str, key: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&(namespace.len() as u64).to_le_bytes());
        hasher.update(namespace.as_bytes());
        hasher.update(key);
        Self(*hasher.finalize().as_bytes())
    }

    /// The position with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes, most significant first: their order is the order of positions.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The partition in which it lies: its first 12 bits.
    #[must_use]
    pub const fn partition(&self) -> Partition {
        let [high, low, ..] = self.0;
        Partition::from_prefix(u16::from_be_bytes([high, low]))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "Position({a:02x}{b:02x}{c:02x}{d:02x})")
    }
}

/// The text is not 64 hexadecimal digits. The caller's mistake; nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position is 64 hexadecimal digits")]
pub struct ParsePosition;

impl FromStr for Position {
    type Err = ParsePosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 2 * Self::BYTES {
            return Err(ParsePosition);
        }
        let mut digits = text.chars().map(|c| c.to_digit(16));
        let mut bytes = [0; Self::BYTES];
        for byte in &mut bytes {
            for _ in 0..2 {
                let digit = digits.next().flatten().ok_or(ParsePosition)?;
                *byte = (*byte << 4) | u8::try_from(digit).unwrap_or(0);
            }
        }
        Ok(Self(bytes))
    }
}

/// Separates this use of BLAKE3 from all others. Part of the stored format.
const CONTEXT: &str = "meshwork 2026-11 position of a key v1";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn position_of_a_known_key_never_changes() {
        assert_eq!(
            Position::of("notes", b"shopping list").to_string(),
            "0ff60470cc1d29b93d68a1d299f80db6ae40f44d570c3361d40f529e81ee853a"
        );
    }

    #[test]
    fn moving_the_border_of_namespace_and_key_changes_the_position() {
        assert_ne!(Position::of("ab", b"c"), Position::of("a", b"bc"));
        assert_ne!(Position::of("", b"abc"), Position::of("abc", b""));
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "00", &"g".repeat(64), &"0".repeat(65), &"é".repeat(32)] {
            assert_eq!(text.parse::<Position>(), Err(ParsePosition));
        }
    }

    proptest! {
        #[test]
        fn text_and_bytes_round_trip_and_order_is_that_of_the_bytes(a: [u8; 32], b: [u8; 32]) {
            let (p, q) = (Position::from_bytes(a), Position::from_bytes(b));
            prop_assert_eq!(p.to_string().parse(), Ok(p));
            prop_assert_eq!(p.as_bytes(), &a);
            prop_assert_eq!(p.cmp(&q), a.cmp(&b));
        }
    }
}
