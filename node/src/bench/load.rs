//! Clients that ask one thing after the other, and how soon they are answered.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use super::processes::cpu_seconds;
use crate::cli::exit::Failure;
use crate::demo::stage::Stage;

/// Keys that are kept by three nodes, in the eyes of clients that are spread over all three.
pub(super) trait Keys: Clone + Send + Sync + 'static {
    /// Writes [`VALUE`]; answered once a majority has it on its disks.
    fn put(&self, client: usize, name: &str) -> impl Future<Output = Result<(), Failed>> + Send;

    /// Reads it as of now, and looks whether it is there.
    fn get(&self, client: usize, name: &str) -> impl Future<Output = Result<(), Failed>> + Send;

    /// Who does the work.
    fn processes(&self) -> &[u32];
}

/// Three processes that keep keys together.
pub(super) trait Group {
    /// What its clients hold.
    type Client: Keys;

    /// Starts one that does not run.
    fn start_one(&mut self, number: usize, stage: &Stage) -> Result<(), Failure>;

    /// Waits until all three serve.
    fn wait(&self, stage: &Stage) -> Result<(), Failure>;

    /// Who leads, if all three are there and agree.
    fn leader(&self) -> Option<usize>;

    /// Kills one as if its plug was pulled.
    fn kill(&mut self, number: usize) -> Result<(), Failure>;

    /// Connects clients.
    async fn keys(&self) -> Result<Self::Client, Failed>;
}

/// What all clients write, in bytes.
pub(super) const VALUE: [u8; 100] = [b'v'; 100];

/// A request was not answered as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Failed(pub(super) String);

impl Failed {
    pub(super) fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// What clients ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    Puts,
    Reads,
}

/// How many requests were answered, and how soon.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Round {
    pub(super) per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// What one request costs on all processors together, in those who do the work.
    pub(super) cpu_us: f64,
}

/// Each client has so many keys of its own.
const KEYS_PER_CLIENT: usize = 64;

/// Lets clients ask until the time is over.
pub(super) async fn round<K: Keys>(
    keys: &K,
    what: What,
    clients: usize,
    lasts: Duration,
) -> Result<Round, Failed> {
    let mut tasks = JoinSet::new();
    let cpu = cpu_seconds(keys.processes());
    let begun = Instant::now();
    for client in 0..clients {
        let keys = keys.clone();
        tasks.spawn(async move {
            let mut took = Vec::new();
            while begun.elapsed() < lasts {
                let asked = Instant::now();
                match what {
                    What::Puts => {
                        let own = took.len() % KEYS_PER_CLIENT;
                        keys.put(client, &format!("{client}/{own}")).await?;
                    }
                    What::Reads => keys.get(client, &format!("{client}/0")).await?,
                }
                took.push(asked.elapsed());
            }
            Ok(took)
        });
    }
    let mut took = Vec::new();
    while let Some(client) = tasks.join_next().await {
        took.extend(client.map_err(Failed::new)??);
    }
    let lasted = begun.elapsed();
    took.sort_unstable();
    let ms = |percent: usize| {
        let at = (took.len().saturating_sub(1)) * percent / 100;
        took.get(at).map_or(0.0, |took| took.as_secs_f64() * 1e3)
    };
    Ok(Round {
        per_second: as_f64(took.len()) / lasted.as_secs_f64(),
        p50_ms: ms(50),
        p99_ms: ms(99),
        cpu_us: (cpu_seconds(keys.processes()) - cpu) * 1e6 / as_f64(took.len().max(1)),
    })
}

/// One request after the other by a client that has no keys yet.
pub(super) async fn fill<K: Keys>(keys: &K, clients: usize) -> Result<(), Failed> {
    for client in 0..clients {
        keys.put(client, &format!("{client}/0")).await?;
    }
    Ok(())
}

/// The round in the middle, by each measure for itself.
pub(super) fn median(rounds: &[Round]) -> Round {
    let middle = |of: fn(&Round) -> f64| middle(rounds.iter().map(of));
    Round {
        per_second: middle(|round| round.per_second),
        p50_ms: middle(|round| round.p50_ms),
        p99_ms: middle(|round| round.p99_ms),
        cpu_us: middle(|round| round.cpu_us),
    }
}

/// The number in the middle; 0 of none.
pub(super) fn middle(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_unstable_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

fn as_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

/// How soon after a leader was killed something is written again. Every few milliseconds one more client tries.
pub(super) async fn first_put<K: Keys>(
    keys: &K,
    client: usize,
    since: Instant,
) -> Result<Duration, Failed> {
    let (done, mut first) = tokio::sync::mpsc::channel(1);
    let mut tasks = JoinSet::new();
    let patience = tokio::time::sleep(PATIENCE);
    tokio::pin!(patience);
    loop {
        let (keys, done) = (keys.clone(), done.clone());
        tasks.spawn(async move {
            if keys.put(client, "again").await.is_ok() {
                // The first is enough.
                done.try_send(since.elapsed()).unwrap_or(());
            }
        });
        tokio::select! {
            Some(took) = first.recv() => return Ok(took),
            () = tokio::time::sleep(TRY_EVERY) => {}
            () = &mut patience => {
                return Err(Failed(format!("nothing was written for {} s", PATIENCE.as_secs())));
            }
        }
    }
}

const TRY_EVERY: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(60);
