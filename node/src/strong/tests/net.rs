//! Strong parts without the rest of their nodes: a seed decides how long frames and flushes take, and what is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use meshwork_crdt::ReplicaId;
use meshwork_membership::{NodeId, Time};
use meshwork_sync::{Batch, Origin, RequestId, StoreFailure};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::store::{Engine, Group as Flush, Memory, Records, Survives};
use crate::strong::client::{StrongDone, StrongError, StrongRequest};
use crate::strong::command::SessionId;
use crate::strong::core::{Ability, Strong, StrongOutput, StrongSetup};
use crate::strong::group::GroupConfig;
use crate::strong::growth::{Able, Condition};
use crate::strong::records::VoterId;

/// A node without its other parts.
pub(super) struct Host {
    pub(super) id: NodeId,
    replica: ReplicaId,
    pub(super) origin: Origin,
    ability: Ability,
    pub(super) engine: Arc<Memory>,
    pub(super) strong: Option<Strong>,
    run: u64,
    pub(super) condition: Condition,
    pub(super) full: bool,
    pub(super) frozen: bool,
    pub(super) lost: Vec<SessionId>,
    /// When the last flush that was begun ends: they end in the order in which they began.
    flushed: Time,
}

enum Event {
    Frame {
        from: usize,
        to: usize,
        link: u64,
        bytes: Vec<u8>,
    },
    Flushed {
        node: usize,
        run: u64,
        id: u64,
        batch: Arc<Batch>,
    },
}

/// All of them, what is between them, and their time.
pub(super) struct Net {
    pub(super) now: Time,
    pub(super) rng: ChaCha8Rng,
    pub(super) hosts: Vec<Host>,
    pub(super) config: GroupConfig,
    /// Frames lost, in thousandths.
    pub(super) loss: u32,
    /// From whom to whom all frames are lost, though the link stays up.
    pub(super) muted: BTreeSet<(usize, usize)>,
    events: BTreeMap<(Time, u64), Event>,
    next: u64,
    links: BTreeMap<(usize, usize), u64>,
    next_request: RequestId,
    pub(super) done: BTreeMap<RequestId, (Time, Result<StrongDone, StrongError>)>,
    pub(super) frames: u64,
}

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl Net {
    /// Nodes that can all vote; the first one founded the mesh. All are connected.
    pub(super) fn new(seed: u64, count: usize) -> Self {
        let mut net = Self {
            now: Time::ZERO,
            rng: ChaCha8Rng::seed_from_u64(seed),
            hosts: Vec::new(),
            config: GroupConfig::default(),
            loss: 0,
            muted: BTreeSet::new(),
            events: BTreeMap::new(),
            next: 0,
            links: BTreeMap::new(),
            next_request: 0,
            done: BTreeMap::new(),
            frames: 0,
        };
        for _ in 0..count {
            net.push_host();
        }
        net
    }

    fn push_host(&mut self) -> usize {
        let n = self.hosts.len();
        let number = u8::try_from(n + 1).unwrap();
        self.hosts.push(Host {
            id: NodeId::from_bytes([number; 32]),
            replica: ReplicaId::from_bytes([number; 8]),
            origin: if n == 0 {
                Origin::Founder
            } else {
                Origin::Joiner
            },
            ability: Ability::Votes,
            engine: Arc::new(Memory::new(n as u64)),
            strong: None,
            run: 0,
            condition: Condition::Up,
            full: false,
            frozen: false,
            lost: Vec::new(),
            flushed: Time::ZERO,
        });
        n
    }

    /// One more joins.
    pub(super) fn add_host(&mut self) {
        let n = self.push_host();
        self.start(n);
    }

    pub(super) fn asks_only(mut self, n: usize) -> Self {
        self.hosts[n].ability = Ability::Asks;
        self
    }

    pub(super) fn start_all(&mut self) {
        for n in 0..self.hosts.len() {
            self.start(n);
        }
    }

    pub(super) fn start(&mut self, n: usize) {
        let seed = self.rng.random();
        let host = &mut self.hosts[n];
        host.run += 1;
        host.condition = Condition::Up;
        let setup = StrongSetup {
            me: host.id,
            replica: host.replica,
            origin: host.origin,
            ability: host.ability,
            config: self.config.clone(),
            random_seed: seed,
        };
        let engine: Arc<dyn Engine> = host.engine.clone();
        let strong = Strong::open(setup, Arc::new(Records::new(engine)), self.now);
        host.strong = Some(strong);
        self.drain(n);
        self.tell_members();
        for other in 0..self.hosts.len() {
            self.connect(n, other);
        }
    }

    /// The power goes: what was not flushed is lost.
    pub(super) fn crash(&mut self, n: usize) {
        self.hosts[n].strong = None;
        self.hosts[n].engine.power_cut(Survives::Whole);
        self.hosts[n].condition = Condition::Down(self.now);
        for other in 0..self.hosts.len() {
            self.disconnect(n, other);
        }
        self.tell_members();
    }

    pub(super) fn tell_members(&mut self) {
        let able = |host: &Host| {
            let id = VoterId::from_be_bytes(host.replica.to_bytes());
            let condition = host.condition;
            (
                id,
                Able {
                    node: host.id,
                    condition,
                },
            )
        };
        let votes = self
            .hosts
            .iter()
            .filter(|host| host.ability == Ability::Votes && host.run > 0);
        let able: BTreeMap<_, _> = votes.map(able).collect();
        for n in 0..self.hosts.len() {
            let now = self.now;
            self.on(n, |strong| strong.handle_members(now, able.clone()));
        }
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) {
        let up = |n: usize| self.hosts[n].strong.is_some();
        let pair = (a.min(b), a.max(b));
        if a == b || !up(a) || !up(b) || self.links.contains_key(&pair) {
            return;
        }
        self.next += 1;
        self.links.insert(pair, self.next);
        let (now, a_id, b_id) = (self.now, self.hosts[a].id, self.hosts[b].id);
        self.on(a, |strong| strong.handle_connected(now, b_id));
        self.on(b, |strong| strong.handle_connected(now, a_id));
    }

    pub(super) fn disconnect(&mut self, a: usize, b: usize) {
        if self.links.remove(&(a.min(b), a.max(b))).is_some() {
            let (now, a_id, b_id) = (self.now, self.hosts[a].id, self.hosts[b].id);
            self.on(a, |strong| strong.handle_disconnected(now, b_id));
            self.on(b, |strong| strong.handle_disconnected(now, a_id));
        }
    }

    /// Lets only those talk to each other that are in one of these sets.
    pub(super) fn split(&mut self, sides: &[&[usize]]) {
        for a in 0..self.hosts.len() {
            for b in 0..a {
                let together = sides
                    .iter()
                    .any(|side| side.contains(&a) && side.contains(&b));
                if together {
                    self.connect(a, b);
                } else {
                    self.disconnect(a, b);
                }
            }
        }
    }

    pub(super) fn heal(&mut self) {
        let all: Vec<usize> = (0..self.hosts.len()).collect();
        self.split(&[&all]);
    }

    pub(super) fn ask(&mut self, n: usize, request: StrongRequest) -> RequestId {
        self.ask_for(n, request, ms(5_000))
    }

    pub(super) fn ask_for(
        &mut self,
        n: usize,
        request: StrongRequest,
        timeout: Duration,
    ) -> RequestId {
        self.next_request += 1;
        let (now, id) = (self.now, self.next_request);
        self.on(n, |strong| strong.request(now, id, request, timeout));
        id
    }

    /// Asks, and waits for the answer.
    pub(super) fn get(
        &mut self,
        n: usize,
        request: StrongRequest,
    ) -> Result<StrongDone, StrongError> {
        let id = self.ask(n, request);
        let until = self.now + ms(6_000);
        self.run_until(until, |net| net.done.contains_key(&id));
        self.done
            .remove(&id)
            .expect("every request is answered in time")
            .1
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time, |_| false);
    }

    /// Goes on until something is so, or until then. Says whether it is so.
    pub(super) fn run_until(&mut self, until: Time, mut is_so: impl FnMut(&Self) -> bool) -> bool {
        let (mut stood, mut steps) = (self.now, 0);
        loop {
            if is_so(self) {
                return true;
            }
            steps = if stood == self.now { steps + 1 } else { 0 };
            stood = self.now;
            assert!(steps < 10_000, "time stands still at {}", self.now);
            let timers = self
                .hosts
                .iter()
                .enumerate()
                .filter(|(_, host)| !host.frozen);
            let timers =
                timers.filter_map(|(n, host)| Some((host.strong.as_ref()?.poll_timeout()?, n)));
            let timer = timers.min();
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let due = timer.map(|(at, _)| at).into_iter().chain(event).min();
            let Some(due) = due.filter(|due| *due <= until) else {
                self.now = until;
                return is_so(self);
            };
            if steps > 9_990 {
                println!("{due} timer {timer:?} event {event:?}");
            }
            self.now = self.now.max(due);
            if event == Some(due)
                && let Some((_, event)) = self.events.pop_first()
            {
                self.happen(event);
            } else if let Some((_, n)) = timer {
                let now = self.now;
                self.on(n, |strong| strong.handle_timeout(now));
            }
        }
    }

    fn happen(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Frame {
                from,
                to,
                link,
                bytes,
            } => {
                if self.links.get(&(from.min(to), from.max(to))) != Some(&link) {
                    return;
                }
                if self.hosts[to].frozen {
                    return self.push(
                        ms(10),
                        Event::Frame {
                            from,
                            to,
                            link,
                            bytes,
                        },
                    );
                }
                let from = self.hosts[from].id;
                self.on(to, |strong| {
                    let taken = strong.handle_frame(now, from, &bytes);
                    if let Err(error) = taken {
                        assert!(
                            !matches!(error, crate::strong::core::RejectStrong::Decode(_)),
                            "{error}"
                        );
                    }
                });
            }
            Event::Flushed {
                node,
                run,
                id,
                batch,
            } => {
                if self.hosts[node].run != run || self.hosts[node].strong.is_none() {
                    return;
                }
                if self.hosts[node].full {
                    // The store skips what was handed over behind a batch that failed.
                    self.events.retain(
                        |_, event| !matches!(event, Event::Flushed { node: of, .. } if *of == node),
                    );
                    return self.on(node, |strong| {
                        strong.handle_store_failed(now, &StoreFailure::Full)
                    });
                }
                let mut flush = Flush::default();
                flush.add(&batch);
                self.hosts[node].engine.commit(&flush).unwrap();
                self.on(node, |strong| strong.handle_stored(now, id));
            }
        }
    }

    pub(super) fn on(&mut self, n: usize, call: impl FnOnce(&mut Strong)) {
        if let Some(strong) = &mut self.hosts[n].strong {
            call(strong);
            self.drain(n);
        }
    }

    fn drain(&mut self, n: usize) {
        while let Some(output) = self.hosts[n].strong.as_mut().and_then(Strong::poll_output) {
            match output {
                StrongOutput::Send(to, bytes) => self.send(n, to, bytes),
                StrongOutput::Store(id, batch) => {
                    let run = self.hosts[n].run;
                    let takes = ms(self.rng.random_range(1..4));
                    let ends = self.hosts[n].flushed.max(self.now + takes);
                    self.hosts[n].flushed = ends;
                    self.next += 1;
                    self.events.insert(
                        (ends, self.next),
                        Event::Flushed {
                            node: n,
                            run,
                            id,
                            batch,
                        },
                    );
                }
                StrongOutput::Done(id, result) => {
                    self.done.insert(id, (self.now, result));
                }
                StrongOutput::Namespaces(_) => {}
                StrongOutput::Lost(session) => self.hosts[n].lost.push(session),
            }
        }
    }

    fn send(&mut self, from: usize, to: NodeId, bytes: Vec<u8>) {
        self.frames += 1;
        let to = self.hosts.iter().position(|host| host.id == to).unwrap();
        let link = self.links.get(&(from.min(to), from.max(to)));
        let Some(link) = link.copied() else { return };
        let muted = self.muted.contains(&(from, to));
        if self.rng.random_range(0..1_000) >= self.loss && !muted {
            let takes = Duration::from_micros(self.rng.random_range(200..2_000));
            self.push(
                takes,
                Event::Frame {
                    from,
                    to,
                    link,
                    bytes,
                },
            );
        }
    }

    fn push(&mut self, wait: Duration, event: Event) {
        self.next += 1;
        self.events.insert((self.now + wait, self.next), event);
    }

    pub(super) fn leader(&self) -> Option<usize> {
        let leads = |host: &Host| {
            let group = host.strong.as_ref().and_then(Strong::group);
            group.is_some_and(|group| group.standing().leads)
        };
        self.hosts.iter().position(leads)
    }

    pub(super) fn voter(&self, n: usize) -> VoterId {
        VoterId::from_be_bytes(self.hosts[n].replica.to_bytes())
    }

    /// Who votes, once a change is through.
    pub(super) fn voters(&self, n: usize) -> BTreeSet<VoterId> {
        let group = self.hosts[n].strong.as_ref().and_then(Strong::group);
        let config = group.map(|group| group.log().config());
        let config = config.filter(|config| config.outgoing.is_empty());
        config
            .map(|config| config.voters.clone())
            .unwrap_or_default()
    }
}
