//! Who leads, and who is told.

use std::time::Duration;

use meshwork::strong::{Leader, Reign};

use crate::members::{key, until};
use crate::strong::group_of;

fn leads(reign: Option<Reign>) -> Leader {
    match reign {
        Some(Reign::Leads(leader)) => leader,
        reign => panic!("{reign:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_leads_when_one_resigns_and_all_see_it() {
    let members = group_of(1).await;
    let mesh = &members[0].mesh;
    let office = mesh.election(&key("svc/primary"));
    assert_eq!(office.observe().await.unwrap(), None);
    let mut watch = office.watch();
    assert_eq!(watch.next().await, Some(Reign::Vacant));

    let first = office.campaign("one").await.unwrap();
    let leader = leads(watch.next().await);
    assert_eq!(leader.note, b"one");
    assert_eq!(leader.token, first.fencing_token());
    assert_eq!(office.observe().await.unwrap(), Some(leader));
    let mut late = office.watch();
    assert_eq!(leads(late.next().await).note, b"one", "told at once");

    let second = tokio::spawn({
        let office = office.clone();
        async move { office.campaign("two").await }
    });
    let lock = mesh.lock(&key("svc/primary"));
    assert!(lock.try_acquire().await.unwrap().is_none(), "it is a lock");
    first.resign().await.unwrap();
    let second = second.await.unwrap().unwrap();
    for watch in [&mut watch, &mut late] {
        let leader = leads(watch.next().await);
        assert_eq!(leader.note, b"two");
        assert_eq!(leader.token, second.fencing_token());
    }
    assert!(!second.is_lost());
    drop(second);
    assert_eq!(watch.next().await, Some(Reign::Vacant));
    mesh.stop().await;
    assert_eq!(watch.next().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_campaigns_no_more_does_not_lead() {
    let members = group_of(1).await;
    let office = members[0].mesh.election(&key("svc/primary"));
    let first = office.campaign("one").await.unwrap();
    let gone = office.campaign("two");
    let gone = tokio::time::timeout(Duration::from_millis(300), gone).await;
    assert!(gone.is_err());
    let mut watch = office.watch();
    assert_eq!(leads(watch.next().await).note, b"one");
    first.resign().await.unwrap();
    let third = office.campaign("three").await.unwrap();
    until("the last in line leads", || async {
        let leader = office.observe().await.unwrap();
        leader.is_some_and(|leader| leader.token == third.fencing_token())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leads_is_told_across_a_change_of_the_group_s_leader() {
    let members = group_of(3).await;
    let led = members[0].mesh.status().await.unwrap().strong.leader;
    let leader = |n: &usize| Some(members[*n].mesh.id().to_string()) == led;
    let (away, here): (Vec<usize>, Vec<usize>) = (0..3).partition(leader);
    let office = members[here[0]].mesh.election(&key("svc/primary"));
    let first = office.campaign("one").await.unwrap();
    let mut watch = members[here[1]].mesh.election(&key("svc/primary")).watch();
    assert_eq!(leads(watch.next().await).note, b"one");
    members[away[0]].mesh.stop().await;
    first.resign().await.unwrap();
    let second = office.campaign("two").await.unwrap();
    let mut last = None;
    while last != Some(second.fencing_token()) {
        match watch.next().await.unwrap() {
            Reign::Leads(leader) => {
                assert!(Some(leader.token) > last);
                last = Some(leader.token);
            }
            Reign::Vacant => {}
        }
    }
}
