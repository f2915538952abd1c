//! The seam to durable storage: ordered records in a few spaces, read by plain calls and changed by atomic batches.

/// A separate, ordered map of records. Its number is part of the stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// One record for each fact about the store itself: format, replica id, dots reserved.
    Meta,
    /// What is stored under each position.
    Objects,
    /// Deltas that peers have not acknowledged yet.
    Outbox,
    /// The members last seen, so that a restarted node finds the mesh again.
    Members,
    /// Log, vote and snapshot of the strong group, on the nodes that belong to it.
    Strong,
}

impl Space {
    /// Every space.
    pub const ALL: [Self; 5] = [
        Self::Meta,
        Self::Objects,
        Self::Outbox,
        Self::Members,
        Self::Strong,
    ];

    /// Its name in files and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Objects => "objects",
            Self::Outbox => "outbox",
            Self::Members => "members",
            Self::Strong => "strong",
        }
    }
}

/// One record of a space: key and value.
pub type Record = (Vec<u8>, Vec<u8>);

/// A record could not be read. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadStore {
    /// The record's checksum does not fit its bytes: the disk's fault. The value is lost here and must come from a peer.
    #[error("record {key:02x?} of space {} is damaged", space.name())]
    Damaged {
        /// Where it is.
        space: Space,
        /// Its key.
        key: Vec<u8>,
    },
    /// The engine below failed: the disk's or the environment's fault. Stop using the store.
    #[error("the store cannot be read: {reason}")]
    Engine {
        /// What it said.
        reason: String,
    },
}

/// Reads of a store: what all batches applied so far have left there.
///
/// Keys are at most 1,100 bytes long and never empty. Reads block for as long as the disk takes.
pub trait Store {
    /// The record under `key`.
    ///
    /// # Errors
    /// [`ReadStore::Damaged`] names a record whose checksum is wrong; [`ReadStore::Engine`] ends the use of the store.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, ReadStore>;

    /// Up to `records_max` records whose keys start with `prefix` and are greater than `after` (when given), in the order of their keys.
    ///
    /// # Errors
    /// As [`Store::get`]. A caller steps over a damaged record by scanning on after its key.
    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        records_max: usize,
    ) -> Result<Vec<Record>, ReadStore>;
}

/// One change of a [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets a record.
    Put {
        /// Where.
        space: Space,
        /// Its key.
        key: Vec<u8>,
        /// Its new value.
        value: Vec<u8>,
    },
    /// Removes a record; removing what is not there does nothing.
    Delete {
        /// Where.
        space: Space,
        /// Its key.
        key: Vec<u8>,
    },
}

/// Changes that become durable together or not at all; later ones win over earlier ones with the same key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// In the order in which they were made.
    pub changes: Vec<Change>,
}

impl Batch {
    /// Sets a record.
    pub fn put(&mut self, space: Space, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.changes.push(Change::Put {
            space,
            key: key.into(),
            value: value.into(),
        });
    }

    /// Removes a record.
    pub fn delete(&mut self, space: Space, key: impl Into<Vec<u8>>) {
        self.changes.push(Change::Delete {
            space,
            key: key.into(),
        });
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// A record's key, and its value unless that is damaged.
pub(crate) type Slot = (Vec<u8>, Option<Vec<u8>>);

/// As [`Store::scan`], but a damaged record is one without a value instead of the end of its page.
pub(crate) fn scan_slots(
    store: &dyn Store,
    space: Space,
    prefix: &[u8],
    after: Option<&[u8]>,
    records_max: usize,
) -> Result<Vec<Slot>, ReadStore> {
    match store.scan(space, prefix, after, records_max) {
        Ok(page) => Ok(page
            .into_iter()
            .map(|(key, value)| (key, Some(value)))
            .collect()),
        // The page is lost with it, so the records before it are read one by one.
        Err(ReadStore::Damaged { .. }) => scan_singly(store, space, prefix, after),
        Err(error @ ReadStore::Engine { .. }) => Err(error),
    }
}

/// Reads up to the first damaged record.
fn scan_singly(
    store: &dyn Store,
    space: Space,
    prefix: &[u8],
    after: Option<&[u8]>,
) -> Result<Vec<Slot>, ReadStore> {
    let mut slots: Vec<Slot> = Vec::new();
    loop {
        let last = slots.last().map(|(key, _)| key.as_slice()).or(after);
        match store.scan(space, prefix, last, 1) {
            Ok(mut page) => match page.pop() {
                Some((key, value)) => slots.push((key, Some(value))),
                None => return Ok(slots),
            },
            Err(ReadStore::Damaged { key, .. }) => {
                slots.push((key, None));
                return Ok(slots);
            }
            Err(error @ ReadStore::Engine { .. }) => return Err(error),
        }
    }
}
