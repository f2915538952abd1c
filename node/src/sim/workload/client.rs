//! How a client reaches its node.

use std::time::Duration;

use meshwork_crdt::{Dot, Object, Op};
use meshwork_sync::Key;

use super::Seen;
use crate::Options;

/// One client's way into a mesh, always through the same node, one request after the other.
///
/// The simulator and the real network both have one, so that the same workload runs on either.
pub trait Client {
    /// Changes one key. Returns the dot of the write, where this way in tells it.
    ///
    /// # Errors
    /// [`Failure`] says whether anything may have been written.
    fn write(
        &self,
        key: &Key,
        op: Op,
        options: Options,
    ) -> impl Future<Output = Result<Option<Dot>, Failure>>;

    /// Reads one key as nodes keep it, which is what editing a document takes. A key that nobody wrote is empty.
    ///
    /// # Errors
    /// [`Failure`]; which one does not matter to a read.
    fn object(&self, key: &Key, options: Options) -> impl Future<Output = Result<Object, Failure>>;

    /// Reads one key as an application sees it.
    ///
    /// # Errors
    /// [`Failure`]; which one does not matter to a read.
    fn read(&self, key: &Key, options: Options) -> impl Future<Output = Result<Seen, Failure>> {
        async move { Ok(Seen::of(&self.object(key, options).await?)) }
    }

    /// Waits.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()>;

    /// Time since the run began; the same clock for all clients.
    fn now(&self) -> Duration;
}

/// A request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing was written, and nothing will be.
    #[error("refused: {0}")]
    Refused(String),
    /// It is durable on the client's node, and too few others said so in time: as good as acknowledged at level `local`.
    #[error("kept here only: {0}")]
    Kept(String),
    /// It may have been written, now or later: no answer came, or one that leaves it open.
    #[error("perhaps done: {0}")]
    Unknown(String),
}
