//! The workload, and what it may expect.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meshwork_crdt::{CausalContext, Dot, Kind, Object, Op};
use meshwork_membership::Time;
use meshwork_sync::{Found, Key, Level, Output, Read, ReadError, Write, WriteError, Written};
use rand::RngExt;

use crate::sim::Sim;

/// How much later than its deadline a request may be answered: the disk has to take it, too.
const SLACK: Duration = Duration::from_secs(4);

#[derive(Default)]
pub(crate) struct Load {
    pub(crate) next_request: u64,
    pub(crate) next_value: u64,
    pub(crate) open: BTreeMap<u64, Asked>,
    pub(crate) keys: BTreeMap<Key, Facts>,
    pub(crate) dots: BTreeSet<Dot>,
    pub(crate) acknowledged: usize,
    pub(crate) answered_reads: usize,
    /// Placement never changes, so that quorums meet.
    pub(crate) stable: bool,
}

pub(crate) struct Asked {
    node: usize,
    run: u64,
    deadline: Time,
    key: Key,
    what: What,
}

enum What {
    Write {
        op: Op,
        level: Level,
    },
    Read {
        level: Level,
        must_see: usize,
    },
    /// A look before an element is removed, so that it is known what the removal must cover.
    Look,
    Remove {
        seen: BTreeSet<Vec<u8>>,
        element: Vec<u8>,
    },
}

/// What is known of one key.
#[derive(Default)]
pub(crate) struct Facts {
    added: i128,
    maybe_added: i128,
    quorum: Vec<Dot>,
    kept: Vec<Dot>,
    inserted: BTreeSet<Vec<u8>>,
    removing: BTreeSet<Vec<u8>>,
    removed: BTreeSet<Vec<u8>>,
}

impl Load {
    fn ask(&mut self, sim: &Sim, node: usize, key: &Key, timeout: Duration, what: What) -> u64 {
        self.next_request += 1;
        let asked = Asked {
            node,
            run: sim.nodes[node].run,
            deadline: sim.now + timeout,
            key: key.clone(),
            what,
        };
        self.open.insert(self.next_request, asked);
        self.next_request
    }

    /// One random request at one random node.
    pub(crate) fn act(&mut self, sim: &mut Sim) {
        let node = sim.rng.random_range(0..sim.nodes.len());
        if !sim.is_up(node) {
            return;
        }
        let which = sim.rng.random_range(0..6);
        let name = sim.rng.random_range(0..4u8);
        let namespace = ["counter", "set", "register", "map", "custom", "deleted"][which];
        let key = Key::new(namespace, &[b'0' + name]).unwrap();
        let levels = [
            Level::Local,
            Level::One,
            Level::Quorum,
            Level::Quorum,
            Level::All,
        ];
        let level = levels[sim.rng.random_range(0..levels.len())];
        let timeout = Duration::from_millis(sim.rng.random_range(50..3_000));
        match sim.rng.random_range(0..10) {
            0..3 => self.read(sim, node, key, level, timeout),
            3 if which == 1 => {
                let request = self.ask(sim, node, &key, timeout, What::Look);
                let level = Level::Local;
                let since = CausalContext::default();
                sim.read(
                    node,
                    request,
                    Read {
                        key,
                        since,
                        level,
                        timeout,
                    },
                );
            }
            _ => {
                let op = self.op(sim, which);
                let write = Write {
                    key,
                    op,
                    level,
                    timeout,
                };
                self.write(sim, node, write);
            }
        }
        self.settle(sim);
    }

    fn op(&mut self, sim: &mut Sim, which: usize) -> Op {
        self.next_value += 1;
        let mut value = self.next_value.to_be_bytes().to_vec();
        if sim.rng.random_range(0..40) == 0 {
            value.resize(sim.rng.random_range(100..6_000), 1);
        }
        match which {
            0 => Op::Add(sim.rng.random_range(1..100)),
            1 => Op::Insert(value),
            2 => Op::Put(value),
            3 if sim.rng.random_range(0..8) == 0 => Op::RemoveField {
                name: vec![b'a'],
                kind: Kind::Counter,
            },
            3 => Op::Field {
                name: vec![sim.rng.random_range(b'a'..b'd')],
                kind: Kind::Counter,
                op: Box::new(Op::Add(1)),
            },
            4 => Op::Merge {
                tag: 9,
                payload: value,
            },
            _ if sim.rng.random_range(0..5) == 0 => Op::Delete,
            _ => Op::Put(value),
        }
    }

    fn read(&mut self, sim: &mut Sim, node: usize, key: Key, level: Level, timeout: Duration) {
        let must_see = self.keys.entry(key.clone()).or_default().quorum.len();
        let request = self.ask(sim, node, &key, timeout, What::Read { level, must_see });
        let since = CausalContext::default();
        sim.read(
            node,
            request,
            Read {
                key,
                since,
                level,
                timeout,
            },
        );
    }

    fn write(&mut self, sim: &mut Sim, node: usize, write: Write) {
        let facts = self.keys.entry(write.key.clone()).or_default();
        if let Op::Add(amount) = &write.op {
            facts.maybe_added += i128::from(*amount);
        }
        let what = What::Write {
            op: write.op.clone(),
            level: write.level,
        };
        let request = self.ask(sim, node, &write.key, write.timeout, what);
        sim.write(node, request, write);
    }

    /// Takes in what was answered, and looks for what should have been.
    pub(crate) fn settle(&mut self, sim: &mut Sim) {
        while let Some((node, output)) = sim.answers.pop_front() {
            match output {
                Output::Written { id, result } => self.written(sim, node, id, result),
                Output::Found { id, result } => self.found(sim, node, id, result),
                // A disk that is full refuses.
                Output::Refused { .. }
                | Output::Changed { .. }
                | Output::Send { .. }
                | Output::Store { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        let nodes = &sim.nodes;
        // A node that crashed answers nothing any more.
        self.open.retain(|_, asked| {
            nodes[asked.node].run == asked.run && nodes[asked.node].core.is_some()
        });
        for asked in self.open.values() {
            let late = sim.now > asked.deadline + SLACK;
            assert!(!late, "seed {}: no answer for {}", sim.seed, asked.key);
        }
    }

    fn take(&mut self, sim: &Sim, node: usize, request: u64) -> Asked {
        let asked = self.open.remove(&request);
        let asked = asked.unwrap_or_else(|| panic!("seed {}: two answers", sim.seed));
        assert_eq!(asked.node, node);
        asked
    }

    fn written(
        &mut self,
        sim: &mut Sim,
        node: usize,
        request: u64,
        result: Result<Written, WriteError>,
    ) {
        let asked = self.take(sim, node, request);
        let facts = self.keys.entry(asked.key.clone()).or_default();
        let dot = match result {
            Ok(written) => {
                self.acknowledged += 1;
                facts.kept.push(written.dot);
                let fresh = self.dots.insert(written.dot);
                assert!(fresh, "seed {}: {:?} is used twice", sim.seed, written.dot);
                Some(written.dot)
            }
            // It is kept, too, on fewer replicas.
            Err(WriteError::Timeout { .. }) => None,
            Err(_) => return,
        };
        match asked.what {
            What::Write { op, level } => {
                if level >= Level::Quorum {
                    facts.quorum.extend(dot);
                }
                match op {
                    Op::Add(amount) => facts.added += i128::from(amount),
                    Op::Insert(element) => drop(facts.inserted.insert(element)),
                    _ => {}
                }
            }
            What::Remove { seen, element } => {
                assert!(seen.contains(&element));
                facts.removed.insert(element);
            }
            What::Read { .. } | What::Look => panic!("a read is written"),
        }
    }

    fn found(
        &mut self,
        sim: &mut Sim,
        node: usize,
        request: u64,
        result: Result<Found, ReadError>,
    ) {
        let asked = self.take(sim, node, request);
        let Ok(found) = result else { return };
        self.answered_reads += 1;
        let facts = self.keys.entry(asked.key.clone()).or_default();
        match asked.what {
            What::Read { level, must_see } if level >= Level::Quorum && self.stable => {
                for dot in &facts.quorum[..must_see] {
                    let seen = found.object.version().contains(*dot);
                    assert!(
                        seen,
                        "seed {}: {level} read of {} misses {dot:?}",
                        sim.seed, asked.key
                    );
                }
            }
            What::Read { .. } => {}
            What::Look => {
                let partition = asked.key.position().partition();
                let holds = sim
                    .core(node)
                    .placement()
                    .holds(sim.nodes[node].id, partition);
                let elements = found
                    .object
                    .as_set()
                    .map(|set| set.iter().cloned().collect());
                let seen: BTreeSet<Vec<u8>> = elements.unwrap_or_default();
                if let Some(element) = seen.first().cloned()
                    && holds
                    && self.stable
                {
                    facts.removing.insert(element.clone());
                    let op = Op::Remove(element.clone());
                    let timeout = Duration::from_secs(2);
                    let what = What::Remove { seen, element };
                    let request = self.ask(sim, node, &asked.key, timeout, what);
                    let (key, level) = (asked.key, Level::Local);
                    sim.write(
                        node,
                        request,
                        Write {
                            key,
                            op,
                            level,
                            timeout,
                        },
                    );
                }
            }
            What::Write { .. } | What::Remove { .. } => panic!("a write is found"),
        }
    }

    /// What must hold of a key's last state.
    pub(crate) fn check(&self, seed: u64, key: &Key, object: &Object) {
        let Some(facts) = self.keys.get(key) else {
            return;
        };
        for dot in &facts.kept {
            let kept = object.version().contains(*dot);
            assert!(kept, "seed {seed}: {key} lost {dot:?}");
        }
        if key.namespace() == "counter" {
            let value = object.as_counter().map_or(0, |counter| counter.value());
            let allowed = facts.added..=facts.maybe_added;
            assert!(
                allowed.contains(&value),
                "seed {seed}: {key} is {value}, not {allowed:?}"
            );
        }
        let has = |element: &Vec<u8>| object.as_set().is_some_and(|set| set.contains(element));
        for element in facts.inserted.difference(&facts.removing) {
            assert!(has(element), "seed {seed}: {key} lost {element:?}");
        }
        for element in &facts.removed {
            assert!(!has(element), "seed {seed}: {key} has {element:?} again");
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }
}
