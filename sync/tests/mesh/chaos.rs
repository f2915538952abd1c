//! Random meshes under random faults, and what must hold once the faults end.

use std::time::Duration;

use meshwork_crdt::{CausalContext, Object};
use meshwork_dht::{Partition, Position};
use meshwork_sync::{Config, Key, Level, Output, Prefix, Read, Space};
use rand::RngExt;

use crate::load::Load;
use crate::sim::{Sim, id, secs, view};

/// Short periods, so that a run shows many of them.
fn config() -> Config {
    Config {
        anti_entropy_period: secs(20),
        stray_idle: secs(10),
        push_timeout: secs(1),
        object_cache_bytes: 2_000,
        outbox_cache_bytes: 500,
        push_bytes_max: 4_000,
        ..Config::default()
    }
}

/// What kinds of faults a seed has.
#[derive(Clone, Copy)]
struct Faults {
    crashes: bool,
    full: bool,
    damage: bool,
    views: bool,
    splits: bool,
}

struct Run {
    sim: Sim,
    load: Load,
    faults: Faults,
    damaged: Option<usize>,
}

impl Run {
    /// From beginning to end.
    fn all(mut self) -> Self {
        self.trouble();
        self.heal();
        self.check();
        self
    }

    fn new(seed: u64) -> Self {
        let count = 3 + usize::try_from(seed % 3).unwrap();
        let mut sim = Sim::new(seed, count, config());
        let faults = Faults {
            crashes: sim.rng.random_range(0..3) > 0,
            full: sim.rng.random_range(0..3) == 0,
            damage: sim.rng.random_range(0..3) == 0,
            views: seed % 2 == 1,
            splits: sim.rng.random_range(0..2) == 0,
        };
        if sim.rng.random_range(0..2) == 0 {
            sim.loss = sim.rng.random_range(0..100);
        }
        if sim.rng.random_range(0..3) == 0 {
            sim.disk_us_max = 800_000;
        }
        let load = Load {
            stable: !faults.views,
            ..Load::default()
        };
        for n in 0..count {
            sim.start(n);
        }
        sim.connect_all();
        sim.run_for(secs(3));
        let prefix = Prefix::parse("counter/").unwrap();
        sim.on(count - 1, |core| core.watch(prefix));
        Self {
            sim,
            load,
            faults,
            damaged: None,
        }
    }

    fn trouble(&mut self) {
        let actions = self.sim.rng.random_range(30..120);
        for _ in 0..actions {
            match self.sim.rng.random_range(0..10) {
                0 => self.fault(),
                1 => self.reconnect(),
                _ => self.load.act(&mut self.sim),
            }
            let wait = self.sim.rng.random_range(0..300_000);
            let wait = if self.sim.rng.random_range(0..30) == 0 {
                wait * 60
            } else {
                wait
            };
            let until = self.sim.now + Duration::from_micros(wait);
            while self.sim.now < until {
                let next = until.min(self.sim.now + Duration::from_millis(500));
                self.sim.run_until(next);
                self.load.settle(&mut self.sim);
            }
        }
    }

    fn fault(&mut self) {
        let sim = &mut self.sim;
        let count = sim.nodes.len();
        let n = sim.rng.random_range(0..count);
        match sim.rng.random_range(0..6) {
            0 if self.faults.crashes && sim.is_up(n) => sim.crash(n),
            1 if self.faults.full => sim.nodes[n].full = !sim.nodes[n].full,
            2 if self.faults.damage && self.damaged.is_none() => {
                let nth = sim.rng.random_range(0..1_000);
                let space = [Space::Objects, Space::Outbox][nth % 2];
                self.damaged = sim.nodes[n].disk.damage(space, nth).map(|_| n);
            }
            3 if self.faults.views => {
                // Everybody has its own opinion for a while; the first node always stays.
                let out = sim.rng.random_range(1..count + 2);
                let new = view((0..count).filter(|n| *n != out));
                for m in 0..count {
                    if sim.rng.random_range(0..4) > 0 {
                        sim.set_view(m, new.clone());
                    }
                }
            }
            4 if self.faults.splits => {
                for m in 0..count {
                    sim.side[m] = sim.rng.random_range(0..2);
                }
                sim.cut();
            }
            _ => {
                let m = sim.rng.random_range(0..count);
                sim.disconnect(n, m);
            }
        }
    }

    fn reconnect(&mut self) {
        let sim = &mut self.sim;
        if sim.rng.random_range(0..3) == 0 {
            sim.side.fill(0);
        }
        for n in 0..sim.nodes.len() {
            if !sim.is_up(n) && sim.rng.random_range(0..2) == 0 {
                sim.start(n);
            }
        }
        sim.connect_all();
    }

    fn heal(&mut self) {
        let sim = &mut self.sim;
        if let Some(n) = self.damaged.filter(|n| sim.is_up(*n)) {
            // Damage is found by reading: a start reads everything.
            sim.crash(n);
        }
        sim.loss = 0;
        sim.side.fill(0);
        let everybody = view(0..sim.nodes.len());
        for n in 0..sim.nodes.len() {
            sim.nodes[n].full = false;
            if sim.is_up(n) {
                sim.set_view(n, everybody.clone());
            } else {
                sim.nodes[n].view = everybody.clone();
                sim.start(n);
            }
        }
        sim.connect_all();
        for _ in 0..120 {
            self.sim.run_for(secs(1));
            self.load.settle(&mut self.sim);
        }
        let before = self.sim.outputs;
        self.sim.run_for(secs(40));
        let outputs = self.sim.outputs - before;
        let pairs = self.sim.nodes.len() as u64 * self.sim.nodes.len() as u64;
        assert!(
            outputs <= 40 * pairs,
            "seed {}: {outputs} outputs at rest",
            self.sim.seed
        );
    }

    fn check(&mut self) {
        let seed = self.sim.seed;
        self.load.settle(&mut self.sim);
        assert!(
            self.load.is_idle(),
            "seed {seed}: a request was never answered"
        );
        for n in 0..self.sim.nodes.len() {
            let core = self.sim.core(n);
            assert_eq!(
                core.outbox().entries,
                0,
                "seed {seed}: node {n} has an outbox"
            );
            assert_eq!(core.outbox().bytes, 0, "seed {seed}");
            assert_eq!(
                core.moving(),
                (0, 0),
                "seed {seed}: node {n} fills or leaves"
            );
            assert_eq!(core.store_failure(), None, "seed {seed}");
        }
        let keys: Vec<Key> = self.load.keys.keys().cloned().collect();
        for key in keys {
            self.check_key(&key);
        }
        self.check_strays();
    }

    fn check_key(&mut self, key: &Key) {
        let seed = self.sim.seed;
        let replicas = self
            .sim
            .core(0)
            .placement()
            .replicas(key.position().partition())
            .to_vec();
        let mut first: Option<Object> = None;
        for n in (0..self.sim.nodes.len()).filter(|n| replicas.contains(&id(*n))) {
            let state = local(&mut self.sim, n, key);
            self.load.check(seed, key, &state);
            let same = first.as_ref().is_none_or(|first| *first == state);
            assert!(
                same,
                "seed {seed}: replicas of {key} differ: {first:#?} and {state:#?}"
            );
            first.get_or_insert(state);
        }
    }

    /// What is not placed on a node is gone from its disk, and what is placed there is counted.
    fn check_strays(&self) {
        for (n, node) in self.sim.nodes.iter().enumerate() {
            let positions: std::collections::BTreeSet<Position> = node
                .disk
                .keys(Space::Objects)
                .iter()
                .map(|key| Position::from_bytes(key[..32].try_into().unwrap()))
                .collect();
            let core = self.sim.core(n);
            for position in &positions {
                let partition: Partition = position.partition();
                let placed = core.placement().holds(node.id, partition);
                assert!(
                    placed,
                    "seed {}: node {n} keeps a stray copy",
                    self.sim.seed
                );
            }
            assert_eq!(
                core.objects_len(),
                positions.len(),
                "seed {}: node {n}",
                self.sim.seed
            );
        }
    }
}

/// A node's own copy.
pub(crate) fn local(sim: &mut Sim, n: usize, key: &Key) -> Object {
    let read = Read {
        key: key.clone(),
        since: CausalContext::default(),
        level: Level::Local,
        timeout: secs(1),
    };
    sim.read(n, u64::MAX, read);
    loop {
        match sim.answers.pop_front() {
            Some((
                _,
                Output::Found {
                    id: u64::MAX,
                    result,
                },
            )) => return result.unwrap().object,
            Some(_) => {}
            None => panic!("seed {}: no answer from memory", sim.seed),
        }
    }
}

/// How many seeds to run, and from which on: `SEEDS=5000`, or `SEED=17` for one.
fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(default),
    }
}

#[test]
fn nothing_acknowledged_is_lost_while_nodes_crash_and_networks_split() {
    for seed in seeds(300).filter(|seed| seed % 2 == 0) {
        Run::new(seed).all();
    }
}

#[test]
fn nothing_acknowledged_is_lost_while_members_come_and_go() {
    for seed in seeds(300).filter(|seed| seed % 2 == 1) {
        Run::new(seed).all();
    }
}

#[test]
fn a_seed_decides_everything() {
    for seed in [1, 2, 5] {
        let trace = || {
            let mut run = Run::new(seed);
            run.sim.traced = true;
            run.all().sim.trace.finalize()
        };
        assert_eq!(trace(), trace());
    }
}
