//! Two precautions around `fjall`'s journals when a store is opened.
//!
//! **After an unclean end the journals are written again.** A process that died of a failed flush leaves pages that the kernel shows as
//! sound and will never write (Rebello et al., ATC 2020). Appending behind them would put acknowledged batches after a hole that the next
//! power cut opens. Writing the same bytes over themselves makes the pages dirty once more, and the sync that follows tells the truth.
//!
//! **A journal that lost more than its torn end is reported.** `fjall` cuts a journal at the first entry that it cannot read, because a crash
//! may tear the last batch. A flipped bit far ahead of the end looks the same to it, and takes acknowledged batches along. We look at where
//! batches end before it opens, and at the length of the file afterwards. A store that was closed has
//! left checksums ([`fjall_sums`]). What cannot be told from a torn end: damage to the very last batch before an unclean end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::fjall_sums;
use super::write_file::write_atomically;

/// What the newest journal must still hold after `fjall` has opened it.
#[derive(Debug)]
pub(super) struct JournalEnd {
    path: PathBuf,
    /// Where the last batch starts to end that cannot have been torn.
    sound: Option<u64>,
}

impl JournalEnd {
    /// Takes the precautions before an open; `None` when there is nothing to compare afterwards.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] names a file that is damaged in a way that must not reach `fjall`.
    pub(super) fn before_open(folder: &Path) -> io::Result<Option<Self>> {
        if let Some(sums) = fjall_sums::take(folder)? {
            let Some(different) = fjall_sums::first_difference(folder, &sums)? else {
                return Ok(None);
            };
            if !is_journal(&different) {
                // Still not clean for the next start, which would otherwise trust it.
                fjall_sums::give_back(folder, &sums)?;
                let text = format!("{} is damaged", folder.join(different).display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            record_loss(folder, &different, 0)?;
        }
        let mut newest = None;
        for path in journals(folder)? {
            let [last_but_one, _] = rewrite(&path)?;
            newest = Some(Self {
                path,
                sound: last_but_one,
            });
        }
        Ok(newest)
    }

    /// Looks at what `fjall` has left of the journal, and records a loss in the folder.
    pub(super) fn after_open(&self, folder: &Path) -> io::Result<()> {
        let length = match fs::metadata(&self.path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        if self.sound.is_some_and(|end| end >= length) {
            record_loss(folder, &self.path, length)?;
        }
        Ok(())
    }
}

fn record_loss(folder: &Path, journal: &Path, offset: u64) -> io::Result<()> {
    let journal = journal.display();
    tracing::error!(%journal, offset, "acknowledged records are lost here");
    let text = format!("{journal} from byte {offset}\n");
    write_atomically(&folder.join(LOST), text.as_bytes())
}

fn is_journal(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "jnl")
}

/// The journals, oldest first.
fn journals(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut numbered = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| is_journal(&path)) {
            numbered.push((number, path));
        }
    }
    numbered.sort();
    Ok(numbered.into_iter().map(|(_, path)| path).collect())
}

/// Writes a journal over itself and syncs it; where its last two batches start to end, as far as the bytes say.
fn rewrite(path: &Path) -> io::Result<[Option<u64>; 2]> {
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
        file.seek(SeekFrom::Start(start))?;
        file.write_all(bytes)?;
    }
    file.sync_all()?;
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
        // What was carried was looked at, but for what begins in its last bytes.
        let new = (window.len() - bytes.len()).saturating_sub(BATCH_END.len() - 1);
        let places = window.windows(BATCH_END.len()).enumerate().skip(new);
        for (place, four) in places {
            let tag = place.checked_sub(TAG_BEFORE_END);
            let tag = tag.and_then(|tag| window.get(tag));
            if is_end(four, tag.copied()) {
                let [_, last] = self.ends;
                self.ends = [last, Some(first + place as u64)];
            }
        }
        let keep = window
            .len()
            .saturating_sub(BATCH_END.len() - 1 + TAG_BEFORE_END);
        self.carried = window.split_off(keep);
    }
}

/// Whether a batch ends here, or did before a bit of this was flipped: else one that lost its end would look like a part of the next one, which
/// may be torn.
fn is_end(four: &[u8], tag: Option<u8>) -> bool {
    let different = four
        .iter()
        .zip(BATCH_END)
        .map(|(a, b)| (a ^ b).count_ones());
    match different.sum::<u32>() {
        0 => true,
        1 => tag == Some(END_TAG),
        _ => false,
    }
}

/// What `fjall` 3 writes behind each batch: a tag, a checksum, and this.
const BATCH_END: &[u8] = b"FJL\x03";
const END_TAG: u8 = 3;
const TAG_BEFORE_END: usize = 9;
const CHUNK_BYTES: usize = 256 * 1024;
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
        let found = rewrite(&path).unwrap();
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
    fn a_batch_that_lost_a_bit_of_its_end_is_a_batch() {
        let tagged = [b"\x03checksum".as_slice(), BATCH_END].concat();
        for bit in 0..BATCH_END.len() * 8 {
            let folder = tempfile::tempdir().unwrap();
            let mut bytes = [tagged.clone(), tagged.clone(), tagged.clone()].concat();
            bytes[TAG_BEFORE_END + tagged.len() + bit / 8] ^= 1 << (bit % 8);
            let path = journal(folder.path(), &bytes);
            let ends = [1, 2].map(|n| (n * tagged.len() + TAG_BEFORE_END) as u64);
            assert_eq!(rewrite(&path).unwrap(), ends.map(Some));
        }
    }

    #[test]
    fn after_a_clean_end_any_damage_to_a_journal_is_a_loss() {
        let folder = tempfile::tempdir().unwrap();
        let path = journal(folder.path(), b"0123456789");
        fjall_sums::give(folder.path()).unwrap();
        fs::write(&path, b"0123456788").unwrap();
        JournalEnd::before_open(folder.path()).unwrap();
        assert!(folder.path().join(LOST).exists());
    }

    #[test]
    fn after_a_clean_end_other_damage_is_refused_by_name_each_time() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("manifest"), b"sound").unwrap();
        fjall_sums::give(folder.path()).unwrap();
        assert!(JournalEnd::before_open(folder.path()).is_ok());
        fjall_sums::give(folder.path()).unwrap();
        fs::write(folder.path().join("manifest"), b"soond").unwrap();
        for _ in 0..2 {
            let refused = JournalEnd::before_open(folder.path()).unwrap_err();
            assert!(refused.to_string().contains("manifest is damaged"));
        }
    }
}
