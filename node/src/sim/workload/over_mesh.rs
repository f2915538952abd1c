//! A client that holds the handle of a node in the same process.

use std::cell::RefCell;
use std::fmt::Display;
use std::time::Duration;

use meshwork_crdt::{CausalContext, Dot, Object, Op};
use meshwork_sync::{Key, WriteError};

use super::{Client, Failure};
use crate::{Mesh, Options, RequestError};

/// What time it is, and how to wait: virtual in a simulator, tokio's elsewhere.
pub trait Clock {
    /// Waits.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()>;

    /// Time since the run began.
    fn now(&self) -> Duration;
}

/// A client of a node in this process, which may be down for a while.
#[derive(Debug)]
pub struct MeshClient<K> {
    mesh: RefCell<Option<Mesh>>,
    clock: K,
}

impl<K: Clock> MeshClient<K> {
    /// A client of a node that is down; see [`MeshClient::set_mesh`].
    pub const fn new(clock: K) -> Self {
        let mesh = RefCell::new(None);
        Self { mesh, clock }
    }

    /// The node is up, or down when left out. A request that is under way goes on with the node that it was made to.
    pub fn set_mesh(&self, mesh: Option<Mesh>) {
        *self.mesh.borrow_mut() = mesh;
    }

    fn mesh(&self) -> Result<Mesh, Failure> {
        let mesh = self.mesh.borrow().clone();
        mesh.ok_or_else(|| Failure::Refused("the node is down".into()))
    }
}

impl<K: Clock> Client for MeshClient<K> {
    async fn write(&self, key: &Key, op: Op, options: Options) -> Result<Option<Dot>, Failure> {
        let written = self.mesh()?.write(key, op, options).await;
        written
            .map(|written| Some(written.dot))
            .map_err(|error| match error {
                RequestError::Stopped => unknown(error),
                RequestError::Refused(error) => failed(error),
            })
    }

    async fn object(&self, key: &Key, options: Options) -> Result<Object, Failure> {
        let mesh = self.mesh()?;
        let found = mesh.read(key, CausalContext::default(), options).await;
        found.map(|found| found.object).map_err(unknown)
    }

    async fn sleep(&self, time: Duration) {
        self.clock.sleep(time).await;
    }

    fn now(&self) -> Duration {
        self.clock.now()
    }
}

fn failed(error: WriteError) -> Failure {
    match error {
        WriteError::Timeout { .. } => Failure::Kept(error.to_string()),
        WriteError::Store(_) => unknown(error),
        WriteError::Apply(_)
        | WriteError::ValueTooLarge { .. }
        | WriteError::ObjectTooLarge { .. }
        | WriteError::Busy
        | WriteError::OutboxFull { .. }
        | WriteError::Unavailable { .. }
        | WriteError::Leaving
        | WriteError::Damaged => Failure::Refused(error.to_string()),
        // What a later release adds.
        _ => unknown(error),
    }
}

fn unknown(error: impl Display) -> Failure {
    Failure::Unknown(error.to_string())
}
