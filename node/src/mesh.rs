//! The handle that applications hold.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use meshwork_crdt::{CausalContext, Op, ReplicaId};
use meshwork_membership::NodeId;
use meshwork_sync::{
    Found, InvalidKey, Key, Level, Prefix, Read, ReadError, Write, WriteError, Written,
};
use tokio::sync::{mpsc, oneshot};

use crate::admission::Ticket;
use crate::builder::Builder;
use crate::core::Status;
use crate::driver::{Command, InviteError, Running, Session};
use crate::namespace::Namespace;
use crate::net::{Net, NetStats};
use crate::strong::{SessionId, StrongDone, StrongError, StrongRequest};
use crate::watch::Watch;

/// A running node. Cheap to clone; all clones are the same node.
///
/// Needs a tokio runtime with time and I/O, and starts none; installs no subscriber and no signal handler.
/// When the last clone is dropped the node stops in the background; [`Mesh::stop`] waits for it.
///
/// ```
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
/// let folder = tempfile::tempdir()?;
/// meshwork::setup::found(folder.path(), "home", &meshwork::setup::SetupOptions::default())?;
/// let mesh = meshwork::Mesh::builder(folder.path()).listen("127.0.0.1:0".parse()?).start().await?;
/// let stats = mesh.namespace("stats")?;
/// stats.counter("visits").add(3).await?;
/// assert_eq!(stats.counter("visits").get().await?, 3);
/// mesh.stop().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Mesh {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) running: Arc<Running>,
}

/// How far a request reaches and how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many replicas must take part. Default [`Level::One`].
    pub level: Level,
    /// When to give up. Default 5 s.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            level: Level::One,
            timeout: Duration::from_secs(5),
        }
    }
}

impl Options {
    /// The default time for this level.
    #[must_use]
    pub fn level(level: Level) -> Self {
        Self {
            level,
            ..Self::default()
        }
    }
}

/// A request was not carried out as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError<E> {
    /// The node has stopped. Start it again.
    #[error("the node has stopped")]
    Stopped,
    /// The node refused or could not do it.
    #[error(transparent)]
    Refused(#[from] E),
}

/// Why a running node ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Ended {
    /// It was asked to.
    #[error("the node was stopped")]
    Stopped,
    /// Another process lives under this node's identity: a copied data folder or key.
    #[error(
        "another process runs with this node's identity: this data folder is a copy. \
         Stop one of them; to make the copy a node of its own, join with a new ticket in an empty folder"
    )]
    Impostor,
    /// The storage thread is gone.
    #[error("the store has stopped: {0}")]
    Store(String),
}

impl Mesh {
    /// Begins to build a node from a data folder that was set up by [`setup`](crate::setup).
    #[must_use]
    pub fn builder(folder: impl AsRef<Path>) -> Builder {
        Builder::new(folder.as_ref().to_path_buf())
    }

    /// Who this node is.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.running.id
    }

    /// Whose writes are this node's: the id that its store drew. Another one after the store was restored or copied.
    #[must_use]
    pub fn replica(&self) -> ReplicaId {
        self.running.replica
    }

    /// The mesh's name for people.
    #[must_use]
    pub fn mesh_name(&self) -> &str {
        &self.running.mesh_name
    }

    /// Where this node listens for members; nowhere in a simulated mesh.
    #[must_use]
    pub fn addresses(&self) -> Vec<std::net::SocketAddr> {
        let net = self.running.net.as_ref();
        net.map_or_else(Vec::new, Net::listening)
    }

    /// Keys that belong together.
    ///
    /// # Errors
    /// [`InvalidKey`] when the name breaks the rules for namespaces.
    pub fn namespace(&self, name: &str) -> Result<Namespace, InvalidKey> {
        Namespace::new(self.clone(), name)
    }

    /// Changes one key.
    ///
    /// Dropping the future does not call the write off.
    ///
    /// # Errors
    /// [`WriteError`] says whether anything was written.
    pub async fn write(
        &self,
        key: &Key,
        op: Op,
        options: Options,
    ) -> Result<Written, RequestError<WriteError>> {
        let Options { level, timeout } = options;
        let write = Write {
            key: key.clone(),
            op,
            level,
            timeout,
        };
        let result = self.ask(|answer| Command::Write { write, answer }).await;
        Ok(result.ok_or(RequestError::Stopped)??)
    }

    /// Reads one key: what replicas hold beyond `since`, merged.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read(
        &self,
        key: &Key,
        since: CausalContext,
        options: Options,
    ) -> Result<Found, RequestError<ReadError>> {
        let Options { level, timeout } = options;
        let read = Read {
            key: key.clone(),
            since,
            level,
            timeout,
        };
        let result = self.ask(|answer| Command::Read { read, answer }).await;
        Ok(result.ok_or(RequestError::Stopped)??)
    }

    /// Tells of changes of keys under a prefix, from now on, until the watch is dropped.
    ///
    /// `None` when the node has stopped.
    pub async fn watch(&self, prefix: Prefix) -> Option<Watch> {
        self.ask(|answer| Command::Watch { prefix, answer }).await
    }

    /// What this node knows about its mesh and itself; `None` when it has stopped.
    pub async fn status(&self) -> Option<Status> {
        self.ask(|answer| Command::Status { answer }).await
    }

    /// What went over the network so far; nothing in a simulated mesh, which counts for itself.
    #[must_use]
    pub fn net_stats(&self) -> NetStats {
        let net = self.running.net.as_ref();
        net.map_or_else(NetStats::default, Net::stats)
    }

    /// Makes a ticket that lets one node join within `valid_for`.
    ///
    /// # Errors
    /// [`InviteError`].
    pub async fn invite(&self, valid_for: Duration) -> Result<Ticket, RequestError<InviteError>> {
        let result = self
            .ask(|answer| Command::Invite { valid_for, answer })
            .await;
        Ok(result.ok_or(RequestError::Stopped)??)
    }

    /// Behaves as if the links to these members were cut, and to no others: for demonstrations and tests of partitions.
    /// Does nothing in a simulated mesh, which has splits of its own.
    pub fn cut(&self, members: impl IntoIterator<Item = NodeId>) {
        if let Some(net) = &self.running.net {
            net.set_cut(members.into_iter().collect());
        }
    }

    /// Leaves the mesh for good: gives up its place, waits until the other replicas hold all it has, says goodbye and stops. It takes no
    /// writes from then on.
    ///
    /// Returns whether everything was handed over within `patience`; what was not stays in the data folder. `None` when the node
    /// had stopped.
    pub async fn leave(&self, patience: Duration) -> Option<bool> {
        let handed_over = self.ask(|answer| Command::Leave { patience, answer }).await;
        self.stop().await;
        handed_over
    }

    /// Stops the node: finishes what is being written, closes connections and store. Waits until all is done.
    ///
    /// Dropping the future does not call it off.
    pub async fn stop(&self) {
        self.running.stop.cancel();
        self.ended().await;
    }

    /// Waits until the node has ended, and says why.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.running.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or(Ended::Stopped),
            Err(_) => Ended::Stopped,
        }
    }

    /// Asks something of the strong group, whose answer is waited for elsewhere; `None` when the node has stopped.
    pub(crate) async fn begin_strong(
        &self,
        request: StrongRequest,
        timeout: Duration,
    ) -> Option<oneshot::Receiver<Result<StrongDone, StrongError>>> {
        self.begin(|answer| Command::Strong {
            request,
            timeout,
            answer,
        })
        .await
    }

    /// A session that this node keeps alive until the receiver is dropped, which turns true when it ends.
    pub(crate) async fn open_session(
        &self,
        ttl: Duration,
        timeout: Duration,
    ) -> Result<Session, RequestError<StrongError>> {
        let opened = self.ask(|answer| Command::OpenSession {
            ttl,
            timeout,
            answer,
        });
        Ok(opened.await.ok_or(RequestError::Stopped)??)
    }

    /// Ends a session in the background. If the node is too busy for that it sees soon that nobody holds it.
    pub(crate) fn close_session(&self, session: SessionId) {
        let close = Command::CloseSession { session };
        if self.commands.try_send(close).is_err() {
            tracing::debug!(%session, "a session is closed later");
        }
    }

    /// Sends a command and waits for its answer; `None` when the node has stopped.
    pub(crate) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Option<T> {
        self.begin(command).await?.await.ok()
    }

    /// Sends a command; `None` when the node has stopped.
    async fn begin<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Option<oneshot::Receiver<T>> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.ok()?;
        Some(answered)
    }
}
