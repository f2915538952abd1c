//! Leases, and what ends with them.

use std::time::Duration;

use meshwork::RequestError;
use meshwork::strong::{
    Condition, KeyOp, Owner, Refusal, Revision, StrongError, StrongKeyError, StrongNamespace,
    Transaction,
};

use crate::members::{join, key, until};
use crate::strong::group_of;

const TTL: Duration = Duration::from_secs(1);

async fn is_there(keys: &StrongNamespace, name: &str) -> bool {
    keys.get(name).await.unwrap().is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_gone_with_the_lease_that_owns_them() {
    let members = group_of(1).await;
    let mesh = &members[0].mesh;
    let keys = mesh.strong("services").unwrap();
    keys.create().await.unwrap();
    let lease = mesh.lease(TTL).await.unwrap();
    for name in ["a", "b", "c"] {
        keys.put_leased(&lease, name, "1").await.unwrap();
    }
    keys.put("b", "2").await.unwrap();
    // It lives for longer than its time without anybody's doing.
    tokio::time::sleep(TTL * 2).await;
    assert!(!lease.is_lost() && is_there(&keys, "a").await);
    lease.revoke().await.unwrap();
    assert!(!is_there(&keys, "a").await && !is_there(&keys, "c").await);
    assert!(is_there(&keys, "b").await, "another has taken it");

    let lease = mesh.lease(TTL).await.unwrap();
    let put = KeyOp::Put {
        key: key("services/d"),
        value: b"1".to_vec(),
        owner: Owner::Session,
    };
    let transaction = Transaction {
        conditions: vec![Condition::Unchanged {
            key: key("services/d"),
            since: Revision(0),
        }],
        then: vec![put],
        otherwise: vec![],
    };
    lease.transact(transaction.clone()).await.unwrap();
    assert!(is_there(&keys, "d").await);
    drop(lease.clone());
    assert!(is_there(&keys, "d").await, "one clone of two lives");
    drop(lease);
    until("dropped, it is given back", || async {
        !is_there(&keys, "d").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_was_revoked_owns_nothing_more() {
    let members = group_of(1).await;
    let mesh = &members[0].mesh;
    let keys = mesh.strong("services").unwrap();
    keys.create().await.unwrap();
    let lease = mesh.lease(TTL).await.unwrap();
    let other = lease.clone();
    lease.revoke().await.unwrap();
    tokio::time::timeout(TTL, other.lost()).await.unwrap();
    assert!(other.is_lost());
    let refused = keys.put_leased(&other, "a", "1").await.unwrap_err();
    let StrongKeyError::Request(RequestError::Refused(StrongError::Refused(refusal))) = refused
    else {
        panic!("{refused:?}");
    };
    assert!(matches!(refusal, Refusal::SessionExpired { .. }));
    assert!(!is_there(&keys, "a").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_holds_locks_and_keys_at_once() {
    let members = group_of(1).await;
    let mesh = &members[0].mesh;
    let keys = mesh.strong("services").unwrap();
    keys.create().await.unwrap();
    let lease = mesh.lease(TTL).await.unwrap();
    let (one, two) = (key("jobs/1"), key("jobs/2"));
    let is_free = |lock| async move { mesh.lock(lock).try_acquire().await.unwrap().is_some() };
    let first = mesh.lock(&one).with(&lease).acquire().await.unwrap();
    let second = mesh.lock(&two).with(&lease).acquire().await.unwrap();
    keys.put_leased(&lease, "a", "1").await.unwrap();
    let again = mesh.lock(&one).with(&lease).try_acquire().await.unwrap();
    let token = first.fencing_token();
    assert_eq!(again.unwrap().fencing_token(), token, "it has it already");
    drop(first);
    assert!(!is_free(&one).await, "the lease holds it");
    second.release().await.unwrap();
    assert!(is_free(&two).await && !lease.is_lost());
    assert!(is_there(&keys, "a").await);
    let third = mesh.lock(&two).with(&lease).acquire().await.unwrap();
    lease.revoke().await.unwrap();
    assert!(third.is_lost());
    assert!(is_free(&one).await && is_free(&two).await && !is_there(&keys, "a").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_a_node_that_is_gone_are_gone_in_time() {
    let members = group_of(1).await;
    let keys = members[0].mesh.strong("services").unwrap();
    keys.create().await.unwrap();
    let guest = join(&members[0].mesh, "guest").await;
    let led = || async { guest.mesh.lease(TTL).await.is_ok() };
    until("the guest knows the group", led).await;
    let lease = guest.mesh.lease(TTL).await.unwrap();
    let there = guest.mesh.strong("services").unwrap();
    there.put_leased(&lease, "a", "1").await.unwrap();
    assert!(is_there(&keys, "a").await);
    members[0].mesh.cut([guest.mesh.id()]);
    tokio::time::timeout(TTL, lease.lost()).await.unwrap();
    until("the group has not heard of it", || async {
        !is_there(&keys, "a").await
    })
    .await;
}
