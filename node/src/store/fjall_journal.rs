//! Two precautions around `fjall`'s journals when a store is opened.
//!
//! **After an unclean end the journals are written again.** A process that died of a failed flush leaves pages that the kernel shows as
//! sound and will never write (Rebello et al., ATC 2020). Appending behind them would put acknowledged batches after a hole that the next
//! power cut opens. Writing the same bytes over themselves makes the pages dirty once more, and the sync that follows tells the truth.
//!
//! **A journal that lost more than its torn end is reported.** `fjall` cuts a journal at the first entry that it cannot read, because a crash
//! may tear the last batch. A flipped bit far ahead of the end looks the same to it, and takes acknowledged batches along. We look at where
//! batches end before it opens, and at the length of the file afterwards. A store that was closed has written down where
//! its journal ends. What cannot be told from a torn end: damage to the very last batch before an unclean end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::write_file::write_atomically;

/// What the newest journal must still hold after `fjall` has opened it.
#[derive(Debug)]
pub(super) struct JournalEnd {
    path: PathBuf,
    /// Where the last batch starts to end that cannot have been torn.
    sound: Option<u64>,
}

impl JournalEnd {
    /// Takes the precautions before an open; `None` when there is no journal yet.
    pub(super) fn before_open(folder: &Path) -> io::Result<Option<Self>> {
        let clean = take_clean(folder)?;
        let walk = match clean {
            Some(_) => Walk::Read,
            None => Walk::Rewrite,
        };
        let mut newest = None;
        for path in journals(folder)? {
            let [last_but_one, _] = ends(&path, walk)?;
            newest = Some((path, last_but_one));
        }
        Ok(match (clean, newest) {
            (Some((name, sound)), _) => Some(Self {
                path: folder.join(name),
                sound: Some(sound),
            }),
            (None, newest) => newest.map(|(path, sound)| Self { path, sound }),
        })
    }

    /// Looks at what `fjall` has left of the journal, and records a loss in the folder.
    pub(super) fn after_open(&self, folder: &Path) -> io::Result<()> {
        let length = match fs::metadata(&self.path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        if self.sound.is_some_and(|end| end >= length) {
            let journal = self.path.display();
            tracing::error!(%journal, offset = length, "acknowledged records are lost here");
            let text = format!("{journal} from byte {length}\n");
            write_atomically(&folder.join(LOST), text.as_bytes())?;
        }
        Ok(())
    }
}

/// Says that the store was closed after all of it was flushed, and where its journal ends.
pub(super) fn mark_clean(folder: &Path) -> io::Result<()> {
    let Some(path) = journals(folder)?.pop() else {
        return Ok(());
    };
    let [_, last] = ends(&path, Walk::Read)?;
    if let (Some(end), Some(name)) = (last, path.file_name().and_then(|name| name.to_str())) {
        write_atomically(&folder.join(CLEAN), format!("{name} {end}\n").as_bytes())?;
    }
    Ok(())
}

/// Takes away the word of a clean end, and gives the name of the newest journal and where its last batch starts to end.
fn take_clean(folder: &Path) -> io::Result<Option<(String, u64)>> {
    let path = folder.join(CLEAN);
    let text = match fs::read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Its absence needs no sync: after a power cut there are no false pages.
    fs::remove_file(path)?;
    Ok(text.trim().split_once(' ').and_then(|(name, end)| {
        let end = end.parse().ok()?;
        Some((name.to_owned(), end))
    }))
}

/// The journals, oldest first.
fn journals(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut numbered = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_journal = path.extension().is_some_and(|extension| extension == "jnl");
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| is_journal) {
            numbered.push((number, path));
        }
    }
    numbered.sort();
    Ok(numbered.into_iter().map(|(_, path)| path).collect())
}

/// What to do with a journal on the way through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walk {
    Read,
    /// Write the same bytes over it, and sync.
    Rewrite,
}

/// Where the last two batches start to end, as far as the bytes say.
fn ends(path: &Path, walk: Walk) -> io::Result<[Option<u64>; 2]> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let zeros = vec![0; CHUNK_BYTES];
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut search = Search::default();
    loop {
        let start = file.stream_position()?;
        let length = read_chunk(&mut file, &mut chunk)?;
        let Some(bytes) = chunk.get(..length).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        // A new journal is 64 MiB of hole: leave it one.
        if zeros.get(..length) == Some(bytes) {
            search.carried.clear();
            continue;
        }
        search.look(start, bytes);
        if walk == Walk::Rewrite {
            file.seek(SeekFrom::Start(start))?;
            file.write_all(bytes)?;
        }
    }
    if walk == Walk::Rewrite {
        file.sync_all()?;
    }
    Ok(search.ends)
}

fn read_chunk(file: &mut File, chunk: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = chunk.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            length => filled += length,
        }
    }
    Ok(filled)
}

/// Looks for the ends of batches across the borders of chunks.
#[derive(Debug, Default)]
struct Search {
    /// The last bytes of the chunk before.
    carried: Vec<u8>,
    ends: [Option<u64>; 2],
}

impl Search {
    fn look(&mut self, start: u64, bytes: &[u8]) {
        let mut window = std::mem::take(&mut self.carried);
        let first = start.saturating_sub(window.len() as u64);
        window.extend_from_slice(bytes);
        for (position, four) in (first..).zip(window.windows(BATCH_END.len())) {
            if four == BATCH_END {
                let [_, last] = self.ends;
                self.ends = [last, Some(position)];
            }
        }
        let keep = window.len().saturating_sub(BATCH_END.len() - 1);
        self.carried = window.split_off(keep);
    }
}

/// What `fjall` 3 writes behind each batch.
const BATCH_END: &[u8] = b"FJL\x03";
const CHUNK_BYTES: usize = 256 * 1024;
const CLEAN: &str = "clean";
/// Names the journal that lost records, until a new replica id is in use.
pub(super) const LOST: &str = "lost";

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(folder: &Path, bytes: &[u8]) -> PathBuf {
        let path = folder.join("0.jnl");
        fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn ends_are_found_across_chunks_and_bytes_stay_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = vec![9; CHUNK_BYTES * 3];
        let border = CHUNK_BYTES - 2;
        bytes[border..border + 4].copy_from_slice(BATCH_END);
        let later = CHUNK_BYTES * 2 + 7;
        bytes[later..later + 4].copy_from_slice(BATCH_END);
        let path = journal(folder.path(), &bytes);
        let found = ends(&path, Walk::Rewrite).unwrap();
        assert_eq!(found, [Some(border as u64), Some(later as u64)]);
        assert!(fs::read(&path).unwrap() == bytes);
    }

    #[test]
    fn a_cut_of_one_batch_is_a_torn_end_but_of_two_is_a_loss() {
        for (cut, lost) in [(30, false), (20, false), (10, true)] {
            let folder = tempfile::tempdir().unwrap();
            let bytes = [b"0123456789ab".as_slice(), BATCH_END, b"xyzxyz", BATCH_END];
            let path = journal(folder.path(), &bytes.concat());
            let end = JournalEnd::before_open(folder.path()).unwrap().unwrap();
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(cut)
                .unwrap();
            end.after_open(folder.path()).unwrap();
            assert_eq!(folder.path().join(LOST).exists(), lost, "cut at {cut}");
        }
    }

    #[test]
    fn after_a_clean_end_the_last_batch_is_missed_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = journal(folder.path(), &[b"0123".as_slice(), BATCH_END].concat());
        mark_clean(folder.path()).unwrap();
        let end = JournalEnd::before_open(folder.path()).unwrap().unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(2)
            .unwrap();
        end.after_open(folder.path()).unwrap();
        assert!(folder.path().join(LOST).exists());
    }
}
