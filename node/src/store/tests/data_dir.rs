//! Who may use a data folder, and whether it is the one we left.

use std::fs;
use std::path::Path;
use std::process::Command;

use meshwork_sync::{Space, Store};

use super::put;
use crate::store::engine::Engine;
use crate::store::open::open_engine;
use crate::store::{
    CopySign, DataDir, Memory, OpenDataDir, Origin, Records, StoreConfig, write_atomically,
};

/// The store beside the folder: a memory that outlives the starts.
struct Node {
    engine: std::sync::Arc<Memory>,
}

impl Node {
    fn new() -> Self {
        Self {
            engine: std::sync::Arc::new(Memory::new(0)),
        }
    }

    /// A whole start and stop.
    fn start(&self, folder: &Path) -> Origin {
        let mut opened = DataDir::open(folder).unwrap();
        let store = Records::new(self.engine.clone());
        let origin = opened.origin(&store).unwrap();
        self.engine
            .commit(&opened.dir.next_generation().into())
            .unwrap();
        opened.dir.confirm().unwrap();
        origin
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

#[test]
fn a_new_folder_is_new_and_a_restarted_one_is_here() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("a/b");
    let node = Node::new();
    assert_eq!(node.start(&folder), Origin::New);
    for _ in 0..5 {
        assert_eq!(node.start(&folder), Origin::Here);
    }
}

#[test]
fn a_renamed_folder_is_here() {
    let folder = tempfile::tempdir().unwrap();
    let (was, is) = (folder.path().join("was"), folder.path().join("is"));
    let node = Node::new();
    node.start(&was);
    fs::rename(&was, &is).unwrap();
    assert_eq!(node.start(&is), Origin::Here);
}

#[test]
fn a_copied_folder_is_copied_once() {
    let folder = tempfile::tempdir().unwrap();
    let (was, is) = (folder.path().join("was"), folder.path().join("is"));
    let node = Node::new();
    node.start(&was);
    copy(&was, &is);
    assert!(DataDir::open(&is).unwrap().copied);
    assert_eq!(node.start(&is), Origin::Copied(CopySign::OtherFile));
    assert_eq!(node.start(&is), Origin::Here);
}

#[test]
fn a_folder_restored_under_its_own_name_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let (was, backup) = (folder.path().join("was"), folder.path().join("backup"));
    let node = Node::new();
    node.start(&was);
    copy(&was, &backup);
    fs::remove_dir_all(&was).unwrap();
    copy(&backup, &was);
    assert_eq!(node.start(&was), Origin::Copied(CopySign::OtherFile));
}

/// The files keep their inodes: only their content is set back.
#[test]
fn a_folder_restored_in_place_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let (was, backup) = (folder.path().join("was"), folder.path().join("backup"));
    let node = Node::new();
    node.start(&was);
    copy(&was, &backup);
    for name in ["marker", "witness"] {
        let content = fs::read(backup.join(name)).unwrap();
        fs::write(was.join(name), content).unwrap();
    }
    assert_eq!(node.start(&was), Origin::Copied(CopySign::OtherWitness));
}

#[test]
fn a_store_that_was_set_back_alone_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::new();
    node.start(folder.path());
    node.start(folder.path());
    let old = Node::new();
    let mut opened = DataDir::open(folder.path()).unwrap();
    let origin = opened.origin(&Records::new(old.engine.clone())).unwrap();
    assert_eq!(origin, Origin::Copied(CopySign::OtherGeneration));
    // Both count on from the greater number.
    old.engine
        .commit(&opened.dir.next_generation().into())
        .unwrap();
    opened.dir.confirm().unwrap();
    drop(opened);
    assert_eq!(old.start(folder.path()), Origin::Here);
}

#[test]
fn a_crash_between_batch_and_marker_is_no_copy() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::new();
    node.start(folder.path());
    let opened = DataDir::open(folder.path()).unwrap();
    node.engine
        .commit(&opened.dir.next_generation().into())
        .unwrap();
    drop(opened);
    assert_eq!(node.start(folder.path()), Origin::Here);
}

#[test]
fn a_crash_in_the_first_start_draws_a_new_id() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::new();
    let opened = DataDir::open(folder.path()).unwrap();
    node.engine
        .commit(&opened.dir.next_generation().into())
        .unwrap();
    drop(opened);
    let origin = node.start(folder.path());
    assert_eq!(origin, Origin::Copied(CopySign::NoMarker));
}

#[test]
fn a_marker_of_noise_makes_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::new();
    node.start(folder.path());
    for noise in [&b""[..], b"\xff", &[0xff; 1_000]] {
        fs::write(folder.path().join("marker"), noise).unwrap();
        assert!(matches!(node.start(folder.path()), Origin::Copied(_)));
    }
}

#[test]
fn a_damaged_generation_record_makes_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::new();
    node.start(folder.path());
    let key = Records::new(node.engine.clone())
        .scan(Space::Meta, b"\xff", None, 1)
        .unwrap()[0]
        .0
        .clone();
    assert!(node.engine.flip_bit(Space::Meta, &key, 3));
    let origin = node.start(folder.path());
    assert_eq!(origin, Origin::Copied(CopySign::OtherGeneration));
}

/// The whole chain: damage in the middle of a journal, which the engine takes for a torn end, draws a new replica id.
#[test]
fn a_journal_that_lost_acknowledged_batches_makes_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let start = |sizes: &StoreConfig| {
        let mut opened = DataDir::open(folder.path()).unwrap();
        let engine = open_engine(&opened.dir.store_folder(), sizes).unwrap();
        let origin = opened.origin(&Records::new(engine.clone())).unwrap();
        engine.commit(&opened.dir.next_generation().into()).unwrap();
        opened.dir.confirm().unwrap();
        for number in 0..50_u8 {
            engine
                .commit(&put(Space::Objects, &[number, 1], &[7; 100]).into())
                .unwrap();
        }
        engine.close().unwrap();
        origin
    };
    let config = StoreConfig::default();
    assert_eq!(start(&config), Origin::New);
    assert_eq!(start(&config), Origin::Here);
    let journal = folder.path().join("store/fjall/0.jnl");
    let file = fs::File::options().write(true).open(&journal).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xee; 64], 8_000).unwrap();
    let lost = Origin::Copied(CopySign::LostRecords);
    assert_eq!(start(&config), lost);
    assert_eq!(start(&config), Origin::Here);
}

#[test]
fn a_second_start_is_refused_with_folder_and_process() {
    let folder = tempfile::tempdir().unwrap();
    let first = DataDir::open(folder.path()).unwrap();
    let second = DataDir::open(folder.path()).unwrap_err();
    let OpenDataDir::InUse { holder, .. } = &second else {
        panic!("{second}");
    };
    assert_eq!(*holder, Some(std::process::id()));
    let text = second.to_string();
    assert!(
        text.contains(&folder.path().display().to_string()),
        "{text}"
    );
    drop(first);
    DataDir::open(folder.path()).unwrap();
}

#[test]
fn a_folder_of_another_format_or_of_somebody_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), "chapter 1").unwrap();
    let opened = DataDir::open(folder.path());
    assert!(matches!(opened, Err(OpenDataDir::Format { .. })));
    fs::write(folder.path().join("format"), "meshwork data 2\n").unwrap();
    let Err(OpenDataDir::Format { found, .. }) = DataDir::open(folder.path()) else {
        panic!("opened");
    };
    assert_eq!(found, "meshwork data 2\n");
}

#[test]
#[cfg(unix)]
fn only_the_owner_may_enter_a_new_folder_and_read_its_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("data");
    Node::new().start(&folder);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("store")), 0o700);
    assert_eq!(mode(&folder.join("marker")), 0o600);
}

#[test]
fn writing_a_file_replaces_it_whole_and_leaves_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    write_atomically(&path, b"a long first content").unwrap();
    write_atomically(&path, b"second").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"second");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let nowhere = folder.path().join("absent/file");
    assert!(write_atomically(&nowhere, b"x").is_err());
}
