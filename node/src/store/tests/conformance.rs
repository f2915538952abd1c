//! What every engine must do.

use std::collections::BTreeMap;

use meshwork_sync::{Batch, ReadStore, Record, Space, Store};
use proptest::prelude::*;

use super::{config, durable_kinds, engine, put};
use crate::store::engine::Engine;
use crate::store::{EngineKind, OpenStore, OpenStoreError};

fn for_each_engine(check: impl Fn(&dyn Engine, &dyn Store)) {
    let kinds = durable_kinds().into_iter().chain([EngineKind::Memory]);
    for kind in kinds {
        let folder = tempfile::tempdir().unwrap();
        let (engine, store) = engine(folder.path(), kind);
        check(engine.as_ref(), &store);
        engine.close().unwrap();
    }
}

fn keys(records: Vec<Record>) -> Vec<Vec<u8>> {
    records.into_iter().map(|(key, _)| key).collect()
}

#[test]
fn what_was_put_is_read_and_what_was_not_is_absent() {
    for_each_engine(|engine, store| {
        engine
            .commit(&put(Space::Objects, b"a", b"1").into())
            .unwrap();
        assert_eq!(store.get(Space::Objects, b"a"), Ok(Some(b"1".to_vec())));
        assert_eq!(store.get(Space::Objects, b"b"), Ok(None));
        assert_eq!(store.get(Space::Outbox, b"a"), Ok(None));
    });
}

#[test]
fn empty_and_large_values_come_back() {
    for_each_engine(|engine, store| {
        let large = vec![7; 3_000_000];
        engine
            .commit(&put(Space::Objects, b"empty", b"").into())
            .unwrap();
        engine
            .commit(&put(Space::Objects, &[9; 1_100], &large).into())
            .unwrap();
        assert_eq!(store.get(Space::Objects, b"empty"), Ok(Some(Vec::new())));
        assert_eq!(store.get(Space::Objects, &[9; 1_100]), Ok(Some(large)));
    });
}

#[test]
fn the_last_change_of_a_batch_wins() {
    for_each_engine(|engine, store| {
        let mut batch = Batch::default();
        batch.put(Space::Meta, b"a", b"1");
        batch.put(Space::Meta, b"a", b"2");
        batch.put(Space::Meta, b"b", b"1");
        batch.delete(Space::Meta, b"b");
        batch.delete(Space::Meta, b"c");
        batch.put(Space::Meta, b"c", b"3");
        engine.commit(&batch.into()).unwrap();
        assert_eq!(store.get(Space::Meta, b"a"), Ok(Some(b"2".to_vec())));
        assert_eq!(store.get(Space::Meta, b"b"), Ok(None));
        assert_eq!(store.get(Space::Meta, b"c"), Ok(Some(b"3".to_vec())));
    });
}

#[test]
fn deleting_what_is_absent_changes_nothing() {
    for_each_engine(|engine, store| {
        let mut batch = Batch::default();
        batch.delete(Space::Meta, b"a");
        engine.commit(&batch.into()).unwrap();
        assert_eq!(store.scan(Space::Meta, b"", None, 10), Ok(Vec::new()));
    });
}

#[test]
fn a_scan_keeps_to_its_space_prefix_start_and_limit() {
    for_each_engine(|engine, store| {
        let mut batch = Batch::default();
        for key in [&b"a"[..], b"p", b"p\x00", b"p1", b"p2", b"p\xff", b"q"] {
            batch.put(Space::Objects, key, b"x");
        }
        batch.put(Space::Meta, b"p0", b"x");
        batch.put(Space::Outbox, b"p0", b"x");
        engine.commit(&batch.into()).unwrap();
        let scan = |prefix: &[u8], after: Option<&[u8]>, max| {
            keys(store.scan(Space::Objects, prefix, after, max).unwrap())
        };
        assert_eq!(
            scan(b"p", None, 10),
            [&b"p"[..], b"p\x00", b"p1", b"p2", b"p\xff"]
        );
        assert_eq!(scan(b"p", Some(b"p"), 2), [&b"p\x00"[..], b"p1"]);
        assert_eq!(scan(b"p", Some(b"p15"), 10), [&b"p2"[..], b"p\xff"]);
        assert_eq!(scan(b"p", Some(b"a"), 1), [b"p"]);
        assert_eq!(scan(b"p", Some(b"q"), 10), Vec::<Vec<u8>>::new());
        assert_eq!(scan(b"", None, 100).len(), 7);
        assert_eq!(scan(b"", None, 0), Vec::<Vec<u8>>::new());
        assert_eq!(scan(b"\xff", None, 9), Vec::<Vec<u8>>::new());
    });
}

#[test]
fn a_closed_engine_refuses_reads_and_writes() {
    for_each_engine(|engine, store| {
        engine.close().unwrap();
        assert!(engine.commit(&put(Space::Meta, b"a", b"1").into()).is_err());
        let read = store.get(Space::Meta, b"a");
        assert!(matches!(read, Err(ReadStore::Engine { .. })), "{read:?}");
        let scan = store.scan(Space::Meta, b"", None, 1);
        assert!(matches!(scan, Err(ReadStore::Engine { .. })), "{scan:?}");
    });
}

#[test]
fn a_reopened_store_holds_what_was_committed() {
    for kind in durable_kinds() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..3_u8 {
            let (engine, store) = engine(folder.path(), kind);
            for earlier in 0..round {
                let read = store.get(Space::Outbox, &[earlier]);
                assert_eq!(read, Ok(Some(vec![earlier; 100])));
            }
            engine
                .commit(&put(Space::Outbox, &[round], &[round; 100]).into())
                .unwrap();
            engine.close().unwrap();
        }
    }
}

#[test]
fn recovering_an_engine_keeps_its_records_and_lets_it_write() {
    for_each_engine(|engine, store| {
        engine.commit(&put(Space::Meta, b"a", b"1").into()).unwrap();
        engine.recover().unwrap();
        engine.commit(&put(Space::Meta, b"b", b"2").into()).unwrap();
        assert_eq!(store.get(Space::Meta, b"a"), Ok(Some(b"1".to_vec())));
        assert_eq!(store.get(Space::Meta, b"b"), Ok(Some(b"2".to_vec())));
    });
}

#[test]
#[cfg(feature = "sled")]
fn the_folder_of_another_engine_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, _) = engine(folder.path(), EngineKind::Sled);
    engine.close().unwrap();
    let opened = OpenStore::open(folder.path(), config(EngineKind::Fjall), |_| ());
    assert!(matches!(opened, Err(OpenStoreError::OtherEngine { .. })));
}

#[test]
fn a_store_that_is_open_is_not_opened_again() {
    for kind in durable_kinds() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, _) = engine(folder.path(), kind);
        let second = OpenStore::open(folder.path(), config(kind), |_| ());
        assert!(matches!(second, Err(OpenStoreError::Refused { .. })));
        engine.close().unwrap();
    }
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn batches() -> impl Strategy<Value = Vec<Vec<(u8, Option<u8>)>>> {
    let change = (0..12_u8, proptest::option::of(any::<u8>()));
    proptest::collection::vec(proptest::collection::vec(change, 0..8), 1..10)
}

fn expected(model: &Model, prefix: &[u8], after: Option<&[u8]>, max: usize) -> Vec<Record> {
    model
        .iter()
        .filter(|(key, _)| key.starts_with(prefix))
        .filter(|(key, _)| after.is_none_or(|after| key.as_slice() > after))
        .take(max)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Twelve keys with shared prefixes.
fn key(number: u8) -> Vec<u8> {
    match number {
        0..4 => vec![number + 1],
        4..8 => vec![1, number],
        _ => vec![1, 5, number],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_engine_equals_a_sorted_map(batches in batches(), max in 0..14_usize) {
        for_each_engine(|engine, store| {
            let mut model = Model::new();
            for changes in &batches {
                let mut batch = Batch::default();
                for (number, value) in changes {
                    let key = key(*number);
                    match value {
                        Some(value) => {
                            batch.put(Space::Objects, key.clone(), [*value]);
                            model.insert(key, vec![*value]);
                        }
                        None => {
                            batch.delete(Space::Objects, key.clone());
                            model.remove(&key);
                        }
                    }
                }
                engine.commit(&batch.into()).unwrap();
            }
            for prefix in [&b""[..], &[1], &[1, 5], &[2]] {
                for after in [None, Some(&[1][..]), Some(&[1, 5]), Some(&[3])] {
                    let found = store.scan(Space::Objects, prefix, after, max);
                    assert_eq!(found, Ok(expected(&model, prefix, after, max)));
                }
            }
        });
    }
}
