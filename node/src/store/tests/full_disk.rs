//! A disk that fills up: writes fail with a clear answer, reads go on, writes come back.

use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;

use meshwork_sync::Space;

use super::{Opened, config, durable_kinds};
use crate::store::free_space::FreeSpace;
use crate::store::{EngineKind, Memory, OpenStore, Outcome, StoreConfig, StoreFailure};

const FOLDER: &str = "MESHWORK_TEST_FULL_FOLDER";
const ENGINE: &str = "MESHWORK_TEST_FULL_ENGINE";
const RESERVE: &str = "MESHWORK_TEST_FULL_RESERVE";
const NO_MOUNT: i32 = 77;

#[derive(Debug)]
struct Pretended(Arc<AtomicU64>);

impl FreeSpace for Pretended {
    fn bytes_free(&self) -> io::Result<u64> {
        Ok(self.0.load(Ordering::SeqCst))
    }
}

#[test]
fn a_write_that_would_eat_the_reserve_is_refused_until_there_is_room() {
    let free = Arc::new(AtomicU64::new(1_000_000));
    let (sender, outcomes) = sync_channel(100);
    let config = StoreConfig {
        reserve_bytes: 1_000_000,
        ..config(EngineKind::Memory)
    };
    let (store, committer) = OpenStore::over(
        Arc::new(Memory::new(0)),
        Box::new(Pretended(free.clone())),
        &config,
        Box::new(move |outcome| sender.send(outcome).expect("the test listens")),
    )
    .unwrap();
    let opened = Opened {
        store,
        committer,
        outcomes,
    };
    let refused = opened.store_one(0, b"a", &[1; 100]);
    let Outcome::StoreFailed { id: 0, reason } = refused else {
        panic!("{refused:?}");
    };
    let StoreFailure::Full {
        bytes_free: 1_000_000,
        bytes_needed,
    } = reason
    else {
        panic!("{reason}");
    };
    opened.committer.resume_after(0);
    free.store(bytes_needed, Ordering::SeqCst);
    let stored = opened.store_one(1, b"a", &[1; 100]);
    assert_eq!(stored, Outcome::Stored { id: 1 });
}

/// Not a test by itself: runs on a small file system of its own.
#[test]
fn child_fills_the_disk() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let kind = match std::env::var(ENGINE).as_deref() {
        #[cfg(feature = "sled")]
        Ok("Sled") => EngineKind::Sled,
        _ => EngineKind::Fjall,
    };
    let reserve_bytes = std::env::var(RESERVE).unwrap().parse().unwrap();
    fill_and_recover(Path::new(&folder), kind, reserve_bytes);
}

fn fill_and_recover(folder: &Path, kind: EngineKind, reserve_bytes: u64) {
    let ballast = folder.join("ballast");
    std::fs::write(&ballast, vec![1; 8 << 20]).unwrap();
    let config = StoreConfig {
        reserve_bytes,
        memtable_bytes: 1 << 20,
        ..config(kind)
    };
    let opened = Opened::open(&folder.join("store"), config.clone());
    let value = [5; 10_000];
    let mut stored: u64 = 0;
    let failed = loop {
        match opened.store_one(stored, &stored.to_be_bytes(), &value) {
            Outcome::Stored { .. } => stored += 1,
            Outcome::StoreFailed { id, reason } => {
                assert!(matches!(reason, StoreFailure::Full { .. }), "{reason}");
                break id;
            }
        }
    };
    assert!(stored > 100, "{stored}");
    let records = opened.store.scan(Space::Objects, b"", None, 10_000);
    assert_eq!(records.unwrap().len() as u64, stored, "reads go on");
    opened.committer.resume_after(failed);
    std::fs::remove_file(&ballast).unwrap();
    for _ in 0..100 {
        let outcome = opened.store_one(stored, &stored.to_be_bytes(), &value);
        assert_eq!(outcome, Outcome::Stored { id: stored });
        stored += 1;
    }
    opened.committer.close().unwrap();
    let again = Opened::open(&folder.join("store"), config);
    let records = again.store.scan(Space::Objects, b"", None, 10_000).unwrap();
    assert_eq!(records.len() as u64, stored, "nothing acknowledged is lost");
    assert!(records.iter().all(|(_, found)| found == &value));
}

/// Runs the child on a tmpfs of 24 MiB in a mount namespace of its own; `None` when that is not permitted here.
fn on_small_disk(kind: EngineKind, reserve_bytes: u64) -> Option<bool> {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=24m none \"${FOLDER}\" || exit {NO_MOUNT}\n\
         exec \"$0\" --exact --nocapture store::tests::full_disk::child_fills_the_disk"
    );
    let status = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env(FOLDER, folder.path())
        .env(ENGINE, format!("{kind:?}"))
        .env(RESERVE, reserve_bytes.to_string())
        .status()
        .ok()?;
    match status.code() {
        Some(0) => Some(true),
        Some(1 | NO_MOUNT) if !can_mount() => None,
        _ => Some(false),
    }
}

fn can_mount() -> bool {
    Command::new("unshare")
        .args(["-m", "true"])
        .status()
        .is_ok_and(|status| status.success())
}

#[test]
fn a_full_disk_refuses_writes_and_takes_them_again() {
    for kind in durable_kinds() {
        match on_small_disk(kind, 4 << 20) {
            Some(passed) => assert!(passed, "{kind:?}: see the child's output"),
            None => println!("SKIPPED: no mount namespaces here"),
        }
    }
}

/// Without a reserve the engine itself runs into the end of the disk, stops, and is opened anew.
#[test]
fn fjall_recovers_from_running_into_the_end_of_the_disk() {
    match on_small_disk(EngineKind::Fjall, 0) {
        Some(passed) => assert!(passed, "see the child's output"),
        None => println!("SKIPPED: no mount namespaces here"),
    }
}
