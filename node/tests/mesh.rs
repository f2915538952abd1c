//! Whole nodes in one process, over real sockets on loopback.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use meshwork::setup::{self, SetupOptions};
use meshwork::{Ended, Mesh, Options, RequestError, StartMesh, ValueError, WatchEvent};
use meshwork_crdt::{ApplyOp, Op};
use meshwork_sync::{Key, Level, Prefix, WriteError};
use tempfile::TempDir;

/// A member's folder and its running node.
struct Member {
    folder: TempDir,
    mesh: Mesh,
}

async fn start(folder: &TempDir) -> Mesh {
    Mesh::builder(folder.path())
        .config(quick())
        .start()
        .await
        .unwrap()
}

fn quick() -> meshwork::core::NodeConfig {
    meshwork::core::NodeConfig {
        membership: meshwork_membership::Config::loopback(),
        ..meshwork::core::NodeConfig::default()
    }
}

fn options(name: &str) -> SetupOptions {
    SetupOptions {
        name: Some(name.into()),
        listen: Some("127.0.0.1:0".parse().unwrap()),
        http: Some("127.0.0.1:0".parse().unwrap()),
        ..SetupOptions::default()
    }
}

/// Founds a mesh and lets `count - 1` further nodes join it.
async fn mesh_of(count: usize) -> Vec<Member> {
    let folder = tempfile::tempdir().unwrap();
    setup::found(folder.path(), "home", &options("n0")).unwrap();
    let mesh = start(&folder).await;
    let mut members = vec![Member { folder, mesh }];
    for n in 1..count {
        let joined = join(&members[0].mesh, &format!("n{n}")).await;
        members.push(joined);
    }
    settle(&members).await;
    members
}

async fn join(inviter: &Mesh, name: &str) -> Member {
    until("the inviter has an address", || async {
        !inviter.addresses().is_empty()
    })
    .await;
    let ticket = inviter.invite(Duration::from_secs(60)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    setup::join(
        folder.path(),
        &ticket,
        &options(name),
        Duration::from_secs(10),
    )
    .await
    .unwrap();
    let mesh = start(&folder).await;
    Member { folder, mesh }
}

/// Waits until everybody sees everybody alive and connected, and nothing moves any more.
async fn settle(members: &[Member]) {
    until("all members see each other and nothing moves", || async {
        for member in members {
            let Some(status) = member.mesh.status().await else {
                return false;
            };
            let good = status
                .members
                .iter()
                .filter(|m| m.state == "alive" && (m.me || m.connected))
                .count();
            if good != members.len()
                || status.partitions_filling > 0
                || status.partitions_leaving > 0
                || status.outbox_deltas > 0
            {
                return false;
            }
        }
        true
    })
    .await;
}

/// Polls a condition until it holds, for at most 20 s.
async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_write_on_one_node_is_seen_by_a_quorum_read_on_every_other() {
    let members = mesh_of(5).await;
    for (n, writer) in members.iter().enumerate() {
        let options = Options::level(Level::Quorum);
        let stats = writer.mesh.namespace("stats").unwrap().with(options);
        for key in 0..20 {
            stats.counter(&format!("k{key}")).add(1).await.unwrap();
        }
        for reader in &members {
            let stats = reader.mesh.namespace("stats").unwrap().with(options);
            for key in 0..20 {
                let value = stats.counter(&format!("k{key}")).get().await.unwrap();
                assert_eq!(value, n as i128 + 1, "key {key}");
            }
        }
    }
    for member in members {
        member.mesh.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sides_of_a_cut_both_take_writes_and_agree_after_it_heals() {
    let members = mesh_of(3).await;
    let ids: Vec<_> = members.iter().map(|m| m.mesh.id()).collect();
    members[0].mesh.cut([ids[1], ids[2]]);
    members[1].mesh.cut([ids[0]]);
    members[2].mesh.cut([ids[0]]);
    let local = Options::level(Level::Local);
    for (n, member) in members.iter().enumerate() {
        let tags = member.mesh.namespace("tags").unwrap().with(local);
        tags.set("all").add(format!("from {n}")).await.unwrap();
        tags.register("today")
            .put(format!("note {n}"))
            .await
            .unwrap();
    }
    for member in &members {
        member.mesh.cut([]);
    }
    let everything: BTreeSet<Vec<u8>> = (0..3).map(|n| format!("from {n}").into_bytes()).collect();
    for member in &members {
        let tags = member.mesh.namespace("tags").unwrap().with(local);
        until("the set holds what all sides added", || async {
            tags.set("all").elements().await.unwrap() == everything
        })
        .await;
        until("concurrent values of the register are all kept", || async {
            tags.register("today").siblings().await.unwrap().len() >= 2
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let mut members = mesh_of(1).await;
    let member = members.remove(0);
    let notes = member.mesh.namespace("notes").unwrap();
    notes.register("today").put("milk").await.unwrap();
    notes.counter("visits").add(2).await.unwrap();
    member.mesh.stop().await;
    let again = start(&member.folder).await;
    let notes = again.namespace("notes").unwrap();
    assert_eq!(
        notes.register("today").latest().await.unwrap().unwrap(),
        b"milk"
    );
    notes.counter("visits").add(1).await.unwrap();
    assert_eq!(notes.counter("visits").get().await.unwrap(), 3);
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_on_a_node_that_holds_no_copy_hears_of_changes() {
    let members = mesh_of(5).await;
    let mut watches = Vec::new();
    for member in &members {
        watches.push(
            member
                .mesh
                .watch(Prefix::parse("notes/").unwrap())
                .await
                .unwrap(),
        );
    }
    let notes = members[0].mesh.namespace("notes").unwrap();
    // A subscription takes a moment to reach the others: write until everybody has heard.
    for mut watch in watches {
        let heard = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                notes.counter("n").add(1).await.unwrap();
                let next = tokio::time::timeout(Duration::from_millis(100), watch.next());
                if let Ok(Some(WatchEvent::Changed(key))) = next.await {
                    break key;
                }
            }
        });
        assert_eq!(heard.await.unwrap().to_string(), "notes/n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_hands_over_and_a_new_one_takes_its_share() {
    let mut members = mesh_of(4).await;
    let quorum = Options::level(Level::Quorum);
    let notes = members[0].mesh.namespace("notes").unwrap().with(quorum);
    for key in 0..100 {
        notes
            .register(&format!("k{key}"))
            .put(format!("v{key}"))
            .await
            .unwrap();
    }
    let leaver = members.remove(3);
    assert_eq!(leaver.mesh.leave(Duration::from_secs(20)).await, Some(true));
    settle(&members).await;
    let newcomer = join(&members[1].mesh, "new").await;
    members.push(newcomer);
    settle(&members).await;
    for member in &members {
        let notes = member.mesh.namespace("notes").unwrap().with(quorum);
        for key in 0..100 {
            let value = notes.register(&format!("k{key}")).latest().await.unwrap();
            assert_eq!(value, Some(format!("v{key}").into_bytes()));
        }
    }
}

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

/// Waits until a node has delivered everything.
async fn settle_lag(mesh: &Mesh) {
    until("everything is delivered", || async {
        mesh.status().await.unwrap().outbox_deltas == 0
    })
    .await;
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
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
