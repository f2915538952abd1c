//! Opening a store: engine, checked reads and storage thread put together.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use meshwork_sync::Store;

use super::committer::{Committer, Outcome};
use super::engine::Engine;
use super::fjall_engine::{FjallEngine, FjallSizes};
use super::free_space::{Boundless, FreeSpace, OfFolder};
use super::memory::Memory;
use super::records::Records;
#[cfg(feature = "sled")]
use super::sled_engine::SledEngine;
use super::storage_thread::{CommitLimits, OnOutcome};

/// How a store is opened.
///
/// ```
/// use meshwork::store::{EngineKind, StoreConfig};
///
/// let config = StoreConfig {
///     engine: EngineKind::Memory,
///     ..StoreConfig::default()
/// };
/// assert_eq!(config.memtable_bytes, 8 * 1024 * 1024);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// Which engine keeps the records. Default `Fjall`.
    pub engine: EngineKind,
    /// The engine's cache of blocks, bytes. Default 16 MiB; it fills with use. More serves more reads from memory.
    pub cache_bytes: u64,
    /// How much of each space `fjall` gathers in memory before it writes a table, bytes; up to four times as much when writes outrun the
    /// disk. Default 8 MiB. More means fewer, larger tables and less to merge; less means less memory and a quicker start.
    pub memtable_bytes: u64,
    /// Writes are refused when they would leave less than this on the file system, so that the engine itself never finds it full.
    /// Default 32 MiB, enough for the tables and journals that `fjall` may have to write behind a commit.
    pub reserve_bytes: u64,
    /// Batches that may wait for the disk, 1 or more. Default 1,024. Beyond it `submit` says `Busy`.
    pub queue_batches: usize,
    /// Bytes that may wait for the disk. Default 16 MiB.
    pub queue_bytes: u64,
    /// A group is closed when it has grown to this, bytes. Default 4 MiB. More makes fewer flushes and longer ones.
    pub group_bytes: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            engine: EngineKind::Fjall,
            cache_bytes: 16 * MIB,
            memtable_bytes: 8 * MIB,
            reserve_bytes: 32 * MIB,
            queue_batches: 1_024,
            queue_bytes: 16 * MIB,
            group_bytes: 4 * MIB,
        }
    }
}

/// The storage engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineKind {
    /// `fjall` 3: the default, and the one that lost nothing in simulated power cuts.
    Fjall,
    /// `sled` 0.34.7 with our own sync behind each flush. It has known risks: see [`SledEngine`].
    #[cfg(feature = "sled")]
    Sled,
    /// Nothing durable: for tests, and for nodes that hold copies only.
    Memory,
}

impl EngineKind {
    /// The folder that it uses inside the store's folder, if any.
    const fn folder(self) -> Option<&'static str> {
        match self {
            Self::Fjall => Some("fjall"),
            #[cfg(feature = "sled")]
            Self::Sled => Some("sled"),
            Self::Memory => None,
        }
    }
}

/// Where a store comes from.
#[derive(Debug)]
pub struct OpenStore;

/// A store was not opened. Nothing was changed but for folders that may have been created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenStoreError {
    /// The folder cannot be used: the environment's fault.
    #[error("folder {} cannot be used: {source}", folder.display())]
    Folder {
        /// Where.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder holds the records of another engine: the caller's fault. Open it with that engine, or choose an empty folder.
    #[error("{} was written by another storage engine", found.display())]
    OtherEngine {
        /// The other engine's folder.
        found: PathBuf,
    },
    /// The engine does not open what is there: the disk's fault, unless another process holds the folder.
    #[error(
        "the store in {} does not open: {reason}. If no other process uses it, move it away or restore a backup, and start again: \
         the node fetches what it held from its peers",
        folder.display()
    )]
    Refused {
        /// Where.
        folder: PathBuf,
        /// What the engine said.
        reason: String,
    },
    /// The system gave no thread: the environment's fault.
    #[error("no storage thread: {source}")]
    NoThread {
        /// What the system said.
        source: io::Error,
    },
}

impl OpenStore {
    /// Opens or creates the store in `folder`. Blocks while the engine reads its journal: tens of milliseconds, up to seconds after a crash.
    ///
    /// `on_outcome` is called on the storage thread with what became of each batch: see [`Committer`].
    ///
    /// # Errors
    /// See [`OpenStoreError`].
    pub fn open(
        folder: &Path,
        config: StoreConfig,
        on_outcome: impl FnMut(Outcome) + Send + 'static,
    ) -> Result<(Arc<dyn Store + Send + Sync>, Committer), OpenStoreError> {
        let free_space: Box<dyn FreeSpace> = if config.engine == EngineKind::Memory {
            Box::new(Boundless)
        } else {
            Box::new(OfFolder(folder.to_path_buf()))
        };
        let engine = open_engine(folder, &config)?;
        Self::over(engine, free_space, &config, Box::new(on_outcome))
    }

    /// The store over an engine of the caller's, a [`Memory`] with faults for one. `config.engine` is not looked at.
    ///
    /// # Errors
    /// [`OpenStoreError::NoThread`].
    pub fn over_engine(
        engine: Arc<dyn Engine>,
        config: StoreConfig,
        on_outcome: impl FnMut(Outcome) + Send + 'static,
    ) -> Result<(Arc<dyn Store + Send + Sync>, Committer), OpenStoreError> {
        Self::over(engine, Box::new(Boundless), &config, Box::new(on_outcome))
    }

    pub(super) fn over(
        engine: Arc<dyn Engine>,
        free_space: Box<dyn FreeSpace>,
        config: &StoreConfig,
        on_outcome: OnOutcome,
    ) -> Result<(Arc<dyn Store + Send + Sync>, Committer), OpenStoreError> {
        let limits = CommitLimits {
            queue_batches: config.queue_batches.max(1),
            queue_bytes: config.queue_bytes,
            group_bytes: config.group_bytes,
            reserve_bytes: config.reserve_bytes,
        };
        let committer = Committer::start(engine.clone(), free_space, limits, on_outcome)
            .map_err(|source| OpenStoreError::NoThread { source })?;
        Ok((Arc::new(Records::new(engine)), committer))
    }
}

/// Opens the engine that `config` names, without a storage thread.
pub(super) fn open_engine(
    folder: &Path,
    config: &StoreConfig,
) -> Result<Arc<dyn Engine>, OpenStoreError> {
    let Some(name) = config.engine.folder() else {
        return Ok(Arc::new(Memory::new(0)));
    };
    for other in ENGINE_FOLDERS.iter().filter(|other| **other != name) {
        let found = folder.join(other);
        if found.exists() {
            return Err(OpenStoreError::OtherEngine { found });
        }
    }
    let folder = folder.join(name);
    fs::create_dir_all(&folder).map_err(|source| OpenStoreError::Folder {
        folder: folder.clone(),
        source,
    })?;
    let opened: Result<Arc<dyn Engine>, String> = match config.engine {
        EngineKind::Fjall => {
            let sizes = FjallSizes {
                cache_bytes: config.cache_bytes,
                memtable_bytes: config.memtable_bytes,
            };
            FjallEngine::open(&folder, sizes).map(|engine| Arc::new(engine) as Arc<dyn Engine>)
        }
        #[cfg(feature = "sled")]
        EngineKind::Sled => SledEngine::open(&folder, config.cache_bytes)
            .map(|engine| Arc::new(engine) as Arc<dyn Engine>),
        EngineKind::Memory => Ok(Arc::new(Memory::new(0))),
    };
    opened.map_err(|reason| OpenStoreError::Refused { folder, reason })
}

/// The folders of all engines, built in or not.
const ENGINE_FOLDERS: [&str; 2] = ["fjall", "sled"];

const MIB: u64 = 1024 * 1024;
