//! What members do while all is well, or only the network is not.

use std::collections::BTreeSet;
use std::time::Duration;

use meshwork::{Options, RequestError, ValueError, WatchEvent};
use meshwork_sync::{Level, Prefix};

use crate::members::{Member, join, mesh_of, settle, start, until};

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

/// Its port is another one than before, so the others cannot call it: it must remember them.
#[tokio::test(flavor = "multi_thread")]
async fn a_founder_that_restarts_elsewhere_finds_its_mesh() {
    let mut members = mesh_of(3).await;
    let Member { folder, mesh } = members.remove(0);
    mesh.stop().await;
    let mesh = start(&folder).await;
    members.insert(0, Member { folder, mesh });
    settle(&members).await;
    for member in members {
        member.mesh.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_hands_over_all_that_it_acknowledged_to_those_who_go_on_writing() {
    let mut members = mesh_of(3).await;
    let leaver = members.remove(2).mesh;
    let options = Options::level(Level::Local);
    let notes = leaver.namespace("notes").unwrap().with(options);
    let writer = tokio::spawn(async move {
        let tags = notes.set("tags");
        let mut kept = BTreeSet::new();
        for count in 0.. {
            let tag = format!("{count}").into_bytes();
            match tags.add(tag.clone()).await {
                Ok(_) => drop(kept.insert(tag)),
                Err(ValueError::Write(RequestError::Stopped)) => break,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
        kept
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(leaver.leave(Duration::from_secs(20)).await, Some(true));
    let kept = writer.await.unwrap();
    settle(&members).await;
    let notes = members[0].mesh.namespace("notes").unwrap();
    let lost = kept.len() - notes.set("tags").elements().await.unwrap().len();
    assert_eq!(lost, 0, "of {}", kept.len());
}
