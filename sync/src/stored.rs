//! What a store holds, looked at without an engine: for tools and simulators.

use std::collections::BTreeSet;
use std::sync::Arc;

use meshwork_crdt::{Limits, Object};
use meshwork_dht::{Partition, Position};
use meshwork_membership::NodeId;
use meshwork_membership::planted::{Bug, planted};

use crate::records::OutboxRecord;
use crate::store::scan_slots;
use crate::{Batch, Change, Key, PartitionSet, ReadStore, Space, Store, objects, records};

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

/// The positions under which anything is stored, in order, those of damaged records among them.
///
/// # Errors
/// [`ReadStore::Engine`].
pub fn stored_positions(store: &dyn Store) -> Result<Vec<Position>, ReadStore> {
    let mut positions: Vec<Position> = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = scan_slots(store, Space::Objects, &[], after.as_deref(), PAGE)?;
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

/// The partitions of which a store says that its copies are complete, so that they count for quorums.
///
/// # Errors
/// As [`Store::get`].
pub fn stored_complete(store: &dyn Store) -> Result<BTreeSet<Partition>, ReadStore> {
    let recorded = store.get(Space::Meta, records::meta::COMPLETE)?;
    let set = recorded.and_then(|bytes| records::decode::<PartitionSet>(&bytes).ok());
    Ok(set.map(|set| set.partitions()).unwrap_or_default())
}

/// Lets a store that was copied or restored claim nothing: it may lack what was acknowledged since. To be durable together with its
/// new replica id, since only the run that finds it out is opened as [`Origin::Restored`](crate::Origin::Restored), and may be
/// killed before it has written anything.
pub fn forget_complete(batch: &mut Batch) {
    // Planted: see `Replication::open`.
    if !planted(Bug::RestoredCountsAsComplete) {
        batch.delete(Space::Meta, records::meta::COMPLETE);
    }
}

/// The last dot that a store has recorded; 0 for none. No peer may see a later one of its own.
///
/// # Errors
/// As [`Store::get`].
pub fn stored_dots(store: &dyn Store) -> Result<u64, ReadStore> {
    let recorded = store.get(Space::Meta, records::meta::DOTS)?;
    let last = recorded.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    Ok(last.map_or(0, u64::from_be_bytes))
}

/// What waits in a store's outbox for `peer` under `position`, joined; damaged entries are left out.
///
/// # Errors
/// [`ReadStore::Engine`].
pub fn stored_outbox(
    store: &dyn Store,
    peer: &NodeId,
    position: &Position,
) -> Result<Object, ReadStore> {
    let mut waiting = Object::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = scan_slots(store, Space::Outbox, &[], after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else {
            return Ok(waiting);
        };
        after = Some(last.clone());
        let records = page.iter().filter_map(|(_, value)| value.as_ref());
        let records = records.filter_map(|bytes| records::decode::<OutboxRecord>(bytes).ok());
        for record in records {
            if record.key.position() == *position && record.waiting.contains(peer) {
                let delta = Object::decode(&record.delta, &Limits::LOCAL);
                waiting.join(&delta.unwrap_or_default());
            }
        }
    }
}

/// Whether a batch changes what [`stored_complete`] says.
#[must_use]
pub fn says_complete(batch: &Batch) -> bool {
    let is_that = |change: &Change| match change {
        Change::Put { space, key, .. } => *space == Space::Meta && key == records::meta::COMPLETE,
        Change::Delete { .. } => false,
    };
    batch.changes.iter().any(is_that)
}

/// The positions whose objects a batch removes and does not write again.
#[must_use]
pub fn dropped_in(batch: &Batch) -> BTreeSet<Position> {
    let mut dropped = BTreeSet::new();
    for change in &batch.changes {
        let (Change::Put { space, key, .. } | Change::Delete { space, key }) = change;
        match (space, records::parse_object_key(key)) {
            (Space::Objects, Some((position, 0))) => match change {
                Change::Put { .. } => dropped.remove(&position),
                Change::Delete { .. } => dropped.insert(position),
            },
            _ => false,
        };
    }
    dropped
}

const PAGE: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_store_takes_back_what_it_claimed_in_the_batch_that_makes_it_another() {
        let mut batch = Batch::default();
        batch.put(Space::Meta, b"replica", [1; 8]);
        assert!(!says_complete(&batch));
        forget_complete(&mut batch);
        let taken_back = Change::Delete {
            space: Space::Meta,
            key: records::meta::COMPLETE.to_vec(),
        };
        assert_eq!(batch.changes.last(), Some(&taken_back));
    }
}
