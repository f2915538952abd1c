//! The replication engine against hostile peers and failing disks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::Arbitrary;
use meshwork_crdt::{CausalContext, Object, ReplicaId};
use meshwork_dht::{Partition, Seat, View};
use meshwork_membership::{NodeId, Time};
use meshwork_sync::reconcile::{Reply, Request, Root, ShortId};
use meshwork_sync::{
    Batch, Config, Identity, Item, Key, Level, Message, Origin, Output, PartitionSet, Prefix, Read,
    Refusal, Replication, Step as Compare, StoreFailure, Write,
};

use crate::records::Memory;
use crate::writing::{AnyOp, Writer, merges};

const STEPS_MAX: usize = 48;
/// The wall clock; stamps of the fuzzer lie far behind it.
const WALL_MS: u64 = 1_000_000;
const PEERS: u8 = 3;

/// What peers send to an engine, and what else happens to it.
#[derive(Arbitrary, Debug)]
pub enum Step {
    Bytes {
        from: u8,
        bytes: Vec<u8>,
    },
    Said {
        from: u8,
        message: AnyMessage,
    },
    /// Answers the engine's last message as its receiver could.
    Answer {
        answer: AnyAnswer,
    },
    Connect {
        peer: u8,
    },
    Disconnect {
        peer: u8,
    },
    Members {
        seats: u8,
    },
    Write {
        key: AnyKey,
        op: AnyOp,
        level: AnyLevel,
    },
    Read {
        key: AnyKey,
        level: AnyLevel,
    },
    Watch {
        prefix: AnyKey,
    },
    Pass {
        ms: u16,
    },
    Stored,
    DiskFails,
    Restart,
}

/// One of a few keys.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct AnyKey(u8);

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum AnyLevel {
    Local,
    One,
    Quorum,
    All,
}

/// An object as a peer may send it.
#[derive(Arbitrary, Debug)]
pub enum AnyObject {
    Bytes(Vec<u8>),
    Written { by: u8, skip: u8, ops: Vec<AnyOp> },
}

/// A message as a peer may send it.
#[derive(Arbitrary, Debug)]
pub enum AnyMessage {
    Push {
        id: u64,
        items: Vec<(AnyKey, AnyObject)>,
    },
    PushAck {
        id: u8,
        refused: Vec<u8>,
    },
    Get {
        id: u64,
        key: AnyKey,
        have: AnyObject,
    },
    Got {
        id: u8,
        complete: bool,
        last: bool,
        object: AnyObject,
        version: AnyObject,
    },
    Compare {
        session: u8,
        step: AnyCompare,
    },
    Subscribe {
        prefixes: Vec<AnyKey>,
    },
    Changed {
        key: AnyKey,
        digest: u8,
    },
}

/// A step of a comparison as a peer may send it.
#[derive(Arbitrary, Debug)]
pub enum AnyCompare {
    Ask { partitions: u16, bytes: Vec<u8> },
    Probe { partitions: u16, differences: u32 },
    More { from: u16, symbols: u16 },
    Want { ids: Vec<u64> },
    List { partitions: u16 },
    Reply(Vec<u8>),
    Same,
    Page { ids: Vec<u64> },
    Sent,
    Stop,
}

/// What a receiver may answer.
#[derive(Arbitrary, Debug)]
pub enum AnyAnswer {
    Good { object: AnyObject },
    Refuse,
    Compare(AnyCompare),
}

/// Whatever peers say, whatever the disk does, and whenever the process ends: the engine does not panic, does a bounded amount of
/// work for each step, sends only what others can read, and starts again from what is durable.
pub fn sync_message(steps: Vec<Step>) {
    let mut node = Node::new();
    node.drain();
    for step in steps.iter().take(STEPS_MAX) {
        node.step(step);
        node.drain();
    }
    node.restart();
    node.drain();
}

struct Node {
    core: Replication,
    disk: Arc<Memory>,
    batches: VecDeque<(u64, Arc<Batch>)>,
    now: Time,
    requests: u64,
    sent: Option<(NodeId, Message)>,
}

impl Node {
    fn new() -> Self {
        let disk = Arc::new(Memory::default());
        let core = open(&disk, Time::ZERO, Origin::Founder);
        Self {
            core,
            disk,
            batches: VecDeque::new(),
            now: Time::ZERO,
            requests: 0,
            sent: None,
        }
    }

    /// Ends the process with all batches lost that are under way, and starts it again.
    fn restart(&mut self) {
        self.batches.clear();
        self.sent = None;
        self.core = open(&self.disk, self.now, Origin::Joiner);
    }

    fn step(&mut self, step: &Step) {
        let now = self.now;
        match step {
            Step::Bytes { from, bytes } => self.receive(peer(*from), bytes),
            Step::Said { from, message } => self.receive(peer(*from), &message.message().encode()),
            Step::Answer { answer } => self.answer(answer),
            Step::Connect { peer: at } => self.core.handle_connected(now, peer(*at)),
            Step::Disconnect { peer: at } => self.core.handle_disconnected(now, peer(*at)),
            Step::Members { seats } => self.core.handle_view(now, view(*seats)),
            Step::Write { key, op, level } => {
                self.requests += 1;
                let write = Write {
                    key: key.key(),
                    op: op.op(),
                    level: level.level(),
                    timeout: TIMEOUT,
                };
                self.core.write(now, WALL_MS, self.requests, write);
            }
            Step::Read { key, level } => {
                self.requests += 1;
                let since = CausalContext::new();
                let read = Read {
                    key: key.key(),
                    since,
                    level: level.level(),
                    timeout: TIMEOUT,
                };
                self.core.read(now, self.requests, read);
            }
            Step::Watch { prefix } => self.core.watch(prefix.prefix()),
            Step::Pass { ms } => self.now = now + Duration::from_millis((*ms).into()),
            Step::Stored => {
                if let Some((id, batch)) = self.batches.pop_front() {
                    self.disk.commit(&batch);
                    self.core.handle_stored(id);
                }
            }
            Step::DiskFails => {
                for (id, _) in std::mem::take(&mut self.batches) {
                    self.core.handle_store_failed(now, id, StoreFailure::Full);
                }
            }
            Step::Restart => self.restart(),
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
        self.core
            .handle_message(self.now, WALL_MS, from, bytes)
            .ok();
    }

    fn answer(&mut self, answer: &AnyAnswer) {
        let Some((to, sent)) = self.sent.take() else {
            return;
        };
        if let Some(message) = answer.to(&sent) {
            self.receive(to, &message.encode());
        }
    }

    fn drain(&mut self) {
        self.core.handle_timeout(self.now);
        let mut outputs = 0;
        while let Some(output) = self.core.poll_output() {
            outputs += 1;
            assert!(outputs < 10_000, "it goes on for ever: {output:?}");
            match output {
                Output::Send { to, message } => {
                    assert_eq!(Message::decode(&message.encode()).as_ref(), Ok(&message));
                    self.sent = Some((to, message));
                }
                Output::Store { id, batch } => self.batches.push_back((id, batch)),
                _ => {}
            }
        }
        assert!(
            self.core.poll_timeout().is_none_or(|at| at >= self.now),
            "what was due is done"
        );
    }
}

const TIMEOUT: Duration = Duration::from_secs(5);

fn open(disk: &Arc<Memory>, now: Time, origin: Origin) -> Replication {
    let identity = Identity {
        node: peer(0),
        replica: ReplicaId::from_bytes([200; 8]),
        mesh_key: [7; 32],
        origin,
    };
    let config = Config {
        value_bytes_max: 1_024,
        object_bytes_max: 4_096,
        object_cache_bytes: 2_048,
        outbox_entries_max: 8,
        outbox_cache_bytes: 256,
        push_bytes_max: 512,
        requests_max: 8,
        watches_per_peer_max: 2,
        ..Config::default()
    };
    let store = Arc::clone(disk);
    let mut core =
        Replication::open(&identity, config, merges(), store, now).expect("memory never fails");
    core.handle_view(now, view(u8::MAX));
    core
}

fn peer(number: u8) -> NodeId {
    NodeId::from_bytes([number % (PEERS + 1); 32])
}

fn view(seats: u8) -> View {
    let seated = (0..=PEERS).filter(|number| *number == 0 || seats & (1 << number) != 0);
    seated
        .map(|number| (peer(number), Seat::new("", 1)))
        .collect()
}

impl AnyKey {
    fn key(self) -> Key {
        Key::new("n", &[b'a' + self.0 % 3]).expect("a short name")
    }

    fn prefix(self) -> Prefix {
        Prefix::parse(["n/", "n/a", "other/"][usize::from(self.0 % 3)]).expect("a short prefix")
    }
}

impl AnyLevel {
    fn level(self) -> Level {
        match self {
            Self::Local => Level::Local,
            Self::One => Level::One,
            Self::Quorum => Level::Quorum,
            Self::All => Level::All,
        }
    }
}

impl AnyObject {
    fn object(&self) -> Object {
        let Self::Written { by, skip, ops } = self else {
            return Object::new();
        };
        let mut writer = Writer::new(by % 4);
        writer.skip(*skip);
        let mut object = Object::new();
        for op in ops.iter().take(6) {
            let stamp = writer.stamp(true, 0);
            if let Ok(delta) = object.apply(&stamp, &op.op(), &merges()) {
                writer.wrote();
                object.join(&delta);
            }
        }
        object
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Written { .. } => self.object().encode(),
        }
    }

    fn version(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Written { .. } => self.object().version().encode(),
        }
    }
}

impl AnyMessage {
    fn message(&self) -> Message {
        match self {
            Self::Push { id, items } => {
                let item = |(key, object): &(AnyKey, AnyObject)| Item {
                    key: key.key(),
                    object: object.bytes(),
                };
                Message::Push {
                    id: *id,
                    items: items.iter().take(8).map(item).collect(),
                }
            }
            Self::PushAck { id, refused } => Message::PushAck {
                id: (*id).into(),
                refused: refused
                    .iter()
                    .map(|at| (u32::from(*at), Refusal::TooLarge))
                    .collect(),
            },
            Self::Get { id, key, have } => Message::Get {
                id: *id,
                key: key.key(),
                have: have.version(),
            },
            Self::Got {
                id,
                complete,
                last,
                object,
                version,
            } => Message::Got {
                id: (*id).into(),
                complete: *complete,
                last: *last,
                object: object.bytes(),
                version: version.version(),
            },
            Self::Compare { session, step } => Message::Reconcile {
                session: (*session).into(),
                step: step.step(),
            },
            Self::Subscribe { prefixes } => Message::Subscribe {
                prefixes: prefixes
                    .iter()
                    .take(8)
                    .map(|prefix| prefix.prefix())
                    .collect(),
            },
            Self::Changed { key, digest } => Message::Changed {
                key: key.key(),
                digest: [*digest; 32],
            },
        }
    }
}

impl AnyCompare {
    fn step(&self) -> Compare {
        let short = |ids: &[u64]| ids.iter().copied().map(ShortId::from_u64).collect();
        let replied = |reply, strays| Compare::Reply {
            reply,
            strays: partition_set(strays),
        };
        let ask = |partitions: u16, request: &Request| Compare::Ask {
            partitions: partition_set(partitions),
            request: request.to_bytes(),
        };
        match self {
            Self::Ask { partitions, bytes } => Compare::Ask {
                partitions: partition_set(*partitions),
                request: bytes.clone(),
            },
            Self::Probe {
                partitions,
                differences,
            } => ask(
                *partitions,
                &Request::Probe {
                    root: Root::default(),
                    differences: *differences,
                },
            ),
            Self::More { from, symbols } => ask(
                u16::MAX,
                &Request::More {
                    seen: Root::default(),
                    from: (*from).into(),
                    symbols: (*symbols).into(),
                },
            ),
            Self::Want { ids } => ask(u16::MAX, &Request::Want { ids: short(ids) }),
            Self::List { partitions } => ask(
                *partitions,
                &Request::List {
                    after: None,
                    until: None,
                },
            ),
            Self::Reply(reply) => replied(reply.clone(), 0),
            // Half of them not the responder's own, as it sees it.
            Self::Same => replied(Reply::Same.to_bytes(), 0x5555),
            Self::Page { ids } => {
                let page = Reply::Page {
                    ids: short(ids),
                    last: None,
                };
                replied(page.to_bytes(), 0)
            }
            Self::Sent => Compare::Sent,
            Self::Stop => Compare::Stop,
        }
    }
}

impl AnyAnswer {
    fn to(&self, sent: &Message) -> Option<Message> {
        Some(match (self, sent) {
            (Self::Good { .. }, Message::Push { id, .. }) => Message::PushAck {
                id: *id,
                refused: Vec::new(),
            },
            (Self::Refuse, Message::Push { id, .. }) => Message::PushAck {
                id: *id,
                refused: vec![(0, Refusal::Malformed)],
            },
            (Self::Good { object }, Message::Get { id, .. }) => Message::Got {
                id: *id,
                complete: true,
                last: true,
                object: object.bytes(),
                version: object.version(),
            },
            (
                Self::Good { .. },
                Message::Reconcile {
                    session,
                    step: Compare::Ask { .. },
                },
            ) => Message::Reconcile {
                session: *session,
                step: AnyCompare::Same.step(),
            },
            (Self::Compare(step), Message::Reconcile { session, .. }) => Message::Reconcile {
                session: *session,
                step: step.step(),
            },
            _ => return None,
        })
    }
}

/// All partitions, or those from a number on in steps of another.
fn partition_set(choice: u16) -> PartitionSet {
    let (first, step) = (usize::from(choice % 64), usize::from(choice / 64).max(1));
    let chosen = match choice {
        u16::MAX => Partition::all().collect(),
        _ => Partition::all().skip(first).step_by(step).collect(),
    };
    PartitionSet::from(&chosen)
}
