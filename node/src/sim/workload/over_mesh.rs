//! A client that holds the handle of a node in the same process.

use std::fmt::Display;
use std::time::Duration;

use meshwork_crdt::{CausalContext, Dot, Object, Op};
use meshwork_sync::{Key, WriteError};

use super::{Client, Failure};
use crate::{Mesh, Options, RequestError};

/// What a client's node runs on: in a simulator with its virtual time, elsewhere with tokio's.
pub trait Host {
    /// The node, unless it is down. A request that is under way goes on with the node that it was made to.
    fn mesh(&self) -> Option<Mesh>;

    /// Waits.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()>;

    /// Time since the run began.
    fn now(&self) -> Duration;
}

/// A client of a node in this process, which may be down for a while.
#[derive(Debug)]
pub struct MeshClient<H> {
    host: H,
}

impl<H: Host> MeshClient<H> {
    /// A client of whatever node runs there.
    pub const fn new(host: H) -> Self {
        Self { host }
    }

    fn mesh(&self) -> Result<Mesh, Failure> {
        let mesh = self.host.mesh();
        mesh.ok_or_else(|| Failure::Refused("the node is down".into()))
    }
}

impl<H: Host> Client for MeshClient<H> {
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
        self.host.sleep(time).await;
    }

    fn now(&self) -> Duration {
        self.host.now()
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
        | WriteError::Strong { .. }
        | WriteError::Damaged => Failure::Refused(error.to_string()),
        // What a later release adds.
        _ => unknown(error),
    }
}

fn unknown(error: impl Display) -> Failure {
    Failure::Unknown(error.to_string())
}
