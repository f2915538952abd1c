//! Checked reads: an engine seen as a [`Store`].

use std::sync::Arc;

use meshwork_sync::{ReadStore, Record, Space, Store};

use super::engine::{Engine, ReadEngine};
use super::seal::unseal;

/// The records of an engine, each checked against its checksum when it is read.
///
/// A read sees every group that the engine has committed, and no batch that still waits in the queue of the
/// [`Committer`](super::Committer). It may see a group a moment before the `Stored` of its batches arrives. Two reads are two moments: a
/// group may be committed between them.
///
/// `sled` applies a group before it flushes it, so with `sled` alone a read may see what a power cut can still take back.
#[derive(Debug, Clone)]
pub struct Records {
    engine: Arc<dyn Engine>,
}

impl Records {
    /// The records of `engine`.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }
}

impl Store for Records {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, ReadStore> {
        let sealed = self.engine.get(space, key).map_err(|cause| match cause {
            ReadEngine::Damaged { .. } => damaged(space, key),
            ReadEngine::Failed { reason } => ReadStore::Engine { reason },
        })?;
        sealed.map(|sealed| checked(space, key, sealed)).transpose()
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        records_max: usize,
    ) -> Result<Vec<Record>, ReadStore> {
        // A block that fails the engine's own checksum takes its keys with it: there is no key to name and to step over.
        let sealed = self
            .engine
            .scan(space, prefix, after, records_max)
            .map_err(|cause| ReadStore::Engine {
                reason: match cause {
                    ReadEngine::Damaged { reason } => format!("{reason}: {MOVE_AWAY}"),
                    ReadEngine::Failed { reason } => reason,
                },
            })?;
        sealed
            .into_iter()
            .map(|(key, sealed)| {
                let value = checked(space, &key, sealed)?;
                Ok((key, value))
            })
            .collect()
    }
}

/// What helps where a part of the files is lost.
const MOVE_AWAY: &str = "a part of the store is damaged; stop the node, move `store` in its data folder away, and start it again: it \
    fetches what it held from its peers, but for changes that none of them has (`waiting` in `meshwork status`)";

fn checked(space: Space, key: &[u8], sealed: Vec<u8>) -> Result<Vec<u8>, ReadStore> {
    unseal(space, key, sealed).ok_or_else(|| damaged(space, key))
}

fn damaged(space: Space, key: &[u8]) -> ReadStore {
    tracing::warn!(space = space.name(), key = ?key, "record is damaged");
    ReadStore::Damaged {
        space,
        key: key.to_vec(),
    }
}
