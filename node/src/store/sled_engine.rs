//! The engine `sled` 0.34.7, for those who ask for it by name, with our own sync behind each of its flushes.
//!
//! `sled` calls `sync_file_range`, which promises nothing after a power cut, and never syncs the files of large values. So each commit is
//! followed by `fdatasync` of the log and of the value files that are new. **The risk that stays:** a power cut while a store is being
//! created can leave one that does not open, there has been no stable release since 2021, and a group is visible to reads before it is
//! durable. Choose `fjall` unless you must not.

use std::fs::{self, File, TryLockError};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::thread;
use std::time::{Duration, Instant};

use meshwork_sync::{Record, Space};

use super::engine::{CommitGroup, Engine, ReadEngine, catch_panic};
use super::fjall_engine::is_full_disk;
use super::group::Group;
use super::seal::space_byte;
use super::write_file::sync_folder;

/// `sled` in a folder of its own: one tree, the number of the space in front of each key.
#[derive(Debug)]
pub struct SledEngine {
    folder: PathBuf,
    cache_bytes: u64,
    open: RwLock<Option<sled::Db>>,
    /// The greatest name among the value files already synced; `sled` names them by rising log positions.
    synced_file_last: Mutex<i64>,
}

impl SledEngine {
    /// Opens or creates the database in `folder`.
    pub(super) fn open(folder: &Path, cache_bytes: u64) -> Result<Self, String> {
        let open = open_engine(folder, cache_bytes)?;
        let engine = Self {
            folder: folder.to_path_buf(),
            cache_bytes,
            open: RwLock::new(Some(open)),
            synced_file_last: Mutex::new(i64::MIN),
        };
        engine.sync_all_files().map_err(|error| error.to_string())?;
        Ok(engine)
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<sled::Db>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an opened store needs to be found again: its small files, their folders, and its log.
    fn sync_all_files(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                File::open(entry.path())?.sync_all()?;
            }
        }
        self.sync_value_files()?;
        sync_folder(&self.folder)?;
        self.folder.parent().map_or(Ok(()), sync_folder)
    }

    /// The threads of `sled` hold the log's lock for a moment after the last handle is gone: an open right then would be refused.
    fn wait_until_unlocked(&self) {
        let deadline = Instant::now() + UNLOCK_MAX;
        while Instant::now() < deadline {
            match File::open(self.folder.join("db")).map(|file| file.try_lock()) {
                Ok(Err(TryLockError::WouldBlock)) => thread::sleep(UNLOCK_POLL),
                Ok(Ok(()) | Err(TryLockError::Error(_))) | Err(_) => return,
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_value_files()?;
        File::open(self.folder.join("db"))?.sync_data()
    }

    fn sync_value_files(&self) -> io::Result<()> {
        let folder = self.folder.join("blobs");
        let mut last = self
            .synced_file_last
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut last_now = *last;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(number) = name.to_str().and_then(|name| name.parse::<i64>().ok()) else {
                continue;
            };
            if number > *last && sync_if_there(&entry.path())? {
                last_now = last_now.max(number);
            }
        }
        if last_now > *last {
            sync_folder(&folder)?;
            *last = last_now;
        }
        Ok(())
    }
}

impl Engine for SledEngine {
    fn commit(&self, group: &Group) -> Result<(), CommitGroup> {
        let guard = self.read();
        let Some(tree) = guard.as_ref() else {
            return Err(CommitGroup::Fatal {
                reason: "the store is closed".into(),
            });
        };
        catch_panic(|| commit(tree, group))
            .map_err(|reason| CommitGroup::Fatal { reason })?
            .map_err(|error| commit_failure(&error))?;
        self.sync().map_err(|error| CommitGroup::Fatal {
            reason: error.to_string(),
        })
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, ReadEngine> {
        let guard = self.read();
        let tree = guard.as_ref().ok_or_else(ReadEngine::closed)?;
        catch_panic(|| tree.get(tree_key(space, key)))
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
        let tree = guard.as_ref().ok_or_else(ReadEngine::closed)?;
        catch_panic(|| scan(tree, space, prefix, after, records_max))
            .map_err(|reason| ReadEngine::Failed { reason })?
            .map_err(|error| read_failure(&error))
    }

    fn recover(&self) -> Result<(), String> {
        let mut guard = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let closed = guard.take();
        catch_panic(|| drop(closed))?;
        self.wait_until_unlocked();
        *guard = Some(open_engine(&self.folder, self.cache_bytes)?);
        drop(guard);
        self.sync_all_files().map_err(|error| error.to_string())
    }

    fn close(&self) -> Result<(), String> {
        let mut guard = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let Some(tree) = guard.take() else {
            return Ok(());
        };
        catch_panic(|| {
            let flushed = tree.flush();
            drop(tree);
            flushed
        })?
        .map_err(|error| error.to_string())?;
        self.wait_until_unlocked();
        self.sync_all_files().map_err(|error| error.to_string())
    }
}

fn open_engine(folder: &Path, cache_bytes: u64) -> Result<sled::Db, String> {
    let config = sled::Config::new()
        .path(folder)
        .cache_capacity(cache_bytes)
        .flush_every_ms(None);
    catch_panic(|| config.open())?.map_err(|error| error.to_string())
}

fn commit(tree: &sled::Tree, group: &Group) -> sled::Result<()> {
    let mut batch = sled::Batch::default();
    for (space, key, value) in group.changes() {
        match value {
            Some(value) => batch.insert(tree_key(space, key), value),
            None => batch.remove(tree_key(space, key)),
        }
    }
    tree.apply_batch(batch)?;
    tree.flush().map(|_bytes| ())
}

fn scan(
    tree: &sled::Tree,
    space: Space,
    prefix: &[u8],
    after: Option<&[u8]>,
    records_max: usize,
) -> sled::Result<Vec<Record>> {
    let tree_prefix = tree_key(space, prefix);
    let start = match after {
        Some(after) if after >= prefix => Bound::Excluded(tree_key(space, after)),
        Some(_) | None => Bound::Included(tree_prefix.clone()),
    };
    let range = tree.range((start, Bound::<Vec<u8>>::Unbounded));
    let mut records = Vec::new();
    for record in range.take(records_max) {
        let (key, value) = record?;
        if !key.starts_with(&tree_prefix) {
            break;
        }
        let key = key.iter().skip(1).copied().collect();
        records.push((key, value.to_vec()));
    }
    Ok(records)
}

fn tree_key(space: Space, key: &[u8]) -> Vec<u8> {
    let mut tree_key = Vec::with_capacity(1 + key.len());
    tree_key.push(space_byte(space));
    tree_key.extend_from_slice(key);
    tree_key
}

/// Syncs a file unless `sled` has removed it meanwhile; says whether it was there.
fn sync_if_there(path: &Path) -> io::Result<bool> {
    match File::open(path) {
        Ok(file) => file.sync_all().map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn commit_failure(error: &sled::Error) -> CommitGroup {
    if let sled::Error::Io(cause) = error
        && is_full_disk(cause)
    {
        return CommitGroup::Full;
    }
    CommitGroup::Fatal {
        reason: error.to_string(),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a foreign enum with a hidden variant"
)]
fn read_failure(error: &sled::Error) -> ReadEngine {
    let reason = error.to_string();
    match error {
        sled::Error::Corruption { .. } => ReadEngine::Damaged { reason },
        _ => ReadEngine::Failed { reason },
    }
}

/// After this the next open says what is the matter.
const UNLOCK_MAX: Duration = Duration::from_secs(5);
const UNLOCK_POLL: Duration = Duration::from_millis(5);
