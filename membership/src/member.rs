//! What is known about a member.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::message::INCARNATION_MAX;
use crate::{Meta, NodeId, Time};

/// What a member is held for. Later ones win over earlier ones at the same incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// It answers, or has not been probed yet.
    Alive,
    /// It did not answer, and has some time left to refute. It keeps its place.
    Suspect,
    /// It did not refute. It keeps its place until it is expired, and is probed now and then.
    Down,
    /// It said goodbye.
    Left,
}

impl State {
    /// Whether it is probed, told news, and counted: `Alive` or `Suspect`.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Alive | Self::Suspect)
    }
}

/// A member of the mesh, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub id: NodeId,
    /// The version of what it says about itself: only itself raises it.
    pub incarnation: u64,
    /// What it is held for.
    pub state: State,
    /// What it says about itself.
    pub meta: Meta,
    /// When this node began to hold it for `state`.
    pub since: Time,
}

/// A member as it is kept on disk, so that a restarted node finds the mesh again without help.
///
/// A value about this node itself is remembered too: one more than its incarnation is the floor to start from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Who.
    pub id: NodeId,
    /// Its incarnation.
    pub incarnation: u64,
    /// What it was held for; `Suspect` is remembered as `Alive`.
    pub state: State,
    /// How much of [`Config::forget_after`](crate::Config::forget_after) had passed for a `Down` or `Left` member; whole seconds.
    pub gone_for: Duration,
    /// What it said about itself.
    pub meta: Meta,
}

impl Remembered {
    /// The form for the disk: a version byte, then the fields; at most about 1.3 kB.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "no value can make it panic")]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![REMEMBERED_VERSION];
        bytes.extend(postcard::to_allocvec(self).expect("its fields have known lengths"));
        bytes
    }

    /// Reads what [`Remembered::encode`] wrote.
    ///
    /// # Errors
    /// The bytes were damaged, or written by a newer version. The driver should drop the entry and go on.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeRemembered> {
        let (version, rest) = bytes.split_first().ok_or(DecodeRemembered::Malformed)?;
        if *version != REMEMBERED_VERSION {
            return Err(DecodeRemembered::Version { version: *version });
        }
        let (value, rest) = postcard::take_from_bytes::<Self>(rest)
            .map_err(|_malformed| DecodeRemembered::Malformed)?;
        let valid = value.incarnation <= INCARNATION_MAX && value.meta.check().is_ok();
        if !rest.is_empty() || !valid {
            return Err(DecodeRemembered::Malformed);
        }
        Ok(value)
    }
}

/// A remembered member cannot be read. The disk's fault, or an older program reads what a newer one wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeRemembered {
    /// Written by a version that this one does not know.
    #[error("version {version} is not known")]
    Version {
        /// Its version byte.
        version: u8,
    },
    /// Not what any version writes.
    #[error("malformed")]
    Malformed,
}

const REMEMBERED_VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembered_round_trips_and_damage_is_refused() {
        let value = Remembered {
            id: NodeId::from_bytes([7; 32]),
            incarnation: 3,
            state: State::Down,
            gone_for: Duration::from_secs(90),
            meta: Meta {
                weight: 1,
                ..Meta::default()
            },
        };
        let bytes = value.encode();
        assert_eq!(Remembered::decode(&bytes), Ok(value));
        for end in 0..bytes.len() {
            assert!(Remembered::decode(&bytes[..end]).is_err());
        }
        let newer = [&[2], &bytes[1..]].concat();
        assert_eq!(
            Remembered::decode(&newer),
            Err(DecodeRemembered::Version { version: 2 })
        );
    }
}
