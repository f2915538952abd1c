//! A store in memory.

use std::collections::BTreeMap;
use std::sync::RwLock;

use meshwork_sync::{Batch, Change, ReadStore, Record, Space, Store};

/// What is durable, as batches left it.
#[derive(Debug, Default)]
pub struct Memory(RwLock<BTreeMap<(Space, Vec<u8>), Vec<u8>>>);

impl Memory {
    /// Applies a batch.
    pub fn commit(&self, batch: &Batch) {
        let mut records = self.0.write().expect("nobody panics while writing");
        for change in batch.changes.iter().cloned() {
            match change {
                Change::Put { space, key, value } => records.insert((space, key), value),
                Change::Delete { space, key } => records.remove(&(space, key)),
            };
        }
    }
}

impl Store for Memory {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, ReadStore> {
        let records = self.0.read().expect("nobody panics while writing");
        Ok(records.get(&(space, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        records_max: usize,
    ) -> Result<Vec<Record>, ReadStore> {
        let records = self.0.read().expect("nobody panics while writing");
        let from = prefix.max(after.unwrap_or_default()).to_vec();
        let matching = records
            .range((space, from)..)
            .take_while(|((in_space, key), _)| *in_space == space && key.starts_with(prefix))
            .filter(|((_, key), _)| after.is_none_or(|after| key.as_slice() > after));
        Ok(matching
            .take(records_max)
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect())
    }
}
