//! The real driver: one task that owns the core and carries out what it wants done.

mod admit;
mod clock;
mod desk;
mod leaving;
mod run;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use meshwork_crdt::{ActorSeed, Merges, ReplicaId};
use meshwork_membership::NodeId;
use meshwork_sync::{Found, Prefix, Read, ReadError, Write, WriteError, Written};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

pub use admit::InviteError;
pub(crate) use clock::Clock;
pub(crate) use run::Driver;
#[cfg(feature = "sim")]
pub(crate) use {desk::Desk, leaving::Leaving};

use crate::admission::Ticket;
use crate::core::Status;
use crate::mesh::Ended;
use crate::net::Net;
use crate::strong::{ResetStrong, SessionId, StrongDone, StrongError, StrongRequest};
use crate::watch::Watch;

/// What a handle asks of the driver. An answer that nobody waits for any more is dropped.
#[derive(Debug)]
pub(crate) enum Command {
    Write {
        write: Write,
        answer: oneshot::Sender<Result<Written, WriteError>>,
    },
    Read {
        read: Read,
        answer: oneshot::Sender<Result<Found, ReadError>>,
    },
    Strong {
        request: StrongRequest,
        timeout: Duration,
        answer: oneshot::Sender<Result<StrongDone, StrongError>>,
    },
    /// Nobody holds a session any more.
    CloseSession {
        session: SessionId,
    },
    OpenSession {
        ttl: Duration,
        timeout: Duration,
        answer: oneshot::Sender<Result<Session, StrongError>>,
    },
    Watch {
        prefix: Prefix,
        answer: oneshot::Sender<Watch>,
    },
    ResetStrong {
        answer: oneshot::Sender<Result<(), ResetStrong>>,
    },
    Status {
        answer: oneshot::Sender<Status>,
    },
    Invite {
        valid_for: Duration,
        answer: oneshot::Sender<Result<Ticket, InviteError>>,
    },
    Leave {
        patience: Duration,
        answer: oneshot::Sender<bool>,
    },
}

/// A session that was opened here, and what turns true when it ends. Once nobody listens to that, it is closed.
pub(crate) type Session = (SessionId, watch::Receiver<bool>);

/// What all handles of a running node share.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) id: NodeId,
    pub(crate) mesh_name: String,
    pub(crate) merges: Merges,
    pub(crate) replica: ReplicaId,
    /// The next editing session; begins at a random number in each process, so that no two share an actor.
    pub(crate) next_session: AtomicU64,
    /// None in a simulated mesh.
    pub(crate) net: Option<Net>,
    pub(crate) stop: CancellationToken,
    pub(crate) ended: watch::Receiver<Option<Ended>>,
}

impl Running {
    /// Who edits a document that is opened now.
    pub(crate) fn next_actor(&self) -> ActorSeed {
        ActorSeed::new(
            self.replica,
            self.next_session.fetch_add(1, Ordering::Relaxed),
        )
    }
}

/// Shared by the driver and all handles.
pub(crate) type Shared = Arc<Running>;

/// Answers a command; nobody may be waiting for it any more.
pub(crate) fn reply<T>(answer: oneshot::Sender<T>, value: T) {
    if answer.send(value).is_err() {
        tracing::trace!("an answer came too late for anybody to wait for it");
    }
}
