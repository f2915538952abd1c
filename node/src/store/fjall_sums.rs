//! Checksums over the small files of a closed `fjall` store: its journals, versions and manifests.
//!
//! Tables and values carry checksums of their own. These files carry fewer, and some damage in them makes `fjall` 3.1 panic twice, which
//! ends the process, or skip batches without a word (the sequence number of a journal batch is covered by no checksum). So a store that is
//! closed cleanly writes down what they look like, and the next open compares first.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::write_file::write_atomically;

/// Checksums by path, relative to the folder of the store.
pub(super) type Sums = BTreeMap<String, u64>;

/// Takes the word of a clean end away; `None` when the store was not closed cleanly.
pub(super) fn take(folder: &Path) -> io::Result<Option<Sums>> {
    let path = folder.join(CLEAN);
    let text = match fs::read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Its absence needs no sync: after a power cut there are no false pages.
    fs::remove_file(path)?;
    Ok(Some(text.lines().filter_map(parse).collect()))
}

/// Gives the word of a clean end.
pub(super) fn give(folder: &Path) -> io::Result<()> {
    give_back(folder, &sums(folder)?)
}

/// Writes the word that was taken as it was.
pub(super) fn give_back(folder: &Path, sums: &Sums) -> io::Result<()> {
    let lines: String = sums
        .iter()
        .map(|(path, sum)| format!("{sum:016x} {path}\n"))
        .collect();
    write_atomically(&folder.join(CLEAN), lines.as_bytes())
}

/// The first file that is no longer what it was, if any.
pub(super) fn first_difference(folder: &Path, expected: &Sums) -> io::Result<Option<PathBuf>> {
    let found = sums(folder)?;
    let different = expected
        .iter()
        .find(|(path, sum)| found.get(*path) != Some(sum));
    Ok(different.map(|(path, _)| PathBuf::from(path)))
}

fn parse(line: &str) -> Option<(String, u64)> {
    let (sum, path) = line.split_once(' ')?;
    let sum = u64::from_str_radix(sum, 16).ok()?;
    Some((path.to_owned(), sum))
}

fn sums(folder: &Path) -> io::Result<Sums> {
    let mut sums = Sums::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_none_or(|name| SKIPPED.contains(&name)) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(inside) = path.strip_prefix(folder) {
                sums.insert(inside.to_string_lossy().into_owned(), sum(&path)?);
            }
        }
    }
    Ok(sums)
}

/// Leaves out what is zero: most of a journal is a hole, and an open shortens it.
fn sum(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let zeros = vec![0; CHUNK_BYTES];
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut hash = Xxh3::new();
    let mut start: u64 = 0;
    loop {
        let length = file.read(&mut chunk)?;
        let Some(bytes) = chunk.get(..length).filter(|bytes| !bytes.is_empty()) else {
            return Ok(hash.digest());
        };
        if zeros.get(..length) != Some(bytes) {
            hash.update(&start.to_le_bytes());
            hash.update(bytes);
        }
        start += length as u64;
    }
}

const CHUNK_BYTES: usize = 256 * 1024;
const CLEAN: &str = "clean";
/// Folders with checksums of their own, and files that hold no records.
const SKIPPED: [&str; 5] = ["tables", "blobs", "lock", "clean", "lost"];
