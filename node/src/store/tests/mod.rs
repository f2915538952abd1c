//! Tests of the store: one suite for all engines, then the storage thread, damage, kills and the data folder.

mod committer;
mod conformance;
pub(crate) mod damage;
mod data_dir;
mod full_disk;
mod kill;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use meshwork_sync::{Batch, Space, Store};

use super::engine::Engine;
use super::open::open_engine;
use super::{Committer, EngineKind, OpenStore, Outcome, Records, StoreConfig};

/// The engines that keep their records in files.
fn durable_kinds() -> Vec<EngineKind> {
    vec![
        EngineKind::Fjall,
        #[cfg(feature = "sled")]
        EngineKind::Sled,
    ]
}

fn config(engine: EngineKind) -> StoreConfig {
    StoreConfig {
        engine,
        ..StoreConfig::default()
    }
}

fn engine(folder: &Path, kind: EngineKind) -> (Arc<dyn Engine>, Records) {
    let engine = open_engine(folder, &config(kind)).expect("the engine opens");
    (engine.clone(), Records::new(engine))
}

fn put(space: Space, key: &[u8], value: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.put(space, key, value);
    batch
}

/// A store whose outcomes wait in a channel that never fills in a test.
struct Opened {
    store: Arc<dyn Store + Send + Sync>,
    committer: Committer,
    outcomes: Receiver<Outcome>,
}

impl Opened {
    fn open(folder: &Path, config: StoreConfig) -> Self {
        let (sender, outcomes) = sync_channel(10_000);
        let on_outcome = move |outcome| sender.send(outcome).expect("the test listens");
        let (store, committer) =
            OpenStore::open(folder, config, on_outcome).expect("the store opens");
        Self {
            store,
            committer,
            outcomes,
        }
    }

    fn over(engine: Arc<dyn Engine>, config: StoreConfig) -> Self {
        let (sender, outcomes) = sync_channel(10_000);
        let on_outcome = move |outcome| sender.send(outcome).expect("the test listens");
        let (store, committer) =
            OpenStore::over_engine(engine, config, on_outcome).expect("the thread starts");
        Self {
            store,
            committer,
            outcomes,
        }
    }

    fn next(&self) -> Outcome {
        self.outcomes
            .recv_timeout(Duration::from_secs(60))
            .expect("an outcome comes")
    }

    /// Submits one record and waits for its outcome.
    fn store_one(&self, id: u64, key: &[u8], value: &[u8]) -> Outcome {
        self.committer
            .submit(id, put(Space::Objects, key, value))
            .expect("the queue has room");
        self.next()
    }
}
