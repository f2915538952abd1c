//! The marker of a data folder: how a copied or restored folder is told from one that was only restarted or moved.
//!
//! A replica id must never write from two copies of one store, nor from a store that was set back in time (invariant 2). No mark inside a
//! folder survives being copied with it, so the marker records what a copy cannot take along: the inode and birth time of the marker file
//! itself, and the change time of a second file, the witness, which is rewritten with it. `rename` keeps all three; `cp`, `tar`, `rsync` and
//! unpacking over the same files change at least one. What still passes: a clone of the whole disk that is given the same machine id.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::write_file::{beside, create_private, rename_durably, write_atomically};

/// Why a folder is taken for a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CopySign {
    /// There are records, but no marker that can be read.
    NoMarker,
    /// The marker is another file than the one that was written: the folder was copied, or restored from an archive.
    OtherFile,
    /// The witness was written by somebody else since: the folder was restored in place.
    OtherWitness,
    /// The machine has another id: its disk was cloned.
    OtherMachine,
    /// The store is not of the generation that the marker knows: one of them was set back, or the store lost what it had acknowledged.
    OtherGeneration,
    /// The store found that it had lost acknowledged records to damage when it was opened.
    LostRecords,
}

/// What the marker file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    /// Rises whenever the marker is written; the store has the same number.
    pub(super) generation: u64,
    file: FileIdentity,
    /// Seconds and nanoseconds.
    witness_changed: (i64, i64),
    machine: Option<u64>,
}

/// Which file it is, whatever its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FileIdentity {
    inode: u64,
    /// Nanoseconds since 1970, where the file system keeps it. An inode alone is soon used again.
    born: Option<u64>,
    /// Where there is no birth time. Not where there is: device numbers may change with every start of the machine.
    device: Option<u64>,
}

impl Marker {
    /// Writes witness and marker, durably and in this order. A crash between the two makes the folder look restored, which is safe.
    pub(super) fn write(folder: &Path, generation: u64) -> io::Result<Self> {
        let witness = folder.join(WITNESS);
        write_atomically(&witness, &generation.to_le_bytes())?;
        let path = folder.join(MARKER);
        let beside = beside(&path);
        // A new file each time: writing over the old one would not change its birth.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = create_private(&beside)?;
        let marker = Self {
            generation,
            file: FileIdentity::of(&file.metadata()?),
            witness_changed: changed(&fs::metadata(&witness)?),
            machine: machine(),
        };
        let bytes = postcard::to_allocvec(&marker).map_err(io::Error::other)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        rename_durably(&beside, &path)?;
        Ok(marker)
    }

    /// The marker of a folder; `None` when there is none that can be read.
    pub(super) fn read(folder: &Path) -> io::Result<Option<Self>> {
        match fs::read(folder.join(MARKER)) {
            Ok(bytes) => Ok(postcard::from_bytes(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What says that this marker was not written here.
    pub(super) fn copy_sign(&self, folder: &Path) -> io::Result<Option<CopySign>> {
        let file = FileIdentity::of(&File::open(folder.join(MARKER))?.metadata()?);
        if file != self.file {
            return Ok(Some(CopySign::OtherFile));
        }
        let witness = match fs::metadata(folder.join(WITNESS)) {
            Ok(metadata) => Some(changed(&metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if witness != Some(self.witness_changed) {
            return Ok(Some(CopySign::OtherWitness));
        }
        // Only when both are known: a container image may have none, or get one with an upgrade.
        let other_machine = self
            .machine
            .zip(machine())
            .is_some_and(|(was, is)| was != is);
        Ok(other_machine.then_some(CopySign::OtherMachine))
    }
}

impl FileIdentity {
    fn of(metadata: &Metadata) -> Self {
        let born = metadata
            .created()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .and_then(|age| u64::try_from(age.as_nanos()).ok());
        #[cfg(unix)]
        let (inode, device) = {
            use std::os::unix::fs::MetadataExt;
            (metadata.ino(), metadata.dev())
        };
        #[cfg(not(unix))]
        let (inode, device) = (0, 0);
        Self {
            inode,
            born,
            device: born.is_none().then_some(device),
        }
    }
}

/// When the system last changed anything about the file: nobody can set it, and a rename within a folder comes before we look.
fn changed(metadata: &Metadata) -> (i64, i64) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        (metadata.ctime(), metadata.ctime_nsec())
    }
    #[cfg(not(unix))]
    {
        let modified = metadata.modified().ok();
        let age = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let seconds = age.and_then(|age| i64::try_from(age.as_secs()).ok());
        let nanos = age.map(|age| i64::from(age.subsec_nanos()));
        (seconds.unwrap_or(0), nanos.unwrap_or(0))
    }
}

/// A hash of the machine's id, where the system keeps one. Not the host's name: containers get a new one with every start.
fn machine() -> Option<u64> {
    let id = fs::read_to_string("/etc/machine-id").ok()?;
    let id = id.trim();
    (!id.is_empty()).then(|| xxhash_rust::xxh3::xxh3_64(id.as_bytes()))
}

pub(super) const MARKER: &str = "marker";
const WITNESS: &str = "witness";
