//! What a node must refuse, and what it must survive.

use std::path::{Path, PathBuf};
use std::time::Duration;

use meshwork::net::{Net, NetConfig, NetEvent, NetLimits, RefuseReason};
use meshwork::setup;
use meshwork::{Ended, Mesh, Options, RequestError, StartMesh, ValueError};
use meshwork_crdt::{ApplyOp, Op};
use meshwork_sync::{Level, WriteError};

use crate::members::{Member, key, mesh_of, options, quick, settle, settle_lag, start, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_folder_beside_its_original_is_turned_away_and_uses_no_dot_of_it() {
    let mut members = mesh_of(3).await;
    let original = members.remove(2);
    let notes = original.mesh.namespace("notes").unwrap();
    notes.counter("n").add(1).await.unwrap();
    settle_lag(&original.mesh).await;
    original.mesh.stop().await;
    let copy = tempfile::tempdir().unwrap();
    copy_folder(original.folder.path(), copy.path());

    let original_mesh = start(&original.folder).await;
    until("the original is back", || async {
        original_mesh
            .status()
            .await
            .unwrap()
            .members
            .iter()
            .filter(|m| m.connected)
            .count()
            == 2
    })
    .await;
    let copied_mesh = start(&copy).await;
    // What the copy writes meanwhile carries another replica id, so it could not be taken for the original's.
    let local = Options::level(Level::Local);
    let written = copied_mesh
        .write(&key("notes/n"), Op::Add(1), local)
        .await
        .unwrap();
    let own = original_mesh
        .write(&key("notes/n"), Op::Add(1), local)
        .await
        .unwrap();
    assert_ne!(written.dot.replica, own.dot.replica);
    let ended = tokio::time::timeout(Duration::from_secs(30), copied_mesh.ended()).await;
    assert_eq!(ended, Ok(Ended::Impostor));
    assert_eq!(
        original_mesh.status().await.unwrap().members.len(),
        3,
        "the original goes on"
    );
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_on_one_folder_is_refused_and_the_first_goes_on() {
    let mut members = mesh_of(1).await;
    let member = members.remove(0);
    let second = Mesh::builder(member.folder.path()).start().await;
    assert!(matches!(second, Err(StartMesh::Folder(_))), "{second:?}");
    member
        .mesh
        .namespace("notes")
        .unwrap()
        .counter("n")
        .add(1)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_refused_with_what_to_do() {
    let members = mesh_of(1).await;
    until("it listens", || async {
        !members[0].mesh.addresses().is_empty()
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    setup::found(folder.path(), "other", &options("n")).unwrap();
    let taken = members[0].mesh.addresses()[0];
    let refused = Mesh::builder(folder.path())
        .listen(taken)
        .start()
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("choose another address"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_one_kind_refuses_the_writes_of_another() {
    let mesh = mesh_of(1).await.remove(0).mesh;
    let local = Options::level(Level::Local);
    mesh.write(&key("notes/today"), Op::Put(b"milk".to_vec()), local)
        .await
        .unwrap();
    let refused = mesh
        .write(&key("notes/today"), Op::Add(1), local)
        .await
        .unwrap_err();
    assert!(
        matches!(
            refused,
            RequestError::Refused(WriteError::Apply(ApplyOp::WrongKind { .. }))
        ),
        "{refused:?}"
    );
    let value = mesh
        .namespace("notes")
        .unwrap()
        .register("today")
        .latest()
        .await
        .unwrap();
    assert_eq!(value, Some(b"milk".to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_over_its_limit_is_refused_and_changes_nothing() {
    let mesh = mesh_of(1).await.remove(0).mesh;
    let notes = mesh.namespace("notes").unwrap();
    let refused = notes
        .register("today")
        .put(vec![0; 600 << 10])
        .await
        .unwrap_err();
    assert!(
        matches!(
            refused,
            ValueError::Write(RequestError::Refused(WriteError::ValueTooLarge { .. }))
        ),
        "{refused:?}"
    );
    assert_eq!(notes.register("today").latest().await.unwrap(), None);
    let long = notes.register(&"n".repeat(1_025)).put("x").await;
    assert!(matches!(long, Err(ValueError::Key(_))), "{long:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_another_mesh_is_refused_counted_and_told_nothing() {
    let home = mesh_of(1).await.remove(0).mesh;
    let folder = tempfile::tempdir().unwrap();
    let stranger = setup::found(folder.path(), "other", &options("stranger")).unwrap();
    let (net, mut events) = Net::start(NetConfig {
        keypair: stranger.keypair.clone(),
        mesh: stranger.mesh,
        credential: stranger.credential.clone(),
        instance: 1,
        listen: Vec::new(),
        limits: NetLimits::default(),
    })
    .unwrap();
    until("it listens", || async { !home.addresses().is_empty() }).await;
    net.set_addresses(home.id(), home.addresses());
    net.want(home.id());
    let refused = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let event = events.recv().await.unwrap();
            if let NetEvent::RefusedByPeer { reason, .. } = event {
                break reason;
            }
            let let_in = matches!(event, NetEvent::Up { .. } | NetEvent::Frame { .. });
            assert!(!let_in, "{event:?}");
        }
    });
    assert_eq!(refused.await, Ok(RefuseReason::OtherMesh));
    let counted = home.net_stats().refused;
    assert_eq!(counted[0].0, RefuseReason::OtherMesh);
    assert_eq!(home.status().await.unwrap().members.len(), 1);
    net.shutdown().await;
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_gives_no_wrong_value_and_is_made_whole_by_the_others() {
    let mut members = mesh_of(3).await;
    let all = Options::level(Level::All);
    let notes = members[0].mesh.namespace("notes").unwrap().with(all);
    for n in 0..KEYS {
        notes.register(&n.to_string()).put(value(n)).await.unwrap();
    }
    let mut started_damaged = 0;
    for round in 0..6u64 {
        let Member { folder, mesh } = members.remove(2);
        mesh.stop().await;
        let store = folder.path().join("store");
        damage(&store, round);
        let advice = match Mesh::builder(folder.path()).config(quick()).start().await {
            Err(refused) => Some(refused.to_string()),
            Ok(mesh) => {
                started_damaged += 1;
                let advice = read_all(&mesh).await;
                mesh.stop().await;
                advice
            }
        };
        if let Some(advice) = advice {
            assert!(advice.contains("away"), "{advice}");
            std::fs::remove_dir_all(&store).unwrap();
        }
        let mesh = start(&folder).await;
        members.push(Member { folder, mesh });
        settle(&members).await;
        until("everything is there again", || async {
            read_all(&members[2].mesh).await.is_none()
        })
        .await;
    }
    assert!(started_damaged > 0, "every damage was noticed at the start");
    for member in members {
        member.mesh.stop().await;
    }
}

/// More than the engine keeps in its journal.
const KEYS: u32 = 160;

fn value(n: u32) -> Vec<u8> {
    n.to_be_bytes().repeat(25_000)
}

/// Reads every value from a node's own store. None may be wrong; the first that is missing or cannot be read is told.
async fn read_all(mesh: &Mesh) -> Option<String> {
    let local = Options::level(Level::Local);
    let notes = mesh.namespace("notes").unwrap().with(local);
    for n in 0..KEYS {
        match notes.register(&n.to_string()).latest().await {
            Ok(Some(found)) => assert_eq!(found, value(n), "a wrong value"),
            Ok(None) => return Some(format!("{n} is missing")),
            Err(error) => return Some(error.to_string()),
        }
    }
    None
}

/// Flips a bit of one of the store's files, or cuts it off.
fn damage(store: &Path, round: u64) {
    let mut files = Vec::new();
    files_in(store, &mut files);
    files.sort();
    // A flip in a table shows only when the record is read; all else is noticed at the start.
    if round % 2 == 1 {
        files.retain(|file| {
            file.parent()
                .is_some_and(|folder| folder.ends_with("tables"))
        });
    }
    let random = (round + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let path = &files[usize::try_from(random >> 32).unwrap() % files.len()];
    let mut bytes = std::fs::read(path).unwrap();
    // A journal is made larger than what is in it.
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
    let at = usize::try_from(random >> 8).unwrap() % (used + 1);
    if round % 3 == 2 {
        bytes.truncate(at);
    } else {
        bytes[at] ^= 1 << (random & 7);
    }
    std::fs::write(path, bytes).unwrap();
}

fn files_in(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => files_in(&entry.path(), found),
            false if entry.metadata().unwrap().len() > 0 => found.push(entry.path()),
            false => {}
        }
    }
}
