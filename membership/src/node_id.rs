//! Who a node is.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// A node's identity: its ed25519 public key, the same key that its libp2p `PeerId` is made of.
///
/// Shown as 64 lower-case hexadecimal digits; `{:.8}` shows the first eight.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId([u8; Self::BYTES]);

impl NodeId {
    /// Length in bytes.
    pub const BYTES: usize = 32;

    /// The identity with this public key.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The public key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// A hash of it: enough to tell a few accusers apart, not a name. Whoever forges one only forges one voice more.
    #[must_use]
    pub fn tag(&self) -> u32 {
        u32::try_from(crate::table::hash(self.0.iter().copied()) >> 32).unwrap_or(0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2 * Self::BYTES);
        for (at, byte) in self.0.iter().enumerate() {
            match digits.saturating_sub(2 * at) {
                0 => break,
                1 => write!(f, "{:x}", byte >> 4)?,
                _ => write!(f, "{byte:02x}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self:.8})")
    }
}

/// The text is not 64 hexadecimal digits. The caller's mistake; nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a node id is 64 hexadecimal digits")]
pub struct ParseNodeId;

impl FromStr for NodeId {
    type Err = ParseNodeId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; Self::BYTES];
        let digits: Vec<u32> = text
            .chars()
            .map(|c| c.to_digit(16).ok_or(ParseNodeId))
            .collect::<Result<_, _>>()?;
        if digits.len() != 2 * Self::BYTES {
            return Err(ParseNodeId);
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair.iter().fold(0u8, |high, low| {
                (high << 4) | u8::try_from(*low).unwrap_or(0)
            });
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_shortens() {
        let id = NodeId::from_bytes(core::array::from_fn(|i| u8::try_from(i * 7).unwrap()));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(format!("{id:.5}"), &id.to_string()[..5]);
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "00", &"g".repeat(64), &"0".repeat(65)] {
            assert_eq!(text.parse::<NodeId>(), Err(ParseNodeId));
        }
    }
}
