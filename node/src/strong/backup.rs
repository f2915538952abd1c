//! A state of the group as a file: what is to outlive the group.
//!
//! | bytes | what |
//! | --- | --- |
//! | 23 | [`MAGIC`] |
//! | 1 | [`VERSION`] |
//! | 16 | the group |
//! | | revision, last fencing token, namespaces, sequences, keys with their values: postcard, each list behind its length |
//! | 32 | blake3 of all before it |
//!
//! What ends with a session is left out: sessions, locks, and the keys that belong to them.

use std::collections::{BTreeMap, BTreeSet};

use meshwork_sync::Key;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::command::{Found, Revision, Token};
use super::keys::{KEYS_BYTES_MAX, VALUE_BYTES_MAX, bytes_of};
use super::records::GroupId;
use super::state::{COUNT_MAX, NAMESPACES_MAX, SEQUENCES_MAX};

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The group that it was made of.
    pub group: GroupId,
    /// The state's revision.
    pub revision: Revision,
    /// The greatest fencing token that was granted.
    pub token: Token,
    /// The strong namespaces.
    pub namespaces: BTreeSet<String>,
    /// The last number that was drawn from each sequence.
    pub sequences: BTreeMap<Key, u64>,
    /// Keys and values, in order, without those that belong to a session.
    pub keys: Vec<(Key, Found)>,
}

/// Bytes are no backup that can be restored. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum ReadBackup {
    /// They are something else.
    #[error("this is no backup of a strong group")]
    NoBackup,
    /// A later release wrote them: use that.
    #[error("the backup has version {found}, and this release reads {VERSION}: upgrade")]
    Version {
        /// The version.
        found: u8,
    },
    /// They are cut short, or something in them has changed: take another copy.
    #[error("the backup is damaged or incomplete: take another copy of it")]
    Damaged,
    /// They say what no group can hold: whoever wrote them made it up.
    #[error("the backup says what no group can hold")]
    Malformed,
}

/// How a backup begins.
const MAGIC: &[u8] = b"meshwork strong backup\n";

/// The version that is written, and read.
const VERSION: u8 = 1;

/// Longest backup, in bytes: of a group that is full.
pub const BACKUP_BYTES_MAX: usize = 512 << 20;

const HASH_BYTES: usize = 32;

/// A backup that grows by its parts.
#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new(group: GroupId) -> Self {
        Self([MAGIC, &[VERSION], &group.0].concat())
    }

    pub(crate) fn put<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        self.0 =
            postcard::to_extend(value, self.0).expect("encoding into a growing vector cannot fail");
        self
    }

    pub(crate) fn list<T: Serialize>(self, items: impl Iterator<Item = T> + Clone) -> Self {
        let count = items.clone().count() as u64;
        items.fold(self.put(&count), |writer, item| writer.put(&item))
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        let hash = blake3::hash(&self.0);
        self.0.extend(hash.as_bytes());
        self.0
    }
}

impl Backup {
    /// Reads a backup. Takes no more memory than a group that is full.
    ///
    /// # Errors
    /// [`ReadBackup`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ReadBackup> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(ReadBackup::NoBackup)?;
        match rest.first() {
            Some(&VERSION) => {}
            Some(&found) => return Err(ReadBackup::Version { found }),
            None => return Err(ReadBackup::Damaged),
        }
        let body = bytes.len().checked_sub(HASH_BYTES);
        let (body, hash) = body
            .and_then(|body| bytes.split_at_checked(body))
            .ok_or(ReadBackup::Damaged)?;
        if blake3::hash(body).as_bytes() != hash || bytes.len() > BACKUP_BYTES_MAX {
            return Err(ReadBackup::Damaged);
        }
        let body = body.get(MAGIC.len() + 1..).unwrap_or_default();
        read(body).ok_or(ReadBackup::Malformed)
    }
}

/// One thing after the other, each looked at before the next, so that no bytes take much more memory than they are.
fn read(mut rest: &[u8]) -> Option<Backup> {
    let (group, body) = rest.split_first_chunk()?;
    rest = body;
    let mut backup = Backup {
        group: GroupId(*group),
        revision: take(&mut rest)?,
        token: take(&mut rest)?,
        namespaces: BTreeSet::new(),
        sequences: BTreeMap::new(),
        keys: Vec::new(),
    };
    if backup.revision.0.max(backup.token.0) > COUNT_MAX {
        return None;
    }
    for _ in 0..count(&mut rest, NAMESPACES_MAX)? {
        let namespace: String = take(&mut rest)?;
        let next = backup
            .namespaces
            .last()
            .is_none_or(|last| *last < namespace);
        if !next || Key::new(&namespace, b"*").is_err() {
            return None;
        }
        backup.namespaces.insert(namespace);
    }
    for _ in 0..count(&mut rest, SEQUENCES_MAX)? {
        let (key, last): (Key, u64) = take(&mut rest)?;
        let before = backup.sequences.last_key_value();
        if before.is_some_and(|(before, _)| *before >= key) || key.check().is_err() {
            return None;
        }
        backup.sequences.insert(key, last);
    }
    let mut room = KEYS_BYTES_MAX;
    for _ in 0..count(&mut rest, usize::MAX)? {
        let (key, found): (Key, Found) = take(&mut rest)?;
        let next = backup.keys.last().is_none_or(|(last, _)| *last < key);
        let known = backup.namespaces.contains(key.namespace()) && key.check().is_ok();
        let fits = found.value.len() <= VALUE_BYTES_MAX && found.revision <= backup.revision;
        if !next || !known || !fits {
            return None;
        }
        room = room.checked_sub(bytes_of(&key, found.value.len()))?;
        backup.keys.push((key, found));
    }
    rest.is_empty().then_some(backup)
}

fn count(rest: &mut &[u8], max: usize) -> Option<u64> {
    let count = take::<u64>(rest)?;
    (count <= max as u64).then_some(count)
}

fn take<T: DeserializeOwned>(rest: &mut &[u8]) -> Option<T> {
    let (value, left) = postcard::take_from_bytes(rest).ok()?;
    *rest = left;
    Some(value)
}
