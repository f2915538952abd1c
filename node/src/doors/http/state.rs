//! What all requests share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use meshwork_crdt::ActorSeed;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::server::HttpConfig;
use super::tally::Tally;
use super::token::Token;
use crate::admission::NoEntropy;
use crate::strong::Ids;
use crate::{Mesh, wall};

/// The door as its requests see it.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) mesh: Mesh,
    pub(super) token: Token,
    pub(super) address: SocketAddr,
    /// Whether clients may cut links.
    pub(super) faults: bool,
    /// When the door was opened, in seconds since 1970.
    pub(super) started_s: u64,
    pub(super) requests: Arc<Semaphore>,
    pub(super) streams: Arc<Semaphore>,
    pub(super) holds: Arc<Semaphore>,
    pub(super) tally: Tally,
    /// Opened by the first who wants an id.
    pub(super) ids: Mutex<Option<Ids>>,
    pub(super) stop: CancellationToken,
    /// Work on documents, which keeps a thread busy for a while.
    editors: Semaphore,
    errands: mpsc::Sender<Errand>,
    leaving: AtomicBool,
}

/// What goes on even when the client that asked for it hangs up.
#[derive(Debug)]
pub(super) enum Errand {
    /// Stop the node.
    Stop(Mesh),
    /// Leave the mesh.
    Leave {
        mesh: Mesh,
        patience: Duration,
        /// Whether all was handed over; `None` when the node had stopped.
        answer: oneshot::Sender<Option<bool>>,
    },
}

impl Errand {
    pub(super) async fn run(self) {
        match self {
            Self::Stop(mesh) => mesh.stop().await,
            Self::Leave {
                mesh,
                patience,
                answer,
            } => {
                let handed_over = mesh.leave(patience).await;
                if answer.send(handed_over).is_err() {
                    tracing::debug!("the client that asked to leave has gone");
                }
            }
        }
    }
}

impl Door {
    pub(super) fn new(
        mesh: Mesh,
        token: Token,
        config: &HttpConfig,
        address: SocketAddr,
        errands: mpsc::Sender<Errand>,
        stop: CancellationToken,
    ) -> Result<Self, NoEntropy> {
        Ok(Self {
            mesh,
            token,
            address,
            faults: config.faults,
            started_s: wall::now_s(),
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            holds: Arc::new(Semaphore::new(HOLDS_MAX)),
            tally: Tally::default(),
            ids: Mutex::new(None),
            stop,
            editors: Semaphore::new(EDITORS_MAX),
            errands,
            leaving: AtomicBool::new(false),
        })
    }

    /// Stops the node, after the answer has been given.
    pub(super) fn begin_stop(&self) -> Result<(), Failure> {
        let errand = Errand::Stop(self.mesh.clone());
        self.errands
            .try_send(errand)
            .map_err(|_full_or_closed| Failure::stopping())
    }

    /// Leaves the mesh, once.
    pub(super) async fn leave(&self, patience: Duration) -> Result<bool, Failure> {
        if self.leaving.swap(true, Ordering::AcqRel) {
            return Err(Failure::conflict("leaving", "the node is leaving already"));
        }
        let (answer, answered) = oneshot::channel();
        let errand = Errand::Leave {
            mesh: self.mesh.clone(),
            patience,
            answer,
        };
        if self.errands.try_send(errand).is_err() {
            self.leaving.store(false, Ordering::Release);
            return Err(Failure::stopping());
        }
        answered.await.ok().flatten().ok_or_else(Failure::stopped)
    }

    /// Runs work that keeps a thread busy, such as building a document, off the runtime's threads; a few at a time.
    pub(super) async fn busy_work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let permit = self.editors.acquire().await;
        let done = tokio::task::spawn_blocking(work).await;
        drop(permit);
        done.map_err(|error| {
            tracing::error!(%error, "work on a value ended in a panic");
            Failure::internal("the value could not be worked on; see the node's log")
        })
    }

    /// An automerge actor that nobody used or will use.
    pub(super) fn actor_seed(&self) -> ActorSeed {
        self.mesh.running.next_actor()
    }
}

/// Requests under way at once, not counting `/health`, `/ready` and `/metrics`; more are told to try again.
/// With [`BODY_BYTES_MAX`](super::body::BODY_BYTES_MAX) it bounds the memory that bodies take.
pub(super) const REQUESTS_MAX: usize = 128;
/// Event streams at once.
pub(super) const STREAMS_MAX: usize = 64;
/// Locks and leases that are held or waited for at once; each keeps a connection, and other requests must find some left.
pub(super) const HOLDS_MAX: usize = 256;
/// Documents that are built at once.
const EDITORS_MAX: usize = 4;
