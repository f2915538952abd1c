//! The replication engine of the Meshwork data mesh, as a pure state machine.

mod store;

pub use store::{Batch, Change, ReadStore, Record, Space, Store};
