//! The durable store: engines, the storage thread in front of them, and the data folder around them.
//!
//! Reads are plain calls on a [`Store`](meshwork_sync::Store). Writes go through the [`Committer`]: one thread that gathers what
//! arrives while the disk is busy and makes it durable with one flush, then answers in order.
//!
//! ```
//! use meshwork::store::{OpenStore, Outcome, StoreConfig};
//! use meshwork_sync::{Batch, Space};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let (sender, answers) = std::sync::mpsc::sync_channel(16);
//! let on_outcome = move |outcome| sender.send(outcome).expect("the receiver outlives the store");
//! let (store, committer) = OpenStore::open(folder.path(), StoreConfig::default(), on_outcome)?;
//!
//! let mut batch = Batch::default();
//! batch.put(Space::Objects, b"likes", b"1");
//! committer.submit(7, batch)?;
//! assert_eq!(answers.recv()?, Outcome::Stored { id: 7 });
//! assert_eq!(store.get(Space::Objects, b"likes")?, Some(b"1".to_vec()));
//! committer.close()?;
//! # Ok(())
//! # }
//! ```

mod committer;
mod data_dir;
mod engine;
mod fjall_engine;
mod fjall_journal;
mod fjall_sums;
mod free_space;
mod group;
mod marker;
mod memory;
mod open;
mod records;
mod seal;
#[cfg(feature = "sled")]
mod sled_engine;
mod storage_thread;
#[cfg(test)]
pub(crate) mod tests;
mod write_file;

pub use committer::{
    BATCH_BYTES_MAX, CloseStore, Committer, KEY_BYTES_MAX, Outcome, StoreFailure, SubmitBatch,
};
pub use data_dir::{DataDir, OpenDataDir, Opened, Origin};
pub use engine::{CommitGroup, Engine, ReadEngine};
pub use fjall_engine::FjallEngine;
pub use group::Group;
pub use marker::CopySign;
pub use memory::{Fault, Memory, Survives};
pub use open::{EngineKind, OpenStore, OpenStoreError, StoreConfig};
pub use records::Records;
#[cfg(feature = "sled")]
pub use sled_engine::SledEngine;
pub use write_file::write_atomically;
