//! A node that is far behind catches up by a snapshot while all goes on, and nothing that it says goes back.

use std::time::Duration;

use meshwork_sync::RequestId;

use super::group::{create, group, key, put};
use super::net::{Net, ms};
use crate::strong::group::Group;
use crate::strong::message::Message;
use crate::strong::wire::{Kind, RaftMessage};
use crate::strong::*;

const PART_BYTES: usize = 256 << 10;

/// Keys that make a snapshot of six parts.
const LARGE: usize = 14;

/// Three voters, of which one is gone and so far behind that only a snapshot helps. The first is that one.
fn one_far_behind(seed: u64) -> (Net, usize) {
    let mut net = Net::new(seed, 3);
    net.config.snapshot_after_bytes = 300_000;
    net.start_all();
    net.get(0, create("a")).unwrap();
    let grown = net.run_until(net.now + ms(20_000), |net| net.voters(0).len() == 3);
    assert!(grown);
    net.run_for(ms(1_000));
    let away = (net.leader().unwrap() + 1) % 3;
    let last = net.group(away).unwrap().log().last();
    net.crash(away);
    let asked = (away + 1) % 3;
    for n in 0..LARGE {
        let value = vec![u8::try_from(n).unwrap(); 100_000];
        net.get(asked, put(&format!("a/large{n}"), &value)).unwrap();
    }
    for n in 0..100u64 {
        net.get(asked, put("a/n", &n.to_be_bytes())).unwrap();
    }
    // Those of the old entries that are still kept go with the next snapshot.
    for _ in 0..16 {
        net.get(asked, put("a/large0", &vec![0; 200_000])).unwrap();
    }
    let leader = net.leader().unwrap();
    let base = net.group(leader).unwrap().log().base();
    assert!(base.index > last, "{base:?} is behind {last}");
    (net, away)
}

/// Two who ask one thing after another: one writes a number that rises, the other reads it on the node that catches up.
struct Flow {
    writer: usize,
    reader: usize,
    write: RequestId,
    read: RequestId,
    next: u64,
    /// What was acknowledged when the read was asked for.
    asked_at: Revision,
    acknowledged: Revision,
    /// The value and revision that were read last.
    seen: (u64, Revision),
    reads: u64,
}

impl Flow {
    fn new(net: &mut Net, writer: usize, reader: usize) -> Self {
        Self {
            writer,
            reader,
            write: net.ask(writer, put("a/n", &1_000u64.to_be_bytes())),
            read: net.ask(reader, StrongRequest::Read(Query::Get(vec![key("a/n")]))),
            next: 1_001,
            asked_at: Revision(0),
            acknowledged: Revision(0),
            seen: (0, Revision(0)),
            reads: 0,
        }
    }

    fn go_on(&mut self, net: &mut Net) {
        for (id, (_, answer)) in std::mem::take(&mut net.done) {
            if id == self.write {
                if let Ok(StrongDone::Done(Outcome::Done { revision, .. })) = answer {
                    self.acknowledged = self.acknowledged.max(revision);
                }
                self.write = net.ask(self.writer, put("a/n", &self.next.to_be_bytes()));
                self.next += 1;
            } else if id == self.read {
                if let Ok(StrongDone::Found(Finding::Got { revision, found })) = answer {
                    let found = found[0].as_ref().unwrap();
                    let value = u64::from_be_bytes(*found.value.first_chunk().unwrap());
                    assert!((value, revision) >= self.seen && revision >= self.seen.1);
                    assert!(revision >= self.asked_at, "{revision:?} is stale");
                    self.seen = (value, revision);
                    self.reads += 1;
                }
                self.asked_at = self.acknowledged;
                let read = StrongRequest::Read(Query::Get(vec![key("a/n")]));
                self.read = net.ask(self.reader, read);
            }
        }
    }
}

/// What holds at every moment of a transfer.
#[derive(Default)]
struct Watch {
    flushes: u64,
    snapshot: u64,
    parts: u32,
    opened: u32,
}

impl Watch {
    fn look(&mut self, net: &Net, away: usize) {
        let host = &net.hosts[away];
        if let Some((parts, bytes)) = net.group(away).and_then(Group::fetched) {
            self.parts = self.parts.max(parts);
            assert!(
                bytes <= parts as usize * PART_BYTES,
                "{bytes} bytes in {parts} parts"
            );
        }
        // Whatever was flushed last, a crash leaves a whole snapshot, and none older than before.
        if host.count.flushes > self.flushes {
            self.flushes = host.count.flushes;
            let strong = net.reopened(away);
            assert_eq!(strong.out(), None, "after {} flushes", self.flushes);
            let index = strong
                .group()
                .map_or(0, |group| group.log().snapshot().index);
            assert!(index >= self.snapshot, "{index} after {}", self.snapshot);
            self.opened += u32::from(index > self.snapshot);
            self.snapshot = index;
        }
    }
}

fn fetches(net: &Net, n: usize) -> bool {
    let fetched = net.group(n).and_then(Group::fetched);
    fetched.is_some_and(|(parts, _)| parts >= 2)
}

#[test]
fn a_node_catches_up_by_a_snapshot_while_leaders_die_and_parts_are_lost() {
    for seed in 51..=52 {
        let (mut net, away) = one_far_behind(seed);
        let other = (0..3)
            .find(|n| *n != away && net.leader() != Some(*n))
            .unwrap();
        let open = StrongRequest::Open {
            ttl: Duration::from_mins(5),
        };
        let opened = net.get(other, open);
        let Ok(StrongDone::Done(Outcome::Opened { session })) = opened else {
            panic!("{opened:?}");
        };
        let acquire = Request::Acquire {
            lock: key("l/l"),
            mode: Mode::Exclusive,
            wait: Wait::No,
            note: vec![],
        };
        let granted = net.get(other, StrongRequest::In(session, acquire));
        let Ok(StrongDone::Done(Outcome::Granted { token })) = granted else {
            panic!("{granted:?}");
        };
        net.hosts[away].slow = ms(20);
        net.loss = 30;
        net.start(away);
        let mut flow = Flow::new(&mut net, other, away);
        let mut watch = Watch::default();
        let mut killed = None;
        let until = net.now + ms(60_000);
        loop {
            net.run_until(net.now + ms(50), |net| {
                watch.look(net, away);
                !net.done.is_empty() || (killed.is_none() && fetches(net, away))
            });
            flow.go_on(&mut net);
            let leader = net.leader();
            if killed.is_none()
                && let Some(leader) = leader.filter(|_| fetches(&net, away))
            {
                net.crash(leader);
                killed = Some((leader, net.now));
            }
            if let Some((dead, at)) = killed
                && net.now.since(at) > ms(4_000)
                && net.hosts[dead].strong.is_none()
            {
                net.start(dead);
            }
            let applied = |n: usize| net.group(n).map_or(0, Group::applied);
            let back = killed.is_some_and(|(dead, _)| net.hosts[dead].strong.is_some());
            let level = leader.is_some_and(|leader| applied(away) + 5 >= applied(leader));
            if back && level && flow.reads > 100 {
                break;
            }
            assert!(
                net.now < until,
                "seed {seed}: {killed:?}, {:?}",
                net.group(away)
            );
        }
        assert!(watch.parts >= 3 && watch.opened > 0);
        // Sessions and locks have come along.
        net.loss = 0;
        net.run_for(ms(5_000));
        let state = net.group(away).unwrap().state();
        assert_eq!(state.session_ttl(session), Some(Duration::from_mins(5)));
        let holders: Vec<_> = state.lock(&key("l/l")).unwrap().holders().collect();
        assert_eq!((holders[0].0, holders[0].1.token), (session, token));
    }
}

#[test]
fn a_snapshot_that_is_older_than_what_is_committed_here_is_refused() {
    let mut net = group(54, 3);
    for n in 0..20u64 {
        net.get(0, put("a/n", &n.to_be_bytes())).unwrap();
    }
    net.run_for(ms(1_000));
    let leader = net.leader().unwrap();
    let to = (leader + 1) % 3;
    let group = net.group(leader).unwrap();
    let mut old = group.log().snapshot().clone();
    old.index = group.applied() - 10;
    old.term = group.standing().term;
    let offer = RaftMessage {
        kind: Kind::Snapshot,
        from: net.voter(leader),
        to: net.voter(to),
        term: group.standing().term,
        index: 0,
        log_term: 0,
        commit: 0,
        commit_term: 0,
        entries: vec![],
        reject: false,
        reject_hint: 0,
        request_snapshot: 0,
        context: vec![],
        snapshot: Some(old),
    };
    let frame = Message::Raft(group.log().head.group, Box::new(offer)).encode();
    let applied = net.group(to).unwrap().applied();
    let (now, from) = (net.now, net.hosts[leader].id);
    net.on(to, |strong| strong.handle_frame(now, from, &frame).unwrap());
    assert_eq!(net.group(to).unwrap().fetched(), None);
    net.run_for(ms(3_000));
    assert!(net.group(to).unwrap().applied() >= applied);
    assert!(net.hosts[to].strong.as_ref().unwrap().out().is_none());
}

#[test]
fn who_fetches_a_snapshot_that_another_has_replaced_is_offered_that_one() {
    let mut net = Net::new(56, 1);
    net.start_all();
    net.get(0, create("a")).unwrap();
    for n in 0..LARGE {
        net.get(0, put(&format!("a/large{n}"), &[0; 100_000]))
            .unwrap();
    }
    (0..2).for_each(|_| net.add_host());
    let fetches = |net: &Net| {
        let group = net.group(1);
        group.is_some_and(|group| group.fetched().is_some())
    };
    assert!(net.run_until(net.now + ms(20_000), fetches));
    // It goes on asking, and hears nothing.
    net.muted.insert((0, 1));
    let snapshot = |net: &Net| net.group(0).unwrap().log().snapshot().index;
    let offered = snapshot(&net);
    (0..2).for_each(|_| net.add_host());
    assert!(net.run_until(net.now + ms(20_000), |net| snapshot(net) > offered));
    net.muted.clear();
    let caught_up = |net: &Net| net.group(1).unwrap().applied() > offered;
    assert!(net.run_until(net.now + ms(10_000), caught_up));
}

#[test]
fn who_catches_up_by_a_snapshot_forgets_the_voters_that_it_knew() {
    let (mut net, away) = one_far_behind(55);
    net.add_host();
    net.add_host();
    let five = |net: &Net| {
        net.leader()
            .is_some_and(|leader| net.voters(leader).len() == 5)
    };
    assert!(net.run_until(net.now + ms(50_000), five));
    let leader = net.leader().unwrap();
    for _ in 0..16 {
        net.get(leader, put("a/large0", &vec![0; 200_000])).unwrap();
    }
    net.start(away);
    net.run_for(ms(10_000));
    for _ in 0..2 {
        let leader = net.leader().unwrap();
        let [mine, theirs] = [away, leader].map(|n| net.group(n).unwrap().log().config());
        assert_eq!(mine, theirs);
        assert_eq!(mine.voters.len(), 5);
        net.crash(away);
        net.start(away);
        net.run_for(ms(5_000));
    }
}
