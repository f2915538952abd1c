//! Leases, for embedding applications.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::handle::{STRONG_TIMEOUT, StrongFailure};
use super::{Outcome, Request, SessionId, StrongRequest, Transaction};
use crate::mesh::Mesh;

/// What keys and locks end with: it lives as long as its holder's node keeps it alive in the background.
///
/// The group ends it, with all that belongs to it, when it has not heard of it for the lease's time; the holder takes it for lost before
/// that. All clones, and the guards of locks that are held [under it](super::LockBuilder::with), are the same lease; when the last is dropped it
/// is given back in the background.
///
/// ```no_run
/// # async fn example(mesh: meshwork::Mesh) -> Result<(), Box<dyn std::error::Error>> {
/// # use std::time::Duration;
/// let services = mesh.strong("services")?;
/// services.create().await?;
/// let lease = mesh.lease(Duration::from_secs(10)).await?;
/// services.put_leased(&lease, "mail/10.0.0.7", "ready").await?;
/// lease.lost().await; // others see that the key is gone
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Lease {
    held: Arc<Held>,
}

/// The node's end of a session.
#[derive(Debug)]
struct Held {
    mesh: Mesh,
    session: SessionId,
    lost: watch::Receiver<bool>,
    /// One who holds it has ended it: the others must not go on while it is being closed.
    revoked: CancellationToken,
}

impl Mesh {
    /// Begins a lease. `ttl` is how long it outlives this node: 1 s to 24 h. Less ends it sooner after a crash; more keeps it through longer
    /// interruptions.
    ///
    /// Dropping the future gives it back.
    ///
    /// # Errors
    /// [`StrongFailure`].
    pub async fn lease(&self, ttl: Duration) -> Result<Lease, StrongFailure> {
        let (session, lost) = self.open_session(ttl, STRONG_TIMEOUT).await?;
        let mesh = self.clone();
        let held = Arc::new(Held {
            mesh,
            session,
            lost,
            revoked: CancellationToken::new(),
        });
        Ok(Lease { held })
    }
}

impl Lease {
    /// The session that it is: who others see holding its locks.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.held.session
    }

    /// Whether it has ended, or may have: the node could not keep it alive.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        let Held { lost, revoked, .. } = &*self.held;
        revoked.is_cancelled() || *lost.borrow() || lost.has_changed().is_err()
    }

    /// Waits until the lease has ended, or may have.
    pub async fn lost(&self) {
        let mut lost = self.held.lost.clone();
        tokio::select! {
            () = self.held.revoked.cancelled() => {}
            // An error means that the node has stopped, which ends it too.
            lost = lost.wait_for(|lost| *lost) => drop(lost),
        }
    }

    /// Ends the lease for all who hold it, and waits until its keys are gone and its locks free. Who else holds it, or a lock under it, sees it lost
    /// before others can have it.
    ///
    /// Dropping the future does not call it off.
    ///
    /// # Errors
    /// [`StrongFailure`]: the group was not reached in time; all of that happens when the lease's time is over.
    pub async fn revoke(self) -> Result<(), StrongFailure> {
        self.held.revoked.cancel();
        self.act(Request::Close, STRONG_TIMEOUT).await.map(drop)
    }

    /// Reads and changes keys at one point in history. What it puts with [`Owner::Session`](super::Owner::Session) lives no longer than the
    /// lease; once that has ended nothing is changed.
    ///
    /// # Errors
    /// [`StrongFailure`].
    pub async fn transact(&self, transaction: Transaction) -> Result<Outcome, StrongFailure> {
        let transact = Request::Transact(transaction);
        self.act(transact, STRONG_TIMEOUT).await
    }

    /// Has something done in the lease's session.
    pub(super) async fn act(
        &self,
        request: Request,
        timeout: Duration,
    ) -> Result<Outcome, StrongFailure> {
        let request = StrongRequest::In(self.held.session, request);
        let done = self.held.mesh.ask_strong(request, timeout).await?;
        done.outcome()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.mesh.close_session(self.session);
    }
}
