//! A backup on its way into the state, part by part.

use serde::{Deserialize, Serialize};

use super::backup::BACKUP_BYTES_MAX;
use super::command::{Refusal, SessionId, TooLarge};
use super::keys::VALUE_BYTES_MAX;

/// The parts that have come so far. It ends with its session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Staging {
    pub(crate) session: SessionId,
    #[serde(with = "serde_bytes")]
    pub(crate) bytes: Vec<u8>,
}

impl Staging {
    /// Adds the part that begins at `offset`; at 0 all begins anew. Returns how many bytes there are.
    pub(crate) fn add(
        staging: &mut Option<Self>,
        session: SessionId,
        (offset, part): (u64, &[u8]),
    ) -> Result<u64, Refusal> {
        if let Some(other) = staging.as_ref().filter(|other| other.session != session) {
            return Err(Refusal::Restoring { by: other.session });
        }
        let there = staging.as_ref().map_or(0, |staging| staging.bytes.len());
        if offset != 0 && offset != there as u64 {
            let expected = there as u64;
            return Err(Refusal::OutOfPlace { expected });
        }
        let before = if offset == 0 { 0 } else { there };
        check(part.len(), VALUE_BYTES_MAX)?;
        check(before + part.len(), BACKUP_BYTES_MAX)?;
        let staging = staging.get_or_insert_with(|| Self {
            session,
            bytes: Vec::new(),
        });
        staging.bytes.truncate(before);
        staging.bytes.extend_from_slice(part);
        Ok(staging.bytes.len() as u64)
    }
}

const fn check(size: usize, max: usize) -> Result<(), Refusal> {
    if size > max {
        let what = TooLarge::Backup;
        return Err(Refusal::TooLarge { what, size, max });
    }
    Ok(())
}
