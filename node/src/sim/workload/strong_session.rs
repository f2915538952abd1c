//! One client of strong keys, sequences and locks at work.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{Either, select};
use meshwork_sync::Key;

use super::dice::Dice;
use super::linear::Op;
use super::strong_ask::{self, UnderLock};
use super::{Failure, Host, Mix, StrongOracle, StrongWrong};
use crate::Mesh;
use crate::strong::{LockGuard, Token};

/// What many clients do to the strong group of one mesh. Cheap to clone; all clones are the same workload.
///
/// They read, write, delete, swap, and compare and set a few keys; draw numbers; and contend for locks, under which they write what the
/// locks protect. A key that was asked for much is left for a new one, so that its history can be checked. Think times and timeouts are
/// those of the [`Mix`].
#[derive(Clone, Debug)]
pub struct StrongWorkload {
    seed: u64,
    mix: Rc<Mix>,
    oracle: Rc<StrongOracle>,
    stopped: Rc<Cell<bool>>,
    created: Rc<Cell<bool>>,
}

/// One client of a [`StrongWorkload`]: what it is about to do is decided by the seed and by what it is shown.
#[derive(Debug)]
pub struct StrongSession {
    workload: StrongWorkload,
    dice: Dice,
}

/// What a client is about to do.
#[derive(Clone, Copy, Debug)]
enum Topic {
    Key,
    Protected,
    Sequence,
    Lock,
}

impl StrongWorkload {
    /// A workload that tells `oracle` what happens.
    #[must_use]
    pub fn new(seed: u64, mix: Mix, oracle: Rc<StrongOracle>) -> Self {
        Self {
            seed,
            mix: Rc::new(mix),
            oracle,
            stopped: Rc::default(),
            created: Rc::default(),
        }
    }

    /// A client; `client` is a number of its own.
    #[must_use]
    pub fn session(&self, client: u32) -> StrongSession {
        StrongSession {
            workload: self.clone(),
            // Others of the same number are clients of another workload.
            dice: Dice::new(self.seed ^ SEED, client),
        }
    }

    /// Lets every session end after the requests that it is making: within about half a minute if its node is well.
    pub fn stop(&self) {
        self.stopped.set(true);
    }

    /// The key of this name that is asked of now.
    fn key(&self, name: &str) -> Option<Key> {
        let keys = (0..).map_while(|round| key(&format!("{name}-{round}")));
        let mut keys = keys.skip_while(|key| self.oracle.asked(key) >= ON_KEY_MAX);
        keys.next()
    }
}

impl StrongSession {
    /// Makes requests until the workload is stopped. Dropping the future leaves the request under way without an answer.
    pub async fn run<H: Host>(&mut self, host: &H) {
        loop {
            let pause = self.dice.time(&self.workload.mix.think);
            host.sleep(pause).await;
            for _ in 0..=self.dice.index(IN_A_ROW) {
                if self.workload.stopped.get() {
                    return;
                }
                let Some(mesh) = host.mesh() else { break };
                self.act(host, &mesh).await;
            }
        }
    }

    async fn act<H: Host>(&mut self, host: &H, mesh: &Mesh) {
        let timeout = self.timeout();
        if !self.workload.created.get() {
            let created = strong_ask::create(mesh, NAMESPACE, timeout).await;
            return self.workload.created.set(created);
        }
        let topics = [
            (Topic::Key, 12),
            (Topic::Protected, 1),
            (Topic::Sequence, 2),
            (Topic::Lock, 1),
        ];
        let number = self.dice.index(OF_EACH);
        match self.dice.weigh(topics).unwrap_or(Topic::Key) {
            Topic::Key => {
                if let Some(key) = self.workload.key(&format!("register-{number}")) {
                    let op = self.op(&key);
                    self.ask(host, mesh, &key, op).await;
                }
            }
            Topic::Protected => {
                if let Some(key) = self.workload.key(&protected(number)) {
                    self.ask(host, mesh, &key, Op::Read).await;
                }
            }
            Topic::Sequence => self.draw(host, mesh, number).await,
            Topic::Lock => self.lock(host, mesh, number).await,
        }
    }

    fn timeout(&mut self) -> Duration {
        self.dice.time(&self.workload.mix.timeout)
    }

    fn op(&mut self, key: &Key) -> Op {
        let oracle = &self.workload.oracle;
        match self.dice.number(0..=19) {
            0..=7 => Op::Read,
            8 => Op::Delete,
            9..=10 => Op::Write(oracle.new_value(None)),
            11..=13 => Op::Swap(oracle.new_value(None)),
            _ => Op::Cas {
                expect: oracle.seen(key),
                new: oracle.new_value(None),
            },
        }
    }

    async fn ask<H: Host>(&mut self, host: &H, mesh: &Mesh, key: &Key, op: Op) {
        let oracle = Rc::clone(&self.workload.oracle);
        let timeout = self.timeout();
        let id = oracle.begin(key, host.now(), op);
        let answer = strong_ask::ask(mesh, key, op, timeout).await;
        oracle.end(id, host.now(), answer);
    }

    async fn draw<H: Host>(&mut self, host: &H, mesh: &Mesh, number: usize) {
        let Some(sequence) = key(&format!("sequence-{number}")) else {
            return;
        };
        let count = 1 + u32::try_from(self.dice.index(3)).unwrap_or(0);
        let timeout = self.timeout();
        let oracle = Rc::clone(&self.workload.oracle);
        // The oracle knows what became of it.
        drop(draw(&oracle, (host, mesh), &sequence, (count, timeout)).await);
    }

    /// Takes a lock, writes what it protects a few times, and gives it back or forgets it.
    async fn lock<H: Host>(&mut self, host: &H, mesh: &Mesh, number: usize) {
        let Some(lock) = key(&format!("lock-{number}")) else {
            return;
        };
        let oracle = Rc::clone(&self.workload.oracle);
        let invoked = oracle.begin_grant(host.now());
        let Some(guard) = self.acquire(host, mesh, &lock).await else {
            return;
        };
        oracle.granted(&lock, (invoked, host.now()), guard.fencing_token());
        let token = guard.fencing_token();
        for _ in 0..=self.dice.index(WRITES_MAX) {
            if self.workload.stopped.get() {
                return;
            }
            let pause = self.dice.time(&(Duration::ZERO..=HOLD_MAX));
            host.sleep(pause).await;
            let became = self.write_protected(host, (&lock, number), token).await;
            if became == Some(UnderLock::NotHeld) && !guard.is_lost() {
                let lock = lock.clone();
                oracle.report(StrongWrong::LostUnawares { lock, token });
            }
        }
        if self.dice.falls(1, 3) || guard.release().await.is_err() {
            return;
        }
        // What comes too late is refused, whoever it comes from.
        if self.dice.falls(1, 2) {
            let became = self.write_protected(host, (&lock, number), token).await;
            if matches!(became, Some(UnderLock::Wrote(_))) {
                oracle.report(StrongWrong::NotFenced { lock, token });
            }
        }
    }

    async fn acquire<H: Host>(&mut self, host: &H, mesh: &Mesh, lock: &Key) -> Option<LockGuard> {
        let ttl = self.dice.time(&(TTL_MIN..=TTL_MAX));
        let (patience, waits) = (self.timeout(), self.dice.falls(2, 3));
        let builder = mesh.lock(lock).ttl(ttl);
        let acquire = async {
            if waits {
                builder.acquire_within(patience).await.ok()
            } else {
                builder.try_acquire().await.ok().flatten()
            }
        };
        match select(pin!(acquire), pin!(host.sleep(patience))).await {
            Either::Left((guard, _)) => guard,
            Either::Right(_) => None,
        }
    }

    /// Writes what a lock protects, through whatever process runs there by now; `None` where nobody knows what became of it.
    async fn write_protected<H: Host>(
        &mut self,
        host: &H,
        (lock, number): (&Key, usize),
        token: Token,
    ) -> Option<UnderLock> {
        let (mesh, timeout) = (host.mesh()?, self.timeout());
        let key = self.workload.key(&protected(number))?;
        let oracle = Rc::clone(&self.workload.oracle);
        let value = oracle.new_value(Some(token));
        let id = oracle.begin(&key, host.now(), Op::Swap(value));
        let answer = strong_ask::swap_under(&mesh, (lock, token), (&key, value), timeout).await;
        let became = answer.clone().ok();
        let answer = answer.and_then(UnderLock::wrote);
        oracle.end(id, host.now(), answer);
        became
    }
}

/// Draws numbers, and tells the oracle.
pub(super) async fn draw<H: Host>(
    oracle: &StrongOracle,
    (host, mesh): (&H, &Mesh),
    sequence: &Key,
    (count, timeout): (u32, Duration),
) -> Result<(), Failure> {
    let id = oracle.begin_draw(sequence, host.now(), count);
    let answer = strong_ask::draw(mesh, sequence, count, timeout).await;
    oracle.end_draw(id, host.now(), answer.clone());
    answer.map(drop)
}

fn key(name: &str) -> Option<Key> {
    Key::new(NAMESPACE, name.as_bytes()).ok()
}

/// What a lock protects.
fn protected(lock: usize) -> String {
    format!("protected-{lock}")
}

const NAMESPACE: &str = "strong";

/// Keys, sequences and locks that are used at a time. Few make clients collide.
const OF_EACH: usize = 2;

/// Operations on one key, so that there is room for the reads in the end.
const ON_KEY_MAX: usize = 180;

/// Most requests of a client without a pause.
const IN_A_ROW: usize = 2;

/// Most writes under one grant.
const WRITES_MAX: usize = 3;

/// Longest pause before such a write: sometimes a lock is lost meanwhile.
const HOLD_MAX: Duration = Duration::from_millis(1_500);

/// How long locks outlive their holders' nodes.
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(3);

/// Tells the choices here from those of a [`Session`](super::Session) with the same seed.
const SEED: u64 = 0x73_74_72_6f_6e_67;
