//! What goes down to an engine in one flush.

use std::collections::BTreeMap;

use meshwork_sync::{Batch, Change, Space};

use super::seal::{SEAL_BYTES, seal};

/// Several batches as one: for each key the last word said about it, with its value sealed.
///
/// Merging here, and not in the engine, makes "the last one wins" the same for every engine.
#[derive(Debug, Clone, Default)]
pub struct Group {
    changes: BTreeMap<(Space, Vec<u8>), Option<Vec<u8>>>,
}

impl Group {
    /// Adds a batch; it wins over the batches before it.
    pub fn add(&mut self, batch: &Batch) {
        for change in &batch.changes {
            match change {
                Change::Put { space, key, value } => {
                    let sealed = seal(*space, key, value);
                    self.changes.insert((*space, key.clone()), Some(sealed));
                }
                Change::Delete { space, key } => {
                    self.changes.insert((*space, key.clone()), None);
                }
            }
        }
    }

    /// The changes by space and key: the sealed value, or `None` for a removal.
    pub fn changes(&self) -> impl ExactSizeIterator<Item = (Space, &[u8], Option<&[u8]>)> {
        self.changes
            .iter()
            .map(|((space, key), value)| (*space, key.as_slice(), value.as_deref()))
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl From<Batch> for Group {
    fn from(batch: Batch) -> Self {
        let mut group = Self::default();
        group.add(&batch);
        group
    }
}

/// About how many bytes a batch takes in an engine's journal.
pub(super) fn batch_bytes(batch: &Batch) -> u64 {
    batch.changes.iter().map(change_bytes).sum()
}

fn change_bytes(change: &Change) -> u64 {
    let length = match change {
        Change::Put { key, value, .. } => key.len() + value.len() + SEAL_BYTES,
        Change::Delete { key, .. } => key.len(),
    };
    u64::try_from(length)
        .unwrap_or(u64::MAX)
        .saturating_add(CHANGE_OVERHEAD_BYTES)
}

/// Lengths, tags and checksums around a change in a journal, rounded up.
const CHANGE_OVERHEAD_BYTES: u64 = 32;
