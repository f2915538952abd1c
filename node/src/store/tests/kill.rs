//! `kill -9` between and during flushes: what was acknowledged is there afterwards.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use meshwork_sync::{Batch, Space, Store};

use super::{Opened, config, durable_kinds, engine};
use crate::store::{EngineKind, Outcome};

const ROUNDS: u64 = 6;
const FOLDER: &str = "MESHWORK_TEST_KILL_FOLDER";
const ENGINE: &str = "MESHWORK_TEST_KILL_ENGINE";
/// Records in a batch, all with the same value: a torn batch shows.
const RECORDS: u8 = 5;

/// Not a test by itself: the process that is killed. It writes batch after batch, and says which are acknowledged.
#[test]
fn child_writes_until_it_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let kind = match std::env::var(ENGINE).as_deref() {
        #[cfg(feature = "sled")]
        Ok("Sled") => EngineKind::Sled,
        _ => EngineKind::Fjall,
    };
    let opened = Opened::open(Path::new(&folder), config(kind));
    let start = last(opened.store.as_ref()) + 1;
    let mut out = std::io::stdout();
    let mut submitted = start;
    let mut acknowledged = start;
    loop {
        while submitted < acknowledged + 32 {
            opened
                .committer
                .submit(submitted, batch(submitted))
                .unwrap();
            submitted += 1;
        }
        assert_eq!(opened.next(), Outcome::Stored { id: acknowledged });
        writeln!(out, "acknowledged {acknowledged}").unwrap();
        out.flush().unwrap();
        acknowledged += 1;
    }
}

fn batch(id: u64) -> Batch {
    let mut batch = Batch::default();
    for record in 0..RECORDS {
        let mut key = id.to_be_bytes().to_vec();
        key.push(record);
        batch.put(Space::Objects, key, id.to_le_bytes());
    }
    batch
}

fn last(store: &dyn Store) -> u64 {
    let records = store
        .scan(Space::Objects, b"", None, usize::MAX)
        .expect("the store reads");
    records.last().map_or(0, |(key, _)| {
        u64::from_be_bytes(key[..8].try_into().expect("eight bytes"))
    })
}

/// Runs the child until it has acknowledged `count` batches and kills it; the last batch that it acknowledged.
fn run_and_kill(folder: &Path, kind: EngineKind, count: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("store::tests::kill::child_writes_until_it_is_killed")
        .env(FOLDER, folder)
        .env(ENGINE, format!("{kind:?}"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = 0;
    let mut heard = 0;
    for line in lines.map_while(Result::ok) {
        let Some(id) = line.strip_prefix("acknowledged ") else {
            continue;
        };
        acknowledged = id.parse().unwrap();
        heard += 1;
        if heard == count {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(heard >= count, "the child ended by itself");
    acknowledged
}

fn check(folder: &Path, kind: EngineKind, acknowledged: u64) {
    let (engine, store) = engine(folder, kind);
    let records = store.scan(Space::Objects, b"", None, usize::MAX).unwrap();
    let mut batches = BTreeMap::<u64, u8>::new();
    for (key, value) in records {
        let id = u64::from_be_bytes(key[..8].try_into().unwrap());
        assert_eq!(value, id.to_le_bytes());
        *batches.entry(id).or_default() += 1;
    }
    for id in 1..=acknowledged {
        assert!(batches.contains_key(&id), "batch {id} was acknowledged");
    }
    for (id, records) in batches {
        assert_eq!(records, RECORDS, "batch {id} is torn");
    }
    engine.close().unwrap();
}

#[test]
fn kills_lose_nothing_acknowledged_and_tear_no_batch() {
    for kind in durable_kinds() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..ROUNDS {
            let acknowledged = run_and_kill(folder.path(), kind, 20 + round * 37);
            check(folder.path(), kind, acknowledged);
        }
    }
}
