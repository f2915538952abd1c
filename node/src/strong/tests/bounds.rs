//! What a peer that is dead or stands still costs the others: nothing at rest, and no more than so much under load.

use meshwork_sync::RequestId;

use super::group::{group, key, put};
use super::net::{Count, Net, ms};
use crate::strong::message::Message;
use crate::strong::wire::Kind;
use crate::strong::*;

/// How a voter is gone.
#[derive(Clone, Copy, Debug)]
enum Gone {
    No,
    /// Its process has ended.
    Crashed,
    /// It is connected and says nothing.
    Frozen,
}

/// What was counted on a leader.
#[derive(Clone, Copy, Debug)]
struct Cost {
    wakes: u64,
    sent: u64,
    flushes: u64,
    commits: u64,
}

fn go(net: &mut Net, gone: Gone) -> usize {
    let leader = net.leader().unwrap();
    let other = (leader + 1) % 3;
    match gone {
        Gone::No => {}
        Gone::Crashed => net.crash(other),
        Gone::Frozen => net.hosts[other].frozen = true,
    }
    // What was under way comes to its end.
    net.run_for(ms(10_000));
    assert_eq!(net.leader(), Some(leader), "{gone:?}");
    leader
}

fn since(net: &Net, leader: usize, before: Count, applied: u64) -> Cost {
    let now = net.hosts[leader].count;
    Cost {
        wakes: now.wakes - before.wakes,
        sent: now.sent - before.sent,
        flushes: now.flushes - before.flushes,
        commits: net.group(leader).unwrap().applied() - applied,
    }
}

fn at_rest(gone: Gone) -> Cost {
    let mut net = group(41, 3);
    let leader = go(&mut net, gone);
    let (before, applied) = (
        net.hosts[leader].count,
        net.group(leader).unwrap().applied(),
    );
    net.run_for(ms(3_600_000));
    assert_eq!(net.leader(), Some(leader));
    since(&net, leader, before, applied)
}

#[test]
fn a_dead_voter_costs_the_leader_nothing_at_rest() {
    let all = at_rest(Gone::No);
    for gone in [Gone::Crashed, Gone::Frozen] {
        let less = at_rest(gone);
        let most = |count: u64| count + count / 50;
        assert!(
            less.wakes <= most(all.wakes),
            "{gone:?}: {less:?} of {all:?}"
        );
        assert!(less.sent <= most(all.sent), "{gone:?}: {less:?} of {all:?}");
        // The dead one's session ends, and that is all.
        assert!(
            less.flushes <= all.flushes + 2,
            "{gone:?}: {less:?} of {all:?}"
        );
    }
}

/// Writes that follow each other on every node that is well.
fn under_load(gone: Gone) -> Cost {
    let mut net = group(42, 3);
    let leader = go(&mut net, gone);
    let (before, applied) = (
        net.hosts[leader].count,
        net.group(leader).unwrap().applied(),
    );
    let mut asked: Vec<RequestId> = (0..8).map(|_| net.ask(leader, put("a/a", b"1"))).collect();
    let until = net.now + ms(10_000);
    while net.now < until {
        net.run_until(until, |net| !net.done.is_empty());
        for (id, (_, answer)) in std::mem::take(&mut net.done) {
            assert!(answer.is_ok(), "{answer:?}");
            let place = asked.iter().position(|asked| *asked == id).unwrap();
            asked[place] = net.ask(leader, put("a/a", b"1"));
        }
    }
    since(&net, leader, before, applied)
}

#[test]
fn a_dead_voter_makes_no_commit_dearer() {
    let all = under_load(Gone::No);
    for gone in [Gone::Crashed, Gone::Frozen] {
        let less = under_load(gone);
        assert!(less.commits > 500, "{less:?}");
        let dearer = |one: u64, other: u64| one * all.commits * 50 > other * less.commits * 51;
        assert!(
            !dearer(less.sent, all.sent),
            "{gone:?}: {less:?} of {all:?}"
        );
        assert!(
            !dearer(less.wakes, all.wakes),
            "{gone:?}: {less:?} of {all:?}"
        );
    }
}

/// Appends on their way to a node, and their bytes.
fn appends(net: &Net, to: usize) -> (usize, usize) {
    let is_append = |message: &Message| matches!(message, Message::Raft(_, message) if message.kind == Kind::Append);
    let appends = net.on_their_way(to).filter_map(|frame| {
        let messages = Message::decode(frame).unwrap();
        let count = messages.into_iter().filter(is_append).count();
        (count > 0).then_some((count, frame.len()))
    });
    appends.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
}

/// Says how many bytes wait in all.
fn check_queues(net: &Net, leader: usize) -> usize {
    let strong = net.hosts[leader].strong.as_ref().unwrap();
    let group = strong.group().unwrap();
    let (uncommitted, held, batches) = group.queued();
    assert!(
        uncommitted <= 32 << 20,
        "{uncommitted} bytes are not committed"
    );
    assert!(
        held <= 2_000 && batches <= 2,
        "{held} wait for {batches} batches"
    );
    let log = group.log().bytes();
    assert!(
        log <= 9 * net.config.snapshot_after_bytes,
        "{log} bytes of log"
    );
    let queued = strong.leader().queued();
    assert!(
        queued.inbox.count <= 8_192 && queued.inbox.bytes <= 16 << 20,
        "{queued:?}"
    );
    assert!(
        queued.reads.count <= 16_384 && queued.reads.bytes <= 16 << 20,
        "{queued:?}"
    );
    assert!(
        queued.proposed <= 4 && queued.parked <= 16_384 && queued.replies == 0,
        "{queued:?}"
    );
    uncommitted + queued.inbox.bytes
}

/// More than is taken: long values from everywhere, reads and waiters, while one follower stands still.
#[test]
fn what_a_leader_holds_for_a_follower_that_stands_still_is_bounded() {
    let mut net = group(43, 3);
    net.add_host();
    let leader = net.leader().unwrap();
    let still = (leader + 1) % 3;
    net.hosts[still].frozen = true;
    let mut most = 0;
    let (mut taken, mut busy) = (0, 0);
    for n in 0..150u32 {
        // Now and then more than is taken.
        let (count, bytes) = if n % 80 == 7 {
            (100, 200_000)
        } else {
            (20, 500)
        };
        for _ in 0..count {
            let write = put(&format!("a/{}", n % 40), &vec![7; bytes]);
            net.ask_for(leader, write, ms(1_000));
        }
        let prefix = meshwork_sync::Prefix::parse("a/never").unwrap();
        let watch = StrongRequest::Changes(prefix, Revision(u64::MAX));
        net.ask_for(3, watch, ms(20_000));
        net.ask_for(
            3,
            StrongRequest::Read(Query::Get(vec![key("a/0")])),
            ms(1_000),
        );
        most = most.max(check_queues(&net, leader));
        net.run_for(ms(300));
        most = most.max(check_queues(&net, leader));
        for (_, (_, answer)) in std::mem::take(&mut net.done) {
            taken += u32::from(answer.is_ok());
            busy += u32::from(answer == Err(StrongError::Unavailable));
        }
    }
    println!("{taken} taken, {busy} refused, at most {most:?}");
    let (count, bytes) = appends(&net, still);
    assert!(
        count <= 64 && bytes <= 64 * (600 << 10),
        "{count} appends, {bytes} bytes"
    );
    assert!(taken > 1_000, "{taken}");
    assert!(
        most > 15 << 20,
        "{most} bytes waited at most: this is no load"
    );
    net.hosts[still].frozen = false;
    net.run_for(ms(10_000));
    let [one, other] = [still, leader].map(|n| net.group(n).unwrap().applied());
    assert!(one + 2 >= other, "{one} of {other}: it catches up");
}
