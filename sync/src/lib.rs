//! The replication engine of the Meshwork data mesh, as a pure state machine.
//!
//! One [`Replication`] is one node's part in keeping every key's replicas alike: it coordinates reads and writes, keeps the
//! durable outbox and empties it, compares what it holds with its peers, and follows the placement when members come and go.
//!
//! ```text
//!             commands: write, read, watch          messages, connections, view
//!                           │                                  │
//!                           ▼                                  ▼
//!   reads ◄── Store ── Replication ── poll_output ──► Send, Store, Written, Found, Changed
//!                           ▲                                  │
//!                           └────── handle_stored ◄── disk ◄───┘
//! ```
//!
//! Drive it so: call one `handle_*` method or command, take [`Replication::poll_output`] until it is empty and do what it says,
//! ask [`Replication::poll_timeout`] when to call [`Replication::handle_timeout`], repeat. Nothing that promises durability
//! leaves before the batch behind it has come back by [`Replication::handle_stored`].

mod config;
mod dots;
mod engine;
mod feed;
mod holdings;
mod index;
mod journal;
mod key;
mod links;
mod message;
mod objects;
mod outbox;
mod partitions;
#[cfg(feature = "planted")]
mod planted;
mod reads;
pub mod reconcile;
mod records;
mod repair;
mod request;
mod serve;
mod store;
mod stored;
mod writes;

pub use config::Config;
pub use engine::{Counts, Identity, Origin, Output, Refuser, RejectMessage, Replication};
pub use key::{InvalidKey, Key, Prefix};
pub use message::{DecodeMessage, Item, Message, Refusal, Step, WIRE_VERSION};
pub use outbox::Lag;
pub use partitions::PartitionSet;
pub use request::{
    Found, Level, ParseLevel, Read, ReadError, RequestId, StoreFailure, Write, WriteError, Written,
};
pub use store::{Batch, Change, ReadStore, Record, Space, Store};
pub use stored::{
    dropped_in, forget_complete, says_complete, stored_complete, stored_dots, stored_object,
    stored_outbox, stored_positions,
};
