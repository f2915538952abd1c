//! Changes of strong keys, told in their order.

use std::collections::BTreeMap;
use std::time::Duration;

use meshwork::Mesh;
use meshwork::strong::{KeyOp, Owner, Revision, StrongEvent, StrongWatch, Transaction};
use meshwork_sync::Key;

use crate::members::key;
use crate::strong::group_of;

const PATIENCE: Duration = Duration::from_secs(20);

async fn next(watch: &mut StrongWatch) -> (Revision, Vec<Key>) {
    match tokio::time::timeout(PATIENCE, watch.next()).await.unwrap() {
        Some(StrongEvent::Changed { revision, keys }) => (revision, keys),
        event => panic!("{event:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_told_in_their_order_and_from_any_revision_on() {
    let members = group_of(1).await;
    let mesh = &members[0].mesh;
    let keys = mesh.strong("bank").unwrap();
    keys.create().await.unwrap();
    keys.put("w/0", "before").await.unwrap();
    let mut watch = keys.watch("w/").await.unwrap();
    let mut made = Vec::new();
    for n in 1..=10 {
        let name = format!("w/{n}");
        made.push((
            keys.put(&name, "1").await.unwrap(),
            vec![key(&format!("bank/{name}"))],
        ));
        keys.put("other", "1").await.unwrap();
    }
    keys.delete("w/none").await.unwrap();
    made.push((keys.delete("w/1").await.unwrap(), vec![key("bank/w/1")]));
    let put = |name: &str| KeyOp::Put {
        key: key(name),
        value: vec![],
        owner: Owner::Nobody,
    };
    let transaction = Transaction {
        then: vec![put("bank/w/b"), put("bank/x"), put("bank/w/a")],
        ..Transaction::default()
    };
    keys.transact(transaction).await.unwrap();
    let both = vec![key("bank/w/b"), key("bank/w/a")];
    for made in &made {
        assert_eq!(&next(&mut watch).await, made);
    }
    let (last, told) = next(&mut watch).await;
    assert_eq!(told, both, "what changed at once is told at once");
    made.push((last, told));
    for (n, (revision, _)) in made.iter().enumerate() {
        let mut resumed = keys.watch_after("w/", *revision);
        for made in &made[n + 1..] {
            assert_eq!(&next(&mut resumed).await, made);
        }
    }
    let more = tokio::time::timeout(Duration::from_millis(300), watch.next()).await;
    assert!(more.is_err(), "{more:?}");
    mesh.stop().await;
    assert_eq!(watch.next().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_too_late_is_told_so_and_goes_on() {
    let members = group_of(1).await;
    let keys = members[0].mesh.strong("bank").unwrap();
    keys.create().await.unwrap();
    let begin = keys.put("w", "1").await.unwrap();
    for _ in 0..600 {
        let put = |n| KeyOp::Put {
            key: key(&format!("bank/x{n}")),
            value: vec![],
            owner: Owner::Nobody,
        };
        let transaction = Transaction {
            then: (0..128).map(put).collect(),
            ..Transaction::default()
        };
        keys.transact(transaction).await.unwrap();
    }
    let last = keys.put("w", "2").await.unwrap();
    let mut watch = keys.watch_after("w", begin);
    let event = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap();
    assert_eq!(event, Some(StrongEvent::Missed { revision: last }));
    let (revision, found) = keys.list("w", None).await.unwrap();
    assert_eq!((revision, &found[0].1.value[..]), (last, &b"2"[..]));
    let after = keys.put("w", "3").await.unwrap();
    assert_eq!(next(&mut watch).await, (after, vec![key("bank/w")]));
}

/// Writes until told to stop; what was done when.
async fn write(mesh: Mesh, client: usize, count: usize) -> BTreeMap<Revision, Key> {
    let keys = mesh.strong("bank").unwrap().within(Duration::from_secs(15));
    let mut made = BTreeMap::new();
    for n in 0..count {
        let name = format!("w/{client}/{n}");
        if let Ok(revision) = keys.put(&name, "1").await {
            made.insert(revision, key(&format!("bank/{name}")));
        }
    }
    made
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_change_is_missed_when_the_group_s_leader_is_lost() {
    let members = group_of(3).await;
    let keys = members[0].mesh.strong("bank").unwrap();
    keys.create().await.unwrap();
    let begin = keys.put("w", "1").await.unwrap();
    let led = members[0].mesh.status().await.unwrap().strong.leader;
    let leads = |n: &usize| Some(members[*n].mesh.id().to_string()) == led;
    let away = (0..3).find(leads).unwrap();
    let here: Vec<&Mesh> = (0..3)
        .filter(|n| *n != away)
        .map(|n| &members[n].mesh)
        .collect();
    let mut watch = here[0].strong("bank").unwrap().watch_after("w/", begin);
    let writers: Vec<_> = (0..4)
        .map(|client| tokio::spawn(write(here[client % 2].clone(), client, 60)))
        .collect();
    for _ in 0..20 {
        next(&mut watch).await;
    }
    members[away].mesh.stop().await;
    let mut made = BTreeMap::new();
    for writer in writers {
        made.append(&mut writer.await.unwrap());
    }
    let keys = here[1].strong("bank").unwrap().within(PATIENCE);
    let end = keys.put("w/end", "1").await.unwrap();
    let mut told = BTreeMap::new();
    let mut watch = keys.watch_after("w/", begin);
    let mut last = begin;
    while last < end {
        let (revision, keys) = next(&mut watch).await;
        assert!(revision > last && keys.len() == 1);
        last = revision;
        told.insert(revision, keys[0].clone());
    }
    for (revision, key) in &made {
        assert_eq!(told.get(revision), Some(key));
    }
    assert!(made.len() > 200, "{}", made.len());
}
