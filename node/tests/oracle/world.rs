//! A mesh of a few objects in memory on virtual time, honest or with one lie.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use meshwork::Options;
use meshwork::sim::workload::{Client, Effect, Failure, Seen, Shown};
use meshwork_crdt::{Dot, Hlc, Merges, Object, Op, ReplicaId, Stamp};
use meshwork_sync::{Key, Level};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What the mesh does that it must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Nothing.
    None,
    /// Acknowledges a write, and forgets it.
    Forgets,
    /// Acknowledges a write at level `all`, and never delivers it.
    KeepsToItself,
    /// Shows an element again that was removed.
    BringsBack,
    /// Carries a write out that it refused.
    DoesWhatItRefused,
    /// Lets the value of a register that arrived last replace all others.
    LastArrivalWins,
    /// Shows an earlier state again.
    ShowsThePast,
    /// Counts an addition twice.
    CountsTwice,
    /// Leaves out one of several concurrent values.
    LosesASibling,
    /// Shows what nobody wrote.
    Invents,
    /// Turns a flag off by itself.
    TurnsOff,
    /// Shows a word of a text twice.
    Stutters,
    /// Leaves out a word of a text.
    SkipsAWord,
    /// Gives two writes one dot.
    ReusesADot,
}

impl Lie {
    /// Whether only concurrent writes give an occasion to it.
    pub(crate) const fn is_subtle(self) -> bool {
        matches!(self, Self::LastArrivalWins | Self::LosesASibling)
    }
}

/// Who is told the versions of what they read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Versions {
    Told,
    Hidden,
}

pub(crate) struct World {
    lie: Lie,
    versions: Versions,
    now: Cell<Duration>,
    timers: RefCell<BTreeSet<Duration>>,
    rng: RefCell<ChaCha8Rng>,
    nodes: RefCell<Vec<Node>>,
    under_way: RefCell<Vec<Delivery>>,
    pub(crate) lies: Cell<u32>,
    /// No more links are cut.
    pub(crate) calm: Cell<bool>,
}

#[derive(Default)]
struct Node {
    objects: BTreeMap<Key, Object>,
    dots: u64,
    /// The register value that came last, by key and place.
    arrived: BTreeMap<(Key, String), Vec<u8>>,
    /// What was shown before, and what was taken away since.
    past: BTreeMap<Key, Seen>,
    cut_until: Duration,
}

struct Delivery {
    at: Duration,
    to: usize,
    key: Key,
    delta: Object,
    effect: Effect,
    acknowledges: (usize, u64),
}

/// The client of one node.
pub(crate) struct Inmate<'a> {
    pub(crate) world: &'a World,
    pub(crate) node: usize,
}

const MS: Duration = Duration::from_millis(1);

impl World {
    pub(crate) fn new(seed: u64, nodes: usize, lie: Lie, versions: Versions) -> Self {
        Self {
            lie,
            versions,
            now: Cell::default(),
            timers: RefCell::default(),
            rng: RefCell::new(ChaCha8Rng::seed_from_u64(seed)),
            nodes: RefCell::new((0..nodes).map(|_| Node::default()).collect()),
            under_way: RefCell::default(),
            lies: Cell::default(),
            calm: Cell::default(),
        }
    }

    /// Runs futures to their ends, on virtual time.
    pub(crate) fn run(&self, mut tasks: Vec<Pin<Box<dyn Future<Output = ()> + '_>>>) {
        loop {
            let mut context = Context::from_waker(Waker::noop());
            tasks.retain_mut(|task| task.as_mut().poll(&mut context) == Poll::Pending);
            if tasks.is_empty() {
                return;
            }
            let now = self.now.get();
            let next = self.timers.borrow().iter().copied().find(|at| *at > now);
            self.now.set(next.unwrap());
            self.timers.borrow_mut().retain(|at| *at > self.now.get());
            self.deliver();
        }
    }

    fn roll(&self, one_in: u32) -> bool {
        self.rng.borrow_mut().random_range(0..one_in) == 0
    }

    /// Whether to lie now, where there would be something to lie about.
    fn lies(&self, lie: Lie, one_in: u32) -> bool {
        let lies = self.lie == lie && self.roll(one_in);
        self.lies.set(self.lies.get() + u32::from(lies));
        lies
    }

    fn deliver(&self) {
        let (now, mut under_way) = (self.now.get(), self.under_way.borrow_mut());
        let mut nodes = self.nodes.borrow_mut();
        let due = |delivery: &mut Delivery| delivery.at <= now;
        for delivery in under_way.extract_if(.., due).collect::<Vec<_>>() {
            if nodes[delivery.to].cut_until > now {
                let at = nodes[delivery.to].cut_until + MS;
                self.timers.borrow_mut().insert(at);
                under_way.push(Delivery { at, ..delivery });
                continue;
            }
            nodes[delivery.to].take_in(&delivery.key, &delivery.delta, &delivery.effect);
        }
    }

    fn send(&self, from: usize, dot: u64, key: &Key, (delta, effect): (&Object, &Effect)) {
        let count = self.nodes.borrow().len();
        for to in (0..count).filter(|to| *to != from) {
            let at = self.now.get() + self.delay();
            self.timers.borrow_mut().insert(at);
            self.under_way.borrow_mut().push(Delivery {
                at,
                to,
                key: key.clone(),
                delta: delta.clone(),
                effect: effect.clone(),
                acknowledges: (from, dot),
            });
        }
    }

    fn delay(&self) -> Duration {
        let slow = self.roll(10);
        let range = if slow { 50_000..900_000 } else { 100..8_000 };
        Duration::from_micros(self.rng.borrow_mut().random_range(range))
    }

    fn wait(&self, time: Duration) -> impl Future<Output = ()> + '_ {
        let until = self.now.get() + time.max(Duration::from_micros(1));
        self.timers.borrow_mut().insert(until);
        std::future::poll_fn(move |_| match self.now.get() >= until {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
    }

    /// How many nodes hold a write.
    fn holders(&self, node: usize, dot: u64) -> usize {
        let under_way = self.under_way.borrow();
        let open = under_way.iter().filter(|d| d.acknowledges == (node, dot));
        self.nodes.borrow().len().saturating_sub(open.count())
    }
}

impl Node {
    fn take_in(&mut self, key: &Key, delta: &Object, effect: &Effect) {
        self.objects.entry(key.clone()).or_default().join(delta);
        if let Effect::Put(slot, value) = effect {
            self.arrived
                .insert((key.clone(), slot.to_string()), value.clone());
        }
    }
}

impl Inmate<'_> {
    fn apply(&self, key: &Key, op: &Op, reuse: u64) -> Result<(u64, Object), Failure> {
        let mut nodes = self.world.nodes.borrow_mut();
        let node = &mut nodes[self.node];
        node.dots += 1;
        let replica = ReplicaId::from_bytes([u8::try_from(self.node).unwrap() + 1; 8]);
        let stamp = Stamp {
            dot: Dot::new(replica, node.dots),
            claim_after: None,
            hlc: Hlc::default(),
        };
        let object = node.objects.get(key).cloned().unwrap_or_default();
        let delta = object.apply(&stamp, op, &Merges::default());
        let delta = delta.map_err(|error| Failure::Refused(error.to_string()))?;
        Ok((node.dots - reuse, delta))
    }

    fn tamper(&self, key: &Key, seen: &mut Seen) {
        let world = self.world;
        let mut nodes = world.nodes.borrow_mut();
        let node = &mut nodes[self.node];
        let past = node.past.get(key).cloned();
        node.past.insert(key.clone(), seen.clone());
        if let Some(past) = past.filter(|past| past.values != seen.values) {
            if world.lies(Lie::ShowsThePast, 10) {
                *seen = past;
                return;
            }
            for (slot, shown) in past.values {
                let (Shown::Values(before), Some(Shown::Values(now))) =
                    (shown, seen.values.get_mut(&slot))
                else {
                    continue;
                };
                let gone = before.difference(now).next().cloned();
                if let Some(gone) = gone.filter(|_| world.lies(Lie::BringsBack, 5)) {
                    now.insert(gone);
                }
            }
        }
        for (slot, shown) in &mut seen.values {
            let at = (key.clone(), slot.to_string());
            match shown {
                Shown::Values(values) if values.len() > 1 && world.lies(Lie::LosesASibling, 5) => {
                    values.pop_last();
                }
                Shown::Values(values) if node.arrived.contains_key(&at) => {
                    if values.len() > 1 && world.lies(Lie::LastArrivalWins, 1) {
                        *values = BTreeSet::from([node.arrived[&at].clone()]);
                    }
                }
                Shown::Values(values) if world.lies(Lie::Invents, 30) => {
                    values.insert(b"[9-9]".to_vec());
                }
                Shown::Number(number) if world.lies(Lie::Invents, 30) => *number += 10_000,
                Shown::Text(text) if world.lies(Lie::Stutters, 5) => {
                    let word = text.find([']', ' ']).map_or(1, |end| end + 1);
                    *text = text[..word].to_owned() + text;
                }
                Shown::Text(text) if world.lies(Lie::SkipsAWord, 5) => {
                    let word = text.trim_end().rfind(['[', ' ']).unwrap_or_default();
                    text.truncate(word);
                }
                Shown::On | Shown::Values(_) | Shown::Number(_) | Shown::Text(_) => {}
            }
        }
        seen.values
            .retain(|_, shown| *shown != Shown::On || !world.lies(Lie::TurnsOff, 5));
    }
}

impl Client for Inmate<'_> {
    async fn write(&self, key: &Key, op: Op, options: Options) -> Result<Option<Dot>, Failure> {
        let world = self.world;
        world.wait(world.delay()).await;
        let refuses = world.roll(20);
        if refuses && !world.lies(Lie::DoesWhatItRefused, 2) {
            return Err(Failure::Refused("not now".into()));
        }
        let reuse = u64::from(world.lies(Lie::ReusesADot, 50));
        let (dot, delta) = self.apply(key, &op, reuse)?;
        if world.lies(Lie::Forgets, 20) {
            return Ok(None);
        }
        let effect = Effect::of(&op);
        world.nodes.borrow_mut()[self.node].take_in(key, &delta, &effect);
        if matches!(op, Op::Add(_)) && world.lies(Lie::CountsTwice, 10) {
            let (_, again) = self.apply(key, &op, 0)?;
            world.nodes.borrow_mut()[self.node].take_in(key, &again, &effect);
        }
        if !world.lies(Lie::KeepsToItself, 20) {
            world.send(self.node, dot, key, (&delta, &effect));
        }
        if refuses {
            return Err(Failure::Refused("not now".into()));
        }
        let deadline = world.now.get() + options.timeout;
        let needed = options.level.needed(world.nodes.borrow().len());
        while world.holders(self.node, dot) < needed {
            if world.now.get() >= deadline {
                return Err(match world.roll(2) {
                    true => Failure::Kept("late".into()),
                    false => Failure::Unknown("no answer".into()),
                });
            }
            world.wait(MS).await;
        }
        let replica = ReplicaId::from_bytes([u8::try_from(self.node).unwrap() + 1; 8]);
        let told = world.versions == Versions::Told;
        Ok(told.then_some(Dot::new(replica, dot)))
    }

    async fn object(&self, key: &Key, options: Options) -> Result<Object, Failure> {
        let world = self.world;
        if options.level > Level::One {
            world.wait(world.delay()).await;
        }
        let mut nodes = world.nodes.borrow_mut();
        let needed = options.level.needed(nodes.len()).max(1);
        let other = |n: usize| (self.node + n) % nodes.len();
        let asked: Vec<usize> = (0..needed).map(other).collect();
        let mut object = Object::new();
        for node in asked {
            object.join(nodes[node].objects.entry(key.clone()).or_default());
        }
        nodes[self.node].objects.insert(key.clone(), object.clone());
        if !world.calm.get() && world.roll(60) {
            let cut = Duration::from_millis(world.rng.borrow_mut().random_range(100..2_000));
            nodes[self.node].cut_until = world.now.get() + cut;
        }
        Ok(object)
    }

    async fn read(&self, key: &Key, options: Options) -> Result<Seen, Failure> {
        let mut seen = Seen::of(&self.object(key, options).await?);
        if self.world.versions == Versions::Hidden {
            seen.version = None;
        }
        self.tamper(key, &mut seen);
        Ok(seen)
    }

    async fn sleep(&self, time: Duration) {
        self.world.wait(time).await;
    }

    fn now(&self) -> Duration {
        self.world.now.get()
    }
}
