//! The data folder of a node: who may use it, what format it has, and whether it is the one we left.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use meshwork_sync::{Batch, ReadStore, Space, Store};

use super::fjall_journal::LOST;
use super::marker::{CopySign, MARKER, Marker};
use super::write_file::{sync_folder, write_atomically};

/// A data folder that this process holds until the value is dropped.
///
/// Inside: `lock`, `format`, `marker` and `witness` (see [`Origin`]), and the folder `store`. Only its owner may enter it (Unix).
///
/// A start goes so:
/// 1. [`DataDir::open`], then [`OpenStore::open`](super::OpenStore::open) on [`store_folder`](Self::store_folder).
/// 2. [`Opened::origin`]. If it is `Copied`, draw a new replica id.
/// 3. Store [`next_generation`](Self::next_generation), in one batch with the replica id if that is new, before anything else is written.
/// 4. When that batch is `Stored`: [`confirm`](Self::confirm). Only then hand out dots.
///
/// Steps 3 and 4 may be done again at any time, and **should be whenever more dots are reserved**, before the first of them is used: then a
/// store that was set back by less than one run of the process, or that lost its end to damage, is noticed too.
#[derive(Debug)]
pub struct DataDir {
    folder: PathBuf,
    generation: u64,
    /// Held for its lock.
    _lock: File,
}

/// A data folder, opened.
#[derive(Debug)]
pub struct Opened {
    /// The folder.
    pub dir: DataDir,
    /// Whether the files look copied or restored. [`Opened::origin`] looks at the store as well, and has the last word.
    pub copied: bool,
    sign: Option<CopySign>,
}

/// Where the records in a data folder come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// There are none yet: draw a replica id.
    New,
    /// This folder, when it was last closed or crashed: go on with the replica id in the store.
    Here,
    /// Perhaps another folder, or an older state of this one: draw a new replica id. Taking an original for a copy costs an id, the
    /// opposite costs data, so when in doubt it is this.
    Copied(CopySign),
}

/// A data folder was not opened. Nothing was changed in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenDataDir {
    /// Another process holds it: the caller's fault. Stop that one, or choose another folder.
    #[error(
        "data folder {} is in use{}",
        folder.display(),
        holder.map(|pid| format!(" by process {pid}")).unwrap_or_default()
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The process that holds it, when it said so.
        holder: Option<u32>,
    },
    /// It was written by another version of this program, or is no data folder: the caller's fault.
    #[error(
        "data folder {} has format {found:?}, this program knows {FORMAT:?}",
        folder.display()
    )]
    Format {
        /// The folder.
        folder: PathBuf,
        /// What its format file says, at most 64 bytes.
        found: String,
    },
    /// The system said no: the environment's fault.
    #[error("data folder {} cannot be used: {source}", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl DataDir {
    /// Opens a data folder, or makes one out of an absent or empty folder.
    ///
    /// # Errors
    /// See [`OpenDataDir`].
    pub fn open(folder: &Path) -> Result<Opened, OpenDataDir> {
        let failed = |source| OpenDataDir::Io {
            folder: folder.to_path_buf(),
            source,
        };
        create_private_folder(folder).map_err(failed)?;
        let lock = take_lock(folder)?;
        check_format(folder)?;
        create_private_folder(&folder.join(STORE)).map_err(failed)?;
        let marker = Marker::read(folder).map_err(failed)?;
        let sign = match &marker {
            Some(marker) => marker.copy_sign(folder).map_err(failed)?,
            None if folder.join(MARKER).exists() => Some(CopySign::NoMarker),
            None => None,
        };
        let dir = Self {
            folder: folder.to_path_buf(),
            generation: marker.map_or(0, |marker| marker.generation),
            _lock: lock,
        };
        Ok(Opened {
            dir,
            copied: sign.is_some(),
            sign,
        })
    }

    /// Where the store belongs.
    #[must_use]
    pub fn store_folder(&self) -> PathBuf {
        self.folder.join(STORE)
    }

    /// The folder itself.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the next batch must hold, so that [`confirm`](Self::confirm) may follow it.
    #[must_use]
    pub fn next_generation(&self) -> Batch {
        let mut batch = Batch::default();
        let next = self.generation.saturating_add(1);
        batch.put(Space::Meta, GENERATION_KEY, next.to_le_bytes());
        batch
    }

    /// Writes the marker anew, after the batch with [`next_generation`](Self::next_generation) was stored. Blocks for two file syncs.
    ///
    /// In this order, because a crash between the two then leaves the store one ahead, which is known to be harmless.
    ///
    /// # Errors
    /// What the system said. The folder will look restored at the next start, which costs a replica id and nothing else; but do not hand
    /// out newly reserved dots.
    pub fn confirm(&mut self) -> io::Result<()> {
        self.generation = self.generation.saturating_add(1);
        Marker::write(&self.folder, self.generation)?;
        match fs::remove_file(self.lost_record()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn lost_record(&self) -> PathBuf {
        self.store_folder().join("fjall").join(LOST)
    }
}

impl Opened {
    /// Compares the folder with its store, before the first write.
    ///
    /// # Errors
    /// The store cannot be read. A damaged generation record is no error, but makes it `Copied`.
    pub fn origin(&mut self, store: &dyn Store) -> Result<Origin, ReadStore> {
        let stored = match store.get(Space::Meta, GENERATION_KEY) {
            Ok(value) => value.map(|bytes| generation(&bytes)),
            Err(ReadStore::Damaged { .. }) => Some(None),
            Err(error) => return Err(error),
        };
        let known = self.dir.generation;
        let lost = self.dir.lost_record().exists();
        let origin = match (self.sign, stored) {
            (Some(sign), _) => Origin::Copied(sign),
            (None, _) if lost => Origin::Copied(CopySign::LostRecords),
            (None, None) if known == 0 => Origin::New,
            // Nothing was confirmed yet: a first start that crashed, or a marker that was removed. The batch holds the replica id, so
            // there may be dots of it out there.
            (None, Some(_)) if known == 0 => Origin::Copied(CopySign::NoMarker),
            (None, Some(Some(stored)))
                if stored == known || stored.checked_sub(1) == Some(known) =>
            {
                Origin::Here
            }
            (None, _) => Origin::Copied(CopySign::OtherGeneration),
        };
        // From here on both count from the greater one.
        self.dir.generation = known.max(stored.flatten().unwrap_or(0));
        Ok(origin)
    }
}

fn generation(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}

fn take_lock(folder: &Path) -> Result<File, OpenDataDir> {
    let failed = |source| OpenDataDir::Io {
        folder: folder.to_path_buf(),
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(folder.join("lock"))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(OpenDataDir::InUse {
                folder: folder.to_path_buf(),
                holder: read_pid(&mut file),
            });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    write_pid(&mut file).map_err(failed)?;
    Ok(file)
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(PID_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// For people and for the error of a second start; nothing depends on it.
fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", std::process::id())
}

fn check_format(folder: &Path) -> Result<(), OpenDataDir> {
    let failed = |source| OpenDataDir::Io {
        folder: folder.to_path_buf(),
        source,
    };
    let path = folder.join("format");
    let found = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_fresh(folder) => {
            return write_atomically(&path, FORMAT.as_bytes()).map_err(failed);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failed(error)),
    };
    if found == FORMAT.as_bytes() {
        return Ok(());
    }
    let found = found.get(..FORMAT_BYTES_SHOWN).unwrap_or(&found);
    Err(OpenDataDir::Format {
        folder: folder.to_path_buf(),
        found: String::from_utf8_lossy(found).into_owned(),
    })
}

/// Whether nothing is there yet but what this start has made, or one that crashed right there.
fn is_fresh(folder: &Path) -> bool {
    let known = ["lock", "format.new"];
    fs::read_dir(folder).is_ok_and(|mut entries| {
        entries.all(|entry| {
            entry.is_ok_and(|entry| known.iter().any(|name| entry.file_name() == *name))
        })
    })
}

fn create_private_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    folder.parent().map_or(Ok(()), sync_folder)
}

const STORE: &str = "store";
const FORMAT: &str = "meshwork data 1\n";
const FORMAT_BYTES_SHOWN: usize = 64;
const PID_BYTES_MAX: u64 = 20;

/// The record of the store that the marker is compared with. It begins with a byte that no other record of the space begins with.
const GENERATION_KEY: &[u8] = b"\xffgeneration";
