//! How a client reaches its node.

use std::time::Duration;

use meshwork_crdt::Op;
use meshwork_sync::Key;

use super::Seen;
use crate::Options;

/// One client's way into a mesh, always through the same node.
///
/// The simulator and the real network both have one, so that the same workload runs on either.
pub trait Client {
    /// Changes one key.
    ///
    /// # Errors
    /// [`Failure`] says whether anything may have been written.
    fn write(
        &self,
        key: &Key,
        op: Op,
        options: Options,
    ) -> impl Future<Output = Result<(), Failure>>;

    /// Reads one key whole; a key that nobody wrote shows nothing.
    ///
    /// # Errors
    /// [`Failure`]; which one does not matter to a read.
    fn read(&self, key: &Key, options: Options) -> impl Future<Output = Result<Seen, Failure>>;

    /// Waits.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()>;

    /// Time since the run began.
    fn now(&self) -> Duration;
}

/// A request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing was written, and nothing will be.
    #[error("refused: {0}")]
    Refused(String),
    /// It may have been written: no answer came, or one that leaves it open.
    #[error("perhaps done: {0}")]
    Unknown(String),
}
