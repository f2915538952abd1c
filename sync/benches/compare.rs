//! Two replicas with a million keys that differ in a hundred: what it takes to settle them.
//!
//! `cargo bench -p meshwork-sync --bench compare [KEYS] [DIFFERENCES]`. Messages are moved by hand, so the figures are those of the
//! protocol; the objects themselves are counted apart.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "a program that measures time, prints a table, and stops where it cannot go on"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use meshwork_crdt::{Merges, Op, ReplicaId};
use meshwork_dht::{Seat, View};
use meshwork_membership::{NodeId, Time};
use meshwork_sync::{
    Batch, Change, Config, Identity, Key, Level, Message, Origin, Output, ReadStore, Record,
    Replication, Space, Store, Write,
};

type Records = BTreeMap<(Space, Vec<u8>), Vec<u8>>;

/// A store that keeps everything in memory and makes every batch durable at once.
#[derive(Clone, Default)]
struct Memory(Arc<RwLock<Records>>);

impl Memory {
    fn apply(&self, batch: &Batch) {
        let mut records = self.0.write().unwrap();
        for change in batch.changes.iter().cloned() {
            match change {
                Change::Put { space, key, value } => records.insert((space, key), value),
                Change::Delete { space, key } => records.remove(&(space, key)),
            };
        }
    }

    /// A copy of the objects alone.
    fn objects(&self) -> Self {
        let records = self.0.read().unwrap();
        let objects = records
            .iter()
            .filter(|((space, _), _)| *space == Space::Objects);
        Self(Arc::new(RwLock::new(
            objects.map(|(k, v)| (k.clone(), v.clone())).collect(),
        )))
    }
}

impl Store for Memory {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, ReadStore> {
        Ok(self.0.read().unwrap().get(&(space, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        records_max: usize,
    ) -> Result<Vec<Record>, ReadStore> {
        let from = after.unwrap_or_default().max(prefix).to_vec();
        let records = self.0.read().unwrap();
        let found = records
            .range((space, from)..)
            .take_while(|((at, key), _)| *at == space && key.starts_with(prefix))
            .filter(|((_, key), _)| after.is_none_or(|after| key.as_slice() > after))
            .take(records_max);
        Ok(found
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect())
    }
}

/// What went over the wire.
#[derive(Debug, Default)]
struct Traffic {
    comparing_bytes: usize,
    comparing_messages: usize,
    object_bytes: usize,
}

fn node(n: u8) -> NodeId {
    NodeId::from_bytes([n; 32])
}

fn open(n: u8, origin: Origin, store: &Memory) -> Replication {
    let identity = Identity {
        node: node(n),
        replica: ReplicaId::from_bytes([n; 8]),
        mesh_key: [7; 32],
        origin,
    };
    let store = Arc::new(store.clone());
    Replication::open(
        &identity,
        Config::default(),
        Merges::default(),
        store,
        Time::ZERO,
    )
    .unwrap()
}

fn view(nodes: &[u8]) -> View {
    View {
        nodes: nodes.iter().map(|n| (node(*n), Seat::new("", 1))).collect(),
    }
}

/// Does what one engine wants done, but for messages, which it gives back.
fn drain(engine: &mut Replication, store: &Memory) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some(output) = engine.poll_output() {
        match output {
            Output::Store { id, batch } => {
                store.apply(&batch);
                engine.handle_stored(id);
            }
            Output::Send { message, .. } => messages.push(message),
            _ => {}
        }
    }
    messages
}

fn write(engine: &mut Replication, store: &Memory, keys: std::ops::Range<u64>) {
    for n in keys {
        let key = Key::new("bench", &n.to_be_bytes()).unwrap();
        let write = Write {
            key,
            op: Op::Put(b"v".to_vec()),
            level: Level::Local,
            timeout: Duration::from_secs(1),
        };
        engine.write(Time(n), WALL_MS, n, write);
        if n % 1_000 == 0 {
            drain(engine, store);
        }
    }
    drain(engine, store);
}

const WALL_MS: u64 = 1_790_000_000_000;

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let keys: u64 = numbers.next().unwrap_or(1_000_000);
    let differences: u64 = numbers.next().unwrap_or(100);
    let stores = {
        let store = Memory::default();
        let mut first = open(1, Origin::Founder, &store);
        first.handle_view(Time::ZERO, view(&[1]));
        first.handle_timeout(Time::ZERO);
        write(&mut first, &store, 0..keys - differences);
        let second = store.objects();
        write(&mut first, &store, keys - differences..keys);
        [store, second]
    };
    // Both start afresh, and build their index from the store.
    let mut engines = [
        open(1, Origin::Founder, &stores[0]),
        open(2, Origin::Joiner, &stores[1]),
    ];
    let began = Instant::now();
    for (engine, store) in engines.iter_mut().zip(&stores) {
        while engine.poll_timeout().is_some_and(|at| at == Time::ZERO) {
            engine.handle_timeout(Time::ZERO);
            drain(engine, store);
        }
    }
    println!(
        "index of {keys} keys built in {:.2} s",
        began.elapsed().as_secs_f64() / 2.0
    );

    let began = Instant::now();
    let traffic = settle(&mut engines, &stores);
    println!(
        "{differences} differences settled in {:.0} ms: {} bytes in {} messages compared them, {} bytes of objects",
        began.elapsed().as_secs_f64() * 1e3,
        traffic.comparing_bytes,
        traffic.comparing_messages,
        traffic.object_bytes,
    );
}

/// Connects the two and moves their messages until the second is complete.
fn settle(engines: &mut [Replication; 2], stores: &[Memory; 2]) -> Traffic {
    let mut traffic = Traffic::default();
    let now = Time(1);
    for (at, engine) in engines.iter_mut().enumerate() {
        engine.handle_view(now, view(&[1, 2]));
        engine.handle_connected(now, node(if at == 0 { 2 } else { 1 }));
    }
    loop {
        let mut moved = false;
        for at in 0..2 {
            let [from, to] = if at == 0 { [1, 0] } else { [0, 1] };
            for message in drain(&mut engines[from], &stores[from]) {
                moved = true;
                let bytes = message.encode();
                if matches!(message, Message::Reconcile { .. }) {
                    traffic.comparing_bytes += bytes.len();
                    traffic.comparing_messages += 1;
                } else {
                    traffic.object_bytes += bytes.len();
                }
                let sender = node(u8::try_from(from + 1).unwrap());
                let taken = engines[to].handle_message(now, WALL_MS, sender, &bytes);
                taken.unwrap();
            }
        }
        if !moved {
            assert_eq!(engines[1].moving(), (0, 0), "the second node is complete");
            return traffic;
        }
    }
}
