//! Durable records a second: the engines alone, in batches, and many submitters behind the storage thread.
//!
//! `cargo bench -p meshwork --bench store`. All cases are measured in turn, several times, so that a busy minute hits them alike; the
//! medians are printed. Set `TMPDIR` to a folder on the disk that is to be measured.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a program that prints figures and stops at the first failure"
)]

use std::collections::BTreeMap;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use meshwork::store::{EngineKind, OpenStore, Outcome, StoreConfig};
use meshwork_sync::{Batch, Space};

const ROUNDS: usize = 7;
const VALUE_BYTES: usize = 100;
const CASE: Duration = Duration::from_millis(400);

fn main() {
    // First, while the process is still small.
    for engine in engines() {
        println!("{engine:?}: {}", opening(engine));
    }
    let mut figures = BTreeMap::<String, Vec<f64>>::new();
    for _ in 0..ROUNDS {
        for engine in engines() {
            for (name, batch_records, in_flight) in [
                ("1 submitter, batches of 1", 1, 1),
                ("1 submitter, batches of 16", 16, 1),
                ("1 submitter, batches of 256", 256, 1),
                ("16 submitters, batches of 1", 1, 16),
                ("256 submitters, batches of 1", 1, 256),
            ] {
                let rate = measure(engine, batch_records, in_flight);
                let case = format!("{engine:?}: {name}");
                figures.entry(case).or_default().push(rate);
            }
        }
    }
    for (case, mut rates) in figures {
        rates.sort_by(f64::total_cmp);
        let median = rates.get(rates.len() / 2).copied().unwrap_or_default();
        println!("{case}: {median:.0} records/s");
    }
}

fn engines() -> Vec<EngineKind> {
    vec![
        EngineKind::Fjall,
        #[cfg(feature = "sled")]
        EngineKind::Sled,
    ]
}

fn config(engine: EngineKind) -> StoreConfig {
    StoreConfig {
        engine,
        ..StoreConfig::default()
    }
}

/// Records a second with `in_flight` batches under way all the time.
fn measure(engine: EngineKind, batch_records: u64, in_flight: u64) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let (sender, outcomes) = sync_channel(1_024);
    let on_outcome = move |outcome| sender.send(outcome).expect("main listens");
    let (_store, committer) =
        OpenStore::open(folder.path(), config(engine), on_outcome).expect("the store opens");
    let submit = |id| {
        committer
            .submit(id, batch(id, batch_records))
            .expect("the queue has room");
    };
    (0..in_flight).for_each(submit);
    let start = Instant::now();
    let mut stored = 0;
    while start.elapsed() < CASE {
        let outcome = outcomes.recv().expect("the thread runs");
        assert_eq!(outcome, Outcome::Stored { id: stored });
        submit(stored + in_flight);
        stored += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    committer.close().expect("the store closes");
    let records = u32::try_from(stored * batch_records).expect("fits");
    f64::from(records) / seconds
}

fn batch(id: u64, records: u64) -> Batch {
    let mut batch = Batch::default();
    for record in 0..records {
        // Spread over the key space, as positions are.
        let number = (id * records + record).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut value = vec![0; VALUE_BYTES];
        for (byte, source) in value.iter_mut().zip(number.to_le_bytes().iter().cycle()) {
            *byte = *source;
        }
        batch.put(Space::Objects, number.to_be_bytes(), value);
    }
    batch
}

/// How long an empty store takes to open again, and what that adds to the memory of this process.
fn opening(engine: EngineKind) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || OpenStore::open(folder.path(), config(engine), |_| ()).expect("the store opens");
    let (_, committer) = open();
    committer.close().expect("the store closes");
    let before = resident_kib();
    let start = Instant::now();
    let (_, committer) = open();
    let opened = start.elapsed();
    let after = resident_kib();
    committer.close().expect("the store closes");
    format!("opens empty in {opened:.1?}; resident {before:?} KiB before, {after:?} KiB after")
}

/// Resident memory of this process, on Linux.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
