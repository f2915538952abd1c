//! Two or three cores, messages moved by hand.

use core::time::Duration;

use meshwork_membership::{
    Claim, Config, Event, Membership, Message, NodeId, Output, Purpose, RejectMessage, State, Time,
};

use crate::sim::{id, meta};

/// A core, and what it asked for since the last look.
struct Node {
    core: Membership,
    sent: Vec<(NodeId, Message)>,
    events: Vec<Event>,
}

impl Node {
    fn new(n: usize) -> Self {
        let core = Membership::new(id(n), meta(n, 1), 0, Config::lan(), n as u64, Time::ZERO);
        let mut node = Self {
            core: core.unwrap(),
            sent: vec![],
            events: vec![],
        };
        node.drain();
        node
    }

    fn drain(&mut self) {
        self.sent.clear();
        self.events.clear();
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send { to, message } => {
                    self.sent.push((to, Message::decode(&message).unwrap()));
                }
                Output::Event(event) => self.events.push(event),
                Output::Remember(_) | Output::ForgetRemembered(_) | _ => {}
            }
        }
    }

    fn take(&mut self, now: Time, from: usize, message: &Message) -> Result<(), RejectMessage> {
        let result = self.core.handle_message(now, id(from), &message.encode());
        self.drain();
        result
    }

    /// Runs to `end`, and hands out the pings that were sent on the way.
    fn run_until(&mut self, end: Time) -> Vec<(Time, NodeId, u64)> {
        let mut pings = Vec::new();
        let mut events = Vec::new();
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= end) {
            self.core.handle_timeout(at);
            self.drain();
            events.append(&mut self.events);
            for (to, message) in &self.sent {
                if let Purpose::Ping { sequence } = message.purpose {
                    pings.push((at, *to, sequence));
                }
            }
        }
        self.events = events;
        pings
    }

    fn state(&self, of: usize) -> State {
        self.core.member(id(of)).unwrap().state
    }
}

fn claim(n: usize, incarnation: u64, state: State) -> Claim {
    Claim {
        id: id(n),
        incarnation,
        state,
        gone_secs: 0,
        accusers: vec![],
        described: 0,
        meta: (state == State::Alive).then(|| meta(n, 1)),
    }
}

fn gossip(claims: Vec<Claim>) -> Message {
    Message {
        purpose: Purpose::Gossip,
        claims,
    }
}

const START: Time = Time(1_000);

/// A node that knows 1 and 2 at incarnation 5.
fn knowing_two() -> Node {
    let mut node = Node::new(0);
    for n in [1, 2] {
        node.take(START, n, &gossip(vec![claim(n, 5, State::Alive)]))
            .unwrap();
    }
    node
}

#[test]
fn who_seeks_the_list_has_it_from_one_who_has_it_and_not_from_those_who_speak_first() {
    let answer = |purpose, claims| Message { purpose, claims };
    let mut node = Node::new(0);
    node.core.seek_list();
    // One that is alone as well speaks up, and tells the little that it knows.
    node.take(START, 1, &gossip(vec![claim(1, 0, State::Alive)]))
        .unwrap();
    let asks_for_all =
        |message: &Message| matches!(message.purpose, Purpose::ExchangeAsk { known: 0, .. });
    assert!(node.sent.iter().any(|(_, message)| asks_for_all(message)));
    let part = vec![claim(1, 0, State::Alive), claim(2, 0, State::Alive)];
    node.take(START, 1, &answer(Purpose::ExchangePart, part))
        .unwrap();
    assert!(!node.core.has_list());
    node.core.join(START, id(2));
    node.drain();
    let whole = vec![claim(2, 0, State::Alive), claim(3, 0, State::Alive)];
    node.take(START, 2, &answer(Purpose::ExchangeAnswer, whole))
        .unwrap();
    assert!(node.core.has_list() && node.events.contains(&Event::Listed));
}

#[test]
fn who_has_no_list_passes_none_on_and_makes_do_after_a_minute() {
    let mut node = Node::new(0);
    node.core.seek_list();
    let ask = Message {
        purpose: Purpose::ExchangeAsk { sum: 0, known: 0 },
        claims: vec![claim(1, 0, State::Alive)],
    };
    node.take(START, 1, &ask).unwrap();
    let sends = |node: &Node, purpose| node.sent.iter().any(|(_, m)| m.purpose == purpose);
    assert!(sends(&node, Purpose::ExchangePart) && !sends(&node, Purpose::ExchangeAnswer));
    node.run_until(START + Duration::from_secs(59));
    assert!(!node.core.has_list());
    node.run_until(START + Duration::from_secs(61));
    assert!(node.core.has_list() && node.events.contains(&Event::Listed));
}

#[test]
fn an_ack_that_is_late_foreign_or_repeated_is_rejected_and_changes_nothing() {
    let mut node = knowing_two();
    let (at, target, sequence) = node.run_until(START + Duration::from_secs(1))[0];
    let (target, other) = if target == id(1) { (1, 2) } else { (2, 1) };
    let news = claim(3, 0, State::Alive);
    let ack = |sequence| Message {
        purpose: Purpose::Ack {
            sequence,
            coordinate: None,
        },
        claims: vec![news.clone()],
    };
    let request = Message {
        purpose: Purpose::PingReqAck { sequence },
        claims: vec![news.clone()],
    };
    let refused = Err(RejectMessage::UnexpectedAck);
    assert_eq!(node.take(at, other, &ack(sequence)), refused);
    // The next numbers are those of its repetitions.
    assert_eq!(node.take(at, target, &ack(sequence + 100)), refused);
    assert_eq!(node.take(at, target, &request), refused);
    assert!(node.core.member(id(3)).is_none() && node.sent.is_empty());
    assert_eq!(node.take(at, target, &ack(sequence)), Ok(()));
    assert!(node.core.member(id(3)).is_some());
    assert_eq!(node.take(at, target, &ack(sequence)), refused);
}

#[test]
fn a_member_that_answers_is_not_suspected_and_one_that_does_not_is() {
    let mut node = knowing_two();
    let mut pings = node.run_until(START + Duration::from_millis(1_100));
    // A ping is repeated until it is answered.
    pings.dedup_by_key(|(_, target, _)| *target);
    for (at, target, sequence) in pings {
        let from = if target == id(1) { 1 } else { 2 };
        let ack = Message {
            purpose: Purpose::Ack {
                sequence,
                coordinate: None,
            },
            claims: vec![],
        };
        node.take(at, from, &ack).unwrap();
        node.run_until(at + Duration::from_millis(1_050));
        assert_eq!(node.state(from), State::Alive);
        node.run_until(at + Duration::from_millis(2_500));
        assert_eq!(node.state(3 - from), State::Suspect);
    }
}

#[test]
fn a_failed_probe_accuses_nobody_who_was_heard_of_since() {
    let mut node = knowing_two();
    let (at, target, _) = node.run_until(START + Duration::from_secs(1))[0];
    let target = if target == id(1) { 1 } else { 2 };
    let newer = gossip(vec![claim(target, 6, State::Alive)]);
    node.take(at, 3 - target, &newer).unwrap();
    node.run_until(at + Duration::from_millis(1_010));
    let member = node.core.member(id(target)).unwrap();
    assert_eq!((member.incarnation, member.state), (6, State::Alive));
}

#[test]
fn a_suspect_is_told_first_and_a_refutation_cancels_the_timer() {
    let mut node = knowing_two();
    node.take(START, 2, &gossip(vec![claim(1, 5, State::Suspect)]))
        .unwrap();
    assert_eq!(node.events, [Event::Suspected(id(1))]);
    assert_eq!(node.sent[0].0, id(1));
    assert_eq!(node.sent[0].1.claims[0].state, State::Suspect);
    let later = START + Duration::from_millis(100);
    node.take(later, 2, &gossip(vec![claim(1, 6, State::Alive)]))
        .unwrap();
    assert_eq!(node.events, [Event::Recovered(id(1))]);
    // A new suspicion, by as many as are wanted, starts with its full time, though the old one's would end in between.
    let again = START + Duration::from_millis(1_000);
    let accused = Claim {
        accusers: vec![8, 9],
        ..claim(1, 6, State::Suspect)
    };
    node.take(again, 2, &gossip(vec![accused])).unwrap();
    node.run_until(again + Duration::from_millis(2_090));
    assert_eq!(node.state(1), State::Suspect);
    node.run_until(again + Duration::from_millis(2_110));
    assert_eq!(node.state(1), State::Down);
}

#[test]
fn an_accused_node_refutes_to_the_accuser_and_to_all() {
    let mut node = knowing_two();
    node.take(START, 2, &gossip(vec![claim(0, 0, State::Suspect)]))
        .unwrap();
    assert_eq!(node.core.me().incarnation, 1);
    assert_eq!(node.events, [Event::Refuted { incarnation: 1 }]);
    let (to, reply) = &node.sent[0];
    assert_eq!(
        (*to, reply.claims[0].state, reply.claims[0].incarnation),
        (id(2), State::Alive, 1)
    );
}

#[test]
fn accusations_without_end_make_no_storm_and_are_all_refuted() {
    let mut node = knowing_two();
    let mut sent = 0;
    for ms in 0..1_000 {
        let now = START + Duration::from_millis(ms);
        let accusation = claim(0, node.core.me().incarnation, State::Suspect);
        node.take(now, 2, &gossip(vec![accusation])).unwrap();
        sent += node.sent.len();
    }
    assert!(
        node.core.me().incarnation <= 6,
        "{}",
        node.core.me().incarnation
    );
    assert!(sent <= 10, "{sent}");
    let last = claim(0, node.core.me().incarnation, State::Suspect);
    let end = START + Duration::from_secs(1);
    node.take(end, 2, &gossip(vec![last.clone()])).unwrap();
    node.run_until(end + Duration::from_millis(400));
    assert!(node.core.me().incarnation > last.incarnation);
}

#[test]
fn a_refutation_that_nobody_is_there_to_hear_leaves_nothing_due() {
    let mut node = Node::new(0);
    for incarnation in [5, 6] {
        let accusation = gossip(vec![claim(0, incarnation, State::Suspect)]);
        // From a stranger: nobody becomes a member by accusing.
        node.take(START, 2, &accusation).ok();
    }
    let end = START + Duration::from_secs(1);
    node.core.handle_timeout(end);
    assert!(node.core.poll_timeout() > Some(end));
}

#[test]
fn one_word_of_death_is_an_accusation_and_two_shorten_the_time_to_half() {
    let mut node = knowing_two();
    let down = gossip(vec![claim(1, 5, State::Down)]);
    node.take(START, 2, &down).unwrap();
    assert_eq!(node.state(1), State::Suspect);
    node.take(START, 2, &down).unwrap();
    node.run_until(START + Duration::from_millis(1_100));
    assert_eq!(node.state(1), State::Suspect, "one peer twice is one peer");
    // Long after half of the time: it is due now, and does not look like a pause of this node.
    node.take(START + Duration::from_millis(1_800), 3, &down)
        .unwrap();
    node.run_until(START + Duration::from_millis(1_801));
    assert_eq!(node.state(1), State::Down);
}

#[test]
fn a_goodbye_is_believed_from_the_leaver_or_from_two() {
    let mut node = knowing_two();
    let left = gossip(vec![claim(1, 6, State::Left)]);
    node.take(START, 2, &left).unwrap();
    assert_eq!(node.state(1), State::Alive);
    assert_eq!(
        node.sent[0].0,
        id(1),
        "and the member is told what is said of it"
    );
    node.take(START, 3, &left).unwrap();
    assert_eq!(node.state(1), State::Left);
    node.take(START, 2, &gossip(vec![claim(2, 6, State::Left)]))
        .unwrap();
    assert_eq!(node.state(2), State::Left);
}

#[test]
fn a_request_to_ping_a_stranger_is_refused() {
    let mut node = knowing_two();
    let purpose = Purpose::PingReq {
        sequence: 1,
        target: id(9),
    };
    let refused = node.take(
        START,
        1,
        &Message {
            purpose,
            claims: vec![],
        },
    );
    assert_eq!(refused, Err(RejectMessage::UnknownTarget { target: id(9) }));
    assert!(node.sent.is_empty());
}

#[test]
fn open_requests_are_bounded() {
    let mut node = knowing_two();
    let ask = |sequence| Message {
        purpose: Purpose::PingReq {
            sequence,
            target: id(2),
        },
        claims: vec![],
    };
    let refused = (0..1_000)
        .filter(|n| node.take(START, 1, &ask(*n)).is_err())
        .count();
    assert_eq!(refused, 1_000 - 256);
}

#[test]
fn an_impostor_that_outbids_is_reported_and_a_former_life_is_not() {
    let mut node = knowing_two();
    let other = |incarnation| Claim {
        meta: Some(meta(0, 99)),
        ..claim(0, incarnation, State::Alive)
    };
    let mut reported = 0;
    for round in 0..10 {
        let now = START + Duration::from_secs(round);
        node.take(now, 2, &gossip(vec![other(node.core.me().incarnation)]))
            .unwrap();
        let impostor = node.events.contains(&Event::Impostor { instance: 99 });
        assert!(!impostor || round >= 3);
        reported += usize::from(impostor);
    }
    assert_eq!(reported, 1);
}

#[test]
fn a_differing_digest_makes_lists_be_compared_but_not_again_at_once() {
    let mut node = knowing_two();
    let differs = Message {
        purpose: Purpose::Digest { sum: 1 },
        claims: vec![],
    };
    node.take(START, 1, &differs).unwrap();
    assert!(matches!(node.sent[0].1.purpose, Purpose::Sums { .. }));
    node.take(START, 1, &differs).unwrap();
    assert!(node.sent.is_empty());
    let ask = Message {
        purpose: Purpose::ExchangeAsk { sum: 1, known: 0 },
        claims: vec![],
    };
    assert_eq!(node.take(START, 1, &ask), Err(RejectMessage::TooSoon));
    let later = START + Duration::from_secs(1);
    node.take(later, 1, &ask).unwrap();
    assert_eq!(node.sent[0].1.purpose, Purpose::ExchangeAnswer);
    assert_eq!(node.sent[0].1.claims.len(), 3);
}

#[test]
fn steps_of_a_comparison_that_are_out_of_turn_are_refused() {
    let mut node = knowing_two();
    let message = |purpose| Message {
        purpose,
        claims: vec![],
    };
    let have = message(Purpose::Have {
        buckets: u32::MAX,
        hashes: vec![],
    });
    let want = message(Purpose::Want { hashes: vec![1] });
    let refused = Err(RejectMessage::UnexpectedAck);
    assert_eq!(node.take(START, 1, &have), refused);
    assert_eq!(node.take(START, 1, &want), refused);
    let digest = message(Purpose::Digest { sum: 1 });
    node.take(START, 1, &digest).unwrap();
    assert_eq!(node.take(START, 2, &have), refused, "another one was asked");
    assert_eq!(node.take(START, 1, &have), Ok(()));
    let (_, answer) = &node.sent[0];
    assert!(matches!(answer.purpose, Purpose::Want { .. }));
    let about: Vec<_> = answer.claims.iter().map(|claim| claim.id).collect();
    assert!(about.contains(&id(0)) && about.contains(&id(2)) && about.len() == 2);
    assert_eq!(node.take(START, 1, &have), refused, "only once");
}

fn accused(n: usize, incarnation: u64, accusers: &[u32]) -> Message {
    gossip(vec![Claim {
        accusers: accusers.to_vec(),
        ..claim(n, incarnation, State::Suspect)
    }])
}

/// A node that knows 1 to 7.
fn knowing_seven() -> Node {
    let mut node = Node::new(0);
    for n in 1..8 {
        node.take(START, n, &gossip(vec![claim(n, 5, State::Alive)]))
            .unwrap();
    }
    node
}

#[test]
fn only_distinct_accusers_shorten_a_suspicion() {
    let least = Duration::from_millis(2_810);
    for (accusers, down) in [([7, 7, 7], false), ([7, 8, 9], true)] {
        let mut node = knowing_seven();
        for (from, accuser) in [2, 3, 4].into_iter().zip(accusers) {
            node.take(START, from, &accused(1, 5, &[accuser])).unwrap();
        }
        // Nobody answers this node's pings, so its own probes accuse as well; these are not those of member 1.
        let state = |node: &Node| node.core.member(id(1)).unwrap().state;
        let mut now = START;
        while now < START + least {
            now = now + Duration::from_millis(50);
            for (at, to, sequence) in node.run_until(now) {
                let n = (1..8).find(|n| id(*n) == to).unwrap();
                let ack = Message {
                    purpose: Purpose::Ack {
                        sequence,
                        coordinate: None,
                    },
                    claims: vec![],
                };
                if n != 1 || !down {
                    node.take(at, n, &ack).ok();
                }
            }
        }
        assert_eq!(state(&node) == State::Down, down, "{accusers:?}");
    }
}

#[test]
fn whoever_answered_a_moment_ago_is_not_suspected_by_hearsay() {
    let mut node = knowing_seven();
    let (at, target, sequence) = node.run_until(START + Duration::from_secs(1))[0];
    let n = (1..8).find(|n| id(*n) == target).unwrap();
    let ack = Message {
        purpose: Purpose::Ack {
            sequence,
            coordinate: None,
        },
        claims: vec![],
    };
    node.take(at, n, &ack).unwrap();
    let other = if n == 2 { 3 } else { 2 };
    node.take(at, other, &accused(n, 5, &[7, 8, 9])).unwrap();
    assert_eq!(node.state(n), State::Alive);
    assert_eq!(node.sent[0].0, target, "but it is told");
    let later = at + Duration::from_millis(1_100);
    node.take(later, other, &accused(n, 5, &[7])).unwrap();
    assert_eq!(node.state(n), State::Suspect);
}

#[test]
fn a_late_accusation_does_not_kill_after_a_pause() {
    let mut node = knowing_seven();
    node.take(START, 2, &accused(1, 5, &[7])).unwrap();
    // Stopped for a minute: all suspicions start anew, also for those that are confirmed now.
    let woken = START + Duration::from_secs(60);
    node.core.handle_timeout(woken);
    node.drain();
    node.take(woken, 3, &accused(1, 5, &[8, 9])).unwrap();
    node.run_until(woken + Duration::from_millis(1_000));
    assert_eq!(node.state(1), State::Suspect);
    node.take(woken, 1, &gossip(vec![claim(1, 6, State::Alive)]))
        .unwrap();
    assert_eq!(node.state(1), State::Alive);
}

#[test]
fn a_relay_that_gets_no_answer_says_so_in_time() {
    let mut node = knowing_two();
    let ask = Message {
        purpose: Purpose::PingReq {
            sequence: 77,
            target: id(2),
        },
        claims: vec![],
    };
    node.take(START, 1, &ask).unwrap();
    let mut nack = None;
    while let Some(at) = node.core.poll_timeout() {
        node.core.handle_timeout(at);
        node.drain();
        let said = |(to, message): &(NodeId, Message)| {
            *to == id(1) && message.purpose == Purpose::PingReqNack { sequence: 77 }
        };
        if node.sent.iter().any(said) {
            nack = Some(at);
            break;
        }
        assert!(at < START + Duration::from_secs(5));
    }
    let after = nack.unwrap().since(START);
    assert!(after <= Duration::from_millis(450), "{after:?}");
}

#[test]
fn a_refutation_carries_a_hash_instead_of_metadata_and_who_knows_others_asks() {
    let mut node = knowing_two();
    let described = meta(1, 1).hash();
    let brief = |described| Claim {
        meta: None,
        described,
        ..claim(1, 9, State::Alive)
    };
    node.take(START, 2, &gossip(vec![brief(described)]))
        .unwrap();
    assert_eq!(node.core.member(id(1)).unwrap().incarnation, 9);
    let other = Claim {
        incarnation: 10,
        ..brief(described ^ 1)
    };
    node.take(START, 2, &gossip(vec![other])).unwrap();
    assert_eq!(node.core.member(id(1)).unwrap().incarnation, 9);
    assert_eq!(node.sent[0].0, id(1), "the member itself is asked");
}
