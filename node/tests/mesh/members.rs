//! Nodes with folders of their own, and what to wait for.

use std::time::{Duration, Instant};

use meshwork::Mesh;
use meshwork::setup::{self, SetupOptions};
use meshwork_sync::Key;
use tempfile::TempDir;

/// A member's folder and its running node.
pub(crate) struct Member {
    pub(crate) folder: TempDir,
    pub(crate) mesh: Mesh,
}

pub(crate) async fn start(folder: &TempDir) -> Mesh {
    Mesh::builder(folder.path())
        .config(quick())
        .start()
        .await
        .unwrap()
}

pub(crate) fn quick() -> meshwork::core::NodeConfig {
    meshwork::core::NodeConfig {
        membership: meshwork_membership::Config::loopback(),
        ..meshwork::core::NodeConfig::default()
    }
}

pub(crate) fn options(name: &str) -> SetupOptions {
    SetupOptions {
        name: Some(name.into()),
        listen: Some("127.0.0.1:0".parse().unwrap()),
        http: Some("127.0.0.1:0".parse().unwrap()),
        ..SetupOptions::default()
    }
}

/// Founds a mesh and lets `count - 1` further nodes join it.
pub(crate) async fn mesh_of(count: usize) -> Vec<Member> {
    mesh_with(count, options).await
}

/// The same with nodes that can all vote in the strong group.
pub(crate) async fn mesh_of_voters(count: usize) -> Vec<Member> {
    let voter = |name: &str| SetupOptions {
        voter: true,
        ..options(name)
    };
    mesh_with(count, voter).await
}

async fn mesh_with(count: usize, options: fn(&str) -> SetupOptions) -> Vec<Member> {
    let folder = tempfile::tempdir().unwrap();
    setup::found(folder.path(), "home", &options("n0")).unwrap();
    let mesh = start(&folder).await;
    let mut members = vec![Member { folder, mesh }];
    for n in 1..count {
        let joined = join_with(&members[0].mesh, &options(&format!("n{n}"))).await;
        members.push(joined);
    }
    settle(&members).await;
    members
}

pub(crate) async fn join(inviter: &Mesh, name: &str) -> Member {
    join_with(inviter, &options(name)).await
}

async fn join_with(inviter: &Mesh, options: &SetupOptions) -> Member {
    until("the inviter has an address", || async {
        !inviter.addresses().is_empty()
    })
    .await;
    let ticket = inviter.invite(Duration::from_secs(60)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    setup::join(folder.path(), &ticket, options, Duration::from_secs(10))
        .await
        .unwrap();
    let mesh = start(&folder).await;
    Member { folder, mesh }
}

/// Waits until everybody sees everybody alive and connected, and nothing moves any more.
pub(crate) async fn settle(members: &[Member]) {
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
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a node has delivered everything.
pub(crate) async fn settle_lag(mesh: &Mesh) {
    until("everything is delivered", || async {
        mesh.status().await.unwrap().outbox_deltas == 0
    })
    .await;
}

pub(crate) fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}
