//! Damaged files: every read is right, a typed error, or a refusal to open. Never a wrong value, never a panic.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use meshwork_sync::{ReadStore, Space, Store};

use super::{config, durable_kinds, put};
use crate::store::open::open_engine;
use crate::store::{EngineKind, OpenStoreError, Records, StoreConfig};

const RECORDS: u32 = 600;
const TRIES: u64 = 40;

fn value(number: u32) -> Vec<u8> {
    number.to_be_bytes().repeat(64)
}

/// Small tables, so that the records lie in tables and in a journal.
fn small(kind: EngineKind) -> StoreConfig {
    StoreConfig {
        memtable_bytes: 32 * 1024,
        ..config(kind)
    }
}

fn fill(folder: &Path, kind: EngineKind) {
    for part in 0..3 {
        let engine = open_engine(folder, &small(kind)).unwrap();
        for number in (part..RECORDS).step_by(3) {
            let key = number.to_be_bytes();
            let batch = put(Space::Objects, &key, &value(number));
            engine.commit(&batch.into()).unwrap();
        }
        engine.close().unwrap();
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.metadata().unwrap().len() > 0 {
            found.push(path);
        }
    }
    found
}

/// Copies files with their holes: a journal is 64 MiB long and nearly empty.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            copy_file(&entry.path(), &target);
        }
    }
}

fn copy_file(from: &Path, to: &Path) {
    let bytes = used(from);
    let mut file = File::create(to).unwrap();
    file.write_all(&bytes).unwrap();
    file.set_len(from.metadata().unwrap().len()).unwrap();
}

/// The bytes of a file up to its first hole.
pub(crate) fn used(path: &Path) -> Vec<u8> {
    let mut file = File::open(path).unwrap();
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let length = file.read(&mut chunk).unwrap();
        if length == 0 || chunk[..length].iter().all(|byte| *byte == 0) {
            return bytes;
        }
        bytes.extend_from_slice(&chunk[..length]);
    }
}

fn flip(path: &Path, random: u64) {
    let used = used(path);
    if used.is_empty() {
        return;
    }
    let position = usize::try_from(random % used.len() as u64).unwrap();
    let mut file = File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(position as u64)).unwrap();
    file.write_all(&[used[position] ^ (1 << ((random >> 40) % 8))])
        .unwrap();
}

fn cut(path: &Path, random: u64) {
    let length = used(path).len().max(1) as u64;
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(random % length).unwrap();
}

/// How one damaged store answered.
#[derive(Debug, Default)]
struct Answers {
    right: u32,
    errors: u32,
    missing: u32,
    refused: u32,
}

impl Answers {
    fn read(&mut self, folder: &Path, kind: EngineKind, name: &Path) {
        let engine = match open_engine(folder, &small(kind)) {
            Ok(engine) => engine,
            Err(error) => {
                assert!(matches!(error, OpenStoreError::Refused { .. }), "{error}");
                assert!(error.to_string().contains("move it away"), "{error}");
                self.refused += 1;
                return;
            }
        };
        let store = Records::new(engine.clone());
        for number in 0..RECORDS {
            match store.get(Space::Objects, &number.to_be_bytes()) {
                Ok(Some(found)) => {
                    assert_eq!(found, value(number), "a wrong value");
                    self.right += 1;
                }
                Ok(None) => self.missing += 1,
                Err(ReadStore::Damaged { .. } | ReadStore::Engine { .. }) => self.errors += 1,
                Err(other) => panic!("{other}"),
            }
        }
        let reported = folder.join("fjall/lost").exists();
        assert!(
            kind != EngineKind::Fjall || self.missing == 0 || reported,
            "{} records vanished without a word: {}",
            self.missing,
            name.display()
        );
        if let Ok(records) = store.scan(Space::Objects, b"", None, 10_000) {
            for (key, found) in records {
                let number = u32::from_be_bytes(key.try_into().expect("a key that we wrote"));
                assert_eq!(found, value(number), "a wrong value");
            }
        }
        // Closing writes; on damaged files it may fail, but not panic.
        if let Err(reason) = engine.close() {
            assert!(!reason.is_empty());
        }
    }
}

/// Damages each file of a sound store in turn; for each the answers over all tries.
fn damage(kind: EngineKind, harm: fn(&Path, u64)) -> Vec<(PathBuf, Answers)> {
    let sound = tempfile::tempdir().unwrap();
    fill(sound.path(), kind);
    let names = files(sound.path());
    let mut all: Vec<(PathBuf, Answers)> = Vec::new();
    for try_number in 0..TRIES {
        let random =
            (try_number + 1 + std::process::id() as u64 * 1000).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let index = usize::try_from(try_number).unwrap() % names.len();
        let name = names[index].strip_prefix(sound.path()).unwrap();
        let damaged = tempfile::tempdir().unwrap();
        copy(sound.path(), damaged.path());
        harm(&damaged.path().join(name), random >> 3);
        let mut answers = Answers::default();
        answers.read(damaged.path(), kind, name);
        all.push((name.to_path_buf(), answers));
    }
    all
}

#[test]
fn an_undamaged_copy_reads_right() {
    for kind in durable_kinds() {
        for (_, answers) in damage(kind, |_, _| ()).into_iter().take(3) {
            assert_eq!(answers.right, RECORDS, "{answers:?}");
        }
    }
}

#[test]
fn flipped_bits_never_give_a_wrong_value_or_a_panic() {
    for kind in durable_kinds() {
        let all = damage(kind, flip);
        let noticed = all
            .iter()
            .filter(|(_, answers)| answers.errors + answers.refused > 0);
        assert!(noticed.count() > 0, "no flip hit anything: {all:?}");
    }
}

#[test]
fn cut_files_never_give_a_wrong_value_or_a_panic() {
    for kind in durable_kinds() {
        let all = damage(kind, cut);
        let noticed = all
            .iter()
            .filter(|(_, answers)| answers.errors + answers.missing + answers.refused > 0);
        assert!(noticed.count() > 0, "no cut hit anything: {all:?}");
    }
}
