//! Membership against hostile members, and against damaged disks.

use std::time::Duration;

use arbitrary::Arbitrary;
use meshwork_membership::{
    Claim, Config, Coordinate, Membership, Message, Meta, NodeId, Output, Purpose, Remembered, State, Time,
};

use crate::pieces;

const MEMBERS_MAX: usize = 6;
const GONE_MAX: usize = 3;
const STEPS_MAX: usize = 64;
/// Who the core is, among the ids 0 to 15.
const ME: u8 = 0;

/// What peers send to a core, and what else happens to it.
#[derive(Arbitrary, Debug)]
pub enum Step {
    Bytes {
        from: u8,
        bytes: Vec<u8>,
    },
    Said {
        from: u8,
        purpose: AnyPurpose,
        claims: Vec<AnyClaim>,
    },
    /// Answers the core's last question as it must be answered.
    Answer {
        claims: Vec<AnyClaim>,
    },
    Pass {
        ms: u16,
    },
    Unreachable {
        peer: u8,
    },
    Join {
        seed: u8,
    },
    Rename {
        name: u8,
    },
    Leave,
}

/// What a message is for.
#[derive(Arbitrary, Debug)]
pub enum AnyPurpose {
    Ping(u64),
    Ack(u64),
    PingReq { sequence: u64, target: u8 },
    PingReqAck(u64),
    PingReqNack(u64),
    Gossip,
    Digest(u64),
    Sums([u32; Purpose::BUCKETS]),
    Have { buckets: u32, hashes: Vec<u32> },
    Want(Vec<u32>),
    ExchangePart,
    ExchangeAsk { sum: u64, known: u32 },
    ExchangeAnswer,
    AckFrom { sequence: u64, position: [i32; 3], height: u32, error: u16 },
}

/// What a peer claims.
#[derive(Arbitrary, Debug)]
pub struct AnyClaim {
    id: u8,
    incarnation: Incarnation,
    state: u8,
    gone_secs: u32,
    accusers: Vec<u32>,
    described: bool,
    meta: Option<(u8, u64)>,
}

#[derive(Arbitrary, Debug)]
enum Incarnation {
    Low(u8),
    Any(u64),
}

/// Whatever members say, and whenever: the core stays within its bounds, sends only what others can read, and asks to be
/// called again later, not at once for ever.
pub fn membership_message(steps: Vec<Step>) {
    let mut peer = Peer::new();
    for step in steps.iter().take(STEPS_MAX) {
        peer.step(step);
        peer.check();
    }
}

/// Any bytes are a remembered member, or are refused; any remembered members can be started from.
pub fn membership_remembered(bytes: &[u8]) {
    let mut remembered = Vec::new();
    for piece in pieces::split(bytes).take(2 * MEMBERS_MAX) {
        if let Ok(entry) = Remembered::decode(piece) {
            assert_eq!(Remembered::decode(&entry.encode()).as_ref(), Ok(&entry));
            remembered.push(entry);
        }
    }
    let mut peer = Peer::new();
    peer.core.restore(peer.now, remembered);
    for _ in 0..8 {
        peer.check();
        peer.step(&Step::Pass { ms: 1_000 });
    }
}

struct Peer {
    core: Membership,
    now: Time,
    asked: Option<(NodeId, Purpose)>,
}

impl Peer {
    fn new() -> Self {
        let config = Config {
            members_max: MEMBERS_MAX,
            dead_remembered_max: GONE_MAX,
            ..Config::lan()
        };
        let core = Membership::new(id(ME), meta(1, 1), 0, config, 1, Time::ZERO);
        Self {
            core: core.expect("the metadata is fit"),
            now: Time::ZERO,
            asked: None,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Bytes { from, bytes } => self.receive(id(*from), bytes),
            Step::Said {
                from,
                purpose,
                claims,
            } => {
                let message = Message {
                    purpose: purpose.purpose(),
                    claims: said(claims),
                };
                self.receive(id(*from), &message.encode());
            }
            Step::Answer { claims } => self.answer(claims),
            Step::Pass { ms } => self.now = self.now + Duration::from_millis((*ms).into()),
            Step::Unreachable { peer } => self.core.handle_unreachable(self.now, id(*peer)),
            Step::Join { seed } => self.core.join(self.now, id(*seed)),
            Step::Rename { name } => {
                let renamed = self.core.set_meta(self.now, meta(*name, 1));
                renamed.expect("the metadata is fit");
            }
            Step::Leave => self.core.leave(self.now),
        }
    }

    fn receive(&mut self, from: NodeId, bytes: &[u8]) {
        if let Ok(message) = Message::decode(bytes) {
            assert_eq!(
                Message::decode(&message.encode()),
                Ok(message),
                "read again as it was read"
            );
        }
        // A refusal is as good as an answer here.
        self.core.handle_message(self.now, from, bytes).ok();
    }

    fn answer(&mut self, claims: &[AnyClaim]) {
        let Some((to, asked)) = self.asked.take() else {
            return;
        };
        let purpose = match asked {
            Purpose::Ping { sequence } => Purpose::Ack {
                sequence,
                coordinate: None,
            },
            Purpose::PingReq { sequence, .. } => Purpose::PingReqAck { sequence },
            Purpose::ExchangeAsk { .. } => Purpose::ExchangeAnswer,
            Purpose::Digest { .. } => Purpose::Sums {
                sums: [7; Purpose::BUCKETS],
            },
            Purpose::Sums { .. } => Purpose::Have {
                buckets: u32::MAX,
                hashes: vec![1, 2],
            },
            Purpose::Have { hashes, .. } => Purpose::Want { hashes },
            _ => return,
        };
        let is_list = purpose == Purpose::ExchangeAnswer;
        let answer = Message {
            purpose,
            claims: said(claims),
        };
        let bytes = answer.encode();
        let fit = Message::decode(&bytes).is_ok();
        let answered = self.core.handle_message(self.now, to, &bytes);
        if fit && is_list {
            answered.expect("nobody is refused who answers with a list");
        }
    }

    fn check(&mut self) {
        self.core.handle_timeout(self.now);
        assert!(
            self.core.poll_timeout() > Some(self.now),
            "what was due is done"
        );
        let mut outputs = 0;
        while let Some(output) = self.core.poll_output() {
            outputs += 1;
            if let Output::Send { to, message } = output {
                assert_ne!(to, id(ME), "nobody writes to himself");
                let message = Message::decode(&message).expect("others can read what is sent");
                self.asked = Some((to, message.purpose));
            }
        }
        assert!(outputs < 1_000, "{outputs} outputs of one step");
        let gone = |state| matches!(state, State::Down | State::Left);
        let dead = self
            .core
            .members()
            .filter(|member| gone(member.state))
            .count();
        let live = self.core.members().count() - dead;
        assert!(
            live <= MEMBERS_MAX && dead <= GONE_MAX,
            "{live} live, {dead} gone"
        );
        assert!(
            self.core.member(id(ME)).is_none(),
            "a node is not its own member"
        );
        assert!(
            self.core
                .members()
                .all(|member| member.meta.check().is_ok())
        );
    }
}

impl AnyPurpose {
    fn purpose(&self) -> Purpose {
        match *self {
            Self::Ping(sequence) => Purpose::Ping { sequence },
            Self::Ack(sequence) => Purpose::Ack {
                sequence,
                coordinate: None,
            },
            Self::AckFrom {
                sequence,
                position,
                height,
                error,
            } => Purpose::Ack {
                sequence,
                coordinate: Some(Coordinate {
                    position,
                    height,
                    error,
                }),
            },
            Self::PingReqNack(sequence) => Purpose::PingReqNack { sequence },
            Self::Sums(sums) => Purpose::Sums { sums },
            Self::Have {
                buckets,
                ref hashes,
            } => Purpose::Have {
                buckets,
                hashes: hashes.clone(),
            },
            Self::Want(ref hashes) => Purpose::Want {
                hashes: hashes.clone(),
            },
            Self::PingReq { sequence, target } => Purpose::PingReq {
                sequence,
                target: id(target),
            },
            Self::PingReqAck(sequence) => Purpose::PingReqAck { sequence },
            Self::Gossip => Purpose::Gossip,
            Self::Digest(sum) => Purpose::Digest { sum },
            Self::ExchangePart => Purpose::ExchangePart,
            Self::ExchangeAsk { sum, known } => Purpose::ExchangeAsk { sum, known },
            Self::ExchangeAnswer => Purpose::ExchangeAnswer,
        }
    }
}

fn said(claims: &[AnyClaim]) -> Vec<Claim> {
    let claim = |claim: &AnyClaim| Claim {
        id: id(claim.id),
        incarnation: match claim.incarnation {
            Incarnation::Low(number) => number.into(),
            Incarnation::Any(number) => number,
        },
        state: [State::Alive, State::Suspect, State::Down, State::Left]
            [usize::from(claim.state % 4)],
        gone_secs: claim.gone_secs,
        accusers: claim.accusers.iter().copied().take(8).collect(),
        described: u32::from(claim.described),
        meta: claim.meta.map(|(name, instance)| meta(name, instance)),
    };
    claims.iter().take(16).map(claim).collect()
}

fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number % 16; 32])
}

fn meta(name: u8, instance: u64) -> Meta {
    Meta {
        name: format!("node-{name}"),
        weight: 64,
        instance,
        ..Meta::default()
    }
}
