//! The simulated network: virtual time, one queue, and who holds whom for what.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use crate::protocol::{Micros, Node, Outbox, Process, Protocol, Seen};

pub const SECOND: Micros = 1_000_000;

/// A settled network has a latency between these, one way, each message anew.
const LATENCY: (Micros, Micros) = (500, 1_500);

/// A call that takes longer was interrupted by another process of the machine, and its time is not counted.
const INTERRUPTED: Duration = Duration::from_millis(1);

/// What a stopped process finds in its socket when it goes on; the rest was dropped.
const INBOX_MAX: usize = 1_000;

/// What an observer holds a subject for: nothing known, gone, or alive in a life.
const UNKNOWN: u8 = 0;
const GONE: u8 = 1;
const ALIVE: u8 = 2;

enum Event {
    Message {
        from: Node,
        to: Node,
        bytes: Vec<u8>,
    },
    Timer(Node),
    Resume(Node),
}

struct Entry {
    key: Reverse<(Micros, u64)>,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

/// Counters of what happened since they were last cleared.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub bytes: u64,
    pub messages: u64,
    /// Somebody held a member for dead that was running.
    pub false_deaths: u64,
    /// The same about a member that is not slow.
    pub false_deaths_of_healthy: u64,
    pub suspicions: u64,
    pub cpu_ns: u64,
}

pub struct World<P: Protocol> {
    pub now: Micros,
    pub loss: f64,
    pub tally: Tally,
    /// When somebody first held this member for dead, since it was last cleared.
    pub first_death: Vec<Option<Micros>>,
    /// Members that reach only each other's side.
    pub side: Vec<u8>,
    /// A member that reaches only those for whom this holds.
    pub semi_detached: Option<(Node, Vec<bool>)>,
    pub slow: Vec<bool>,
    /// Only what the first of the members send is counted.
    pub counted: usize,
    config: P::Config,
    nodes: Vec<Option<P>>,
    lives: Vec<u8>,
    leaving: Vec<bool>,
    paused: Vec<bool>,
    inbox: Vec<VecDeque<(Micros, Node, Vec<u8>)>>,
    timer_at: Vec<Micros>,
    view: Vec<Vec<u8>>,
    /// How many running members hold this one for alive, in any life or in its present one.
    alive_for: Vec<usize>,
    current_for: Vec<usize>,
    pairs: usize,
    running: usize,
    queue: BinaryHeap<Entry>,
    count: u64,
    random: u64,
    out: Outbox,
}

impl<P: Protocol> World<P> {
    pub fn new(config: P::Config, size: usize, seed: u64) -> Self {
        Self {
            now: SECOND,
            loss: 0.0,
            tally: Tally::default(),
            first_death: vec![None; size],
            side: vec![0; size],
            semi_detached: None,
            slow: vec![false; size],
            counted: size,
            config,
            nodes: (0..size).map(|_| None).collect(),
            lives: vec![0; size],
            leaving: vec![false; size],
            paused: vec![false; size],
            inbox: (0..size).map(|_| VecDeque::new()).collect(),
            timer_at: vec![Micros::MAX; size],
            // Of observers that never change their mind nothing is kept.
            view: vec![Vec::new(); size],
            alive_for: vec![0; size],
            current_for: vec![0; size],
            pairs: 0,
            running: 0,
            queue: BinaryHeap::new(),
            count: 0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d,
            out: Outbox::default(),
        }
    }

    /// A mesh of these members that know each other, after a while.
    pub fn settled(config: P::Config, size: usize, seed: u64) -> Self {
        let mut world = Self::new(config, size, seed);
        for n in 0..size as Node {
            world.start(n, Some(P::memory_of_all(n, size)));
        }
        world.run_for(40 * SECOND);
        world.tally = Tally::default();
        world
    }

    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_running(&self, n: Node) -> bool {
        self.nodes[n as usize].is_some()
    }

    /// Splitmix64.
    pub fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.random() % bound.max(1)
    }

    /// A random running member.
    pub fn pick(&mut self) -> Node {
        loop {
            let n = self.below(self.nodes.len() as u64) as Node;
            if self.is_running(n) && !self.leaving[n as usize] {
                return n;
            }
        }
    }

    pub fn start(&mut self, n: Node, memory: Option<P::Memory>) {
        let at = n as usize;
        let process = Process {
            config: &self.config.clone(),
            me: n,
            life: self.lives[at],
            seed: self.random(),
            memory,
        };
        let core = P::start(process, self.now, &mut self.out);
        let mut alive = Vec::new();
        core.for_each_alive(|subject, life| alive.push((subject, life)));
        self.nodes[at] = Some(core);
        self.leaving[at] = false;
        self.running += 1;
        self.pairs += self.current_for[at];
        self.after(n);
        for (subject, life) in alive {
            self.set_view(n, subject, ALIVE + life);
        }
    }

    /// The process is gone at once; its disk comes back.
    pub fn crash(&mut self, n: Node) -> Option<P::Memory> {
        let at = n as usize;
        let core = self.nodes[at].take()?;
        self.running -= 1;
        self.pairs -= self.current_for[at];
        for subject in 0..self.nodes.len() as Node {
            self.forget_view(n, subject);
        }
        self.lives[at] += 1;
        self.current_for[at] = 0;
        self.timer_at[at] = Micros::MAX;
        self.inbox[at].clear();
        self.paused[at] = false;
        Some(core.memory())
    }

    pub fn join(&mut self, n: Node, seed: Node) {
        let now = self.now;
        self.call(n, |core, out| core.join(now, seed, out));
    }

    pub fn leave(&mut self, n: Node) {
        let now = self.now;
        self.leaving[n as usize] = true;
        self.call(n, |core, out| core.leave(now, out));
    }

    /// Stops a process for a while, as `SIGSTOP` does.
    pub fn pause(&mut self, n: Node, duration: Micros) {
        self.paused[n as usize] = true;
        self.push(self.now + duration, Event::Resume(n));
    }

    /// Whether no running member holds this one for alive.
    pub fn is_gone_for_all(&self, n: Node) -> bool {
        self.alive_for[n as usize] == 0
    }

    /// Whether all running members hold all others for alive in their present life.
    pub fn all_know_all(&self) -> bool {
        self.pairs == self.pairs_wanted()
    }

    pub fn pairs_known(&self) -> usize {
        self.pairs
    }

    pub fn pairs_wanted(&self) -> usize {
        self.running * self.running.saturating_sub(1)
    }

    pub fn run_for(&mut self, duration: Micros) {
        let end = self.now + duration;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until it holds; says when, if within the limit.
    pub fn run_until(
        &mut self,
        limit: Micros,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> Option<Micros> {
        let (start, end) = (self.now, self.now + limit);
        while !holds(self) {
            if !self.step(end) {
                self.now = end;
                return None;
            }
        }
        Some(self.now - start)
    }

    fn step(&mut self, end: Micros) -> bool {
        let Some(at) = self.queue.peek().map(|entry| entry.key.0.0) else {
            return false;
        };
        if at > end {
            return false;
        }
        let Some(entry) = self.queue.pop() else {
            return false;
        };
        self.now = self.now.max(at);
        match entry.event {
            Event::Message { from, to, bytes } => self.deliver(from, to, bytes),
            Event::Timer(n) => {
                if self.timer_at[n as usize] == at && !self.paused[n as usize] {
                    self.timer_at[n as usize] = Micros::MAX;
                    let now = self.now;
                    self.call(n, |core, out| core.handle_timers(now, out));
                }
            }
            Event::Resume(n) => self.resume(n),
        }
        true
    }

    fn deliver(&mut self, from: Node, to: Node, bytes: Vec<u8>) {
        let at = to as usize;
        if self.nodes[at].is_none() {
            return;
        }
        if self.paused[at] {
            if self.inbox[at].len() < INBOX_MAX {
                self.inbox[at].push_back((self.now, from, bytes));
            }
            return;
        }
        let now = self.now;
        self.call(to, |core, out| core.handle_message(now, from, &bytes, out));
    }

    /// What came meanwhile, timers and messages, is handled in the order in which it came.
    fn resume(&mut self, n: Node) {
        let at = n as usize;
        self.paused[at] = false;
        let now = self.now;
        loop {
            let timer = self.nodes[at].as_ref().and_then(Protocol::next_timer);
            let timer = timer.filter(|timer| *timer <= now);
            let message = self.inbox[at].front().map(|(arrived, _, _)| *arrived);
            match (timer, message) {
                (Some(timer), Some(arrived)) if arrived < timer => self.take_one(n),
                (None, Some(_)) => self.take_one(n),
                (Some(_), _) => self.call(n, |core, out| core.handle_timers(now, out)),
                (None, None) => break,
            }
        }
        self.timer_at[at] = Micros::MAX;
        self.after(n);
    }

    fn take_one(&mut self, n: Node) {
        if let Some((_, from, bytes)) = self.inbox[n as usize].pop_front() {
            let now = self.now;
            self.call(n, |core, out| core.handle_message(now, from, &bytes, out));
        }
    }

    fn call(&mut self, n: Node, f: impl FnOnce(&mut P, &mut Outbox)) {
        if let Some(core) = &mut self.nodes[n as usize] {
            let start = Instant::now();
            f(core, &mut self.out);
            let took = start.elapsed();
            if (n as usize) < self.counted && took < INTERRUPTED {
                self.tally.cpu_ns += took.as_nanos() as u64;
            }
            self.after(n);
        }
    }

    fn after(&mut self, n: Node) {
        let at = n as usize;
        let mut out = std::mem::take(&mut self.out);
        for (subject, seen) in out.seen.drain(..) {
            self.note(n, subject, seen);
        }
        for (to, bytes) in out.sends.drain(..) {
            self.carry(n, to, bytes);
        }
        self.out = out;
        let timer = self.nodes[at].as_ref().and_then(Protocol::next_timer);
        let timer = timer.unwrap_or(Micros::MAX);
        if timer != self.timer_at[at] {
            self.timer_at[at] = timer;
            if timer != Micros::MAX {
                self.push(timer, Event::Timer(n));
            }
        }
    }

    fn carry(&mut self, from: Node, to: Node, bytes: Vec<u8>) {
        if (from as usize) < self.counted {
            self.tally.messages += 1;
            self.tally.bytes += bytes.len() as u64;
        }
        let lost =
            self.loss > 0.0 && (self.random() >> 11) as f64 / (1u64 << 53) as f64 <= self.loss;
        if lost || !self.reaches(from, to) {
            return;
        }
        let latency = LATENCY.0 + self.below(LATENCY.1 - LATENCY.0);
        self.push(self.now + latency, Event::Message { from, to, bytes });
    }

    fn reaches(&self, from: Node, to: Node) -> bool {
        let apart = self.side[from as usize] != self.side[to as usize];
        let detached = self.semi_detached.as_ref().is_some_and(|(who, reached)| {
            (from == *who && !reached[to as usize]) || (to == *who && !reached[from as usize])
        });
        !apart && !detached
    }

    fn push(&mut self, at: Micros, event: Event) {
        self.count += 1;
        let key = Reverse((at, self.count));
        self.queue.push(Entry { key, event });
    }

    fn note(&mut self, observer: Node, subject: Node, seen: Seen) {
        match seen {
            Seen::Alive(life) => self.set_view(observer, subject, ALIVE + life),
            Seen::Suspect => self.tally.suspicions += 1,
            Seen::Gone => {
                self.first_death[subject as usize].get_or_insert(self.now);
                let lives = self.is_running(subject) && !self.leaving[subject as usize];
                self.tally.false_deaths += u64::from(lives);
                let healthy = lives && !self.slow[subject as usize];
                self.tally.false_deaths_of_healthy += u64::from(healthy);
                self.set_view(observer, subject, GONE);
            }
        }
    }

    fn forget_view(&mut self, observer: Node, subject: Node) {
        self.set_view(observer, subject, UNKNOWN);
    }

    fn set_view(&mut self, observer: Node, subject: Node, view: u8) {
        if observer == subject {
            return;
        }
        let at = subject as usize;
        let size = self.nodes.len();
        let row = &mut self.view[observer as usize];
        if row.is_empty() {
            row.resize(size, UNKNOWN);
        }
        let old = std::mem::replace(&mut row[at], view);
        let current = ALIVE + self.lives[at];
        let running = self.is_running(subject);
        if old >= ALIVE {
            self.alive_for[at] -= 1;
        }
        if view >= ALIVE {
            self.alive_for[at] += 1;
        }
        if old == current {
            self.current_for[at] -= 1;
            self.pairs -= usize::from(running);
        }
        if view == current {
            self.current_for[at] += 1;
            self.pairs += usize::from(running);
        }
    }
}
