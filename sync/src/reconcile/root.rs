//! The digest by which two nodes see that they agree.

use serde::{Deserialize, Serialize};

use super::ShortId;

/// Tells sets of ids apart, and can be kept up to date id by id.
///
/// Wrapping sum and exclusive or of the ids, and their number: two sets that differ by chance have the same root with a
/// probability below 2^-100. 17 to 26 bytes on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
pub struct Root {
    sum: u64,
    xor: u64,
    len: u64,
}

impl Root {
    /// How many ids the set has.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn insert(&mut self, id: ShortId) {
        self.add(&Self::of(id));
    }

    pub(crate) fn remove(&mut self, id: ShortId) {
        let id = Self::of(id);
        self.sum = self.sum.wrapping_sub(id.sum);
        self.xor ^= id.xor;
        self.len = self.len.wrapping_sub(1);
    }

    /// Adds all ids of another set that has none in common with this one.
    pub fn add(&mut self, other: &Self) {
        self.sum = self.sum.wrapping_add(other.sum);
        self.xor ^= other.xor;
        self.len = self.len.wrapping_add(other.len);
    }

    const fn of(id: ShortId) -> Self {
        let number = id.as_u64();
        Self {
            sum: number,
            xor: number,
            len: 1,
        }
    }
}

/// Fixed-size integers are shorter here than variable ones: the sums are random bits.
#[derive(Serialize, Deserialize)]
struct Wire {
    sum: [u8; 8],
    xor: [u8; 8],
    len: u64,
}

impl From<Wire> for Root {
    fn from(wire: Wire) -> Self {
        Self {
            sum: u64::from_le_bytes(wire.sum),
            xor: u64::from_le_bytes(wire.xor),
            len: wire.len,
        }
    }
}

impl From<Root> for Wire {
    fn from(root: Root) -> Self {
        Self {
            sum: root.sum.to_le_bytes(),
            xor: root.xor.to_le_bytes(),
            len: root.len,
        }
    }
}
