//! The inviter's book in the store.

use meshwork_sync::{ReadStore, Space, Store};

use crate::admission::{InviteRecord, TicketId};

/// Where invites are filed among the facts about the store.
const PREFIX: &[u8] = b"invite/";

/// The key of a ticket's record.
pub(crate) fn key(id: TicketId) -> Vec<u8> {
    [PREFIX, id.as_bytes()].concat()
}

/// Reads all records; damaged ones are left out, which closes their invites.
pub(crate) fn load(store: &dyn Store) -> Result<Vec<InviteRecord>, ReadStore> {
    let mut records = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = match store.scan(Space::Meta, PREFIX, after.as_deref(), 256) {
            Ok(page) => page,
            Err(ReadStore::Damaged { key, .. }) => {
                after = Some(key);
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some((last, _)) = page.last() else {
            return Ok(records);
        };
        after = Some(last.clone());
        records.extend(
            page.iter()
                .filter_map(|(_, bytes)| InviteRecord::decode(bytes).ok()),
        );
    }
}
