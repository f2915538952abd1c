//! Locks where clocks run fast or slow, jump, and go on while a process does not.
//!
//! A run has faults all the time, and after each event: no lock has two holders, by the order that the log decided, and tokens rise. Where two
//! clocks drift apart by no more than is promised, nobody believes that he holds what the group has given to another.

use std::collections::BTreeMap;
use std::time::Duration;

use meshwork_membership::Time;
use meshwork_sync::RequestId;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::group::{group, key};
use super::net::{Net, ms};
use crate::strong::core::Strong;
use crate::strong::group::Group;
use crate::strong::*;

const LOCK: &str = "l/l";

/// How fast or slow clocks are, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drift {
    /// Two of them drift apart by a little less than a holder allows for.
    AsPromised,
    /// Beyond that only tokens help.
    Wild,
}

impl Drift {
    const fn most(self) -> u64 {
        match self {
            Self::AsPromised => 24_000,
            Self::Wild => 200_000,
        }
    }
}

/// Takes the lock, holds it for a while, gives it back.
#[derive(Debug)]
struct Worker {
    node: usize,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Rests(Time),
    Opens(RequestId),
    Acquires(RequestId, SessionId),
    Stands(RequestId, SessionId),
    Holds(SessionId, Time),
    GivesBack(RequestId),
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Strike,
    Thaw(usize),
    Start(usize),
    Heal,
    Loss(u32),
}

struct Run {
    net: Net,
    rng: ChaCha8Rng,
    drift: Drift,
    workers: Vec<Worker>,
    faults: BTreeMap<(Time, u64), Fault>,
    planned: u64,
    seen: Seen,
}

/// What the log has decided, as far as anybody has applied it.
#[derive(Debug, Default)]
struct Seen {
    applied: u64,
    holder: Option<(SessionId, Token)>,
    last: Token,
    grants: u64,
}

/// The state of who has applied most.
fn furthest(net: &Net) -> Option<&Group> {
    let groups = (0..net.hosts.len()).filter_map(|n| net.group(n));
    groups.max_by_key(|group| group.applied())
}

impl Seen {
    fn look(&mut self, net: &Net) {
        let Some(group) = furthest(net).filter(|group| group.applied() > self.applied) else {
            return;
        };
        self.applied = group.applied();
        let lock = group.state().lock(&key(LOCK));
        let holders = lock.into_iter().flat_map(Lock::holders);
        let holders: Vec<_> = holders.map(|(who, held)| (who, held.token)).collect();
        assert!(holders.len() <= 1, "held by {holders:?}");
        let holder = holders.first().copied();
        if let Some((who, token)) = holder
            && self.holder != holder
        {
            assert!(token > self.last, "{who} has {token:?} after {self:?}");
            self.last = token;
            self.grants += 1;
        }
        self.holder = holder;
    }
}

/// Whether a process runs and has done all that is due: what it believes then is what it acts on.
fn is_awake(net: &Net, n: usize) -> bool {
    let host = &net.hosts[n];
    let due = host.strong.as_ref().and_then(Strong::poll_timeout);
    !host.frozen && due.is_some_and(|due| due > net.clock(n))
}

fn check_beliefs(net: &Net, workers: &[Worker], seen: &Seen) {
    for worker in workers {
        let Stage::Holds(session, _) = worker.stage else {
            continue;
        };
        let lost = net.hosts[worker.node].lost.contains(&session);
        if is_awake(net, worker.node) && !lost {
            let other = seen.holder.filter(|(holder, _)| *holder != session);
            assert_eq!(other, None, "{worker:?} holds the lock at {}", net.now);
        }
    }
}

impl Run {
    fn new(seed: u64, drift: Drift) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x636c_6f63_6b73);
        let mut net = group(seed, 3);
        net.add_host();
        for host in &mut net.hosts {
            let most = drift.most();
            host.clock.rate = rng.random_range(1_000_000 - most..=1_000_000 + most);
            // Clocks that change their rate do not go back.
            host.clock.ahead = net.now.since(Time::ZERO);
        }
        let worker = |node| Worker {
            node,
            stage: Stage::Rests(net.now),
        };
        Self {
            workers: (0..4).map(worker).collect(),
            faults: [((net.now, 0), Fault::Strike)].into(),
            net,
            rng,
            drift,
            planned: 0,
            seen: Seen::default(),
        }
    }

    fn run_until(&mut self, until: Time) {
        while self.net.now < until {
            let wakes = self.workers.iter().filter_map(|worker| match worker.stage {
                Stage::Rests(at) | Stage::Holds(_, at) => Some(at.max(self.net.now)),
                Stage::Opens(_) | Stage::Acquires(..) | Stage::Stands(..) | Stage::GivesBack(_) => {
                    None
                }
            });
            let fault = self.faults.first_key_value().map(|((at, _), _)| *at);
            let next = wakes.chain(fault).chain([until]).min().unwrap();
            let (workers, seen, drift) = (&self.workers, &mut self.seen, self.drift);
            self.net.run_until(next, |net| {
                seen.look(net);
                if drift == Drift::AsPromised {
                    check_beliefs(net, workers, seen);
                }
                !net.done.is_empty()
            });
            while let Some((id, (_, answer))) = self.net.done.pop_first() {
                self.answered(id, answer.ok());
            }
            if let Some(((at, _), _)) = self.faults.first_key_value()
                && *at <= self.net.now
                && let Some((_, fault)) = self.faults.pop_first()
            {
                self.happen(fault);
            }
            for n in 0..self.workers.len() {
                self.work(n);
            }
        }
    }

    /// What a worker does when its time has come.
    fn work(&mut self, n: usize) {
        let Worker { node, stage } = self.workers[n];
        let host = &self.net.hosts[node];
        if host.strong.is_none() || host.frozen {
            // Looks again in a moment.
            if let Stage::Rests(at) | Stage::Holds(_, at) = &mut self.workers[n].stage {
                *at = (*at).max(self.net.now + ms(20));
            }
            return;
        }
        self.workers[n].stage = match stage {
            Stage::Rests(at) if at <= self.net.now => {
                let ttl = ms(self.rng.random_range(1_000..6_000));
                Stage::Opens(self.net.ask(node, StrongRequest::Open { ttl }))
            }
            Stage::Holds(session, until)
                if host.lost.contains(&session) || until <= self.net.now =>
            {
                let close = StrongRequest::In(session, Request::Close);
                Stage::GivesBack(self.net.ask(node, close))
            }
            other @ (Stage::Rests(_)
            | Stage::Opens(_)
            | Stage::Acquires(..)
            | Stage::Stands(..)
            | Stage::Holds(..)
            | Stage::GivesBack(_)) => other,
        };
    }

    fn answered(&mut self, id: RequestId, answer: Option<StrongDone>) {
        let asked = |worker: &Worker| match worker.stage {
            Stage::Opens(asked) | Stage::Acquires(asked, _) => asked == id,
            Stage::Stands(asked, _) | Stage::GivesBack(asked) => asked == id,
            Stage::Rests(_) | Stage::Holds(..) => false,
        };
        let Some(n) = self.workers.iter().position(asked) else {
            return;
        };
        let Worker { node, stage } = self.workers[n];
        let acquire = Request::Acquire {
            lock: key(LOCK),
            mode: Mode::Exclusive,
            wait: Wait::Forever,
            note: vec![],
        };
        let hold = self.net.now + ms(self.rng.random_range(100..5_000));
        let stand = ms(60_000);
        self.workers[n].stage = match (stage, answer) {
            (Stage::Opens(_), Some(StrongDone::Done(Outcome::Opened { session }))) => {
                let acquire = StrongRequest::In(session, acquire);
                Stage::Acquires(self.net.ask(node, acquire), session)
            }
            (Stage::Acquires(_, session), Some(StrongDone::Done(Outcome::Granted { .. })))
            | (Stage::Stands(_, session), Some(StrongDone::Turn(Turn::Granted(_)))) => {
                Stage::Holds(session, hold)
            }
            (Stage::Acquires(_, session), Some(StrongDone::Done(Outcome::Waits { .. }))) => {
                let turn = StrongRequest::Turn(session, key(LOCK));
                Stage::Stands(self.net.ask_for(node, turn, stand), session)
            }
            _ => Stage::Rests(self.net.now + ms(self.rng.random_range(0..500))),
        };
    }

    fn plan(&mut self, wait: std::ops::Range<u64>, fault: Fault) {
        let at = self.net.now + ms(self.rng.random_range(wait));
        self.planned += 1;
        self.faults.insert((at, self.planned), fault);
    }

    fn happen(&mut self, fault: Fault) {
        match fault {
            Fault::Strike => self.strike(),
            Fault::Thaw(n) => self.net.hosts[n].frozen = false,
            Fault::Start(n) if self.net.hosts[n].strong.is_none() => self.net.start(n),
            Fault::Start(_) => {}
            Fault::Heal => self.net.heal(),
            Fault::Loss(loss) => self.net.loss = loss,
        }
    }

    fn strike(&mut self) {
        let holder = self
            .workers
            .iter()
            .find(|worker| matches!(worker.stage, Stage::Holds(..)));
        let holder = holder.map(|worker| worker.node);
        let n = match self.rng.random_range(0..3) {
            0 => self.net.leader(),
            1 => holder,
            _ => None,
        };
        let n = n.unwrap_or_else(|| self.rng.random_range(0..self.net.hosts.len()));
        match self.rng.random_range(0..10) {
            0..3 => {
                self.net.hosts[n].frozen = self.net.hosts[n].strong.is_some();
                self.plan(50..9_000, Fault::Thaw(n));
            }
            3..5 => {
                let jump = ms(self.rng.random_range(10..8_000));
                self.net.hosts[n].clock.ahead += jump;
            }
            5..8 => {
                let rest: Vec<usize> = (0..self.net.hosts.len())
                    .filter(|other| *other != n)
                    .collect();
                self.net.split(&[&[n], &rest]);
                self.plan(50..9_000, Fault::Heal);
            }
            8 => {
                self.net.crash(n);
                self.net.hosts[n].frozen = false;
                let rest = self.net.now + ms(100);
                for worker in self.workers.iter_mut().filter(|worker| worker.node == n) {
                    worker.stage = Stage::Rests(rest);
                }
                self.plan(10..5_000, Fault::Start(n));
            }
            _ => {
                let loss = self.rng.random_range(1..200);
                self.happen(Fault::Loss(loss));
                self.plan(500..5_000, Fault::Loss(0));
            }
        }
        self.plan(100..6_000, Fault::Strike);
    }
}

fn run(seed: u64, drift: Drift) {
    println!("seed {seed}");
    let mut run = Run::new(seed, drift);
    run.run_until(run.net.now + Duration::from_mins(2));
    assert!(run.seen.grants > 10, "{:?}", run.seen);
}

#[test]
fn a_lock_has_one_holder_and_only_he_believes_so_where_clocks_drift_as_promised() {
    for seed in 1..=8 {
        run(seed, Drift::AsPromised);
    }
}

#[test]
fn a_lock_has_one_holder_and_tokens_rise_however_clocks_drift() {
    for seed in 21..=24 {
        run(seed, Drift::Wild);
    }
}

fn open(net: &mut Net, n: usize, ttl: Duration) -> SessionId {
    let done = net.get(n, StrongRequest::Open { ttl });
    let Ok(StrongDone::Done(Outcome::Opened { session })) = done else {
        panic!("{done:?}");
    };
    session
}

/// The worst that clocks do to a session: the leader's is fast, is put forward, and stands by while its process does not.
#[test]
fn no_session_ends_that_is_kept_alive_in_time() {
    let mut net = group(31, 3);
    let leader = net.leader().unwrap();
    let client = (leader + 1) % 3;
    net.hosts[leader].clock.rate = 1_200_000;
    net.hosts[client].clock.rate = 800_000;
    net.hosts[client].clock.ahead = ms(60_000);
    let session = open(&mut net, client, ms(2_000));
    for n in 0..60 {
        let pause = ms(net.rng.random_range(300..900));
        if n % 2 == 0 {
            net.hosts[leader].frozen = true;
            net.run_for(pause);
            net.hosts[leader].frozen = false;
        } else {
            net.hosts[leader].clock.ahead += pause * 4;
        }
        let wait = ms(net.rng.random_range(1_000..3_000));
        net.run_for(wait);
        assert!(
            net.hosts[client].lost.is_empty(),
            "after {n} pauses and jumps"
        );
        assert!(
            net.group(client)
                .unwrap()
                .state()
                .session_ttl(session)
                .is_some()
        );
    }
}

/// One that its node cannot keep alive has all of its time again with a new leader, and ends then.
#[test]
fn a_new_leader_gives_each_session_all_of_its_time_again() {
    for (seed, rate) in [(32, 1_000_000), (33, 800_000), (34, 1_200_000)] {
        let mut net = group(seed, 3);
        net.add_host();
        for host in &mut net.hosts {
            host.clock.rate = rate;
            host.clock.ahead = ms(10_000);
        }
        let session = open(&mut net, 3, ms(6_000));
        net.split(&[&[0, 1, 2]]);
        let old = net.leader().unwrap();
        net.run_for(ms(4_000));
        net.crash(old);
        let elected = net.run_until(net.now + ms(10_000), |net| net.leader().is_some());
        assert!(elected);
        let led = net.now;
        let ends = |net: &Net| {
            furthest(net)
                .unwrap()
                .state()
                .session_ttl(session)
                .is_none()
        };
        assert!(net.run_until(net.now + ms(20_000), ends), "it ends");
        let ttl = ms(6_000) * 1_000_000 / u32::try_from(rate).unwrap();
        let lived = net.now.since(led);
        assert!(
            lived >= ttl && lived < ttl + ms(500),
            "{lived:?} of {ttl:?}"
        );
    }
}

/// What follows from other voters waits for the disk, and so does the word that this node leads no more.
#[test]
fn a_leader_that_cannot_say_yet_that_it_leads_no_more_does_not_spin() {
    let mut net = group(78, 3);
    let leader = net.leader().unwrap();
    let others: Vec<usize> = (0..3).filter(|n| *n != leader).collect();
    open(&mut net, leader, ms(8_000));
    let log = |net: &Net| net.group(leader).unwrap().log().last();
    let before = log(&net);
    (0..2).for_each(|_| net.add_host());
    assert!(net.run_until(net.now + ms(5_000), |net| log(net) > before));
    // The change is on its way to the disk; what it comes to takes longer.
    net.hosts[leader].slow = ms(20_000);
    let reconfigured = |net: &Net| {
        let group = net.group(leader).unwrap();
        !group.log().config().learners.is_empty()
    };
    assert!(net.run_until(net.now + ms(5_000), reconfigured));
    net.split(&[&[leader], &others, &[3], &[4]]);
    net.run_for(ms(12_000));
    net.hosts[leader].slow = Duration::ZERO;
    net.heal();
    assert!(net.run_until(net.now + ms(60_000), |net| net.leader().is_some()));
}
