//! Locks, for embedding applications.

use std::time::Duration;

use meshwork_sync::Key;

use super::handle::{STRONG_TIMEOUT, StrongFailure, is_held, unexpected};
use super::lease::Lease;
use super::{
    Mode, Outcome, Refusal, Request, StrongDone, StrongError, StrongRequest, Token, Turn, Wait,
};
use crate::mesh::{Mesh, RequestError};

/// How a lock is to be taken.
#[derive(Clone, Debug)]
pub struct LockBuilder {
    mesh: Mesh,
    lock: Key,
    mode: Mode,
    ttl: Duration,
    note: Vec<u8>,
    /// One of its own when left out.
    lease: Option<Lease>,
}

/// A lock that is held as long as this lives and its node can reach the group.
///
/// The node keeps it alive in the background. Whoever holds it asks [`LockGuard::is_lost`], or awaits [`LockGuard::lost`], and hands its
/// [`token`](LockGuard::fencing_token) to whatever the lock protects: a process that was paused learns too late that it has lost a lock, and
/// only the token stops it then. Its node takes the lock for lost a twentieth of its time before the group may give it to another, counted from
/// when it last told the group: that is soon enough where the clocks of the two machines drift apart by no more than 5 %. The token helps
/// whatever clocks do. Dropped, it gives the lock back in the background, unless it is held [under a lease](LockBuilder::with).
#[derive(Debug)]
pub struct LockGuard {
    lock: Key,
    token: Token,
    lease: Lease,
    /// Whether the lease is there for this lock alone.
    own: bool,
}

/// The lock is not held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// To wait would have been to wait for oneself: who waits for what is named.
    #[error("a deadlock: {0:?}")]
    Deadlock(Vec<super::Link>),
    /// Others held it for as long as this was willing to wait.
    #[error("others held the lock for all the time that this was willing to wait")]
    TimedOut,
    /// What the group said, or that it was not reached.
    #[error(transparent)]
    Request(#[from] StrongFailure),
}

/// How long a lock outlives its holder's node unless told otherwise.
const TTL: Duration = Duration::from_secs(15);

impl Mesh {
    /// A lock; it needs no namespace, and no two locks have the same name.
    #[must_use]
    pub fn lock(&self, lock: &Key) -> LockBuilder {
        LockBuilder {
            mesh: self.clone(),
            lock: lock.clone(),
            mode: Mode::Exclusive,
            ttl: TTL,
            note: Vec::new(),
            lease: None,
        }
    }
}

impl LockBuilder {
    /// How long the lock outlives its holder's node: 1 s to 24 h, 15 s by default. Less frees it sooner after a crash; more holds it through
    /// longer interruptions.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Beside others that share it.
    #[must_use]
    pub const fn shared(mut self) -> Self {
        self.mode = Mode::Shared;
        self
    }

    /// What others can read while it is held.
    #[must_use]
    pub fn note(mut self, note: impl Into<Vec<u8>>) -> Self {
        self.note = note.into();
        self
    }

    /// Under a lease that may own keys and hold other locks, and whose time is the lock's.
    ///
    /// The lock is the lease's then: it is held until [`LockGuard::release`] or the end of the lease, also when the guard or a future that
    /// waits for it is dropped, and a lease that holds a lock is granted it again, under the same token.
    #[must_use]
    pub fn with(mut self, lease: &Lease) -> Self {
        self.lease = Some(lease.clone());
        self
    }

    /// Takes the lock if it is free; `None` if it is not.
    ///
    /// # Errors
    /// [`AcquireError`].
    pub async fn try_acquire(self) -> Result<Option<LockGuard>, AcquireError> {
        let lease = self.lease().await?;
        let answer = match self.ask(&lease, Wait::No).await {
            Err(error) if is_held(&error) => return Ok(None),
            answer => answer.map_err(refused)?,
        };
        let Outcome::Granted { token } = answer else {
            return Err(unexpected().into());
        };
        Ok(Some(self.holding(lease, token)))
    }

    /// Takes the lock, first come, first served.
    ///
    /// Dropping the future gives up the place in the line.
    ///
    /// # Errors
    /// [`AcquireError`].
    pub async fn acquire(self) -> Result<LockGuard, AcquireError> {
        self.wait(Wait::Forever).await
    }

    /// Takes the lock, or gives up after this long.
    ///
    /// Dropping the future gives up the place in the line.
    ///
    /// # Errors
    /// [`AcquireError`].
    pub async fn acquire_within(self, patience: Duration) -> Result<LockGuard, AcquireError> {
        let ms = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
        self.wait(Wait::Ms(ms)).await
    }

    async fn wait(self, wait: Wait) -> Result<LockGuard, AcquireError> {
        let lease = self.lease().await?;
        let answer = self.ask(&lease, wait).await.map_err(refused)?;
        if let Outcome::Granted { token } = answer {
            return Ok(self.holding(lease, token));
        }
        loop {
            let turn = StrongRequest::Turn(lease.session(), self.lock.clone());
            let done = match self.mesh.ask_strong(turn, TURN).await {
                // Not yet: the place in the line is kept as long as the session lives.
                Err(RequestError::Refused(StrongError::Unavailable)) if !lease.is_lost() => {
                    continue;
                }
                done => done?,
            };
            let StrongDone::Turn(turn) = done else {
                return Err(unexpected().into());
            };
            return match turn {
                Turn::Granted(token) => Ok(self.holding(lease, token)),
                Turn::Deadlock(cycle) => Err(AcquireError::Deadlock(cycle)),
                Turn::Gone => Err(AcquireError::TimedOut),
            };
        }
    }

    async fn lease(&self) -> Result<Lease, StrongFailure> {
        match &self.lease {
            Some(lease) => Ok(lease.clone()),
            None => self.mesh.lease(self.ttl).await,
        }
    }

    fn holding(self, lease: Lease, token: Token) -> LockGuard {
        LockGuard {
            lock: self.lock,
            token,
            lease,
            own: self.lease.is_none(),
        }
    }

    async fn ask(&self, lease: &Lease, wait: Wait) -> Result<Outcome, StrongFailure> {
        let acquire = Request::Acquire {
            lock: self.lock.clone(),
            mode: self.mode,
            wait,
            note: self.note.clone(),
        };
        lease.act(acquire, STRONG_TIMEOUT).await
    }
}

/// How long to ask at a time what became of a place in the line.
const TURN: Duration = Duration::from_secs(30);

fn refused(error: StrongFailure) -> AcquireError {
    if let RequestError::Refused(StrongError::Refused(Refusal::Deadlock { cycle })) = error {
        return AcquireError::Deadlock(cycle);
    }
    AcquireError::Request(error)
}

impl LockGuard {
    /// A number greater than that of every grant before: what the lock protects refuses a lower one than it has seen.
    #[must_use]
    pub const fn fencing_token(&self) -> Token {
        self.token
    }

    /// Which lock.
    #[must_use]
    pub const fn lock(&self) -> &Key {
        &self.lock
    }

    /// Whether it is held no more, or may not be: the node could not keep it alive.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lease.is_lost()
    }

    /// Waits until the lock is lost.
    pub async fn lost(&self) {
        self.lease.lost().await;
    }

    /// Gives the lock back, and waits until others can have it.
    ///
    /// # Errors
    /// [`StrongFailure`]: the group was not reached in time; others have the lock when the time of its lease is over.
    pub async fn release(self) -> Result<(), StrongFailure> {
        if self.own {
            return self.lease.revoke().await;
        }
        let lock = self.lock;
        let release = Request::Release { lock };
        self.lease.act(release, STRONG_TIMEOUT).await.map(drop)
    }
}
