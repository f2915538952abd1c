//! The simulator: nodes, a network that loses and delays, partitions, disks that keep what is remembered.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use meshwork_membership::{
    Config, Event, Membership, Meta, NodeId, Output, Remembered, State, Time,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) struct Sim {
    pub(crate) now: Time,
    pub(crate) config: Config,
    pub(crate) loss: f64,
    pub(crate) latency_ms: core::ops::Range<u64>,
    /// Nodes with different sides do not reach each other.
    pub(crate) side: BTreeMap<NodeId, u8>,
    /// Nodes at different sites have this much further to each other, one way.
    pub(crate) site: BTreeMap<NodeId, Duration>,
    /// This node reaches only these, and only these reach it.
    pub(crate) half_deaf: Option<(NodeId, BTreeSet<NodeId>)>,
    /// Stopped processes, with what waits for them in their sockets.
    pub(crate) frozen: BTreeMap<NodeId, Vec<(NodeId, Vec<u8>)>>,
    pub(crate) nodes: BTreeMap<NodeId, Membership>,
    pub(crate) disks: BTreeMap<NodeId, BTreeMap<NodeId, Remembered>>,
    pub(crate) events: Vec<(Time, NodeId, Event)>,
    pub(crate) bytes: u64,
    pub(crate) messages: u64,
    pub(crate) rejects: u64,
    /// A hash of all that was sent and when.
    pub(crate) trace: u64,
    wires: BTreeMap<(Time, u64), (NodeId, NodeId, Vec<u8>)>,
    timers: BTreeSet<(Time, NodeId)>,
    timer_of: BTreeMap<NodeId, Time>,
    count: u64,
    rng: ChaCha8Rng,
}

pub(crate) fn id(n: usize) -> NodeId {
    let mut bytes = [0x5a; 32];
    bytes[..8].copy_from_slice(&(n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    NodeId::from_bytes(bytes)
}

pub(crate) fn meta(n: usize, instance: u64) -> Meta {
    Meta {
        name: format!("node-{n}"),
        addresses: vec![format!(
            "/ip4/10.0.{}.{}/udp/4001/quic-v1",
            n / 250,
            n % 250
        )],
        zone: format!("zone-{}", n % 3),
        weight: 64,
        wire_min: 1,
        wire_max: 1,
        instance,
        ..Meta::default()
    }
}

pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

impl Sim {
    pub(crate) fn new(seed: u64, config: Config) -> Self {
        Self {
            now: Time(1_000_000),
            config,
            loss: 0.0,
            latency_ms: 1..5,
            side: BTreeMap::new(),
            site: BTreeMap::new(),
            half_deaf: None,
            frozen: BTreeMap::new(),
            nodes: BTreeMap::new(),
            disks: BTreeMap::new(),
            events: Vec::new(),
            bytes: 0,
            messages: 0,
            rejects: 0,
            trace: 0,
            wires: BTreeMap::new(),
            timers: BTreeSet::new(),
            timer_of: BTreeMap::new(),
            count: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// A mesh that has settled: all know all.
    pub(crate) fn settled(seed: u64, size: usize, config: Config) -> Self {
        let mut sim = Self::new(seed, config);
        for n in 0..size {
            sim.start(n, 0);
            if n > 0 {
                sim.act(n, |core, now| core.join(now, id(0)));
            }
        }
        sim.run_until(secs(60), |sim| sim.all_alive(0..size))
            .unwrap();
        sim.run_for(secs(20));
        sim.events.clear();
        sim
    }

    /// Starts a process with what its disk holds. It joins nobody but those it remembers.
    pub(crate) fn start(&mut self, n: usize, floor: u64) {
        let seed = self.rng.random();
        let mut core = Membership::new(
            id(n),
            meta(n, seed),
            floor,
            self.config.clone(),
            seed,
            self.now,
        )
        .unwrap();
        let disk = self.disks.entry(id(n)).or_default();
        core.restore(self.now, disk.values().cloned().collect());
        self.nodes.insert(id(n), core);
        self.drain(id(n));
    }

    pub(crate) fn crash(&mut self, n: usize) {
        self.nodes.remove(&id(n));
        if let Some(at) = self.timer_of.remove(&id(n)) {
            self.timers.remove(&(at, id(n)));
        }
    }

    /// Stops a process, as `SIGSTOP` does.
    pub(crate) fn freeze(&mut self, n: usize) {
        self.frozen.insert(id(n), Vec::new());
        if let Some(at) = self.timer_of.remove(&id(n)) {
            self.timers.remove(&(at, id(n)));
        }
    }

    /// It goes on: what waits is read before any timer fires, which is the harder order.
    pub(crate) fn thaw(&mut self, n: usize) {
        for (from, bytes) in self.frozen.remove(&id(n)).unwrap() {
            let core = self.nodes.get_mut(&id(n)).unwrap();
            self.rejects += u64::from(core.handle_message(self.now, from, &bytes).is_err());
        }
        self.act(n, |core, now| core.handle_timeout(now));
    }

    /// Calls a core and does what it asks for.
    pub(crate) fn act<T>(&mut self, n: usize, f: impl FnOnce(&mut Membership, Time) -> T) -> T {
        let result = f(self.nodes.get_mut(&id(n)).unwrap(), self.now);
        self.drain(id(n));
        result
    }

    pub(crate) fn core(&self, n: usize) -> &Membership {
        &self.nodes[&id(n)]
    }

    pub(crate) fn state(&self, of: usize, at: usize) -> Option<State> {
        self.core(at).member(id(of)).map(|member| member.state)
    }

    /// Whether each of these holds each other one for alive.
    pub(crate) fn all_alive(&self, mut range: core::ops::Range<usize>) -> bool {
        let all = range.clone();
        range.all(|at| {
            all.clone()
                .all(|of| of == at || self.state(of, at) == Some(State::Alive))
        })
    }

    /// Whether each other running node holds `of` for one of these (`None`: does not know it).
    pub(crate) fn all_hold(&self, of: usize, states: &[Option<State>]) -> bool {
        self.nodes
            .iter()
            .filter(|(at, _)| **at != id(of))
            .all(|(_, core)| states.contains(&core.member(id(of)).map(|member| member.state)))
    }

    /// Puts a message on the wire as if `from` had sent it.
    pub(crate) fn inject(&mut self, from: NodeId, to: NodeId, bytes: Vec<u8>) {
        self.count += 1;
        self.wires.insert(
            (self.now + Duration::from_millis(1), self.count),
            (from, to, bytes),
        );
    }

    pub(crate) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until it holds, and says how long that took; nothing if it did not within `limit`.
    pub(crate) fn run_until(
        &mut self,
        limit: Duration,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> Option<Duration> {
        let start = self.now;
        let mut checked = Time::ZERO;
        loop {
            // The check may be slow, so it is done each 10 ms.
            if self.now.since(checked) >= Duration::from_millis(10) {
                checked = self.now;
                if holds(self) {
                    return Some(self.now.since(start));
                }
            }
            if !self.step(start + limit) {
                return None;
            }
        }
    }

    pub(crate) fn events_of(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.events
            .iter()
            .filter(|(_, _, event)| wanted(event))
            .count()
    }

    fn step(&mut self, end: Time) -> bool {
        let wire = self.wires.first_key_value().map(|((at, _), _)| *at);
        let timer = self.timers.first().map(|(at, _)| *at);
        let Some(next) = [wire, timer]
            .into_iter()
            .flatten()
            .min()
            .filter(|at| *at <= end)
        else {
            return false;
        };
        self.now = self.now.max(next);
        if wire == Some(next) {
            let (_, (from, to, bytes)) = self.wires.pop_first().unwrap();
            if let Some(waiting) = self.frozen.get_mut(&to) {
                waiting.push((from, bytes));
            } else if let Some(core) = self.nodes.get_mut(&to) {
                self.rejects += u64::from(core.handle_message(self.now, from, &bytes).is_err());
                self.drain(to);
            }
        } else {
            let (_, node) = *self.timers.first().unwrap();
            self.nodes.get_mut(&node).unwrap().handle_timeout(self.now);
            self.drain(node);
        }
        true
    }

    fn drain(&mut self, node: NodeId) {
        let core = self.nodes.get_mut(&node).unwrap();
        let outputs: Vec<_> = core::iter::from_fn(|| core.poll_output()).collect();
        let timeout = core.poll_timeout();
        if let Some(old) = self.timer_of.remove(&node) {
            self.timers.remove(&(old, node));
        }
        if let Some(at) = timeout {
            self.timers.insert((at, node));
            self.timer_of.insert(node, at);
        }
        for output in outputs {
            match output {
                Output::Send { to, message } => self.carry(node, to, message),
                Output::Event(event) => self.events.push((self.now, node, event)),
                Output::Remember(entry) => {
                    self.disks.entry(node).or_default().insert(entry.id, entry);
                }
                Output::ForgetRemembered(id) => {
                    self.disks.entry(node).or_default().remove(&id);
                }
                _ => unreachable!(),
            }
        }
    }

    fn carry(&mut self, from: NodeId, to: NodeId, bytes: Vec<u8>) {
        self.messages += 1;
        self.bytes += bytes.len() as u64;
        for byte in self
            .now
            .0
            .to_le_bytes()
            .iter()
            .chain(to.as_bytes())
            .chain(&bytes)
        {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let deaf = self.half_deaf.as_ref().is_some_and(|(who, reached)| {
            (from == *who && !reached.contains(&to)) || (to == *who && !reached.contains(&from))
        });
        let apart = self.side.get(&from) != self.side.get(&to);
        let lost = self.rng.random_bool(self.loss) || apart || deaf;
        let mut latency = Duration::from_millis(self.rng.random_range(self.latency_ms.clone()));
        if self.site.get(&from) != self.site.get(&to) {
            latency += *self.site.get(&from).or(self.site.get(&to)).unwrap();
        }
        if !lost {
            self.count += 1;
            self.wires
                .insert((self.now + latency, self.count), (from, to, bytes));
        }
    }
}
