//! Many cores on one event queue: virtual time, and a network and disks that fail as the seed says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use meshwork_crdt::{Limits, Merges, Object, ReplicaId};
use meshwork_dht::{Seat, View};
use meshwork_membership::{NodeId, Time};
use meshwork_sync::{
    Batch, Config, Identity, Message, Origin, Output, Read, Replication, RequestId, StoreFailure,
    Write,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::disk::Disk;

/// Largest message that the network takes.
const FRAME_BYTES_MAX: usize = 1 << 20;
const MESH_KEY: [u8; 32] = [7; 32];
const WALL_MS: u64 = 1_790_000_000_000;

pub(crate) struct Sim {
    pub(crate) seed: u64,
    pub(crate) now: Time,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) nodes: Vec<Node>,
    pub(crate) config: Config,
    /// Lost messages on a connection that stays, in a thousand.
    pub(crate) loss: u32,
    pub(crate) latency_us: (u64, u64),
    /// How long a batch takes at most.
    pub(crate) disk_us_max: u64,
    /// Which pairs may be connected.
    pub(crate) side: Vec<u32>,
    /// Answers and changes, for the workload.
    pub(crate) answers: VecDeque<(usize, Output)>,
    pub(crate) sent: Sent,
    /// Whether outputs go into the trace, which takes longer than the run.
    pub(crate) traced: bool,
    pub(crate) trace: blake3::Hasher,
    pub(crate) outputs: u64,
    pub(crate) reads_asked: u64,
    links: BTreeMap<(usize, usize), u64>,
    last_arrival: BTreeMap<(usize, usize), Time>,
    events: BTreeMap<(Time, u64), Event>,
    next_event: u64,
    /// What each dot of a register stands for.
    dots: BTreeMap<meshwork_crdt::Dot, Vec<u8>>,
}

/// What went over the network.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) messages: u64,
    pub(crate) reconcile_messages: u64,
    pub(crate) reconcile_bytes: u64,
    pub(crate) pushed_items: u64,
}

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) disk: Arc<Disk>,
    pub(crate) core: Option<Replication>,
    pub(crate) view: View,
    /// How often it was started.
    pub(crate) run: u64,
    pub(crate) full: bool,
    /// How far its wall clock is ahead.
    pub(crate) clock_ahead: Duration,
    origin: Origin,
    under_way: VecDeque<(u64, Arc<Batch>)>,
}

enum Event {
    Arrive {
        from: usize,
        to: usize,
        link: u64,
        bytes: Vec<u8>,
    },
    DiskDone {
        node: usize,
        run: u64,
    },
}

pub(crate) fn id(n: usize) -> NodeId {
    let mut bytes = [0; 32];
    bytes[0] = u8::try_from(n + 1).unwrap();
    NodeId::from_bytes(bytes)
}

pub(crate) fn view(nodes: impl IntoIterator<Item = usize>) -> View {
    nodes
        .into_iter()
        .map(|n| (id(n), Seat::new("", 1)))
        .collect()
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn merges() -> Merges {
    let mut merges = Merges::default();
    merges.register_fn(9, |a: &[u8], b: &[u8]| Ok(a.max(b).to_vec()));
    merges
}

impl Sim {
    /// `count` nodes that all know of each other and are not connected yet. The first one founded the mesh.
    pub(crate) fn new(seed: u64, count: usize, config: Config) -> Self {
        let mut sim = Self {
            seed,
            now: Time::ZERO,
            rng: ChaCha8Rng::seed_from_u64(seed),
            nodes: Vec::new(),
            config,
            loss: 0,
            latency_us: (1_000, 20_000),
            disk_us_max: 30_000,
            side: vec![0; count],
            answers: VecDeque::new(),
            sent: Sent::default(),
            traced: false,
            trace: blake3::Hasher::new(),
            outputs: 0,
            reads_asked: 0,
            links: BTreeMap::new(),
            last_arrival: BTreeMap::new(),
            events: BTreeMap::new(),
            next_event: 0,
            dots: BTreeMap::new(),
        };
        for n in 0..count {
            sim.nodes.push(Node {
                id: id(n),
                disk: Arc::default(),
                core: None,
                view: view(0..count),
                run: 0,
                full: false,
                clock_ahead: Duration::from_millis(150 * n as u64),
                origin: if n == 0 {
                    Origin::Founder
                } else {
                    Origin::Joiner
                },
                under_way: VecDeque::new(),
            });
        }
        sim
    }

    pub(crate) fn start(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        assert!(node.core.is_none());
        node.run += 1;
        let identity = Identity {
            node: node.id,
            replica: ReplicaId::from_bytes([u8::try_from(n + 1).unwrap(); 8]),
            mesh_key: MESH_KEY,
            origin: node.origin,
        };
        let config = self.config.clone();
        let core = Replication::open(&identity, config, merges(), node.disk.clone(), self.now);
        node.core = Some(core.unwrap());
        let view = node.view.clone();
        self.set_view(n, view);
    }

    pub(crate) fn set_view(&mut self, n: usize, view: View) {
        let now = self.now;
        self.nodes[n].view = view.clone();
        self.on(n, |core| core.handle_view(now, view));
    }

    /// Stops a node at once. Of the batches under way any number may have become durable.
    pub(crate) fn crash(&mut self, n: usize) {
        let survive = self.rng.random_range(0..=self.nodes[n].under_way.len());
        let node = &mut self.nodes[n];
        node.core = None;
        for (_, batch) in node.under_way.drain(..).take(survive) {
            node.disk.commit(&batch);
        }
        for peer in 0..self.nodes.len() {
            self.disconnect(n, peer);
        }
    }

    pub(crate) fn is_up(&self, n: usize) -> bool {
        self.nodes[n].core.is_some()
    }

    pub(crate) fn core(&self, n: usize) -> &Replication {
        self.nodes[n].core.as_ref().unwrap()
    }

    pub(crate) fn connect(&mut self, a: usize, b: usize) {
        let pair = (a.min(b), a.max(b));
        let may = a != b && self.side[a] == self.side[b] && self.is_up(a) && self.is_up(b);
        if !may || self.links.contains_key(&pair) {
            return;
        }
        self.next_event += 1;
        self.links.insert(pair, self.next_event);
        let now = self.now;
        self.on(a, |core| core.handle_connected(now, id(b)));
        self.on(b, |core| core.handle_connected(now, id(a)));
    }

    pub(crate) fn connect_all(&mut self) {
        for a in 0..self.nodes.len() {
            for b in 0..a {
                self.connect(a, b);
            }
        }
    }

    pub(crate) fn disconnect(&mut self, a: usize, b: usize) {
        if self.links.remove(&(a.min(b), a.max(b))).is_some() {
            let now = self.now;
            self.on(a, |core| core.handle_disconnected(now, id(b)));
            self.on(b, |core| core.handle_disconnected(now, id(a)));
        }
    }

    /// Cuts what runs between different sides.
    pub(crate) fn cut(&mut self) {
        for (a, b) in self.links.keys().copied().collect::<Vec<_>>() {
            if self.side[a] != self.side[b] {
                self.disconnect(a, b);
            }
        }
    }

    /// How often a node said exactly this since the answers were last taken.
    pub(crate) fn outputs_of(&self, n: usize, output: &Output) -> usize {
        let said = self.answers.iter();
        said.filter(|(node, said)| *node == n && said == output)
            .count()
    }

    pub(crate) fn wall_ms(&self, n: usize) -> u64 {
        let ahead = self.nodes[n].clock_ahead.as_millis();
        WALL_MS + self.now.0 / 1_000 + u64::try_from(ahead).unwrap()
    }

    pub(crate) fn write(&mut self, n: usize, request: RequestId, write: Write) {
        let (now, wall_ms) = (self.now, self.wall_ms(n));
        self.on(n, |core| core.write(now, wall_ms, request, write));
    }

    pub(crate) fn read(&mut self, n: usize, request: RequestId, read: Read) {
        let now = self.now;
        self.reads_asked += 1;
        self.on(n, |core| core.read(now, request, read));
    }

    /// Calls a core, if it runs, and does what it says.
    pub(crate) fn on(&mut self, n: usize, call: impl FnOnce(&mut Replication)) {
        if let Some(core) = self.nodes[n].core.as_mut() {
            call(core);
            self.drain(n);
        }
    }

    fn drain(&mut self, n: usize) {
        while let Some(output) = self.nodes[n]
            .core
            .as_mut()
            .and_then(Replication::poll_output)
        {
            self.outputs += 1;
            if self.traced {
                let line = format!("{} {n} {output:?}", self.now.0);
                self.trace.update(line.as_bytes());
            }
            match output {
                Output::Send { to, message } => self.send(n, to, &message),
                Output::Store { id, batch } => self.store(n, id, batch),
                other => self.answers.push_back((n, other)),
            }
        }
    }

    fn store(&mut self, n: usize, batch_id: u64, batch: Arc<Batch>) {
        let wait = self.rng.random_range(100..self.disk_us_max);
        let node = &mut self.nodes[n];
        node.under_way.push_back((batch_id, batch));
        let run = node.run;
        if node.under_way.len() == 1 {
            self.event(
                Duration::from_micros(wait),
                Event::DiskDone { node: n, run },
            );
        }
    }

    fn disk_done(&mut self, n: usize) {
        let Some((batch_id, batch)) = self.nodes[n].under_way.pop_front() else {
            return;
        };
        let now = self.now;
        if self.nodes[n].full {
            // Later batches that were handed over already fail as well.
            let mut failed = vec![batch_id];
            failed.extend(self.nodes[n].under_way.drain(..).map(|(id, _)| id));
            for batch_id in failed {
                self.on(n, |core| {
                    core.handle_store_failed(now, batch_id, StoreFailure::Full);
                });
            }
            return;
        }
        self.nodes[n].disk.commit(&batch);
        if !self.nodes[n].under_way.is_empty() {
            let wait = Duration::from_micros(self.rng.random_range(100..self.disk_us_max));
            let run = self.nodes[n].run;
            self.event(wait, Event::DiskDone { node: n, run });
        }
        self.on(n, |core| core.handle_stored(batch_id));
    }

    fn send(&mut self, from: usize, to: NodeId, message: &Message) {
        let bytes = message.encode();
        assert!(bytes.len() <= FRAME_BYTES_MAX, "a frame of {}", bytes.len());
        self.count(message, bytes.len());
        let to = usize::from(to.as_bytes()[0]) - 1;
        let Some(link) = self.links.get(&(from.min(to), from.max(to))).copied() else {
            return;
        };
        if self.rng.random_range(0..1_000) < self.loss {
            return;
        }
        let (low, high) = self.latency_us;
        let wait = Duration::from_micros(self.rng.random_range(low..high));
        // In order on one connection.
        let last = self.last_arrival.entry((from, to)).or_default();
        *last = (*last).max(self.now + wait);
        let wait = last.since(self.now);
        self.event(
            wait,
            Event::Arrive {
                from,
                to,
                link,
                bytes,
            },
        );
    }

    fn count(&mut self, message: &Message, bytes: usize) {
        self.sent.messages += 1;
        match message {
            Message::Push { items, .. } => {
                self.sent.pushed_items += items.len() as u64;
                for item in items {
                    self.check_dots(&item.object);
                }
            }
            Message::Got { object, .. } if !object.is_empty() => self.check_dots(object),
            Message::Reconcile { .. } => {
                self.sent.reconcile_messages += 1;
                self.sent.reconcile_bytes += bytes as u64;
            }
            _ => {}
        }
    }

    /// Invariant 2: no dot stands for two values.
    fn check_dots(&mut self, bytes: &[u8]) {
        let object = Object::decode(bytes, &Limits::LOCAL).unwrap();
        for (dot, _, value) in object.as_register().into_iter().flat_map(|r| r.siblings()) {
            let before = self.dots.entry(dot).or_insert_with(|| value.clone());
            assert_eq!(before, value, "seed {}: {dot:?} is used twice", self.seed);
        }
    }

    fn event(&mut self, wait: Duration, event: Event) {
        self.next_event += 1;
        self.events
            .insert((self.now + wait, self.next_event), event);
    }

    /// Runs for a while.
    pub(crate) fn run_for(&mut self, wait: Duration) {
        self.run_until(self.now + wait);
    }

    pub(crate) fn run_until(&mut self, until: Time) {
        while self.step(until) {}
        self.now = until;
    }

    fn step(&mut self, until: Time) -> bool {
        let timers = self.nodes.iter().enumerate().filter_map(|(n, node)| {
            let at = node.core.as_ref()?.poll_timeout()?;
            Some((at.max(self.now), n))
        });
        let timer = timers.min();
        let event = self.events.first_key_value().map(|((at, _), _)| *at);
        if let Some((at, n)) = timer
            && at <= until
            && event.is_none_or(|event| at < event)
        {
            self.now = at;
            self.on(n, |core| core.handle_timeout(at));
            return true;
        }
        if event.is_none_or(|at| at > until) {
            return false;
        }
        let Some(((at, _), event)) = self.events.pop_first() else {
            return false;
        };
        self.now = at;
        match event {
            Event::Arrive {
                from,
                to,
                link,
                bytes,
            } => self.arrive(from, to, link, &bytes),
            Event::DiskDone { node, run } if self.nodes[node].run == run && self.is_up(node) => {
                self.disk_done(node);
            }
            Event::DiskDone { .. } => {}
        }
        true
    }

    fn arrive(&mut self, from: usize, to: usize, link: u64, bytes: &[u8]) {
        if self.links.get(&(from.min(to), from.max(to))) != Some(&link) {
            return;
        }
        let (now, wall_ms, seed) = (self.now, self.wall_ms(to), self.seed);
        self.on(to, |core| {
            let taken = core.handle_message(now, wall_ms, id(from), bytes);
            assert_eq!(taken, Ok(()), "seed {seed}: an honest peer is refused");
        });
    }
}
