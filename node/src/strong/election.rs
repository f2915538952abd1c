//! Elections, for embedding applications: whoever holds a lock leads.

use std::time::Duration;

use meshwork_sync::Key;

use super::handle::{STRONG_TIMEOUT, StrongFailure, unexpected};
use super::{
    AcquireError, Finding, LockBuilder, LockGuard, LockHolder, Query, Seen, SessionId, StrongDone,
    StrongRequest, Token,
};
use crate::mesh::{Mesh, RequestError};

/// An office that one node at a time holds, and that all can see.
///
/// It is the lock of the same name: who stood first leads first, and when a leader ends or is cut off, the next one follows.
///
/// ```no_run
/// # async fn example(mesh: meshwork::Mesh) -> Result<(), Box<dyn std::error::Error>> {
/// let primary = mesh.election(&meshwork_sync::Key::parse("svc/primary")?);
/// let leadership = primary.campaign("10.0.0.7:5432").await?;
/// let leader = primary.observe().await?.ok_or("nobody leads")?;
/// assert_eq!((leader.note, leader.token), (b"10.0.0.7:5432".to_vec(), leadership.fencing_token()));
/// leadership.lost().await; // serve until then
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Election {
    mesh: Mesh,
    lock: LockBuilder,
    office: Key,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// What it says of itself.
    pub note: Vec<u8>,
    /// Greater than that of every leader before it.
    pub token: Token,
    /// Who it is for the group.
    pub session: SessionId,
}

/// Leads as long as this lives and its node can reach the group. Dropped, it resigns in the background.
///
/// What is true of a [`LockGuard`] is true of it: hand its token to whatever a leader alone may change.
#[derive(Debug)]
pub struct Leadership {
    guard: LockGuard,
}

/// Tells who leads, again and again. Dropping it ends it.
#[derive(Debug)]
pub struct LeaderWatch {
    mesh: Mesh,
    office: Key,
    /// Nothing has been told when left out.
    seen: Option<Seen>,
}

/// An office has changed hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reign {
    /// This one leads.
    Leads(Leader),
    /// Nobody does.
    Vacant,
}

/// How long a leader whose node is gone counts as one unless told otherwise.
const TTL: Duration = Duration::from_secs(10);

/// How long to ask at a time whether another leads.
const WATCH: Duration = Duration::from_secs(30);

impl Mesh {
    /// An election; it needs no namespace.
    #[must_use]
    pub fn election(&self, office: &Key) -> Election {
        Election {
            mesh: self.clone(),
            lock: self.lock(office).ttl(TTL),
            office: office.clone(),
        }
    }
}

impl Election {
    /// How long a leader whose node is gone still counts as one: 1 s to 24 h, 10 s by default.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.lock = self.lock.ttl(ttl);
        self
    }

    /// Stands for leader and waits until it leads. `note` is what others read of it meanwhile: where it is reached, say.
    ///
    /// Dropping the future withdraws.
    ///
    /// # Errors
    /// [`AcquireError`].
    pub async fn campaign(&self, note: impl Into<Vec<u8>>) -> Result<Leadership, AcquireError> {
        let guard = self.lock.clone().note(note).acquire().await?;
        Ok(Leadership { guard })
    }

    /// Who leads as of now; `None` if nobody does.
    ///
    /// # Errors
    /// [`StrongFailure`].
    pub async fn observe(&self) -> Result<Option<Leader>, StrongFailure> {
        let read = StrongRequest::Read(Query::Lock(self.office.clone()));
        let done = self.mesh.ask_strong(read, STRONG_TIMEOUT).await?;
        leader(done)
    }

    /// Tells who leads now, and then whenever that changes.
    #[must_use]
    pub fn watch(&self) -> LeaderWatch {
        LeaderWatch {
            mesh: self.mesh.clone(),
            office: self.office.clone(),
            seen: None,
        }
    }
}

impl Leadership {
    /// A number greater than that of every leader before: what only a leader may change refuses a lower one than it has seen.
    #[must_use]
    pub const fn fencing_token(&self) -> Token {
        self.guard.fencing_token()
    }

    /// Whether it leads no more, or may not: the node could not keep it alive.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.guard.is_lost()
    }

    /// Waits until it leads no more, or may not.
    pub async fn lost(&self) {
        self.guard.lost().await;
    }

    /// Leads no more, and waits until the next can.
    ///
    /// # Errors
    /// [`StrongFailure`]: the group was not reached in time; the next leads when the time of this one is over.
    pub async fn resign(self) -> Result<(), StrongFailure> {
        self.guard.release().await
    }
}

impl LeaderWatch {
    /// Who leads: at once the first time, and then when it is another. `None` when the node has stopped.
    ///
    /// Leaders that followed each other faster than this asked may be left out, never the last; none comes after one that followed it. While
    /// the group cannot be reached it waits. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Reign> {
        loop {
            let request = match self.seen {
                None => StrongRequest::Read(Query::Lock(self.office.clone())),
                Some(seen) => StrongRequest::Holder(self.office.clone(), seen),
            };
            match self.mesh.ask_strong(request, WATCH).await.and_then(leader) {
                Ok(leader) => return Some(self.tell(leader)),
                Err(RequestError::Stopped) => return None,
                // Nothing has changed, or nobody can tell.
                Err(RequestError::Refused(error)) => {
                    tracing::trace!(office = %self.office, %error, "who leads is asked again");
                }
            }
        }
    }

    fn tell(&mut self, leader: Option<Leader>) -> Reign {
        let Some(leader) = leader else {
            self.seen = Some(match self.seen {
                Some(Seen::Held(token) | Seen::Free(token)) => Seen::Free(token),
                None => Seen::Free(Token(0)),
            });
            return Reign::Vacant;
        };
        self.seen = Some(Seen::Held(leader.token));
        Reign::Leads(leader)
    }
}

/// A lock that others share has several leaders: the latest is told.
fn leader(done: StrongDone) -> Result<Option<Leader>, StrongFailure> {
    let Finding::Lock { holders, .. } = done.finding()? else {
        return Err(unexpected());
    };
    let latest = holders.into_iter().max_by_key(|holder| holder.token);
    Ok(latest.map(Leader::from))
}

impl From<LockHolder> for Leader {
    fn from(holder: LockHolder) -> Self {
        Self {
            note: holder.note,
            token: holder.token,
            session: holder.session,
        }
    }
}
