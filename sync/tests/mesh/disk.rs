//! A disk in memory: batches are atomic, records may be damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::RwLock;

use meshwork_sync::{Batch, Change, ReadStore, Record, Space, Store};

/// What is durable. Batches under way are the simulator's business.
#[derive(Debug, Default)]
pub(crate) struct Disk(RwLock<Records>);

#[derive(Debug, Default)]
struct Records {
    records: BTreeMap<(Space, Vec<u8>), Vec<u8>>,
    damaged: BTreeSet<(Space, Vec<u8>)>,
}

impl Disk {
    pub(crate) fn commit(&self, batch: &Batch) {
        let mut inner = self.0.write().unwrap();
        for change in batch.changes.iter().cloned() {
            match change {
                Change::Put { space, key, value } => {
                    inner.damaged.remove(&(space, key.clone()));
                    inner.records.insert((space, key), value);
                }
                Change::Delete { space, key } => {
                    let at = (space, key);
                    inner.damaged.remove(&at);
                    inner.records.remove(&at);
                }
            }
        }
    }

    /// Damages the `nth` record of a space, counted around.
    pub(crate) fn damage(&self, space: Space, nth: usize) -> Option<Vec<u8>> {
        let mut inner = self.0.write().unwrap();
        let keys: Vec<_> = inner
            .records
            .keys()
            .filter(|(in_space, _)| *in_space == space)
            .cloned()
            .collect();
        let at = keys.get(nth % keys.len().max(1))?.clone();
        inner.damaged.insert(at.clone());
        Some(at.1)
    }

    pub(crate) fn keys(&self, space: Space) -> Vec<Vec<u8>> {
        let inner = self.0.read().unwrap();
        let keys = inner.records.keys().filter(|(s, _)| *s == space);
        keys.map(|(_, key)| key.clone()).collect()
    }
}

impl Records {
    fn read(&self, space: Space, key: &[u8], value: &[u8]) -> Result<Vec<u8>, ReadStore> {
        let key = key.to_vec();
        match self.damaged.contains(&(space, key.clone())) {
            true => Err(ReadStore::Damaged { space, key }),
            false => Ok(value.to_vec()),
        }
    }
}

impl Store for Disk {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, ReadStore> {
        let inner = self.0.read().unwrap();
        let value = inner.records.get(&(space, key.to_vec()));
        value.map(|value| inner.read(space, key, value)).transpose()
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        records_max: usize,
    ) -> Result<Vec<Record>, ReadStore> {
        let inner = self.0.read().unwrap();
        let from = (
            space,
            prefix.to_vec().max(after.unwrap_or_default().to_vec()),
        );
        // As on a real disk, a damaged record takes its whole page along.
        inner
            .records
            .range(from..)
            .take_while(|((s, key), _)| *s == space && key.starts_with(prefix))
            .filter(|((_, key), _)| after.is_none_or(|after| key.as_slice() > after))
            .take(records_max)
            .map(|((_, key), value)| Ok((key.clone(), inner.read(space, key, value)?)))
            .collect()
    }
}
