//! A log whose end was torn or damaged: it goes on without what no disk had said yes to, or says that more is lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use meshwork_crdt::ReplicaId;
use meshwork_membership::{NodeId, Time};
use meshwork_sync::{Origin, Space, Store};

use super::group::{create, group, put};
use super::net::ms;
use crate::store::tests::damage::used;
use crate::store::{Memory, OpenStore, Outcome as StoreOutcome, Records, StoreConfig};
use crate::strong::core::{Ability, Strong, StrongOutput, StrongSetup};
use crate::strong::group::GroupConfig;
use crate::strong::log::Log;
use crate::strong::records::entry_key;

fn setup() -> StrongSetup {
    StrongSetup {
        me: NodeId::from_bytes([1; 32]),
        founder: NodeId::from_bytes([1; 32]),
        replica: ReplicaId::from_bytes([1; 8]),
        origin: Origin::Founder,
        ability: Ability::Votes,
        config: GroupConfig::default(),
        random_seed: 61,
    }
}

fn last(strong: &Strong) -> u64 {
    strong.group().map_or(0, |group| group.log().last())
}

/// The bytes of a journal up to the last that is written.
fn written(path: &Path) -> Vec<u8> {
    let mut bytes = used(path);
    let last = bytes.iter().rposition(|byte| *byte != 0);
    bytes.truncate(last.map_or(0, |last| last + 1));
    bytes
}

fn journal(folder: &Path) -> PathBuf {
    let found = fs::read_dir(folder.join("fjall")).unwrap();
    let mut found = found.map(|entry| entry.unwrap().path());
    let is_journal = |path: &PathBuf| path.extension().is_some_and(|end| end == "jnl");
    found.find(is_journal).unwrap()
}

/// Where the journal and the log ended after each batch.
type Ends = Vec<(usize, u64)>;

/// A voter alone that has written something, on a disk, and killed.
fn fill(folder: &Path, killed: &Path) -> Ends {
    let (sender, answers) = sync_channel(16);
    let on_outcome = move |outcome| sender.send(outcome).unwrap();
    let (store, committer) = OpenStore::open(folder, StoreConfig::default(), on_outcome).unwrap();
    let mut now = Time::ZERO;
    let mut strong = Strong::open(setup(), store, now);
    let (mut ends, mut batch) = (Ends::new(), 0);
    let requests = [create("a")];
    let puts = (0..5).map(|n| put(&format!("a/{n}"), b"some value"));
    for (id, request) in (1..).zip(requests.into_iter().chain(puts)) {
        strong.request(now, id, request, ms(5_000));
        loop {
            match strong.poll_output() {
                Some(StrongOutput::Store(stored, changes)) => {
                    batch += 1;
                    committer.submit(batch, changes).unwrap();
                    let outcome = answers.recv().unwrap();
                    assert_eq!(outcome, StoreOutcome::Stored { id: batch });
                    strong.handle_stored(now, stored);
                    ends.push((written(&journal(folder)).len(), last(&strong)));
                }
                Some(StrongOutput::Done(of, done)) => {
                    assert!(of == id && done.is_ok(), "{done:?}");
                    break;
                }
                Some(_) => {}
                None => {
                    now = strong.poll_timeout().unwrap().max(now);
                    strong.handle_timeout(now);
                }
            }
        }
    }
    copy(folder, killed);
    committer.close().unwrap();
    ends
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = (
            entry.as_ref().unwrap().path(),
            to.join(entry.unwrap().file_name()),
        );
        if path.is_dir() {
            copy(&path, &target);
        } else if path.extension().is_some_and(|end| end == "jnl") {
            // Nearly all of its 64 MiB is a hole.
            fs::write(&target, written(&path)).unwrap();
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// What is found of a log.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// It goes on behind this entry.
    Log(u64),
    /// This node has lost what it may have promised, and knows.
    Lost,
}

fn open(folder: &Path) -> Found {
    let opened = OpenStore::open(folder, StoreConfig::default(), |_| {});
    let Ok((store, committer)) = opened else {
        return Found::Lost;
    };
    // With that the whole folder counts as another's copy: its voter is one no more.
    let lost = folder.join("fjall").join("lost").exists();
    let found = match Log::open(&store) {
        Ok(Some(log)) if !lost => Found::Log(log.last()),
        Ok(None) if !lost => Found::Log(0),
        Ok(_) | Err(_) => Found::Lost,
    };
    committer.close().unwrap();
    found
}

/// Whether nothing is lost in silence when the journal is this: all is there, but for the last batch, which no disk may have said yes to.
fn check(killed: &Path, bytes: &[u8], ends: &Ends, what: &str) -> Found {
    let folder = tempfile::tempdir().unwrap();
    copy(killed, folder.path());
    fs::write(journal(folder.path()), bytes).unwrap();
    let found = open(folder.path());
    let (_, least) = ends[ends.len() - 2];
    assert!(
        !matches!(found, Found::Log(last) if last < least),
        "{what}: {found:?} of {ends:?}"
    );
    found
}

#[test]
fn a_log_that_is_cut_or_damaged_anywhere_near_its_end_loses_no_more_than_its_last_batch_in_silence()
{
    let (folder, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ends = fill(folder.path(), killed.path());
    let bytes = written(&journal(killed.path()));
    let [(first, _), (last_but_one, before), (end, all)] = ends[ends.len() - 3..] else {
        panic!("{ends:?}");
    };
    assert!(before < all, "the last batch holds an entry: {ends:?}");
    assert_eq!(
        check(killed.path(), &bytes, &ends, "whole"),
        Found::Log(all)
    );
    // A torn end is no reason to stay out.
    for cut in last_but_one..end {
        let what = format!("cut at {cut}");
        let found = check(killed.path(), &bytes[..cut], &ends, &what);
        assert_eq!(found, Found::Log(before), "{what} of {ends:?}");
    }
    for at in first..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        check(
            killed.path(),
            &damaged,
            &ends,
            &format!("bit {} of byte {at}", at % 8),
        );
    }
}

#[test]
fn every_bit_of_the_last_two_records_counts() {
    let mut net = group(62, 3);
    for n in 0..3 {
        net.get(0, put(&format!("a/{n}"), b"1")).unwrap();
    }
    net.run_for(ms(1_000));
    let last = net.group(0).unwrap().log().last();
    let image = net.hosts[0].engine.image(0);
    for index in [last - 1, last] {
        let key = entry_key(index);
        let sealed = Records::new(Arc::new(image.image(0))).get(Space::Strong, &key);
        // The seal behind it is eight bytes.
        let bits = (sealed.unwrap().unwrap().len() + 8) * 8;
        for bit in 0..bits {
            let engine: Arc<Memory> = Arc::new(image.image(0));
            assert!(engine.flip_bit(Space::Strong, &key, bit));
            let strong = net.opened(0, engine);
            let out = strong.out().expect("damage is found");
            assert!(out.contains("join anew in an empty folder"), "{out}");
            assert!(strong.group().is_none());
        }
    }
}

/// A record that is missing between others is damage too; at the end it is what no disk had said yes to.
#[test]
fn a_record_that_is_missing_counts() {
    let mut net = group(63, 3);
    for n in 0..3 {
        net.get(0, put(&format!("a/{n}"), b"1")).unwrap();
    }
    net.run_for(ms(1_000));
    let last = net.group(0).unwrap().log().last();
    let mut batch = meshwork_sync::Batch::default();
    batch.delete(Space::Strong, entry_key(last - 1));
    let mut flush = crate::store::Group::default();
    flush.add(&batch);
    let engine = Arc::new(net.hosts[0].engine.image(0));
    crate::store::Engine::commit(&*engine, &flush).unwrap();
    assert!(net.opened(0, engine).out().is_some());
}
