//! What the group has on disk, in [`Space::Strong`]: one version byte, then postcard. Each record has a checksum from the store.
//!
//! | key | record |
//! | --- | --- |
//! | `g` | [`Head`]: which group, and who this store is in it |
//! | `h` | [`Hard`]: term, vote and commit index |
//! | `c` | [`Config`]: the voters as of the last change that was applied |
//! | `b` | [`Base`]: where the log begins |
//! | `s` | [`SnapshotHead`]: the snapshot that counts |
//! | `e`, index | [`LogEntry`] |
//! | `p`, index, part | a part of the snapshot with that index |

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use meshwork_membership::NodeId;
use meshwork_sync::{Batch, ReadStore, Space, Store};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A voter or learner of the group: the replica id of its store as a number, since a store that was lost or restored is another voter.
pub(crate) type VoterId = u64;

/// Which group: 128 random bits drawn when it was formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupId(pub [u8; 16]);

/// Which group this store belongs to, and as whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) group: GroupId,
    pub(crate) me: VoterId,
}

/// What must be on disk before a promise leaves (Ongaro and Ousterhout, "In search of an understandable consensus algorithm", 2014, figure 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hard {
    pub(crate) term: u64,
    pub(crate) vote: VoterId,
    pub(crate) commit: u64,
}

/// Where the log begins: behind this entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Base {
    pub(crate) index: u64,
    pub(crate) term: u64,
}

/// Who votes, and where each is found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Config {
    /// The entry that made it so.
    pub(crate) index: u64,
    pub(crate) voters: BTreeSet<VoterId>,
    /// Those whose majority is needed too, while the voters change.
    pub(crate) outgoing: BTreeSet<VoterId>,
    pub(crate) learners: BTreeSet<VoterId>,
    pub(crate) learners_next: BTreeSet<VoterId>,
    pub(crate) auto_leave: bool,
    /// Every voter and learner's node.
    pub(crate) nodes: BTreeMap<VoterId, NodeId>,
}

/// A snapshot without its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotHead {
    /// The last entry in it.
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) config: Config,
    pub(crate) parts: u32,
    pub(crate) bytes: u64,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogEntry {
    pub(crate) term: u64,
    pub(crate) body: Body,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Body {
    /// Encoded [`Command`](super::Command)s, in order; none when a leader begins its term.
    Commands(Blob),
    /// An encoded change of the voters; empty to leave the transition.
    Config(Blob),
}

/// Bytes that are copied only when they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blob(pub(crate) Bytes);

impl Serialize for Blob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <&[u8]>::deserialize(deserializer)?;
        Ok(Self(Bytes::copy_from_slice(bytes)))
    }
}

impl Config {
    /// Whether it can be that of a group: no voter without a place, none in two roles.
    pub(crate) fn is_sound(&self) -> bool {
        let members = self.members();
        let known = members.iter().all(|id| self.nodes.contains_key(id));
        let apart = self.learners.is_disjoint(&self.voters)
            && self.learners.is_disjoint(&self.outgoing)
            && self.learners_next.is_subset(&self.outgoing)
            && self.learners_next.is_disjoint(&self.voters)
            && self.learners_next.is_disjoint(&self.learners);
        !self.voters.is_empty() && known && apart && !members.contains(&0)
    }

    /// Voters and learners, old and new.
    pub(crate) fn members(&self) -> BTreeSet<VoterId> {
        let parts = [
            &self.voters,
            &self.outgoing,
            &self.learners,
            &self.learners_next,
        ];
        parts.into_iter().flatten().copied().collect()
    }
}

/// The group's records cannot be used. This node takes no part in the group; all else goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenGroup {
    /// A record is damaged, or missing between others: the disk's fault. Cutting it out could undo what this voter has promised.
    #[error(
        "what this node holds of the strong group is damaged ({0}): let the node leave the mesh and join anew in an empty folder; \
         the other voters replace it"
    )]
    Damaged(String),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] ReadStore),
}

const RECORD_VERSION: u8 = 1;

pub(crate) const HEAD: &[u8] = b"g";
pub(crate) const HARD: &[u8] = b"h";
pub(crate) const CONFIG: &[u8] = b"c";
pub(crate) const BASE: &[u8] = b"b";
pub(crate) const SNAPSHOT: &[u8] = b"s";
pub(crate) const ENTRIES: &[u8] = b"e";
pub(crate) const PARTS: &[u8] = b"p";

/// The record of the [`Roster`](super::message::Roster), which no voter has promised anything by.
pub(crate) const ROSTER: &[u8] = b"r";

/// The record of who may form the group, on the founder.
pub(crate) const FORMED_BY: &[u8] = b"f";

/// In that record: whoever it was, the question is settled.
const SOMEBODY: NodeId = NodeId::from_bytes([0; 32]);

/// Lets a store that was copied or restored vote no more: it has forgotten what its voter promised. To be durable together with its new
/// replica id, since only the run that finds out knows of it, and may be killed before it has written anything.
///
/// # Errors
/// As [`Store::get`].
pub(crate) fn forget_group(store: &dyn Store, batch: &mut Batch) -> Result<(), ReadStore> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        // One by one, since a page is lost with a damaged record in it.
        let found = match store.scan(Space::Strong, &[], after.as_deref(), 1) {
            Ok(page) => page.into_iter().next().map(|(key, _)| key),
            Err(ReadStore::Damaged { key, .. }) => Some(key),
            Err(error) => return Err(error),
        };
        let Some(key) = found else { break };
        if key != ROSTER && key != FORMED_BY {
            batch.delete(Space::Strong, key.as_slice());
        }
        after = Some(key);
    }
    // Nor does a founder's copy know whom it has let form the group since.
    if !matches!(store.get(Space::Strong, FORMED_BY), Ok(Some(_))) {
        batch.put(Space::Strong, FORMED_BY, encode(&SOMEBODY));
    }
    Ok(())
}

pub(crate) fn entry_key(index: u64) -> Vec<u8> {
    [ENTRIES, &index.to_be_bytes()].concat()
}

pub(crate) fn part_key(snapshot: u64, part: u32) -> Vec<u8> {
    [PARTS, &snapshot.to_be_bytes(), &part.to_be_bytes()].concat()
}

pub(crate) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    postcard::to_extend(record, vec![RECORD_VERSION])
        .expect("encoding into a growing vector cannot fail")
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let body = bytes.strip_prefix(&[RECORD_VERSION])?;
    let (record, rest) = postcard::take_from_bytes(body).ok()?;
    rest.is_empty().then_some(record)
}

/// A record of which there is one.
pub(crate) fn read<T: DeserializeOwned>(
    store: &dyn Store,
    key: &[u8],
) -> Result<Option<T>, OpenGroup> {
    let Some(bytes) = get(store, key)? else {
        return Ok(None);
    };
    let record = decode(&bytes);
    record.map(Some).ok_or_else(|| damaged(key))
}

/// One that is there wherever there is a group.
pub(crate) fn required<T: DeserializeOwned>(store: &dyn Store, key: &[u8]) -> Result<T, OpenGroup> {
    read(store, key)?.ok_or_else(|| damaged(key))
}

pub(crate) fn get(store: &dyn Store, key: &[u8]) -> Result<Option<Vec<u8>>, OpenGroup> {
    store.get(Space::Strong, key).map_err(unreadable)
}

pub(crate) fn unreadable(error: ReadStore) -> OpenGroup {
    if let ReadStore::Damaged { key, .. } = &error {
        return damaged(key);
    }
    OpenGroup::Store(error)
}

pub(crate) fn damaged(key: &[u8]) -> OpenGroup {
    OpenGroup::Damaged(format!("record {}", key.escape_ascii()))
}
