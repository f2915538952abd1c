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
use crate::strong::core::{Ability, Stored, Strong, StrongOutput, StrongSetup};
use crate::strong::group::{Group, GroupConfig};
use crate::strong::growth::{Able, Condition};
use crate::strong::records::{VoterId, forget_group};

/// A node without its other parts.
pub(super) struct Host {
    pub(super) id: NodeId,
    pub(super) replica: ReplicaId,
    pub(super) origin: Origin,
    ability: Ability,
    pub(super) engine: Arc<Memory>,
    pub(super) strong: Option<Strong>,
    run: u64,
    pub(super) condition: Condition,
    pub(super) full: bool,
    /// No flush ends while this is so.
    pub(super) stuck: bool,
    pub(super) frozen: bool,
    pub(super) clock: Clock,
    /// What a flush takes beside the usual.
    pub(super) slow: Duration,
    pub(super) count: Count,
    pub(super) lost: Vec<SessionId>,
    /// When the last flush that was begun ends: they end in the order in which they began.
    flushed: Time,
}

/// How much a node has had to do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    /// How often it was woken, for whatever reason.
    pub(super) wakes: u64,
    /// Frames that it gave out.
    pub(super) sent: u64,
    /// Batches that its disk has taken.
    pub(super) flushes: u64,
}

/// The clock of a node: it is wrong, but never goes back.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    /// Millionths of a second that it counts in a second.
    pub(super) rate: u64,
    /// What it was put forward by.
    pub(super) ahead: Duration,
}

impl Clock {
    const RIGHT: Self = Self {
        rate: 1_000_000,
        ahead: Duration::ZERO,
    };

    pub(super) fn shows(self, at: Time) -> Time {
        Time(at.0 * self.rate / 1_000_000) + self.ahead
    }

    /// When it is to show this, or when it has begun to.
    fn when(self, shown: Time) -> Time {
        let counted = shown.since(Time::ZERO + self.ahead).as_micros() * 1_000_000;
        let at = counted.div_ceil(u128::from(self.rate));
        Time(u64::try_from(at).unwrap_or(u64::MAX))
    }
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
        stored: Stored,
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
    /// What came for those who stand still.
    stuck: BTreeMap<usize, Vec<Event>>,
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
            stuck: BTreeMap::new(),
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
            stuck: false,
            frozen: false,
            clock: Clock::RIGHT,
            slow: Duration::ZERO,
            count: Count::default(),
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
        let setup = self.setup(n, seed);
        let now = self.clock(n);
        let host = &mut self.hosts[n];
        host.run += 1;
        host.condition = Condition::Up;
        let engine: Arc<dyn Engine> = host.engine.clone();
        let store = Records::new(engine);
        if host.origin == Origin::Restored {
            let mut adopts = Batch::default();
            forget_group(&store, &mut adopts).unwrap();
            let mut flush = Flush::default();
            flush.add(&adopts);
            host.engine.commit(&flush).unwrap();
        }
        let strong = Strong::open(setup, Arc::new(store), now);
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

    /// The folder of a node that does not run is there again, as a copy.
    pub(super) fn restore_copy(&mut self, n: usize) {
        let host = &mut self.hosts[n];
        host.engine = Arc::new(host.engine.image(1));
        host.replica = ReplicaId::from_bytes([9; 8]);
        host.origin = Origin::Restored;
    }

    /// A node that does not run comes back with an empty disk.
    pub(super) fn lose_disk(&mut self, n: usize) {
        let seed = self.rng.random();
        let host = &mut self.hosts[n];
        host.engine = Arc::new(Memory::new(seed));
        host.replica = ReplicaId::from_bytes(self.rng.random());
        host.origin = Origin::Restored;
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
            let mut able = able.clone();
            let clock = self.hosts[n].clock;
            for Able { condition, .. } in able.values_mut() {
                if let Condition::Down(since) = condition {
                    *since = clock.shows(*since);
                }
            }
            let now = self.clock(n);
            self.on(n, |strong| strong.handle_members(now, able));
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
        let (a_now, b_now) = (self.clock(a), self.clock(b));
        let (a_id, b_id) = (self.hosts[a].id, self.hosts[b].id);
        self.on(a, |strong| strong.handle_connected(a_now, b_id));
        self.on(b, |strong| strong.handle_connected(b_now, a_id));
    }

    pub(super) fn disconnect(&mut self, a: usize, b: usize) {
        if self.links.remove(&(a.min(b), a.max(b))).is_some() {
            let (a_now, b_now) = (self.clock(a), self.clock(b));
            let (a_id, b_id) = (self.hosts[a].id, self.hosts[b].id);
            self.on(a, |strong| strong.handle_disconnected(a_now, b_id));
            self.on(b, |strong| strong.handle_disconnected(b_now, a_id));
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
        let (now, id) = (self.clock(n), self.next_request);
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
        let until = self.now + ms(7_000);
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
            self.hand_over_stuck();
            steps = if stood == self.now { steps + 1 } else { 0 };
            stood = self.now;
            assert!(steps < 10_000, "time stands still at {}", self.now);
            let timers = self
                .hosts
                .iter()
                .enumerate()
                .filter(|(_, host)| !host.frozen);
            let timers = timers.filter_map(|(n, host)| {
                let due = host.strong.as_ref()?.poll_timeout()?;
                Some((host.clock.when(due), n))
            });
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
                let now = self.clock(n);
                self.on(n, |strong| strong.handle_timeout(now));
            }
        }
    }

    fn hand_over_stuck(&mut self) {
        let hosts = &self.hosts;
        let due = self.stuck.extract_if(.., |n, _| !hosts[*n].frozen);
        for (_, frames) in due.collect::<Vec<_>>() {
            for frame in frames {
                self.push(Duration::ZERO, frame);
            }
        }
    }

    fn happen(&mut self, event: Event) {
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
                    let frame = Event::Frame {
                        from,
                        to,
                        link,
                        bytes,
                    };
                    return self.stuck.entry(to).or_default().push(frame);
                }
                let (now, from) = (self.clock(to), self.hosts[from].id);
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
                stored,
                batch,
            } => {
                if self.hosts[node].run != run || self.hosts[node].strong.is_none() {
                    return;
                }
                if self.hosts[node].stuck {
                    let again = Event::Flushed {
                        node,
                        run,
                        stored,
                        batch,
                    };
                    return self.flush_later(node, again);
                }
                let now = self.clock(node);
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
                self.hosts[node].count.flushes += 1;
                self.on(node, |strong| strong.handle_stored(now, stored));
            }
        }
    }

    /// A flush does not end yet, and none of those that wait behind it.
    fn flush_later(&mut self, n: usize, first: Event) {
        self.events.insert((self.now, 0), first);
        let of_it = |event: &Event| matches!(event, Event::Flushed { node, .. } if *node == n);
        let waiting: Vec<_> = self
            .events
            .extract_if(.., |_, event| of_it(event))
            .collect();
        for ((at, number), event) in waiting {
            self.events.insert((at + ms(10), number), event);
        }
    }

    /// What a node takes for the time.
    pub(super) fn clock(&self, n: usize) -> Time {
        self.hosts[n].clock.shows(self.now)
    }

    pub(super) fn on(&mut self, n: usize, call: impl FnOnce(&mut Strong)) {
        let host = &mut self.hosts[n];
        if let Some(strong) = &mut host.strong {
            host.count.wakes += 1;
            call(strong);
            self.drain(n);
        }
    }

    fn drain(&mut self, n: usize) {
        while let Some(output) = self.hosts[n].strong.as_mut().and_then(Strong::poll_output) {
            match output {
                StrongOutput::Send(to, bytes) => self.send(n, to, bytes),
                StrongOutput::Store(stored, batch) => {
                    let run = self.hosts[n].run;
                    let takes = ms(self.rng.random_range(1..4)) + self.hosts[n].slow;
                    let ends = self.hosts[n].flushed.max(self.now + takes);
                    self.hosts[n].flushed = ends;
                    self.next += 1;
                    self.events.insert(
                        (ends, self.next),
                        Event::Flushed {
                            node: n,
                            run,
                            stored,
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
        self.hosts[from].count.sent += 1;
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

    /// Frames on their way to a node.
    pub(super) fn on_their_way(&self, n: usize) -> impl Iterator<Item = &[u8]> {
        let stuck = self.stuck.get(&n).into_iter().flatten();
        self.events
            .values()
            .chain(stuck)
            .filter_map(move |event| match event {
                Event::Frame { to, bytes, .. } if *to == n => Some(bytes.as_slice()),
                Event::Frame { .. } | Event::Flushed { .. } => None,
            })
    }

    /// What a node would be that began again from what is on its disk now.
    pub(super) fn reopened(&self, n: usize) -> Strong {
        self.opened(n, Arc::new(self.hosts[n].engine.image(0)))
    }

    /// What a node would be with another disk.
    pub(super) fn opened(&self, n: usize, engine: Arc<dyn Engine>) -> Strong {
        let records = Records::new(engine);
        Strong::open(self.setup(n, 0), Arc::new(records), self.clock(n))
    }

    fn setup(&self, n: usize, random_seed: u64) -> StrongSetup {
        let host = &self.hosts[n];
        StrongSetup {
            me: host.id,
            replica: host.replica,
            origin: host.origin,
            founder: self.hosts[0].id,
            ability: host.ability,
            config: self.config.clone(),
            random_seed,
        }
    }

    pub(super) fn group(&self, n: usize) -> Option<&Group> {
        self.hosts[n].strong.as_ref()?.group()
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
        let config = self.group(n).map(|group| group.log().config());
        let config = config.filter(|config| config.outgoing.is_empty());
        config
            .map(|config| config.voters.clone())
            .unwrap_or_default()
    }
}
