//! One client at work.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use meshwork_crdt::{ActorSeed, Kind, Object, Op, ReplicaId};
use meshwork_sync::{Key, Level};

use super::dice::Dice;
use super::history::History;
use super::mix::Topic;
use super::{Client, Effect, Failure, Mix, Oracle, Request, Seen, Slot, typing};
use crate::Options;
use crate::traces::Trace;

/// What many clients do to one mesh. Cheap to clone; all clones are the same workload.
///
/// The namespaces are named for the level that each is used at, and `mixed` for any.
#[derive(Clone, Debug)]
pub struct Workload {
    seed: u64,
    mix: Rc<Mix>,
    oracle: Rc<Oracle>,
    stopped: Rc<Cell<bool>>,
}

/// One client of a workload: what it is about to do is decided by the seed and by what it is shown.
#[derive(Debug)]
pub struct Session {
    workload: Workload,
    client: u32,
    node: u32,
    dice: Dice,
    /// Values that it has written.
    serial: u64,
    /// Documents that it has opened.
    openings: u64,
    /// What each key showed last.
    seen: BTreeMap<Key, Seen>,
    history: Option<History>,
}

impl Workload {
    /// A workload that tells `oracle` what happens.
    #[must_use]
    pub fn new(seed: u64, mix: Mix, oracle: Rc<Oracle>) -> Self {
        Self {
            seed,
            mix: Rc::new(mix),
            oracle,
            stopped: Rc::default(),
        }
    }

    /// A client of node `node`; `client` is a number of its own.
    #[must_use]
    pub fn session(&self, client: u32, node: u32) -> Session {
        Session {
            workload: self.clone(),
            client,
            node,
            dice: Dice::new(self.seed, client),
            serial: 0,
            openings: 0,
            seen: BTreeMap::new(),
            history: None,
        }
    }

    /// Lets every session end after the request that it is making.
    pub fn stop(&self) {
        self.stopped.set(true);
    }
}

impl Session {
    /// Has this client replay a history of one author into a document of its own, beside all else. Its text must then always be one
    /// that the author saw, and in the end the one at the last commit that was acknowledged, or a later one.
    #[must_use]
    pub fn with_history(mut self, trace: Rc<Trace>) -> Self {
        let key = key("mixed", &format!("history-{}", self.client));
        let seed = self.next_actor();
        self.history = key.map(|key| History::new(key, trace, seed));
        self
    }

    /// Makes requests until the workload is stopped. Dropping the future leaves the request under way without an answer.
    pub async fn run<C: Client>(&mut self, client: &C) {
        loop {
            let pause = self.dice.time(&self.workload.mix.think);
            client.sleep(pause).await;
            if self.workload.stopped.get() {
                return;
            }
            self.act(client).await;
        }
    }

    async fn act<C: Client>(&mut self, client: &C) {
        if self.history.is_some() && self.dice.falls(1, HISTORY_SHARE) {
            return self.replay(client).await;
        }
        let level = self.dice.pick(NAMESPACES).flatten();
        let topic = self.dice.weigh(self.workload.mix.kinds.weights());
        let number = self
            .dice
            .index(usize::try_from(self.workload.mix.keys).unwrap_or(1));
        let namespace = level.map_or_else(|| "mixed".to_owned(), |level: Level| level.to_string());
        let topic = topic.unwrap_or(Topic::Register);
        let Some(key) = key(&namespace, &format!("{}-{number}", topic.name())) else {
            return;
        };
        let reads = self.dice.falls(self.workload.mix.reads_percent, 100);
        if !reads {
            if topic == Topic::Text {
                self.edit(client, &key, level).await;
            } else {
                let op = self.op(topic, &key);
                let effect = Effect::of(&op);
                let options = self.options(level);
                drop(self.write(client, &key, (op, effect), options).await);
            }
        }
        if reads || self.dice.falls(1, 2) {
            let options = self.options(level);
            self.read(client, &key, options).await;
        }
    }

    fn options(&mut self, level: Option<Level>) -> Options {
        let level = level.or_else(|| self.dice.pick(NAMESPACES.into_iter().flatten()));
        Options {
            level: level.unwrap_or_default(),
            timeout: self.dice.time(&self.workload.mix.timeout),
        }
    }

    /// What to do to a key, as far as it can be said without reading it now.
    fn op(&mut self, topic: Topic, key: &Key) -> Op {
        let amount = i64::try_from(self.dice.number(0..=18)).unwrap_or(0) - 9;
        match topic {
            Topic::Counter => Op::Add(amount),
            Topic::Register | Topic::Text => Op::Put(self.new_value()),
            Topic::Set => self.set_op(key, &Slot::key(Kind::Set)),
            Topic::Flag if self.dice.falls(1, 2) => Op::Disable,
            Topic::Flag => Op::Enable,
            Topic::Map => self.field_op(key, amount),
            Topic::Life if self.dice.falls(1, 4) => Op::Delete,
            Topic::Life => {
                let kinds = [
                    (Topic::Counter, Kind::Counter),
                    (Topic::Register, Kind::Register),
                    (Topic::Set, Kind::Set),
                    (Topic::Flag, Kind::Flag),
                ];
                let there = self
                    .seen
                    .get(key)
                    .and_then(|seen| seen.values.keys().next());
                let kind = there.map(|slot| slot.kind);
                let topic = kinds.into_iter().find(|(_, of)| Some(*of) == kind);
                let topic = topic.or_else(|| self.dice.pick(kinds));
                let topic = topic.map_or(Topic::Register, |(topic, _)| topic);
                self.op(topic, key)
            }
        }
    }

    /// Inserts a new element or removes one that was seen there; a set never gets large.
    fn set_op(&mut self, key: &Key, slot: &Slot) -> Op {
        let seen = self.seen.get(key).map(|seen| seen.values_at(slot));
        let seen = seen.unwrap_or_default();
        let removes = seen.len() > ELEMENTS_MANY || self.dice.falls(2, 5);
        match self.dice.pick(seen) {
            Some(element) if removes => Op::Remove(element),
            Some(_) | None => Op::Insert(self.new_value()),
        }
    }

    fn field_op(&mut self, key: &Key, amount: i64) -> Op {
        let kinds = [Kind::Counter, Kind::Register, Kind::Set];
        let kind = self.dice.pick(kinds).unwrap_or(Kind::Register);
        let name = b"field".to_vec();
        if self.dice.falls(1, 6) {
            return Op::RemoveField { name, kind };
        }
        let op = if kind == Kind::Counter {
            Op::Add(amount)
        } else if kind == Kind::Set {
            let path = vec![name.clone()];
            self.set_op(key, &Slot { path, kind })
        } else {
            Op::Put(self.new_value())
        };
        let op = Box::new(op);
        Op::Field { name, kind, op }
    }

    /// Types a token into a text, or deletes one that this client has typed.
    async fn edit<C: Client>(&mut self, client: &C, key: &Key, level: Option<Level>) {
        let options = self.options(level);
        let Some(object) = self.object(client, key, options).await else {
            return;
        };
        let actor = self.next_actor();
        let token = self.new_value();
        let edit = typing::edit(&object, actor, (self.client, &token), &mut self.dice);
        if let Some(edit) = edit {
            let options = self.options(level);
            drop(self.write(client, key, edit, options).await);
        }
    }

    async fn replay<C: Client>(&mut self, client: &C) {
        let options = self.options(None);
        let Some(history) = &mut self.history else {
            return;
        };
        let key = history.key().clone();
        if self.dice.falls(1, HISTORY_READS) {
            return self.read(client, &key, options).await;
        }
        let most = self.workload.mix.commit_transactions;
        let commit = history.commit(&self.workload.oracle, 1 + self.dice.index(most));
        if let Some(commit) = commit {
            let answer = self.write(client, &key, commit, options).await;
            // Whatever became of it, the same commit may be sent again: it is there once.
            if let (Ok(()) | Err(Failure::Kept(_)), Some(history)) = (answer, &mut self.history) {
                history.go_on();
            }
        }
    }

    async fn write<C: Client>(
        &mut self,
        client: &C,
        key: &Key,
        (op, effect): (Op, Effect),
        options: Options,
    ) -> Result<(), Failure> {
        let oracle = Rc::clone(&self.workload.oracle);
        let id = oracle.begin_write(key, self.request(client, options), effect);
        let answer = client.write(key, op, options).await;
        oracle.end_write(id, client.now(), answer.clone());
        answer.map(drop)
    }

    async fn read<C: Client>(&mut self, client: &C, key: &Key, options: Options) {
        let request = self.request(client, options);
        match client.read(key, options).await {
            Ok(seen) => self.note(client, key, request, seen),
            Err(_) => self.workload.oracle.read_failed(),
        }
    }

    async fn object<C: Client>(
        &mut self,
        client: &C,
        key: &Key,
        options: Options,
    ) -> Option<Object> {
        let request = self.request(client, options);
        match client.object(key, options).await {
            Ok(object) => {
                self.note(client, key, request, Seen::of(&object));
                Some(object)
            }
            Err(_) => {
                self.workload.oracle.read_failed();
                None
            }
        }
    }

    fn note<C: Client>(&mut self, client: &C, key: &Key, request: Request, seen: Seen) {
        self.workload.oracle.read(key, request, client.now(), &seen);
        self.seen.insert(key.clone(), seen);
    }

    fn request<C: Client>(&self, client: &C, options: Options) -> Request {
        Request {
            client: self.client,
            node: self.node,
            level: options.level,
            start: client.now(),
        }
    }

    /// A value that nobody else writes.
    fn new_value(&mut self) -> Vec<u8> {
        self.serial += 1;
        typing::token(self.client, self.serial)
    }

    /// An automerge actor that nobody else uses.
    fn next_actor(&mut self) -> ActorSeed {
        let mut bytes = [0; 8];
        let parts = self.workload.seed.to_be_bytes().into_iter().skip(4);
        let parts = parts.chain(self.client.to_be_bytes());
        bytes
            .iter_mut()
            .zip(parts)
            .for_each(|(byte, part)| *byte = part);
        self.openings += 1;
        ActorSeed::new(ReplicaId::from_bytes(bytes), self.openings)
    }
}

fn key(namespace: &str, name: &str) -> Option<Key> {
    Key::new(namespace, name.as_bytes()).ok()
}

/// The levels that namespaces are named for, and none for the one where any is used.
const NAMESPACES: [Option<Level>; 5] = [
    Some(Level::Local),
    Some(Level::One),
    Some(Level::Quorum),
    Some(Level::All),
    None,
];
/// A client with a history goes on with it once in so many requests, and looks at it once in so many of those.
const HISTORY_SHARE: u32 = 4;
const HISTORY_READS: u32 = 6;
/// A set with more elements than this loses some.
const ELEMENTS_MANY: usize = 20;
