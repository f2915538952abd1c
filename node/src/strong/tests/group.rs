//! One claim at a time.

use meshwork_sync::{Key, Origin};

use super::net::{Net, ms};
use crate::strong::message::Message;
use crate::strong::wire::Kind;
use crate::strong::*;

pub(super) fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

pub(super) fn put(name: &str, value: &[u8]) -> StrongRequest {
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

pub(super) fn create(namespace: &str) -> StrongRequest {
    let namespace = namespace.into();
    StrongRequest::Do(Request::Create { namespace })
}

pub(super) fn read(net: &mut Net, n: usize, name: &str) -> Result<Option<Vec<u8>>, StrongError> {
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

/// With lots drawn between one election timeout and two, the first of two followers would come a third later in the mean.
#[test]
fn the_next_leader_is_there_soon_after_one_election_timeout() {
    for seed in 0..30 {
        for count in [3, 5] {
            let mut net = group(seed, count);
            net.run_for(ms(seed * 7));
            let died = net.now;
            net.crash(net.leader().unwrap());
            assert!(net.run_until(died + ms(1_200), |net| net.leader().is_some()));
        }
    }
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
fn a_node_that_lost_its_disk_votes_again_as_another_voter() {
    let mut net = group(16, 3);
    net.get(0, put("a/a", b"1")).unwrap();
    let node = (net.leader().unwrap() + 1) % 3;
    let old = net.voter(node);
    net.crash(node);
    net.lose_disk(node);
    net.start(node);
    let replaced = net.run_until(net.now + ms(30_000), |net| {
        net.leader().is_some_and(|leader| {
            let voters = net.voters(leader);
            voters.len() == 3 && !voters.contains(&old) && voters.contains(&net.voter(node))
        })
    });
    assert!(replaced);
    assert_eq!(read(&mut net, node, "a/a"), Ok(Some(b"1".to_vec())));
}

fn is_handed_over(net: &Net, n: usize) -> bool {
    let strong = net.hosts[n].strong.as_ref();
    strong.unwrap().is_handed_over()
}

#[test]
fn the_last_voter_may_go_if_nothing_would_be_missed() {
    let mut net = Net::new(7, 1);
    net.start_all();
    net.get(0, StrongRequest::Open { ttl: ms(5_000) }).unwrap();
    assert!(is_handed_over(&net, 0));
    net.get(0, create("a")).unwrap();
    assert!(!is_handed_over(&net, 0));
}

#[test]
fn the_only_voter_that_leaves_hands_the_group_over() {
    let mut net = Net::new(7, 2);
    net.start_all();
    net.get(0, create("a")).unwrap();
    net.get(1, put("a/a", b"1")).unwrap();
    net.hosts[0].condition = growth::Condition::Retired;
    net.tell_members();
    assert!(!is_handed_over(&net, 0));
    let over = net.run_until(net.now + ms(20_000), |net| is_handed_over(net, 0));
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
fn a_session_ends_for_whoever_keeps_it_before_it_ends_for_others() {
    for seed in 40..60 {
        let mut net = group(seed, 5);
        let leader = net.leader().unwrap();
        let keeper = (leader + 1) % 5;
        let done = net.get(keeper, StrongRequest::Open { ttl: ms(1_000) });
        let Ok(StrongDone::Done(Outcome::Opened { session })) = done else {
            panic!("{done:?}");
        };
        net.run_for(ms(1_500));
        // The leader still leads for a while, and hears of the session; the others choose another, who does not.
        let rest: Vec<usize> = (0..5).filter(|n| ![leader, keeper].contains(n)).collect();
        net.split(&[&[leader, keeper], &rest]);
        let has_ended = |net: &Net, n: usize| {
            let group = net.hosts[n]
                .strong
                .as_ref()
                .and_then(|strong| strong.group());
            group.is_some_and(|group| group.state().session_ttl(session).is_none())
        };
        let until = net.now + ms(20_000);
        let ended = net.run_until(until, |net| rest.iter().any(|n| has_ended(net, *n)));
        assert!(ended, "seed {seed}");
        assert_eq!(net.hosts[keeper].lost, [session], "seed {seed}");
    }
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

#[test]
fn a_voter_that_was_restored_has_forgotten_it_before_it_does_anything() {
    let mut net = group(16, 3);
    for n in 0..20 {
        net.get(0, put("a/a", &[n])).unwrap();
    }
    let restored = net.leader().unwrap();
    net.crash(restored);
    net.restore_copy(restored);
    // It ends before anything that it hands to its store is durable, and takes the store for its own when it starts again.
    net.start(restored);
    net.crash(restored);
    net.hosts[restored].origin = Origin::Joiner;
    net.start(restored);
    let strong = net.hosts[restored].strong.as_ref().unwrap();
    assert!(strong.group().is_none(), "it goes on as who it was");
    // It comes back as somebody new, in a log of its own.
    let new = net.voter(restored);
    let back = net.run_until(net.now + ms(120_000), |net| {
        net.voters(restored).contains(&new)
    });
    assert!(back);
    net.crash(restored);
    net.start(restored);
    let strong = net.hosts[restored].strong.as_ref().unwrap();
    assert_eq!(strong.out(), None);
}

#[test]
fn only_the_founder_says_who_forms_the_group() {
    let mut net = Net::new(16, 3).asks_only(0);
    // It is away, and nobody knows of a group.
    net.start(1);
    net.start(2);
    net.run_for(ms(1_000));
    let form = |net: &mut Net, from: usize| {
        let (now, from) = (net.now, net.hosts[from].id);
        let frame = crate::strong::Message::Form.encode();
        let mut taken = None;
        net.on(2, |strong| {
            taken = Some(strong.handle_frame(now, from, &frame))
        });
        net.run_for(ms(1_000));
        let formed = net.hosts[2].strong.as_ref().unwrap().group().is_some();
        (taken.unwrap(), formed)
    };
    assert_eq!(form(&mut net, 1), (Err(RejectStrong::Founder), false));
    assert_eq!(form(&mut net, 0), (Ok(()), true));
}

fn open(net: &mut Net, n: usize, ttl: u64) -> SessionId {
    let done = net.get(n, StrongRequest::Open { ttl: ms(ttl) });
    let Ok(StrongDone::Done(Outcome::Opened { session })) = done else {
        panic!("{done:?}");
    };
    session
}

fn acquire(session: SessionId, wait: Wait) -> StrongRequest {
    let acquire = Request::Acquire {
        lock: key("l/l"),
        mode: Mode::Exclusive,
        wait,
        note: vec![],
    };
    StrongRequest::In(session, acquire)
}

fn release(session: SessionId) -> StrongRequest {
    StrongRequest::In(session, Request::Release { lock: key("l/l") })
}

/// While leadership is on its way to another, nothing is put before the group; when it stays, nothing may be forgotten.
#[test]
fn a_session_ends_although_its_end_was_not_taken_at_first() {
    let mut net = Net::new(16, 4).asks_only(3);
    net.start_all();
    net.get(0, create("a")).unwrap();
    net.run_until(net.now + ms(20_000), |net| net.voters(0).len() == 3);
    net.run_for(ms(1_000));
    let leader = net.leader().unwrap();
    let next = (0..3).find(|n| *n != leader).unwrap();
    let term = net.group(leader).unwrap().standing().term;
    let session = open(&mut net, 3, 1_000);
    net.hosts[3].frozen = true;
    net.hosts[leader].condition = growth::Condition::Retired;
    net.muted.insert((leader, next));
    net.tell_members();
    net.run_for(ms(1_200));
    net.hosts[leader].condition = growth::Condition::Up;
    net.muted.clear();
    net.tell_members();
    net.run_for(ms(8_000));
    let group = net.group(leader).unwrap();
    assert_eq!(
        (group.standing().leads, group.standing().term),
        (true, term)
    );
    assert_eq!(group.state().session_ttl(session), None);
}

#[test]
fn who_stands_in_line_again_is_as_patient_as_he_says_then() {
    let mut net = group(17, 3);
    let [a, b] = [1, 2].map(|n| open(&mut net, n, 60_000));
    net.get(1, acquire(a, Wait::No)).unwrap();
    net.get(2, acquire(b, Wait::Ms(5_000))).unwrap();
    net.run_for(ms(2_000));
    net.get(1, release(a)).unwrap();
    net.get(2, release(b)).unwrap();
    net.get(1, acquire(a, Wait::No)).unwrap();
    net.get(2, acquire(b, Wait::Ms(5_000))).unwrap();
    let waits = |net: &Net| {
        let state = net.group(net.leader().unwrap()).unwrap().state();
        state.waits(b, &key("l/l"))
    };
    net.run_for(ms(4_500));
    assert!(waits(&net), "it is no five seconds yet");
    net.run_for(ms(1_500));
    assert!(!waits(&net));
}

#[test]
fn who_gives_up_his_place_is_told_at_once() {
    let mut net = group(18, 3);
    let [a, b] = [1, 2].map(|n| open(&mut net, n, 60_000));
    net.get(1, acquire(a, Wait::No)).unwrap();
    net.get(2, acquire(b, Wait::Forever)).unwrap();
    let turn = net.ask_for(2, StrongRequest::Turn(b, key("l/l")), ms(60_000));
    net.run_for(ms(1_000));
    assert!(!net.done.contains_key(&turn));
    net.get(2, release(b)).unwrap();
    net.run_for(ms(1_000));
    let (_, answer) = net.done.remove(&turn).expect("it is answered");
    assert_eq!(answer, Ok(StrongDone::Turn(Turn::Gone)));
}

#[test]
fn a_watch_is_answered_by_what_it_covers() {
    let mut net = group(19, 3);
    net.get(0, create("b")).unwrap();
    let now = net.group(net.leader().unwrap()).unwrap().state().revision();
    let watch = |net: &mut Net, prefix: &str| {
        let prefix = meshwork_sync::Prefix::parse(prefix).unwrap();
        net.ask_for(1, StrongRequest::Changes(prefix, now), ms(60_000))
    };
    let watches = ["a/xy", "a/x", "a/", "a/xyz", "b/", "a/y"].map(|prefix| watch(&mut net, prefix));
    net.run_for(ms(1_000));
    net.get(0, put("a/xy", b"1")).unwrap();
    net.run_for(ms(1_000));
    let answered = watches.map(|id| net.done.contains_key(&id));
    assert_eq!(answered, [true, true, true, false, false, false]);
    let (_, answer) = net.done.remove(&watches[2]).unwrap();
    let changed = Revision(now.0 + 1);
    let changes = StrongDone::Changes(Some(Changes {
        keys: vec![(changed, key("a/xy"))],
        upto: changed,
    }));
    assert_eq!(answer, Ok(changes));
}

/// Who reads later than a round began may know of more than it is of.
#[test]
fn a_read_that_comes_in_during_a_round_is_of_the_next_one() {
    let mut net = group(20, 3);
    net.get(0, put("a/k", b"1")).unwrap();
    let leader = net.leader().unwrap();
    let get = || StrongRequest::Read(Query::Get(vec![key("a/k")]));
    net.ask(leader, get());
    let answered = |net: &Net| {
        net.on_their_way(leader).any(|frame| {
            let mut messages = Message::decode(frame).unwrap().into_iter();
            messages.any(|message| {
                matches!(message, Message::Raft(_, message)
                    if message.kind == Kind::HeartbeatResponse && !message.context.is_empty())
            })
        })
    };
    assert!(net.run_until(net.now + ms(100), answered));
    net.hosts[leader].frozen = true;
    net.run_for(ms(5_000));
    net.get((leader + 1) % 3, put("a/k", b"2")).unwrap();
    net.hosts[leader].frozen = false;
    let late = net.ask(leader, get());
    net.run_for(ms(6_000));
    let (_, answer) = net.done.remove(&late).unwrap();
    let Ok(StrongDone::Found(Finding::Got { found, .. })) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(found[0].as_ref().unwrap().value, b"2");
}

/// A process that was killed says no word, and its connections stand for seconds.
#[test]
fn what_a_lost_leader_was_asked_goes_to_the_next_one_as_soon_as_there_is_one() {
    for seed in 31..36 {
        let mut net = group(seed, 3);
        net.get(1, put("a/a", b"1")).unwrap();
        let lost = net.leader().unwrap();
        let asker = (lost + 1) % 3;
        net.hosts[lost].frozen = true;
        let asked = net.ask(asker, put("a/a", b"2"));
        let leads = |net: &Net| {
            let mut others = (0..3).filter(|n| *n != lost);
            others.any(|n| net.group(n).unwrap().standing().leads)
        };
        assert!(net.run_until(net.now + ms(5_000), leads));
        net.run_for(ms(200));
        let answer = net.done.remove(&asked);
        assert!(
            matches!(answer, Some((_, Ok(_)))),
            "seed {seed}: {answer:?}"
        );
    }
}
