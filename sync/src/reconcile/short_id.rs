//! What stands for one version of one object.

use core::fmt;

use meshwork_dht::{Partition, Position};
use serde::{Deserialize, Serialize};

/// 64 bits that stand for a version of an object: equal on all nodes of a mesh, and unknown to those without its key.
///
/// The first 12 bits name the partition, the others are a hash: two of a million evenly placed objects collide with a probability
/// of 3e-8.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "[u8; 8]", into = "[u8; 8]")]
pub struct ShortId(u64);

impl ShortId {
    /// The id of the version with this digest of the object at `position`.
    ///
    /// `key` is known to the whole mesh and to nobody else. Whoever knows it finds two versions of its own making with one id in
    /// about 2^26 hashes, and a pair that holds one each then takes them for the same; with another key, both show.
    #[must_use]
    pub fn of(key: &[u8; 32], position: &Position, version_digest: &[u8; 32]) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher.update(position.as_bytes());
        hasher.update(version_digest);
        let mut bytes = [0; 8];
        hasher.finalize_xof().fill(&mut bytes);
        let partition = u64::from(position.partition().number()) << Self::HASH_BITS;
        Self(partition | (u64::from_le_bytes(bytes) >> Self::PARTITION_BITS))
    }

    /// The partition of the object, which the highest bits name: whoever has the object finds it there.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "12 bits name a partition")]
    pub fn partition(self) -> Partition {
        u16::try_from(self.0 >> Self::HASH_BITS)
            .ok()
            .and_then(Partition::new)
            .expect("every number of 12 bits is a partition")
    }

    const PARTITION_BITS: u32 = 12;
    const HASH_BITS: u32 = u64::BITS - Self::PARTITION_BITS;

    /// The id with this number.
    #[must_use]
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl From<[u8; 8]> for ShortId {
    fn from(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }
}

impl From<ShortId> for [u8; 8] {
    fn from(id: ShortId) -> Self {
        id.0.to_le_bytes()
    }
}

impl fmt::Display for ShortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for ShortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShortId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_depends_on_key_position_and_version() {
        let position = Position::of("notes", b"a");
        let base = ShortId::of(&[1; 32], &position, &[2; 32]);
        assert_eq!(base.to_string(), "f58687aefefd5ee3");
        assert_eq!(base.partition(), position.partition());
        assert_ne!(base, ShortId::of(&[3; 32], &position, &[2; 32]));
        assert_ne!(
            base,
            ShortId::of(&[1; 32], &Position::of("notes", b"b"), &[2; 32])
        );
        assert_ne!(base, ShortId::of(&[1; 32], &position, &[3; 32]));
    }
}
