//! One claim at a time.

use meshwork_sync::{Key, Origin};

use super::net::{Net, ms};
use crate::strong::*;

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

fn put(name: &str, value: &[u8]) -> StrongRequest {
    let put = KeyOp::Put {
        key: key(name),
        value: value.to_vec(),
        owner: Owner::Nobody,
    };
    StrongRequest::Do(Request::Transact(Transaction {
        then: vec![put],
        ..Transaction::default()
    }))
}

fn create(namespace: &str) -> StrongRequest {
    let namespace = namespace.into();
    StrongRequest::Do(Request::Create { namespace })
}

fn read(net: &mut Net, n: usize, name: &str) -> Result<Option<Vec<u8>>, StrongError> {
    let done = net.get(n, StrongRequest::Read(Query::Get(vec![key(name)])))?;
    let StrongDone::Found(Finding::Got { mut found, .. }) = done else {
        panic!("{done:?}");
    };
    Ok(found.pop().flatten().map(|found| found.value))
}

/// A group of as many voters, with a namespace.
pub(super) fn group(seed: u64, count: usize) -> Net {
    let mut net = Net::new(seed, count);
    net.start_all();
    net.get(0, create("a")).unwrap();
    let grown = net.run_until(net.now + ms(20_000), |net| net.voters(0).len() == count);
    assert!(grown, "{:?}", net.voters(0));
    net.run_for(ms(1_000));
    net
}

#[test]
fn the_first_able_node_forms_a_group_of_its_own() {
    let mut net = Net::new(1, 1);
    net.start_all();
    assert_eq!(
        net.get(0, create("a")),
        Ok(StrongDone::Done(Outcome::Created { new: true }))
    );
    assert!(net.get(0, put("a/a", b"1")).is_ok());
    assert_eq!(read(&mut net, 0, "a/a"), Ok(Some(b"1".to_vec())));
    let unknown = net.get(0, put("b/a", b"1"));
    assert!(matches!(
        unknown,
        Err(StrongError::Refused(Refusal::NoNamespace { .. }))
    ));
    net.crash(0);
    net.start(0);
    assert_eq!(read(&mut net, 0, "a/a"), Ok(Some(b"1".to_vec())));
}

#[test]
fn a_group_grows_to_three_and_outlives_its_leader() {
    let mut net = group(2, 3);
    net.get(1, put("a/a", b"1")).unwrap();
    let leader = net.leader().unwrap();
    net.crash(leader);
    let other = (leader + 1) % 3;
    assert_eq!(read(&mut net, other, "a/a"), Ok(Some(b"1".to_vec())));
    net.get(other, put("a/a", b"2")).unwrap();
    net.start(leader);
    assert_eq!(read(&mut net, leader, "a/a"), Ok(Some(b"2".to_vec())));
}

#[test]
fn a_founder_that_cannot_vote_lets_the_first_that_can_form_the_group() {
    let mut net = Net::new(3, 3).asks_only(0);
    net.start_all();
    assert!(net.get(0, create("a")).is_ok() || net.get(0, create("a")).is_ok());
    net.run_for(ms(10_000));
    let groups: std::collections::BTreeSet<_> = net
        .hosts
        .iter()
        .filter_map(|host| {
            let roster = host.strong.as_ref()?.roster()?;
            Some(roster.group)
        })
        .collect();
    assert_eq!(groups.len(), 1);
}

#[test]
fn a_minority_says_so_and_nothing_of_it_counts() {
    let mut net = group(4, 3);
    let leader = net.leader().unwrap();
    let others: Vec<usize> = (0..3).filter(|n| *n != leader).collect();
    net.split(&[&[leader], &others]);
    net.get(others[0], put("a/k", b"2")).unwrap();
    let stale = read(&mut net, leader, "a/k");
    assert_eq!(stale, Err(StrongError::Unavailable));
    net.heal();
    net.run_for(ms(3_000));
    assert_eq!(read(&mut net, leader, "a/k"), Ok(Some(b"2".to_vec())));
}

#[test]
fn a_voter_that_comes_back_from_a_split_disturbs_nobody() {
    let mut net = group(5, 3);
    let leader = net.leader().unwrap();
    let away = (leader + 1) % 3;
    let rest: Vec<usize> = (0..3).filter(|n| *n != away).collect();
    let term = |net: &Net, n: usize| {
        net.hosts[n]
            .strong
            .as_ref()
            .unwrap()
            .group()
            .unwrap()
            .standing()
            .term
    };
    let before = term(&net, leader);
    net.split(&[&[away], &rest]);
    net.run_for(ms(60_000));
    net.heal();
    net.run_for(ms(5_000));
    assert_eq!((net.leader(), term(&net, leader)), (Some(leader), before));
}

#[test]
fn a_voter_that_is_gone_for_long_is_replaced_and_one_that_leaves_goes_after_another_came() {
    let mut net = group(6, 3);
    net.get(0, put("a/a", b"1")).unwrap();
    let gone = (net.leader().unwrap() + 1) % 3;
    let mut grown = net;
    grown.crash(gone);
    grown.add_host();
    grown.run_for(ms(30_000));
    let leader = grown.leader().unwrap();
    assert!(
        grown.voters(leader).contains(&grown.voter(gone)),
        "most come back"
    );
    let replaced = grown.run_until(grown.now + ms(60_000), |net| {
        net.leader().is_some_and(|leader| {
            let voters = net.voters(leader);
            voters.len() == 3 && !voters.contains(&net.voter(gone))
        })
    });
    assert!(replaced);
    assert_eq!(read(&mut grown, 3, "a/a"), Ok(Some(b"1".to_vec())));
}

#[test]
fn the_only_voter_that_leaves_hands_the_group_over() {
    let mut net = Net::new(7, 2);
    net.start_all();
    net.get(0, create("a")).unwrap();
    net.get(1, put("a/a", b"1")).unwrap();
    net.hosts[0].condition = growth::Condition::Retired;
    net.tell_members();
    let over = net.run_until(net.now + ms(20_000), |net| {
        net.leader() == Some(1) && net.voters(1).len() == 1
    });
    assert!(over, "{:?} {:?}", net.leader(), net.voters(1));
    net.crash(0);
    assert_eq!(read(&mut net, 1, "a/a"), Ok(Some(b"1".to_vec())));
}

#[test]
fn the_log_is_cut_and_who_was_away_catches_up_by_a_snapshot() {
    let mut net = Net::new(8, 3);
    net.config.snapshot_after_bytes = 20_000;
    net.start_all();
    net.get(0, create("a")).unwrap();
    net.run_until(net.now + ms(20_000), |net| net.voters(0).len() == 3);
    let away = (net.leader().unwrap() + 1) % 3;
    net.crash(away);
    for n in 0..200u32 {
        let asked = (away + 1) % 3;
        net.get(asked, put(&format!("a/{n}"), &[7; 1_000])).unwrap();
    }
    let leader = net.leader().unwrap();
    let log = net.hosts[leader]
        .strong
        .as_ref()
        .unwrap()
        .group()
        .unwrap()
        .log();
    assert!(log.bytes() < 400_000, "{}", log.bytes());
    assert!(log.snapshot().index > 1);
    net.start(away);
    net.run_for(ms(3_000));
    let group = |net: &Net, n: usize| {
        net.hosts[n]
            .strong
            .as_ref()
            .unwrap()
            .group()
            .unwrap()
            .state()
            .clone()
    };
    assert_eq!(group(&net, away), group(&net, leader));
    net.crash(away);
    net.start(away);
    net.run_for(ms(3_000));
    assert_eq!(group(&net, away), group(&net, leader));
}

#[test]
fn a_full_disk_steps_down_and_comes_back() {
    let mut net = group(9, 3);
    let leader = net.leader().unwrap();
    net.hosts[leader].full = true;
    net.get(leader, put("a/a", b"1")).unwrap();
    assert_ne!(net.leader(), Some(leader));
    net.hosts[leader].full = false;
    net.run_for(ms(3_000));
    net.crash((leader + 1) % 3);
    assert_eq!(read(&mut net, leader, "a/a"), Ok(Some(b"1".to_vec())));
}

#[test]
fn locks_pass_on_when_their_holder_is_gone() {
    let mut net = group(10, 3);
    let open = StrongRequest::Open { ttl: ms(5_000) };
    let session = |done| match done {
        Ok(StrongDone::Done(Outcome::Opened { session })) => session,
        other => panic!("{other:?}"),
    };
    let first = session(net.get(1, open.clone()));
    let second = session(net.get(2, open));
    let acquire = |session| {
        StrongRequest::In(
            session,
            Request::Acquire {
                lock: key("l/l"),
                mode: Mode::Exclusive,
                wait: Wait::Forever,
                note: vec![],
            },
        )
    };
    let granted = net.get(1, acquire(first));
    assert_eq!(
        granted,
        Ok(StrongDone::Done(Outcome::Granted { token: Token(1) }))
    );
    let waits = net.get(2, acquire(second));
    assert_eq!(waits, Ok(StrongDone::Done(Outcome::Waits { ahead: 0 })));
    net.run_for(ms(30_000));
    assert!(net.hosts[1].lost.is_empty(), "it is kept alive");
    let turn = net.ask_for(2, StrongRequest::Turn(second, key("l/l")), ms(60_000));
    net.hosts[1].frozen = true;
    let begun = net.now;
    net.run_until(net.now + ms(60_000), |net| net.done.contains_key(&turn));
    let (at, answer) = net.done.remove(&turn).unwrap();
    assert_eq!(answer, Ok(StrongDone::Turn(Turn::Granted(Token(2)))));
    let after = at.since(begun);
    assert!(after >= ms(3_000) && after < ms(12_000), "{after:?}");
    net.hosts[1].frozen = false;
    net.run_for(ms(3_000));
    assert_eq!(net.hosts[1].lost, [first], "and its holder is told");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut net = group(seed, 3);
        net.loss = 100;
        for n in 0..20 {
            drop(net.get(n % 3, put("a/a", &[7])));
        }
        (net.now, net.frames)
    };
    assert_eq!(run(11), run(11));
    assert_ne!(run(11), run(12));
}

#[test]
fn a_session_that_is_given_up_ends_although_nobody_could_be_told() {
    let mut net = group(13, 3);
    let leader = net.leader().unwrap();
    let away = (leader + 1) % 3;
    let open = StrongRequest::Open { ttl: ms(5_000) };
    let done = net.get(away, open);
    let Ok(StrongDone::Done(Outcome::Opened { session })) = done else {
        panic!("{done:?}");
    };
    let rest: Vec<usize> = (0..3).filter(|n| *n != away).collect();
    net.split(&[&[away], &rest]);
    let close = net.ask_for(away, StrongRequest::In(session, Request::Close), ms(1_000));
    net.run_for(ms(2_000));
    let (_, answer) = net.done.remove(&close).unwrap();
    assert_eq!(answer, Err(StrongError::Unavailable));
    net.heal();
    net.run_for(ms(15_000));
    let state = net.hosts[leader]
        .strong
        .as_ref()
        .unwrap()
        .group()
        .unwrap()
        .state();
    assert_eq!(state.session_ttl(session), None);
}

#[test]
fn the_node_s_own_session_is_replaced_when_it_has_ended() {
    let mut net = group(14, 3);
    let leader = net.leader().unwrap();
    let away = (leader + 1) % 3;
    net.get(away, put("a/a", b"1")).unwrap();
    let rest: Vec<usize> = (0..3).filter(|n| *n != away).collect();
    net.split(&[&[away], &rest]);
    net.run_for(ms(58_000));
    // It has not given it up yet, and the leader has.
    net.run_for(ms(1_900));
    net.heal();
    net.run_for(ms(5_000));
    assert!(net.get(away, put("a/a", b"2")).is_ok());
    assert_eq!(read(&mut net, leader, "a/a"), Ok(Some(b"2".to_vec())));
}

#[test]
fn a_founder_that_was_restored_lets_nobody_form_a_second_group() {
    let mut net = group(15, 3);
    // A copy from before it was asked.
    net.crash(0);
    net.hosts[0].engine = std::sync::Arc::new(crate::store::Memory::new(1));
    net.hosts[0].origin = Origin::Restored;
    net.start(0);
    net.split(&[&[0], &[1, 2]]);
    net.run_for(ms(100));
    net.crash(0);
    net.hosts[0].origin = Origin::Founder;
    net.split(&[&[1, 2]]);
    net.add_host();
    net.split(&[&[0, 3], &[1, 2]]);
    net.start(0);
    net.split(&[&[0, 3], &[1, 2]]);
    net.run_for(ms(20_000));
    let heard = |n: usize| {
        net.hosts[n]
            .strong
            .as_ref()
            .unwrap()
            .roster()
            .map(|roster| roster.group)
    };
    let first = heard(1);
    for n in [0, 3] {
        assert!(heard(n).is_none() || heard(n) == first, "node {n}");
    }
}
