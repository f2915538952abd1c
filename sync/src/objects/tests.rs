use std::collections::BTreeSet;
use std::sync::RwLock;

use meshwork_crdt::{Dot, Hlc, Merges, Op, ReplicaId, Stamp};

use super::*;
use crate::engine::Output;
use crate::{Change, Record};

#[derive(Default)]
struct Disk {
    records: RwLock<BTreeMap<Vec<u8>, Vec<u8>>>,
    damaged: RwLock<BTreeSet<Vec<u8>>>,
}

impl Disk {
    /// Makes everything that the journal holds durable.
    fn flush(&self, journal: &mut Journal) {
        while let Some(Output::Store { id, batch }) = journal.next_batch() {
            let mut records = self.records.write().unwrap();
            for change in Arc::unwrap_or_clone(batch).changes {
                match change {
                    Change::Put { key, value, .. } => drop(records.insert(key, value)),
                    Change::Delete { key, .. } => drop(records.remove(&key)),
                }
            }
            journal.stored(id);
        }
    }

    fn len(&self) -> usize {
        self.records.read().unwrap().len()
    }
}

impl Store for Disk {
    fn get(&self, _: Space, key: &[u8]) -> Result<Option<Vec<u8>>, ReadStore> {
        Ok(self.records.read().unwrap().get(key).cloned())
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        records_max: usize,
    ) -> Result<Vec<Record>, ReadStore> {
        let records = self.records.read().unwrap();
        let damaged = self.damaged.read().unwrap();
        records
            .iter()
            .filter(|(key, _)| key.starts_with(prefix))
            .filter(|(key, _)| after.is_none_or(|after| key.as_slice() > after))
            .take(records_max)
            .map(|(key, value)| match damaged.contains(key) {
                true => Err(ReadStore::Damaged {
                    space,
                    key: key.clone(),
                }),
                false => Ok((key.clone(), value.clone())),
            })
            .collect()
    }
}

fn key() -> Key {
    Key::parse("notes/today").unwrap()
}

fn insert(counter: u64, bytes: usize) -> Object {
    let stamp = Stamp {
        dot: Dot::new(ReplicaId::from_bytes([1; 8]), counter),
        claim_after: None,
        hlc: Hlc::default(),
    };
    let mut element = counter.to_be_bytes().to_vec();
    element.resize(bytes, 0);
    Object::new()
        .apply(&stamp, &Op::Insert(element), &Merges::default())
        .unwrap()
}

fn objects() -> Objects {
    Objects::new(1 << 20)
}

fn merged(disk: &Disk, deltas: impl IntoIterator<Item = Object>) -> (Objects, Journal) {
    let (mut objects, mut journal) = (objects(), Journal::new());
    for delta in deltas {
        let applied = objects.merge(disk, &mut journal, &key(), &delta, None);
        assert!(applied.unwrap().changed());
    }
    disk.flush(&mut journal);
    objects.stored(&journal);
    (objects, journal)
}

#[test]
fn a_large_object_is_appended_to_and_reads_back_whole() {
    let disk = Disk::default();
    merged(&disk, (1..=40).map(|n| insert(n, 200)));
    assert!(disk.len() > 1, "deltas are appended");
    let mut again = objects();
    let entry = again.load(&disk, &Journal::new(), &key().position());
    let set = entry.unwrap().unwrap().object.clone();
    assert_eq!(set.as_set().unwrap().len(), 40);
}

#[test]
fn a_removed_object_is_gone_before_the_store_knows_and_can_be_written_anew() {
    let disk = Disk::default();
    let (mut objects, mut journal) = merged(&disk, (1..=40).map(|n| insert(n, 200)));
    let position = key().position();
    let digest = objects.remove(&disk, &mut journal, &position).unwrap();
    assert!(digest.is_some());
    assert!(disk.len() > 1, "nothing is deleted yet");
    assert!(objects.load(&disk, &journal, &position).unwrap().is_none());
    let delta = insert(50, 9);
    let applied = objects.merge(&disk, &mut journal, &key(), &delta, None);
    assert_eq!(applied.unwrap().before, None);
    disk.flush(&mut journal);
    objects.stored(&journal);
    assert_eq!(disk.len(), 1);
    let mut again = self::objects();
    let entry = again.load(&disk, &journal, &position).unwrap().unwrap();
    assert_eq!(*entry.object, delta);
}

#[test]
fn a_damaged_object_is_an_error_until_a_merge_makes_it_whole() {
    let disk = Disk::default();
    merged(&disk, (1..=40).map(|n| insert(n, 200)));
    let position = key().position();
    let last = disk.records.read().unwrap().keys().next_back().cloned();
    disk.damaged.write().unwrap().extend(last);
    let (mut objects, mut journal) = (objects(), Journal::new());
    let loaded = objects.load(&disk, &journal, &position).map(|_| ());
    assert!(matches!(loaded, Err(ReadStore::Damaged { .. })));
    let applied = objects
        .merge(&disk, &mut journal, &key(), &insert(1, 200), None)
        .unwrap();
    assert!(applied.damaged);
    disk.flush(&mut journal);
    disk.damaged.write().unwrap().clear();
    assert_eq!(disk.len(), 1, "the records behind the damage are gone");
}

#[test]
fn reads_alone_keep_the_cache_within_its_bound() {
    let disk = Disk::default();
    let (mut writer, mut journal) = (objects(), Journal::new());
    let keys: Vec<Key> = (0..50u8).map(|n| Key::new("n", &[n]).unwrap()).collect();
    for key in &keys {
        let applied = writer.merge(&disk, &mut journal, key, &insert(1, 1_000), None);
        assert!(applied.is_ok());
    }
    disk.flush(&mut journal);
    let mut objects = Objects::new(5_000);
    for key in &keys {
        let entry = objects.load(&disk, &journal, &key.position()).unwrap();
        assert!(entry.is_some());
        assert!(objects.bytes <= 5_000 + 1_200, "{}", objects.bytes);
    }
}
