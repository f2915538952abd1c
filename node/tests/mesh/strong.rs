//! Strong keys and locks over real sockets and disks.

use std::time::Duration;

use meshwork::strong::{Finding, Query, StrongDone, StrongError, StrongRequest};
use meshwork::{Mesh, RequestError};
use meshwork_crdt::Op;
use meshwork_sync::{Key, WriteError};

use crate::members::{Member, mesh_of_voters, settle, start, until};

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

async fn voters(mesh: &Mesh) -> usize {
    let status = mesh.status().await.unwrap().strong;
    let voters = status
        .members
        .iter()
        .filter(|member| member.role == "voter");
    voters.count()
}

pub(crate) async fn group_of(count: usize) -> Vec<Member> {
    let members = mesh_of_voters(count).await;
    until("all of them vote", || async {
        let mut grown = true;
        for member in &members {
            grown &= voters(&member.mesh).await == count;
        }
        grown
    })
    .await;
    members
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_writes_another_reads_at_once_and_after_a_restart() {
    let mut members = group_of(3).await;
    let bank = members[0].mesh.strong("bank").unwrap();
    assert!(bank.create().await.unwrap());
    assert!(!bank.create().await.unwrap());
    bank.put("alice", "100").await.unwrap();
    let other = members[2].mesh.strong("bank").unwrap();
    assert_eq!(other.get("alice").await.unwrap().unwrap().value, b"100");
    assert!(
        other
            .compare_and_set("alice", Some(b"100"), "70")
            .await
            .unwrap()
    );
    assert!(
        !bank
            .compare_and_set("alice", Some(b"100"), "0")
            .await
            .unwrap()
    );
    // One after the other: a node that listens elsewhere after its restart is found by one that has not moved.
    for n in 0..members.len() {
        members[n].mesh.stop().await;
        members[n].mesh = start(&members[n].folder).await;
        settle(&members).await;
    }
    let bank = members[1].mesh.strong("bank").unwrap();
    until("the group is back", || async {
        bank.get("alice").await.is_ok()
    })
    .await;
    assert_eq!(bank.get("alice").await.unwrap().unwrap().value, b"70");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strong_key_is_no_key_of_the_other_kind() {
    let members = mesh_of_voters(2).await;
    let create = || async {
        members[0]
            .mesh
            .strong("bank")
            .unwrap()
            .create()
            .await
            .is_ok()
    };
    until("there is a group", create).await;
    let refused = || async {
        let mesh = &members[1].mesh;
        let put = Op::Put(b"0".to_vec());
        let options = meshwork::Options::default();
        let written = mesh.write(&key("bank/alice"), put, options).await;
        matches!(
            written,
            Err(RequestError::Refused(WriteError::Strong { .. }))
        )
    };
    until("all know of the namespace", refused).await;
    let unknown = members[1].mesh.strong("notes").unwrap().put("a", "b").await;
    assert!(unknown.is_err(), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_is_held_by_one_and_passes_on() {
    let members = group_of(3).await;
    let lock = key("jobs/nightly");
    let first = members[0].mesh.lock(&lock).acquire().await.unwrap();
    assert!(
        members[1]
            .mesh
            .lock(&lock)
            .try_acquire()
            .await
            .unwrap()
            .is_none()
    );
    let mesh = members[1].mesh.clone();
    let waiting = tokio::spawn(async move { mesh.lock(&key("jobs/nightly")).acquire().await });
    let queued = || async {
        let query = StrongRequest::Read(Query::Lock(lock.clone()));
        let found = members[2]
            .mesh
            .ask_strong(query, Duration::from_secs(5))
            .await;
        matches!(
            found,
            Ok(StrongDone::Found(Finding::Lock { waiters: 1, .. }))
        )
    };
    until("another stands in line", queued).await;
    let token = first.fencing_token();
    first.release().await.unwrap();
    let second = waiting.await.unwrap().unwrap();
    assert!(second.fencing_token() > token);
    drop(second);
    let third = members[2]
        .mesh
        .lock(&lock)
        .acquire_within(Duration::from_secs(10));
    assert!(third.await.is_ok(), "dropped, it is given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_lost_and_the_others_go_on() {
    let members = group_of(3).await;
    let bank = members[0].mesh.strong("bank").unwrap();
    bank.create().await.unwrap();
    bank.put("a", "1").await.unwrap();
    let leader = members[0].mesh.status().await.unwrap().strong.leader;
    let leads = |member: &&Member| Some(member.mesh.id().to_string()) == leader;
    members.iter().find(leads).unwrap().mesh.stop().await;
    let other = members.iter().find(|member| !leads(member)).unwrap();
    let bank = other
        .mesh
        .strong("bank")
        .unwrap()
        .within(Duration::from_secs(15));
    assert_eq!(bank.get("a").await.unwrap().unwrap().value, b"1");
    bank.put("a", "2").await.unwrap();
}

#[tokio::test]
async fn without_a_group_it_says_what_to_do() {
    let members = crate::members::mesh_of(1).await;
    let refused = members[0].mesh.strong("bank").unwrap().create().await;
    assert_eq!(refused, Err(RequestError::Refused(StrongError::NoGroup)));
}
