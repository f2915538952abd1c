//! What the storage thread promises.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use meshwork_sync::{Batch, ReadStore, Record, Space};

use super::{Opened, config, put};
use crate::store::engine::{CommitGroup, Engine, ReadEngine};
use crate::store::{
    EngineKind, Fault, Group, KEY_BYTES_MAX, Memory, OpenStore, Outcome, StoreConfig, StoreFailure,
    SubmitBatch, Survives,
};

fn memory() -> (Arc<Memory>, Opened) {
    let memory = Arc::new(Memory::new(1));
    let opened = Opened::over(memory.clone(), config(EngineKind::Memory));
    (memory, opened)
}

fn failed(id: u64, reason: StoreFailure) -> Outcome {
    Outcome::StoreFailed { id, reason }
}

/// Counts the groups that reach the engine below.
#[derive(Debug)]
struct Counting {
    engine: Memory,
    groups: std::sync::atomic::AtomicUsize,
}

impl Engine for Counting {
    fn commit(&self, group: &Group) -> Result<(), CommitGroup> {
        self.groups
            .fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.engine.commit(group)
    }
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, ReadEngine> {
        self.engine.get(space, key)
    }
    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        records_max: usize,
    ) -> Result<Vec<Record>, ReadEngine> {
        self.engine.scan(space, prefix, after, records_max)
    }
    fn recover(&self) -> Result<(), String> {
        self.engine.recover()
    }
    fn close(&self) -> Result<(), String> {
        self.engine.close()
    }
}

#[test]
fn outcomes_come_in_the_order_of_submission() {
    let (_, opened) = memory();
    for id in 0..500_u64 {
        let batch = if id % 7 == 0 {
            Batch::default()
        } else {
            put(Space::Objects, &id.to_be_bytes(), b"x")
        };
        opened.committer.submit(id, batch).unwrap();
    }
    for id in 0..500 {
        assert_eq!(opened.next(), Outcome::Stored { id });
    }
}

#[test]
fn batches_that_wait_for_a_flush_share_the_next_one() {
    let engine = Arc::new(Counting {
        engine: Memory::new(1),
        groups: 0.into(),
    });
    engine
        .engine
        .inject(Fault::Slow(Duration::from_millis(200)));
    let opened = Opened::over(engine.clone(), config(EngineKind::Memory));
    for id in 0..200_u64 {
        let batch = put(Space::Objects, &id.to_be_bytes(), b"x");
        opened.committer.submit(id, batch).unwrap();
    }
    for id in 0..200 {
        assert_eq!(opened.next(), Outcome::Stored { id });
    }
    let groups = engine.groups.load(std::sync::atomic::Ordering::SeqCst);
    assert!(groups < 20, "{groups} groups for 200 batches");
}

#[test]
fn a_later_batch_of_a_group_wins() {
    let (memory, opened) = memory();
    memory.inject(Fault::Slow(Duration::from_millis(50)));
    for id in 0..10_u8 {
        let batch = put(Space::Objects, b"key", &[id]);
        opened.committer.submit(id.into(), batch).unwrap();
    }
    for id in 0..10 {
        assert_eq!(opened.next(), Outcome::Stored { id });
    }
    let read = opened.store.get(Space::Objects, b"key");
    assert_eq!(read, Ok(Some(vec![9])));
}

#[test]
fn a_full_queue_says_busy_and_takes_the_batch_after_an_answer() {
    let memory = Arc::new(Memory::new(1));
    memory.inject(Fault::Slow(Duration::from_millis(100)));
    let limits = StoreConfig {
        queue_batches: 4,
        ..config(EngineKind::Memory)
    };
    let opened = Opened::over(memory, limits);
    let mut busy = 0;
    let mut answered = 0;
    for id in 0..50_u64 {
        let mut batch = Arc::new(put(Space::Objects, &id.to_be_bytes(), b"x"));
        while let Err(refused) = opened.committer.submit(id, batch) {
            let SubmitBatch::Busy { batch: back } = refused else {
                panic!("{refused}");
            };
            busy += 1;
            assert_eq!(opened.next(), Outcome::Stored { id: answered });
            answered += 1;
            batch = back;
        }
    }
    assert!(busy > 0);
    for id in answered..50 {
        assert_eq!(opened.next(), Outcome::Stored { id });
    }
}

#[test]
fn bytes_that_wait_are_bounded_but_one_large_batch_passes() {
    let memory = Arc::new(Memory::new(1));
    memory.inject(Fault::Slow(Duration::from_millis(100)));
    let limits = StoreConfig {
        queue_bytes: 1_000,
        ..config(EngineKind::Memory)
    };
    let opened = Opened::over(memory, limits);
    assert_eq!(
        opened.store_one(0, b"alone", &[1; 5_000]),
        Outcome::Stored { id: 0 }
    );
    let mut taken = 0;
    let refused = loop {
        let batch = put(Space::Objects, b"key", &[1; 400]);
        match opened.committer.submit(1 + taken, batch) {
            Ok(()) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, SubmitBatch::Busy { .. }), "{refused}");
}

#[test]
fn keys_that_no_engine_takes_are_refused_at_once() {
    let (_, opened) = memory();
    let empty = opened.committer.submit(0, put(Space::Meta, b"", b"x"));
    assert_eq!(empty, Err(SubmitBatch::Key { bytes: 0 }));
    let key = vec![1; KEY_BYTES_MAX + 1];
    let long = opened.committer.submit(0, put(Space::Meta, &key, b"x"));
    assert_eq!(long, Err(SubmitBatch::Key { bytes: 1_101 }));
    let huge = put(Space::Meta, b"a", &vec![0; 65 * 1024 * 1024]);
    let huge = opened.committer.submit(0, huge);
    assert!(matches!(huge, Err(SubmitBatch::TooLarge { .. })));
    assert_eq!(
        opened.store_one(1, &key[1..], b"x"),
        Outcome::Stored { id: 1 }
    );
}

#[test]
fn after_a_failed_flush_nothing_is_written_or_acknowledged_again() {
    let (memory, opened) = memory();
    assert_eq!(opened.store_one(0, b"a", b"1"), Outcome::Stored { id: 0 });
    memory.inject(Fault::FailFlush);
    for id in 1..4 {
        let outcome = opened.store_one(id, b"a", b"2");
        let Outcome::StoreFailed { reason, .. } = outcome else {
            panic!("acknowledged after a failed flush: {outcome:?}");
        };
        assert!(matches!(reason, StoreFailure::ReadOnly { .. }), "{reason}");
        opened.committer.resume_after(id);
    }
    let read = opened.store.get(Space::Objects, b"a");
    assert_eq!(read, Ok(Some(b"1".to_vec())), "reads go on");
}

#[test]
fn batches_behind_a_failed_one_are_skipped_until_the_driver_resumes() {
    let (memory, opened) = memory();
    memory.inject(Fault::Slow(Duration::from_millis(50)));
    memory.inject(Fault::Full);
    for id in 0..5_u64 {
        let batch = put(Space::Objects, &id.to_be_bytes(), b"x");
        opened.committer.submit(id, batch).unwrap();
    }
    let first = opened.next();
    let Outcome::StoreFailed { id: 0, reason } = first else {
        panic!("{first:?}");
    };
    assert!(matches!(reason, StoreFailure::Full { .. }), "{reason}");
    for id in 1..5 {
        let skipped = StoreFailure::Skipped { failed: 0 };
        assert_eq!(opened.next(), failed(id, skipped));
    }
    let skipped = StoreFailure::Skipped { failed: 0 };
    assert_eq!(opened.store_one(5, b"later", b"x"), failed(5, skipped));
    opened.committer.resume_after(0);
    assert_eq!(
        opened.store_one(6, b"later", b"x"),
        Outcome::Stored { id: 6 }
    );
    let records = opened.store.scan(Space::Objects, b"", None, 10).unwrap();
    assert_eq!(records.len(), 1);
}

#[test]
fn resuming_after_an_older_failure_does_not_resume() {
    let (memory, opened) = memory();
    memory.inject(Fault::Full);
    opened.store_one(0, b"a", b"x");
    opened.committer.resume_after(0);
    memory.inject(Fault::Full);
    opened.store_one(1, b"a", b"x");
    opened.committer.resume_after(0);
    let skipped = StoreFailure::Skipped { failed: 1 };
    assert_eq!(opened.store_one(2, b"a", b"x"), failed(2, skipped));
}

#[test]
fn a_damaged_record_is_named_and_its_neighbours_are_read() {
    let (memory, opened) = memory();
    for (id, key) in [(0, b"a"), (1, b"b"), (2, b"c")] {
        opened.store_one(id, key, b"value");
    }
    assert!(memory.flip_bit(Space::Objects, b"b", 11));
    let damaged = ReadStore::Damaged {
        space: Space::Objects,
        key: b"b".to_vec(),
    };
    let store = &opened.store;
    assert_eq!(store.get(Space::Objects, b"b"), Err(damaged.clone()));
    assert_eq!(store.scan(Space::Objects, b"", None, 9), Err(damaged));
    assert!(store.get(Space::Objects, b"a").is_ok());
    let rest = store.scan(Space::Objects, b"", Some(b"b"), 9).unwrap();
    assert_eq!(rest.len(), 1);
}

#[test]
fn a_disk_that_lies_loses_what_it_said_yes_to() {
    let (memory, opened) = memory();
    memory.inject(Fault::LoseUnsynced);
    let mut lost = 0;
    assert_eq!(opened.store_one(0, b"a", b"1"), Outcome::Stored { id: 0 });
    for seed in 0..20 {
        let memory = Memory::new(seed);
        memory.inject(Fault::LoseUnsynced);
        let mut batch = put(Space::Meta, b"a", b"1");
        batch.put(Space::Meta, b"b", b"1");
        memory.commit(&batch.into()).unwrap();
        memory.power_cut(Survives::Whole);
        let left = memory.scan(Space::Meta, b"", None, 9).unwrap().len();
        assert!(left == 0 || left == 2, "a sound engine tears no batch");
        lost += usize::from(left == 0);
    }
    assert!((1..20).contains(&lost), "{lost} of 20");
}

#[test]
fn a_torn_batch_can_be_had_on_purpose() {
    let torn = (0..40).filter(|seed| {
        let memory = Memory::new(*seed);
        memory.inject(Fault::FailFlush);
        let mut batch = put(Space::Meta, b"a", b"1");
        batch.put(Space::Meta, b"b", b"1");
        assert!(memory.commit(&batch.into()).is_err());
        memory.power_cut(Survives::Torn);
        memory.scan(Space::Meta, b"", None, 9).unwrap().len() == 1
    });
    assert!(torn.count() > 0);
}

#[test]
fn closing_stores_and_answers_what_was_submitted() {
    let folder = tempfile::tempdir().unwrap();
    let opened = Opened::open(folder.path(), config(EngineKind::Fjall));
    for id in 0..100_u64 {
        let batch = put(Space::Objects, &id.to_be_bytes(), b"x");
        opened.committer.submit(id, batch).unwrap();
    }
    opened.committer.close().unwrap();
    assert_eq!(opened.outcomes.iter().count(), 100);
    assert!(opened.store.get(Space::Objects, b"x").is_err());
    let again = Opened::open(folder.path(), config(EngineKind::Fjall));
    let records = again.store.scan(Space::Objects, b"", None, 1_000);
    assert_eq!(records.unwrap().len(), 100);
}

#[test]
fn a_tokio_channel_takes_the_outcomes() {
    let (sender, mut outcomes) = tokio::sync::mpsc::channel(2);
    let on_outcome = move |outcome| {
        sender
            .blocking_send(outcome)
            .expect("the driver listens until close has returned");
    };
    let folder = tempfile::tempdir().unwrap();
    let (_, committer) =
        OpenStore::open(folder.path(), config(EngineKind::Memory), on_outcome).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        for id in 0..20 {
            committer
                .submit(id, put(Space::Meta, b"a", b"1"))
                .expect("the queue has room");
        }
        for id in 0..20 {
            assert_eq!(outcomes.recv().await, Some(Outcome::Stored { id }));
        }
    });
    committer.close().unwrap();
}

#[test]
fn a_panic_in_the_listener_is_told_to_the_submitter() {
    let (sender, done) = sync_channel::<()>(1);
    let on_outcome = move |_| {
        let _alive = &sender;
        panic!("the listener's bug");
    };
    let folder = tempfile::tempdir().unwrap();
    let (_, committer) =
        OpenStore::open(folder.path(), config(EngineKind::Memory), on_outcome).unwrap();
    committer
        .submit(0, put(Space::Meta, b"a", b"1"))
        .expect("the thread runs");
    assert!(done.recv().is_err(), "the thread is gone");
    let refused = committer.submit(1, put(Space::Meta, b"a", b"1"));
    assert_eq!(refused, Err(SubmitBatch::Stopped));
    assert!(committer.close().is_err());
}
