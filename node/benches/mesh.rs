//! Whole nodes: durable writes beside the bare store, and a mesh of three on loopback.
//!
//! Run with `cargo bench -p meshwork --bench mesh`. Rounds of what is compared alternate, and medians are shown. Strong keys have a bench of
//! their own: `meshwork bench strong`.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a program that prints a table, and stops where it cannot go on"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use meshwork::setup::{self, SetupOptions};
use meshwork::store::{OpenStore, Outcome, StoreConfig};
use meshwork::{Mesh, Options};
use meshwork_crdt::{CausalContext, Op};
use meshwork_sync::{Batch, Key, Level, Record, Space};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const VALUE: [u8; 100] = [b'v'; 100];
const KEYS_PER_CLIENT: usize = 64;

/// What one round of one workload gave.
struct Round {
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        one_node().await;
        three_nodes().await;
    });
}

async fn one_node() {
    println!(
        "one node, 256 writers, durable local writes of {} bytes",
        VALUE.len()
    );
    let folder = tempfile::tempdir().unwrap();
    let mesh = found(&folder).await;
    writes(std::slice::from_ref(&mesh), 256, Level::Local).await;
    mesh.stop().await;
    let raw = RawStore::open(written(&folder));
    let mesh = Mesh::builder(folder.path()).start().await.unwrap();
    let (mut node_rounds, mut raw_rounds) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        raw_rounds.push(raw.round(256).await);
        node_rounds.push(writes(std::slice::from_ref(&mesh), 256, Level::Local).await);
    }
    let store = show("bare store, the same records", raw_rounds);
    let node = show("embedded handle", node_rounds);
    println!("  ratio {:.2}\n", node / store);
    mesh.stop().await;
}

async fn three_nodes() {
    println!("three nodes on loopback, three copies");
    let folders: Vec<TempDir> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut nodes = vec![found(&folders[0]).await];
    for folder in &folders[1..] {
        nodes.push(join(&nodes[0], folder).await);
    }
    settle(&nodes).await;
    for clients in [1, 16, 256] {
        let mut rounds: [Vec<Round>; 3] = Default::default();
        for _ in 0..ROUNDS {
            rounds[0].push(writes(&nodes, clients, Level::Quorum).await);
            rounds[1].push(reads(&nodes, clients, Level::One).await);
            rounds[2].push(reads(&nodes, clients, Level::Quorum).await);
        }
        let names = ["quorum writes", "one reads", "quorum reads"];
        for (name, rounds) in names.into_iter().zip(rounds) {
            show(&format!("{clients:>3} clients, {name}"), rounds);
        }
    }
    for node in nodes {
        node.stop().await;
    }
}

/// The store alone, under as many writers, each with one record in flight.
struct RawStore {
    submit: mpsc::Sender<(Batch, tokio::sync::oneshot::Sender<()>)>,
    /// What a node wrote, for its writes to be done again without it.
    records: Arc<Vec<Record>>,
    _folder: TempDir,
}

/// The objects in a node's store.
fn written(folder: &TempDir) -> Vec<Record> {
    let (store, committer) =
        OpenStore::open(&folder.path().join("store"), StoreConfig::default(), drop).unwrap();
    let records = store.scan(Space::Objects, &[], None, 1 << 20).unwrap();
    committer.close().unwrap();
    records
}

impl RawStore {
    fn open(records: Vec<Record>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (stored, mut outcomes) = mpsc::channel(1_024);
        let on_outcome = move |outcome: Outcome| stored.blocking_send(outcome).unwrap_or(());
        let (_store, committer) =
            OpenStore::open(folder.path(), StoreConfig::default(), on_outcome).unwrap();
        let (submit, mut requests) =
            mpsc::channel::<(Batch, tokio::sync::oneshot::Sender<()>)>(1_024);
        tokio::spawn(async move {
            let mut waiting = std::collections::VecDeque::new();
            let mut next = 0;
            loop {
                tokio::select! {
                    request = requests.recv() => {
                        let Some((batch, done)) = request else { break };
                        committer.submit(next, batch).unwrap();
                        next += 1;
                        waiting.push_back(done);
                    }
                    Some(_) = outcomes.recv() => {
                        if let Some(done) = waiting.pop_front() {
                            done.send(()).unwrap_or(());
                        }
                    }
                }
            }
        });
        Self {
            submit,
            records: Arc::new(records),
            _folder: folder,
        }
    }

    async fn round(&self, clients: usize) -> Round {
        let (submit, records) = (self.submit.clone(), Arc::clone(&self.records));
        round(clients, move |client, at| {
            let (submit, records) = (submit.clone(), Arc::clone(&records));
            async move {
                let mut batch = Batch::default();
                let own = client * KEYS_PER_CLIENT + at % KEYS_PER_CLIENT;
                let (key, value) = &records[own % records.len()];
                batch.put(Space::Objects, key.as_slice(), value.as_slice());
                let (done, stored) = tokio::sync::oneshot::channel();
                submit.send((batch, done)).await.unwrap();
                stored.await.unwrap();
            }
        })
        .await
    }
}

async fn writes(nodes: &[Mesh], clients: usize, level: Level) -> Round {
    let nodes = nodes.to_vec();
    round(clients, move |client, at| {
        let node = nodes[client % nodes.len()].clone();
        async move {
            let op = Op::Put(VALUE.to_vec());
            node.write(&key(client, at), op, Options::level(level))
                .await
                .unwrap();
        }
    })
    .await
}

async fn reads(nodes: &[Mesh], clients: usize, level: Level) -> Round {
    let nodes = nodes.to_vec();
    round(clients, move |client, at| {
        let node = nodes[client % nodes.len()].clone();
        async move {
            let since = CausalContext::default();
            node.read(&key(client, at), since, Options::level(level))
                .await
                .unwrap();
        }
    })
    .await
}

fn key(client: usize, at: usize) -> Key {
    Key::new(
        "bench",
        format!("{client}/{}", at % KEYS_PER_CLIENT).as_bytes(),
    )
    .unwrap()
}

/// Lets clients repeat a request one after the other until the round is over.
async fn round<F, R>(clients: usize, request: F) -> Round
where
    F: Fn(usize, usize) -> R + Clone + Send + 'static,
    R: Future<Output = ()> + Send,
{
    let over = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for client in 0..clients {
        let (over, request) = (Arc::clone(&over), request.clone());
        tasks.spawn(async move {
            let mut took = Vec::new();
            for at in 0.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let began = Instant::now();
                request(client, at).await;
                took.push(began.elapsed());
            }
            took
        });
    }
    tokio::time::sleep(ROUND).await;
    over.store(true, Ordering::Relaxed);
    let mut took: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    let elapsed = began.elapsed();
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    Round {
        per_second: took.len() as f64 / elapsed.as_secs_f64(),
        p50: at(0.5),
        p99: at(0.99),
    }
}

fn show(name: &str, rounds: Vec<Round>) -> f64 {
    let median = |of: fn(&Round) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let per_second = median(|round| round.per_second);
    let p50 = median(|round| round.p50.as_secs_f64() * 1e6);
    let p99 = median(|round| round.p99.as_secs_f64() * 1e6);
    println!("  {name:<32} {per_second:>9.0}/s   p50 {p50:>7.0} µs   p99 {p99:>7.0} µs");
    per_second
}

fn options() -> SetupOptions {
    SetupOptions {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        http: Some("127.0.0.1:0".parse().unwrap()),
        ..SetupOptions::default()
    }
}

async fn found(folder: &TempDir) -> Mesh {
    setup::found(folder.path(), "bench", &options()).unwrap();
    Mesh::builder(folder.path()).start().await.unwrap()
}

async fn join(inviter: &Mesh, folder: &TempDir) -> Mesh {
    while inviter.addresses().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ticket = inviter.invite(Duration::from_secs(60)).await.unwrap();
    setup::join(folder.path(), &ticket, &options(), Duration::from_secs(10))
        .await
        .unwrap();
    Mesh::builder(folder.path()).start().await.unwrap()
}

async fn settle(nodes: &[Mesh]) {
    loop {
        let mut settled = true;
        for node in nodes {
            let status = node.status().await.unwrap();
            let connected = status
                .members
                .iter()
                .filter(|m| m.me || m.connected)
                .count();
            settled &= connected == nodes.len() && status.partitions_filling == 0;
        }
        if settled {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
