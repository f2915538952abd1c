//! Clients of a group that crashes, splits, freezes, loses frames and has full disks: what they saw is explained by one order.
//!
//! A run has two phases. First faults and clients; then no more faults, and the group must serve, agree, and hold what was acknowledged.
//! More seeds, from the first to the last: `MESHWORK_STRONG_SEEDS=100..399 cargo test -p meshwork --lib strong::tests::linear`.

mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use meshwork_membership::Time;
use meshwork_sync::{Key, RequestId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use self::faults::Fault;
use super::net::{Net, ms};
use crate::sim::workload::linear::{Entry, Op, Saw, check};
use crate::strong::group::Group;
use crate::strong::*;

/// How long there are faults.
const FAULTS: Duration = Duration::from_secs(30);

/// How soon after the last fault all are to be well and agree.
const HEALS_WITHIN: Duration = Duration::from_secs(20);

const KEYS: usize = 4;

/// Operations on one key; what the checker looks at has room for the reads at the end.
const ON_KEY_MAX: usize = 200;

/// Seeds of all tests here together, if the environment says nothing else.
const SEEDS: RangeInclusive<u64> = 1..=60;

/// What is asked of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    OnKey(usize, Op),
    Draw,
}

/// A client that waits for an answer.
#[derive(Debug)]
struct Asked {
    what: What,
    invoked: u64,
    deadline: Time,
    /// What had been acknowledged by then, to anybody.
    acknowledged: Revision,
    /// Its node was frozen meanwhile: its answer may be late.
    excused: bool,
}

/// It asks one thing at a time.
#[derive(Debug)]
struct Client {
    node: usize,
    wakes: Time,
    asked: Option<(RequestId, Asked)>,
}

/// A group, its clients, and what they saw.
struct Run {
    net: Net,
    rng: ChaCha8Rng,
    voters: Vec<usize>,
    clients: Vec<Client>,
    faults: BTreeMap<(Time, u64), Fault>,
    sides: Option<Vec<Vec<usize>>>,
    /// Counts what clients do and hear: no two at one time.
    clock: u64,
    next_value: u64,
    /// Up to where it was acknowledged that something was done.
    acknowledged: Revision,
    /// What was seen last of each key, by whomever.
    seen: [Option<u64>; KEYS],
    histories: [Vec<Entry>; KEYS],
    /// When each number was asked for; when it came, and which it was.
    draws: Vec<(u64, Option<(u64, u64)>)>,
    /// Who led in each term.
    leaders: BTreeMap<u64, usize>,
}

fn name(of: usize) -> Key {
    Key::parse(&format!("a/{of}")).unwrap()
}

/// Long enough that snapshots are made in a run.
fn bytes(value: u64) -> Vec<u8> {
    let mut bytes = value.to_be_bytes().to_vec();
    bytes.resize(120, 0);
    bytes
}

fn value(found: Option<&Found>) -> Option<u64> {
    let bytes = found?.value.first_chunk::<8>();
    Some(u64::from_be_bytes(*bytes.unwrap()))
}

fn request(what: What) -> StrongRequest {
    let (key, op) = match what {
        What::OnKey(key, op) => (name(key), op),
        What::Draw => {
            let sequence = Key::parse("s/x").unwrap();
            return StrongRequest::Do(Request::Draw { sequence, count: 1 });
        }
    };
    let (expect, new) = match op {
        Op::Read => return StrongRequest::Read(Query::Get(vec![key])),
        Op::Write(new) | Op::Swap(new) => (None, Some(new)),
        Op::Delete => (None, None),
        Op::Cas { expect, new } => (Some(expect), Some(new)),
    };
    let condition = |expect: Option<u64>| Condition::Value {
        key: key.clone(),
        value: expect.map(bytes),
    };
    let conditions = expect.map(condition).into_iter().collect();
    let step = match new {
        None => KeyOp::Delete { key },
        Some(new) => KeyOp::Put {
            key,
            value: bytes(new),
            owner: Owner::Nobody,
        },
    };
    StrongRequest::Do(Request::Transact(Transaction {
        conditions,
        then: vec![step],
        otherwise: vec![],
    }))
}

/// What a client makes of the answer to an operation on a key.
fn saw(op: Op, done: &StrongDone) -> Saw {
    match (op, done) {
        (Op::Read, StrongDone::Found(Finding::Got { found, .. })) => {
            Saw::Value(value(found[0].as_ref()))
        }
        (Op::Swap(_), StrongDone::Done(Outcome::Done { found, .. })) => {
            Saw::Value(value(found[0].as_ref()))
        }
        (Op::Write(_) | Op::Delete, StrongDone::Done(Outcome::Done { .. })) => Saw::Written,
        (Op::Cas { .. }, StrongDone::Done(Outcome::Done { branch, .. })) => match branch {
            Branch::Then => Saw::Changed,
            Branch::Otherwise => Saw::Kept,
        },
        other => panic!("no answer to that: {other:?}"),
    }
}

/// Whether an operation that came to this may have been done all the same.
fn is_open(error: &StrongError) -> bool {
    match error {
        StrongError::Unknown => true,
        StrongError::Unavailable | StrongError::Busy | StrongError::NoGroup => false,
        // It says so itself: an earlier sending may have been applied.
        StrongError::Refused(Refusal::SessionExpired { .. } | Refusal::Forgotten { .. }) => true,
        StrongError::Refused(refusal) => panic!("nothing here is to be refused: {refusal}"),
    }
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6c69_6e65_6172);
        let voters = if seed.is_multiple_of(2) { 3 } else { 5 };
        // Sometimes the mesh's founder is the one that only asks.
        let asks = if rng.random_ratio(1, 4) { 0 } else { voters };
        let mut net = Net::new(seed, voters + 1).asks_only(asks);
        if (seed / 2).is_multiple_of(2) {
            net.config.snapshot_after_bytes = 4_000;
        }
        net.start_all();
        let voters: Vec<usize> = (0..=voters).filter(|n| *n != asks).collect();
        let create = || {
            let namespace = "a".into();
            StrongRequest::Do(Request::Create { namespace })
        };
        let created = (0..10).any(|_| net.get(asks, create()).is_ok());
        assert!(created, "a group that nothing disturbs serves");
        let all = voters.len();
        let grown = net.run_until(net.now + ms(30_000), |net| {
            net.voters(voters[0]).len() == all
        });
        assert!(grown, "a group that nothing disturbs grows");
        let nodes = (0..=all).chain([asks, voters[0]]);
        let client = |node| Client {
            node,
            wakes: net.now,
            asked: None,
        };
        Self {
            clients: nodes.map(client).collect(),
            faults: [((net.now, 0), Fault::Strike)].into(),
            net,
            rng,
            voters,
            sides: None,
            clock: 0,
            next_value: 0,
            acknowledged: Revision(0),
            seen: [None; KEYS],
            histories: Default::default(),
            draws: Vec::new(),
            leaders: BTreeMap::new(),
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn is_well(&self, node: usize) -> bool {
        self.net.hosts[node].strong.is_some() && !self.net.hosts[node].frozen
    }

    /// Clients ask and faults happen until then.
    fn run_until(&mut self, until: Time) {
        loop {
            let idle = self.clients.iter().filter(|client| client.asked.is_none());
            let idle = idle.filter(|client| self.is_well(client.node));
            let wakes = idle.map(|client| client.wakes).min();
            let fault = self.faults.first_key_value().map(|((at, _), _)| *at);
            let next = wakes.into_iter().chain(fault).chain([until]).min();
            let next = next.unwrap_or(until).max(self.net.now);
            self.wait_until(next);
            if self.net.now < next {
                continue;
            }
            if next >= until {
                return;
            }
            if fault.is_some_and(|at| at <= next)
                && let Some((_, fault)) = self.faults.pop_first()
            {
                self.happen(fault);
                self.check_states();
            }
            for n in 0..self.clients.len() {
                let client = &self.clients[n];
                if client.asked.is_none() && client.wakes <= next && self.is_well(client.node) {
                    let what = self.choose();
                    let timeout = ms(self.rng.random_range(1_000..=5_000));
                    self.ask(n, what, timeout);
                }
            }
        }
    }

    /// Goes on until something is answered, and takes the answer in, or until then.
    fn wait_until(&mut self, until: Time) {
        let leaders = &mut self.leaders;
        self.net.run_until(until, |net| {
            note_leaders(net, leaders);
            !net.done.is_empty()
        });
        while let Some((id, (at, answer))) = self.net.done.pop_first() {
            self.answered(id, at, answer);
        }
    }

    fn choose(&mut self) -> What {
        let key = self.rng.random_range(0..KEYS);
        if self.histories[key].len() >= ON_KEY_MAX || self.rng.random_ratio(1, 10) {
            return What::Draw;
        }
        self.next_value += 1;
        let new = self.next_value;
        let op = match self.rng.random_range(0..20) {
            0..8 => Op::Read,
            8 => Op::Delete,
            9..11 => Op::Write(new),
            11..14 => Op::Swap(new),
            _ => Op::Cas {
                expect: self.seen[key],
                new,
            },
        };
        What::OnKey(key, op)
    }

    fn ask(&mut self, client: usize, what: What, timeout: Duration) {
        let invoked = self.tick();
        let client = &mut self.clients[client];
        let deadline = self.net.now + timeout;
        let id = self.net.ask_for(client.node, request(what), timeout);
        let asked = Asked {
            what,
            invoked,
            deadline,
            acknowledged: self.acknowledged,
            excused: false,
        };
        client.asked = Some((id, asked));
    }

    fn answered(&mut self, id: RequestId, at: Time, answer: Result<StrongDone, StrongError>) {
        let asker = |client: &&mut Client| client.asked.as_ref().is_some_and(|(of, _)| *of == id);
        let client = self.clients.iter_mut().find(asker);
        let client = client.expect("a request is answered once");
        let (_, asked) = client.asked.take().unwrap();
        let wait = match self.rng.random_ratio(7, 10) {
            true => self.rng.random_range(0..30),
            false => self.rng.random_range(200..1_500),
        };
        client.wakes = at + ms(wait);
        let late = at > asked.deadline && !asked.excused;
        assert!(!late, "answered at {at}: {asked:?}");
        match answer {
            Ok(done) => {
                self.check_revision(&asked, &done);
                self.note(&asked, Some(&done));
            }
            Err(error) if is_open(&error) => self.note(&asked, None),
            Err(_) => {}
        }
    }

    /// A read is as of a moment after all that was acknowledged before it was asked for, to whomever (Ongaro, 2014, section 6.4).
    fn check_revision(&mut self, asked: &Asked, done: &StrongDone) {
        if let StrongDone::Found(Finding::Got { revision, .. }) = done {
            let least = asked.acknowledged;
            assert!(*revision >= least, "read at {revision:?}: {asked:?}");
        } else if let StrongDone::Done(Outcome::Done { revision, .. }) = done {
            self.acknowledged = self.acknowledged.max(*revision);
        }
    }

    /// What was asked goes into the history; without an answer it is open for ever.
    fn note(&mut self, asked: &Asked, done: Option<&StrongDone>) {
        let (at, invoked) = (self.tick(), asked.invoked);
        match asked.what {
            What::Draw => {
                let number = done.map(|done| {
                    let StrongDone::Done(Outcome::Drawn { first }) = done else {
                        panic!("no answer to that: {done:?}");
                    };
                    (at, *first)
                });
                self.draws.push((invoked, number));
            }
            What::OnKey(key, op) => {
                let saw = done.map(|done| saw(op, done));
                match (op, saw) {
                    (Op::Read, Some(Saw::Value(value))) => self.seen[key] = value,
                    (Op::Write(new) | Op::Swap(new), Some(_))
                    | (Op::Cas { new, .. }, Some(Saw::Changed)) => self.seen[key] = Some(new),
                    (Op::Delete, Some(_)) => self.seen[key] = None,
                    _ => {}
                }
                let returned = saw.map(|saw| (at, saw));
                let entry = Entry {
                    invoked,
                    returned,
                    op,
                };
                self.histories[key].push(entry);
            }
        }
    }

    /// State machine safety: who has applied as much has the same state (Ongaro and Ousterhout, 2014, figure 3).
    fn check_states(&self) {
        let mut states = BTreeMap::new();
        for n in &self.voters {
            if let Some(group) = self.net.group(*n) {
                let first = states.entry(group.applied()).or_insert(group.state());
                assert!(*first == group.state(), "{n} at {}", group.applied());
            }
        }
    }

    /// No more faults: all that was asked is answered, and all agree.
    fn recover(&mut self) {
        self.faults.clear();
        self.happen(Fault::Heal);
        self.happen(Fault::Unmute);
        self.happen(Fault::Loss(0));
        for n in 0..self.net.hosts.len() {
            self.happen(Fault::Thaw(n));
            self.happen(Fault::Room(n));
            self.happen(Fault::Start(n));
        }
        let begun = self.net.now;
        for client in &mut self.clients {
            client.wakes = begun + HEALS_WITHIN * 10;
        }
        while self.clients.iter().any(|client| client.asked.is_some()) {
            assert!(
                self.net.now.since(begun) < ms(10_000),
                "never answered: {:?}",
                self.clients
            );
            self.wait_until(begun + ms(10_000));
        }
        let voters = self.voters.clone();
        let agreed = self
            .net
            .run_until(begun + HEALS_WITHIN, |net| agree(net, &voters));
        let standing = |n| {
            self.net
                .group(n)
                .map(|group| (group.standing(), group.applied()))
        };
        let standing: Vec<_> = voters.iter().map(|n| standing(*n)).collect();
        let out = self
            .net
            .hosts
            .iter()
            .map(|host| host.strong.as_ref()?.out());
        let out: Vec<_> = out.collect();
        assert!(
            agreed,
            "no faults for {HEALS_WITHIN:?}: {standing:?} {out:?}"
        );
        self.check_states();
    }

    /// Every node reads every key.
    fn read_all(&mut self) {
        for n in 0..self.net.hosts.len() {
            for key in 0..KEYS {
                let read = self.at_last(n, What::OnKey(key, Op::Read));
                let entries = &self.histories[key];
                let answered = entries.last().is_some_and(|entry| entry.invoked == read);
                assert!(answered, "a read of a/{key} on {n} when all is well");
            }
        }
    }

    /// When all is well, asks and waits. Says when it was asked.
    fn at_last(&mut self, node: usize, what: What) -> u64 {
        let client = self
            .clients
            .iter()
            .position(|client| client.node == node)
            .unwrap();
        self.ask(client, what, ms(5_000));
        let until = self.net.now + ms(5_001);
        let invoked = self.clock;
        while self.net.now < until && self.clients[client].asked.is_some() {
            self.wait_until(until);
        }
        invoked
    }

    /// Whoever draws gets what nobody else gets, and no number is lost but to those who heard nothing.
    fn check_draws(&mut self) {
        let before = self.draws.clone();
        let last = self.at_last(0, What::Draw);
        let last = self.draws.iter().find(|(invoked, _)| *invoked == last);
        let (_, last) = last.and_then(|(_, number)| *number).expect("all is well");
        let drawn = usize::try_from(last).unwrap() - 1;
        let answered: Vec<(u64, u64, u64)> = before
            .iter()
            .filter_map(|(invoked, got)| got.map(|(at, n)| (*invoked, at, n)))
            .collect();
        let numbers: BTreeSet<u64> = answered.iter().map(|(_, _, number)| *number).collect();
        assert_eq!(
            numbers.len(),
            answered.len(),
            "a number was given out twice"
        );
        assert!(
            (answered.len()..=before.len()).contains(&drawn),
            "{drawn} were drawn: {} were answered, and {} may be lost",
            answered.len(),
            before.len() - answered.len(),
        );
        for (_, at, number) in &answered {
            let later = answered.iter().filter(|(invoked, _, _)| invoked > at);
            let less = later.filter(|(_, _, other)| other < number).count();
            assert_eq!(less, 0, "{number} was answered before less was asked for");
        }
    }

    fn check_keys(&self) {
        for (key, history) in self.histories.iter().enumerate() {
            if let Err(error) = check(history) {
                panic!("a/{key}: {error:?}");
            }
        }
    }
}

/// Election safety: one leader a term (Ongaro and Ousterhout, 2014, figure 3).
fn note_leaders(net: &Net, leaders: &mut BTreeMap<u64, usize>) {
    for n in 0..net.hosts.len() {
        let standing = net.group(n).map(Group::standing);
        if let Some(standing) = standing.filter(|standing| standing.leads) {
            let first = *leaders.entry(standing.term).or_insert(n);
            assert_eq!(first, n, "two lead in term {}", standing.term);
        }
    }
}

/// There is a leader, and all have applied the same.
fn agree(net: &Net, voters: &[usize]) -> bool {
    let Some(leader) = net.leader().and_then(|n| net.group(n)) else {
        return false;
    };
    let same = |group: &Group| {
        group.applied() == leader.applied() && group.standing().leader == leader.standing().leader
    };
    let all = voters.iter().all(|n| net.group(*n).is_some_and(same));
    all && leader.applied() == leader.log().last()
}

/// A whole run. Gives what its clients saw.
fn run(seed: u64) -> String {
    let mut run = Run::new(seed);
    run.run_until(run.net.now + FAULTS);
    run.recover();
    run.read_all();
    run.check_draws();
    run.check_keys();
    let Run {
        net,
        histories,
        draws,
        ..
    } = run;
    format!("{} {} {histories:?} {draws:?}", net.now, net.frames)
}

/// The seeds of one of the tests here: those that leave this rest.
fn seeds(rest: u64) -> impl Iterator<Item = u64> {
    let range = std::env::var("MESHWORK_STRONG_SEEDS").ok().map(|text| {
        let (first, last) = text.split_once("..").expect("first..last");
        first.parse().unwrap()..=last.parse().unwrap()
    });
    range.unwrap_or(SEEDS).filter(move |seed| seed % 2 == rest)
}

fn run_all(rest: u64) {
    for seed in seeds(rest) {
        let ran = catch_unwind(AssertUnwindSafe(|| run(seed)));
        assert!(
            ran.is_ok(),
            "seed {seed} fails, see above; again: MESHWORK_STRONG_SEEDS={seed}..{seed} \
             cargo test -p meshwork --lib strong::tests::linear::"
        );
    }
}

#[test]
fn what_the_clients_of_three_voters_see_is_linearizable() {
    run_all(0);
}

#[test]
fn what_the_clients_of_five_voters_see_is_linearizable() {
    run_all(1);
}

#[test]
fn the_same_seed_gives_the_same_history() {
    assert_eq!(run(1), run(1));
    assert_ne!(run(2), run(4));
}
