//! A group that lost its only voter, and the one that follows on it.

use meshwork_membership::NodeId;
use meshwork_sync::{Origin, Space};

use super::backup::token;
use super::group::{create, group, key, put, read};
use super::net::{Net, ms};
use crate::strong::message::{Message, Roster};
use crate::strong::*;

/// Node 0 votes, two others ask it.
fn one_of_three(seed: u64) -> Net {
    let mut net = Net::new(seed, 3).asks_only(1).asks_only(2);
    net.start_all();
    net.get(1, create("a")).unwrap();
    net.get(1, put("a/a", b"1")).unwrap();
    net.run_for(ms(100));
    net
}

/// Its folder is there again, as a copy from before.
fn restore(net: &mut Net, n: usize) {
    net.crash(n);
    net.restore_copy(n);
    net.start(n);
    net.run_for(ms(100));
}

fn reset(net: &mut Net, n: usize) -> Result<(), ResetStrong> {
    let now = net.clock(n);
    let mut begun = Ok(());
    net.on(n, |strong| begun = strong.reset(now));
    begun
}

fn roster(net: &Net, n: usize) -> &Roster {
    net.hosts[n].strong.as_ref().unwrap().roster().unwrap()
}

fn out(net: &Net, n: usize) -> Option<&str> {
    net.hosts[n].strong.as_ref().unwrap().out()
}

#[test]
fn a_group_that_lost_its_only_voter_is_followed_by_a_new_one() {
    let mut net = one_of_three(61);
    let before = token(&mut net, 1);
    let open = StrongRequest::Open { ttl: ms(30_000) };
    let Ok(StrongDone::Done(Outcome::Opened { session })) = net.get(1, open) else {
        panic!("no session");
    };
    restore(&mut net, 0);
    assert_eq!(net.get(1, put("a/a", b"2")), Err(StrongError::Unavailable));
    assert!(out(&net, 0).is_some_and(|out| out.contains("strong reset")));
    assert_eq!(reset(&mut net, 1), Err(ResetStrong::Asks));
    assert_eq!(reset(&mut net, 0), Ok(()));
    net.run_for(ms(3_000));
    assert_eq!(out(&net, 0), None);
    for n in 0..3 {
        assert_eq!(roster(&net, n).era, 1, "node {n}");
        let namespaces = &roster(&net, n).namespaces;
        assert!(namespaces.contains("a"), "they stay strong at node {n}");
    }
    let lost = net.get(2, put("a/a", b"2"));
    assert!(matches!(
        lost,
        Err(StrongError::Refused(Refusal::NoNamespace { .. }))
    ));
    let acquire = Request::Release { lock: key("l/l") };
    assert_eq!(
        net.get(1, StrongRequest::In(session, acquire)),
        Err(StrongError::Refused(Refusal::SessionExpired { session }))
    );
    net.get(2, create("a")).unwrap();
    assert_eq!(read(&mut net, 1, "a/a"), Ok(None));
    assert!(token(&mut net, 1) > Token(before.0 + (1 << 39)));
    // And it is a group like any other.
    net.get(2, put("a/a", b"3")).unwrap();
    net.run_for(ms(100));
    net.crash(0);
    net.hosts[0].origin = Origin::Founder;
    net.start(0);
    assert_eq!(read(&mut net, 1, "a/a"), Ok(Some(b"3".to_vec())));
    assert_eq!(reset(&mut net, 0), Err(ResetStrong::Alive));
}

#[test]
fn a_lost_disk_is_no_less_lost() {
    let mut net = one_of_three(62);
    net.crash(0);
    net.lose_disk(0);
    net.start(0);
    assert_eq!(reset(&mut net, 0), Err(ResetStrong::NoGroup));
    // The others tell it what it was.
    net.run_for(ms(1_000));
    assert_eq!(reset(&mut net, 0), Ok(()));
    net.run_for(ms(3_000));
    assert!(net.get(2, create("a")).is_ok());
}

#[test]
fn a_reset_that_the_power_ended_is_repeated() {
    for after in 0..12 {
        let mut net = one_of_three(63);
        restore(&mut net, 0);
        reset(&mut net, 0).unwrap();
        net.run_for(ms(after));
        net.crash(0);
        net.hosts[0].origin = Origin::Founder;
        net.start(0);
        net.run_for(ms(1_000));
        match reset(&mut net, 0) {
            Ok(()) | Err(ResetStrong::Alive) => {}
            Err(error) => panic!("after {after} ms: {error}"),
        }
        net.run_for(ms(3_000));
        assert!(net.get(2, create("a")).is_ok(), "after {after} ms");
        assert!((1..3).all(|n| roster(&net, n).group == roster(&net, 0).group));
    }
}

#[test]
fn a_group_that_can_go_on_is_not_reset() {
    let mut net = group(64, 3);
    for n in 0..3 {
        assert_eq!(reset(&mut net, n), Err(ResetStrong::Alive));
    }
    // Nor when one voter of three has lost what it held.
    net.crash(0);
    net.split(&[&[1, 2]]);
    net.restore_copy(0);
    net.start(0);
    net.split(&[&[0], &[1, 2]]);
    assert_eq!(reset(&mut net, 0), Err(ResetStrong::Others));
    assert_eq!(out(&net, 0), None);
}

#[test]
fn a_learner_of_the_lost_group_takes_part_in_the_new_one() {
    let mut net = Net::new(65, 1);
    net.start_all();
    net.get(0, create("a")).unwrap();
    for n in [1, 2] {
        net.add_host();
        net.start(n);
    }
    let learns = |net: &Net| net.group(1).is_some() && net.voters(0).len() == 1;
    assert!(net.run_until(net.now + ms(20_000), learns));
    net.run_for(ms(3));
    assert!(learns(&net));
    net.crash(0);
    let lost = net.group(1).unwrap().log().head.group;
    restore(&mut net, 0);
    assert_eq!(reset(&mut net, 0), Ok(()));
    net.run_for(ms(3_000));
    assert!(out(&net, 1).is_some_and(|out| out.contains("restart")));
    for n in [1, 2] {
        net.crash(n);
        net.start(n);
    }
    let joined = net.run_until(net.now + ms(20_000), |net| {
        let group = net.group(1).map(|group| group.log().head.group);
        group.is_some_and(|group| group != lost)
    });
    assert!(joined);
    assert_eq!(out(&net, 1), None);
    assert!(net.get(1, create("b")).is_ok());
}

/// Of a group that is all its own.
fn told_by(node: NodeId) -> Roster {
    Roster {
        group: GroupId([6; 16]),
        era: 1,
        index: 9,
        nodes: [(6, node)].into(),
        voters: [6].into(),
        namespaces: ["mine".to_owned()].into(),
    }
}

fn tell(net: &mut Net, from: usize, to: usize, roster: &Roster) {
    let (now, from) = (net.clock(to), net.hosts[from].id);
    let frame = Message::Roster(Box::new(roster.clone())).encode();
    net.on(to, |strong| strong.handle_frame(now, from, &frame).unwrap());
    net.run_for(ms(100));
}

#[test]
fn nobody_else_is_believed_about_a_new_group() {
    let mut net = one_of_three(66);
    let told = told_by(net.hosts[2].id);
    for to in [0, 1] {
        tell(&mut net, 2, to, &told);
        assert_eq!(roster(&net, to).era, 0, "node {to}");
    }
    // Nor does a voter that is cut off give up its vote for it.
    net.split(&[&[0], &[1]]);
    tell(&mut net, 2, 0, &told);
    assert_eq!(roster(&net, 0).era, 0);
}

#[test]
fn what_cannot_be_is_not_believed_by_those_who_know_nothing() {
    let mut net = Net::new(69, 2).asks_only(0).asks_only(1);
    net.start_all();
    let mut sound = told_by(net.hosts[1].id);
    let endless = Roster {
        era: u64::MAX,
        ..sound.clone()
    };
    let nobody = Roster {
        voters: [].into(),
        ..sound.clone()
    };
    let nowhere = Roster {
        voters: [6, 7].into(),
        ..sound.clone()
    };
    for malformed in [endless, nobody, nowhere] {
        tell(&mut net, 1, 0, &malformed);
        let strong = net.hosts[0].strong.as_ref().unwrap();
        assert!(strong.roster().is_none(), "{malformed:?}");
    }
    sound.era = 2;
    tell(&mut net, 1, 0, &sound);
    assert_eq!(roster(&net, 0).era, 2);
}

#[test]
fn a_disk_that_is_full_has_lost_nothing() {
    let mut net = one_of_three(67);
    net.hosts[0].full = true;
    net.get(1, put("a/a", b"2")).unwrap_err();
    let why = out(&net, 0).map(str::to_owned);
    assert!(
        why.as_ref().is_none_or(|why| !why.contains("reset")),
        "{why:?}"
    );
    assert!(net.run_until(net.now + ms(5_000), |net| net.group(0).is_none()));
    assert_eq!(reset(&mut net, 0), Err(ResetStrong::Restart));
    net.hosts[0].full = false;
    net.run_for(ms(3_000));
    assert_eq!(read(&mut net, 1, "a/a"), Ok(Some(b"1".to_vec())));
}

#[test]
fn damaged_records_are_given_up_with_the_group() {
    let mut net = one_of_three(68);
    net.run_for(ms(1_000));
    net.crash(0);
    assert!(net.hosts[0].engine.flip_bit(Space::Strong, b"h", 9));
    net.start(0);
    net.run_for(ms(100));
    assert!(out(&net, 0).is_some_and(|out| out.contains("strong reset")));
    reset(&mut net, 0).unwrap();
    net.run_for(ms(3_000));
    assert!(net.get(1, create("a")).is_ok());
    net.crash(0);
    net.start(0);
    assert_eq!(read(&mut net, 1, "a/a"), Ok(None));
}
