//! What a voter that lies can send.

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::net::{Net, ms};
use crate::strong::message::Message;
use crate::strong::records::{Blob, Body, LogEntry};
use crate::strong::wire::{Kind, RaftMessage};
use crate::strong::*;

const KINDS: [Kind; 10] = [
    Kind::Append,
    Kind::AppendResponse,
    Kind::Vote,
    Kind::VoteResponse,
    Kind::PreVote,
    Kind::PreVoteResponse,
    Kind::Heartbeat,
    Kind::HeartbeatResponse,
    Kind::Snapshot,
    Kind::TimeoutNow,
];

/// A number near what is true, or anything.
fn number(rng: &mut ChaCha8Rng, truth: u64) -> u64 {
    match rng.random_range(0..10) {
        0 => rng.random(),
        1 => 0,
        _ => (truth + rng.random_range(0..4)).saturating_sub(2),
    }
}

fn body(rng: &mut ChaCha8Rng) -> Body {
    let bytes: Vec<u8> = (0..rng.random_range(0..12)).map(|_| rng.random()).collect();
    let blob = Blob(bytes.into());
    if rng.random_bool(0.7) {
        Body::Commands(blob)
    } else {
        Body::Config(blob)
    }
}

fn lie(rng: &mut ChaCha8Rng, net: &Net, from: usize, to: usize) -> Option<Message> {
    let group = net.hosts[to].strong.as_ref()?.group()?;
    let log = group.log();
    let (term, last) = (group.standing().term, log.last());
    let entries = (0..rng.random_range(0..3)).map(|_| LogEntry {
        term: number(rng, term),
        body: body(rng),
    });
    let entries = entries.collect();
    let mut snapshot = log.snapshot().clone();
    snapshot.index = number(rng, last + 2);
    snapshot.term = number(rng, term);
    let message = RaftMessage {
        kind: KINDS[rng.random_range(0..KINDS.len())],
        from: net.voter(from),
        to: net.voter(to),
        term: number(rng, term),
        index: number(rng, last),
        log_term: number(rng, term),
        commit: number(rng, last),
        commit_term: number(rng, term),
        entries,
        reject: rng.random(),
        reject_hint: number(rng, last),
        request_snapshot: number(rng, 0),
        context: vec![rng.random(); rng.random_range(0..10)],
        snapshot: rng.random_bool(0.5).then_some(snapshot),
    };
    Some(Message::Raft(log.head.group, Box::new(message)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// It may end the group, as one of three that break their word may. It may not end a node.
    #[test]
    fn no_voter_ends_another_s_process(seed in any::<u64>()) {
        let mut net = super::group::group(seed % 1_000, 3);
        net.config.snapshot_after_bytes = 2_000;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let liar = rng.random_range(0..3);
        let (mut sent, mut taken) = (0, 0);
        for _ in 0..200 {
            let to = (liar + rng.random_range(1..3)) % 3;
            if let Some(message) = lie(&mut rng, &net, liar, to) {
                let (now, from) = (net.now, net.hosts[liar].id);
                let frame = message.encode();
                sent += 1;
                net.on(to, |strong| taken += u32::from(strong.handle_frame(now, from, &frame).is_ok()));
            }
            net.run_for(ms(rng.random_range(0..100)));
        }
        prop_assert!(sent == 0 || taken * 20 > sent, "{taken} of {sent} lies reached raft");
    }

    #[test]
    fn no_bytes_are_more_than_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut frame = vec![0x81];
        frame.extend(bytes);
        drop(Message::decode(&frame));
        drop(State::from_snapshot(&frame));
    }
}
