//! What a store holds, looked at without an engine: for tools and simulators.

use std::sync::Arc;

use meshwork_crdt::Object;
use meshwork_dht::Position;

use crate::{Key, ReadStore, Space, Store, objects, records};

/// The object that is durable at `position`, with its key.
///
/// # Errors
/// As [`Store::get`].
pub fn stored_object(
    store: &dyn Store,
    position: &Position,
) -> Result<Option<(Key, Arc<Object>)>, ReadStore> {
    let entry = objects::read(store, position)?;
    Ok(entry.map(|entry| (entry.key, entry.object)))
}

/// The positions under which anything is stored, in order. A damaged record ends its page, so some may be left out.
///
/// # Errors
/// [`ReadStore::Engine`].
pub fn stored_positions(store: &dyn Store) -> Result<Vec<Position>, ReadStore> {
    let mut positions: Vec<Position> = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = match store.scan(Space::Objects, &[], after.as_deref(), PAGE) {
            Ok(page) => page,
            Err(ReadStore::Damaged { key, .. }) => {
                positions.extend(records::parse_object_key(&key).map(|(position, _)| position));
                after = Some(key);
                continue;
            }
            Err(error @ ReadStore::Engine { .. }) => return Err(error),
        };
        let Some((last, _)) = page.last() else {
            positions.dedup();
            return Ok(positions);
        };
        after = Some(last.clone());
        let found = page
            .iter()
            .filter_map(|(key, _)| records::parse_object_key(key));
        positions.extend(found.map(|(position, _)| position));
    }
}

const PAGE: usize = 1_000;
