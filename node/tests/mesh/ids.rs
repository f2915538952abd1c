//! Numbers and ids that are nobody else's.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use meshwork::Mesh;
use meshwork::strong::{IdError, Ids, KeyOp, Lease, Owner, Transaction};

use crate::members::{key, until};
use crate::strong::group_of;

/// 2026-06-01, in ms since 1970.
const JUNE: u64 = 1_780_272_000_000;

/// A clock that tells what is in it.
fn clock(at: u64) -> (Arc<AtomicU64>, impl Fn() -> u64 + Send + Sync + 'static) {
    let clock = Arc::new(AtomicU64::new(at));
    let told = Arc::clone(&clock);
    (clock, move || told.load(Ordering::SeqCst))
}

async fn draw(ids: &Ids, count: usize) -> Vec<u64> {
    let mut drawn = Vec::with_capacity(count);
    for _ in 0..count {
        drawn.push(ids.next().await.unwrap());
    }
    drawn
}

async fn revision(mesh: &Mesh) -> u64 {
    mesh.status().await.unwrap().strong.revision
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_is_drawn_once() {
    let members = group_of(1).await;
    let mesh = members[0].mesh.clone();
    let sequence = mesh.sequence(&key("billing/invoices"));
    assert_eq!(sequence.next(3).await.unwrap(), 1..4);
    let mut all = BTreeSet::new();
    let drawers: Vec<_> = (0..4)
        .map(|_| {
            let sequence = sequence.clone();
            tokio::spawn(async move {
                let mut drawn = Vec::new();
                for _ in 0..25 {
                    drawn.extend(sequence.next(2).await.unwrap());
                }
                drawn
            })
        })
        .collect();
    for drawer in drawers {
        let drawn = drawer.await.unwrap();
        assert!(drawn.is_sorted());
        all.extend(drawn);
    }
    assert!(all.into_iter().eq(4..204));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_ids_of_each_are_unique_and_ascend_without_the_group() {
    let members = group_of(1).await;
    let mesh = &members[0].mesh;
    let (first, second) = (mesh.ids().open().await, mesh.ids().open().await);
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_ne!(first.worker(), second.worker());
    let before = revision(mesh).await;
    let mut all = BTreeSet::new();
    for ids in [&first, &second] {
        let drawn = draw(ids, 100_000).await;
        assert!(drawn.is_sorted_by(|a, b| a < b));
        assert!(drawn.iter().all(|id| (id >> 12) & 0x3ff == ids.worker()));
        all.extend(drawn);
    }
    assert_eq!(all.len(), 200_000);
    let asked = revision(mesh).await - before;
    assert!(asked < 200, "{asked} requests for 200,000 ids");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_back_makes_no_id_twice() {
    let members = group_of(1).await;
    let (time, told) = clock(JUNE);
    let ids = members[0].mesh.ids().clock(told).open().await.unwrap();
    let mut last = 0;
    // Back by an hour, forward by a day, back by ten years.
    for at in [
        JUNE,
        JUNE - 3_600_000,
        JUNE + 86_400_000,
        JUNE - 315_360_000_000,
    ] {
        time.store(at, Ordering::SeqCst);
        let drawn = draw(&ids, 10_000).await;
        assert!(drawn.is_sorted_by(|a, b| a < b) && drawn[0] > last);
        last = *drawn.last().unwrap();
    }
}

/// Takes all worker numbers but one, so that the next has no choice.
async fn leave_one(mesh: &Mesh, worker: u64) -> Lease {
    let lease = mesh.lease(Duration::from_secs(600)).await.unwrap();
    let put = |worker| KeyOp::Put {
        key: key(&format!("meshwork.ids/owner/{worker}")),
        value: b"test".to_vec(),
        owner: Owner::Session,
    };
    let others: Vec<u64> = (0..1_024).filter(|other| *other != worker).collect();
    for some in others.chunks(128) {
        let transaction = Transaction {
            then: some.iter().map(put).collect(),
            ..Transaction::default()
        };
        lease.transact(transaction).await.unwrap();
    }
    lease
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_a_worker_number_next_begins_beyond_its_former_owner() {
    let members = group_of(1).await;
    let mesh = &members[0].mesh;
    let (time, told) = clock(JUNE);
    let ids = mesh.ids().clock(told).open().await.unwrap();
    let worker = ids.worker();
    let all = leave_one(mesh, worker).await;
    let taken = mesh.ids().open().await;
    assert_eq!(taken.err(), Some(IdError::NoWorker));
    time.store(JUNE + 3_600_000, Ordering::SeqCst);
    let last = draw(&ids, 5_000).await.pop().unwrap();
    ids.close().await.unwrap();

    let (_, behind) = clock(JUNE - 86_400_000);
    let next = mesh.ids().clock(behind).open().await.unwrap();
    assert_eq!(next.worker(), worker);
    let drawn = draw(&next, 5_000).await;
    assert!(drawn[0] > last && drawn.is_sorted_by(|a, b| a < b));
    drop(all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_lease_it_gives_no_id_and_the_next_begins_beyond() {
    let members = group_of(3).await;
    let led = members[0].mesh.status().await.unwrap().strong.leader;
    let follows = |n: &usize| Some(members[*n].mesh.id().to_string()) != led;
    let away = (0..3).find(follows).unwrap();
    let here = (away + 1) % 3;
    let ids = members[away].mesh.ids().ttl(Duration::from_secs(1)).open();
    let ids = ids.await.unwrap();
    let all = leave_one(&members[here].mesh, ids.worker()).await;
    let mut last = ids.next().await.unwrap();
    let others = members.iter().map(|member| member.mesh.id());
    let others = others.filter(|other| *other != members[away].mesh.id());
    members[away].mesh.cut(others);
    while !ids.is_lost() {
        match ids.next().await {
            Ok(id) => {
                assert!(id > last);
                last = id;
            }
            Err(error) => assert_eq!(error, IdError::Lost),
        }
    }
    // Though the mark is still ahead.
    assert_eq!(ids.next().await, Err(IdError::Lost));
    until("the number is free", || async {
        let open = members[here].mesh.ids().open().await;
        match open {
            Ok(next) => {
                assert_eq!(next.worker(), ids.worker());
                assert!(next.next().await.unwrap() > last);
                true
            }
            Err(error) => {
                assert_eq!(error, IdError::NoWorker);
                false
            }
        }
    })
    .await;
    assert_eq!(ids.next().await, Err(IdError::Lost));
    drop(all);
}
