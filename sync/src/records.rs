//! How the engine's records look on disk: one version byte, then postcard.

use meshwork_dht::Position;
use meshwork_membership::NodeId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Key;

/// Version of every record below; a new layout is a new version and a conversion from this one.
const RECORD_VERSION: u8 = 1;

/// First record of an object: its whole state as of some write.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BaseRecord {
    pub(crate) key: Key,
    pub(crate) mark: Mark,
    #[serde(with = "serde_bytes")]
    pub(crate) object: Vec<u8>,
}

/// Further record of an object: a delta to merge into what the records before it hold.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LogRecord {
    pub(crate) mark: Mark,
    #[serde(with = "serde_bytes")]
    pub(crate) delta: Vec<u8>,
}

/// What an object's newest record says about the whole of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Digest of the version.
    pub(crate) digest: [u8; 32],
    /// The last dot that this store gave to this object while holding it without a break.
    pub(crate) written: Option<u64>,
}

/// One waiting delta and those who have not acknowledged it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OutboxRecord {
    pub(crate) key: Key,
    #[serde(with = "serde_bytes")]
    pub(crate) delta: Vec<u8>,
    pub(crate) waiting: Vec<NodeId>,
}

/// A record does not decode although its checksum is right: written by a newer version, or our bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnreadableRecord;

/// Room for most records, so that they are not moved while they are written.
const SMALL_BYTES: usize = 384;

pub(crate) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SMALL_BYTES);
    bytes.push(RECORD_VERSION);
    postcard::to_extend(record, bytes).expect("encoding into a growing vector cannot fail")
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, UnreadableRecord> {
    match bytes.split_first() {
        Some((&RECORD_VERSION, body)) => postcard::from_bytes(body).ok().ok_or(UnreadableRecord),
        _ => Err(UnreadableRecord),
    }
}

/// Reads only the mark of an object record, without copying the object.
pub(crate) fn decode_mark(seq: u64, bytes: &[u8]) -> Result<Mark, UnreadableRecord> {
    let (&RECORD_VERSION, body) = bytes.split_first().ok_or(UnreadableRecord)? else {
        return Err(UnreadableRecord);
    };
    let body = if seq == 0 {
        let (_, rest) = postcard::take_from_bytes::<Key>(body)
            .ok()
            .ok_or(UnreadableRecord)?;
        rest
    } else {
        body
    };
    postcard::take_from_bytes::<Mark>(body)
        .ok()
        .map(|(mark, _)| mark)
        .ok_or(UnreadableRecord)
}

/// Key of an object's record: position, then sequence number; 0 is the base.
pub(crate) fn object_key(position: &Position, seq: u64) -> Vec<u8> {
    [&position.as_bytes()[..], &seq.to_be_bytes()].concat()
}

/// Position and sequence number of an object record's key.
pub(crate) fn parse_object_key(key: &[u8]) -> Option<(Position, u64)> {
    let (position, seq) = key.split_first_chunk::<32>()?;
    let seq: [u8; 8] = seq.try_into().ok()?;
    Some((Position::from_bytes(*position), u64::from_be_bytes(seq)))
}

/// Names of the records in the space of facts about the store.
pub(crate) mod meta {
    /// The last dot drawn, eight bytes, big end first.
    pub(crate) const DOTS: &[u8] = b"dots";
    /// The partitions that this node holds completely.
    pub(crate) const COMPLETE: &[u8] = b"complete";
}
