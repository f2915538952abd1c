//! The default engine: `fjall` 3, a log-structured merge tree with a journal that is flushed on every commit.

use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, LsmError, PersistMode};
use meshwork_sync::{Record, Space};

use super::engine::{CommitGroup, Engine, ReadEngine, catch_panic};
use super::fjall_journal::JournalEnd;
use super::fjall_sums;
use super::group::Group;

/// `fjall` in a folder of its own, one keyspace for each space.
///
/// A group is one journal batch and one `fdatasync`, and becomes visible after it. The engine refuses all writes after any failed write,
/// until it is opened anew: [`Engine::recover`] does that after a full disk, behind a lock that reads wait for.
#[derive(Debug)]
pub struct FjallEngine {
    folder: PathBuf,
    sizes: FjallSizes,
    open: RwLock<Option<Open>>,
}

/// What `fjall` may use of memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct FjallSizes {
    pub(super) cache_bytes: u64,
    pub(super) memtable_bytes: u64,
}

/// The open database. `database` comes last: it is dropped after its keyspaces.
struct Open {
    meta: Keyspace,
    objects: Keyspace,
    outbox: Keyspace,
    members: Keyspace,
    strong: Keyspace,
    database: Database,
}

impl FjallEngine {
    /// Opens or creates the database in `folder`.
    pub(super) fn open(folder: &Path, sizes: FjallSizes) -> Result<Self, String> {
        let open = Open::new(folder, sizes)?;
        Ok(Self {
            folder: folder.to_path_buf(),
            sizes,
            open: RwLock::new(Some(open)),
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<Open>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for FjallEngine {
    fn commit(&self, group: &Group) -> Result<(), CommitGroup> {
        let guard = self.read();
        let Some(open) = guard.as_ref() else {
            return Err(CommitGroup::Fatal {
                reason: "the store is closed".into(),
            });
        };
        match catch_panic(|| open.commit(group)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if is_full(&error) => Err(CommitGroup::Full),
            Ok(Err(error @ fjall::Error::Poisoned)) => Err(CommitGroup::Halted {
                reason: error.to_string(),
            }),
            Ok(Err(error)) => Err(CommitGroup::Fatal {
                reason: error.to_string(),
            }),
            Err(reason) => Err(CommitGroup::Fatal { reason }),
        }
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, ReadEngine> {
        let guard = self.read();
        let open = guard.as_ref().ok_or_else(ReadEngine::closed)?;
        catch_panic(|| open.space(space).get(key))
            .map_err(|reason| ReadEngine::Failed { reason })?
            .map(|value| value.map(|bytes| bytes.to_vec()))
            .map_err(|error| read_failure(&error))
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        records_max: usize,
    ) -> Result<Vec<Record>, ReadEngine> {
        let guard = self.read();
        let open = guard.as_ref().ok_or_else(ReadEngine::closed)?;
        catch_panic(|| open.scan(space, prefix, after, records_max))
            .map_err(|reason| ReadEngine::Failed { reason })?
            .map_err(|error| read_failure(&error))
    }

    fn recover(&self) -> Result<(), String> {
        let mut guard = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let closed = guard.take();
        // The folder is locked until the old handles are gone.
        catch_panic(|| drop(closed))?;
        *guard = Some(Open::new(&self.folder, self.sizes)?);
        Ok(())
    }

    fn close(&self) -> Result<(), String> {
        let mut guard = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = guard.take() else {
            return Ok(());
        };
        catch_panic(|| {
            let synced = open.database.persist(PersistMode::SyncAll);
            drop(open);
            synced
        })?
        .map_err(|error| error.to_string())?;
        fjall_sums::give(&self.folder).map_err(|error| error.to_string())
    }
}

impl Open {
    fn new(folder: &Path, sizes: FjallSizes) -> Result<Self, String> {
        let journal = JournalEnd::before_open(folder).map_err(|error| error.to_string())?;
        let open =
            catch_panic(|| Self::open_engine(folder, sizes))?.map_err(|error| error.to_string())?;
        if let Some(journal) = journal {
            journal
                .after_open(folder)
                .map_err(|error| error.to_string())?;
        }
        Ok(open)
    }

    fn open_engine(folder: &Path, sizes: FjallSizes) -> fjall::Result<Self> {
        let database = Database::builder(folder)
            .cache_size(sizes.cache_bytes)
            .worker_threads(1)
            .max_cached_files(Some(OPEN_FILES_MAX))
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .manual_journal_persist(true)
            .open()?;
        let keyspace = |space: Space| {
            database.keyspace(space.name(), || {
                KeyspaceCreateOptions::default()
                    .max_memtable_size(sizes.memtable_bytes)
                    .manual_journal_persist(true)
            })
        };
        Ok(Self {
            meta: keyspace(Space::Meta)?,
            objects: keyspace(Space::Objects)?,
            outbox: keyspace(Space::Outbox)?,
            members: keyspace(Space::Members)?,
            strong: keyspace(Space::Strong)?,
            database,
        })
    }

    fn space(&self, space: Space) -> &Keyspace {
        match space {
            Space::Meta => &self.meta,
            Space::Objects => &self.objects,
            Space::Outbox => &self.outbox,
            Space::Members => &self.members,
            Space::Strong => &self.strong,
        }
    }

    fn commit(&self, group: &Group) -> fjall::Result<()> {
        let mut batch = self
            .database
            .batch()
            .durability(Some(PersistMode::SyncData));
        for (space, key, value) in group.changes() {
            match value {
                Some(value) => batch.insert(self.space(space), key, value),
                None => batch.remove(self.space(space), key),
            }
        }
        batch.commit()
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        records_max: usize,
    ) -> fjall::Result<Vec<Record>> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        let mut records = Vec::new();
        let range = self
            .space(space)
            .range::<&[u8], _>((start, Bound::Unbounded));
        for guard in range.take(records_max) {
            let (key, value) = guard.into_inner()?;
            if !key.starts_with(prefix) {
                break;
            }
            records.push((key.to_vec(), value.to_vec()));
        }
        Ok(records)
    }
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").finish_non_exhaustive()
    }
}

fn is_full(error: &fjall::Error) -> bool {
    let (fjall::Error::Io(cause) | fjall::Error::Storage(LsmError::Io(cause))) = error else {
        return false;
    };
    is_full_disk(cause)
}

/// Whether the disk, or this user's share of it, is full.
pub(super) fn is_full_disk(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a foreign enum that grows; what is new is no known damage"
)]
fn read_failure(error: &fjall::Error) -> ReadEngine {
    let reason = error.to_string();
    match error {
        fjall::Error::Storage(
            LsmError::ChecksumMismatch { .. }
            | LsmError::Decompress(_)
            | LsmError::InvalidTag(_)
            | LsmError::InvalidTrailer
            | LsmError::InvalidHeader(_),
        )
        | fjall::Error::Decompress(_) => ReadEngine::Damaged { reason },
        _ => ReadEngine::Failed { reason },
    }
}

/// Cached file handles. A small node has tens of tables; a large one opens some anew.
const OPEN_FILES_MAX: usize = 256;

/// The least that `fjall` takes: journals above it push old memtables to disk.
const JOURNAL_BYTES_MAX: u64 = 64 * 1024 * 1024;
