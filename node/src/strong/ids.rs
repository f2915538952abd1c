//! Unique ids, for embedding applications.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use meshwork_sync::Key;
use tokio::sync::{Mutex, oneshot};

use super::handle::{STRONG_TIMEOUT, StrongFailure, StrongNamespace, unexpected};
use super::lease::Lease;
use super::mint::{Mint, WORKERS, is_ahead};
use super::{
    Branch, Condition, KeyOp, Outcome, Owner, Refusal, Request, Revision, StrongDone, StrongError,
    StrongRequest, Transaction,
};
use crate::mesh::{Mesh, RequestError};
use crate::wall;

/// How ids are to be made.
#[derive(Clone, Debug)]
pub struct IdsBuilder {
    mesh: Mesh,
    ttl: Duration,
    clock: WallClock,
}

/// Unique 64-bit ids, ordered by time: each from here is greater than all before it from here, and no other in the mesh, ever, is equal.
///
/// An id is, from its highest bit: one 0; 41 bits of milliseconds since 2026-01-01 UTC, which last until September 2095; 10 bits of the worker
/// number, so that 1,024 of these can live at a time; 12 bits that count within a millisecond. So it fits an `i64`, but no number of
/// JavaScript. 4,096,000 ids a second follow the clock; whoever draws faster is ahead of it.
///
/// The worker number is leased from the group, and ids are made without asking it: only the first, and one after some seconds in which none was
/// made, waits for a request; under load one goes out every few seconds, ahead of use. While the group cannot be reached
/// ids are made for up to 6 s, or until the lease is lost.
///
/// No clock makes an id twice. One that is set back makes ids go on from the last; the group keeps a mark below which all times of a worker number
/// are, and its next owner begins there, even if its own clock is behind. Worker numbers and marks are keys of the namespace
/// `meshwork.ids`, which nobody should write to.
///
/// ```no_run
/// # async fn example(mesh: meshwork::Mesh) -> Result<(), Box<dyn std::error::Error>> {
/// let ids = mesh.ids().open().await?;
/// assert!(ids.next().await? < ids.next().await?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Ids {
    mesh: Mesh,
    lease: Lease,
    worker: u64,
    clock: WallClock,
    /// Held while the mark is waited for.
    state: Mutex<Minting>,
}

#[derive(Debug)]
struct Minting {
    mint: Mint,
    /// The mark that the group was asked to set, and its answer.
    asked: Option<(u64, Answered)>,
}

type Answered = oneshot::Receiver<Result<StrongDone, StrongError>>;

/// Milliseconds since 1970, as somebody tells them.
#[derive(Clone)]
struct WallClock(Arc<dyn Fn() -> u64 + Send + Sync>);

/// No id was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The lease of the worker number has ended, or may have. Open another.
    #[error("the worker number is lost: open another source of ids")]
    Lost,
    /// All worker numbers are taken. Close some that nobody uses.
    #[error("all {WORKERS} worker numbers are taken")]
    NoWorker,
    /// The time is beyond what an id can hold.
    #[error("the clock is beyond September 2095, where ids end")]
    Over,
    /// What the group said, or that it was not reached. Nothing is lost: try again.
    #[error(transparent)]
    Request(#[from] StrongFailure),
}

/// How long a worker number stays taken when its node is gone, unless told otherwise.
const TTL: Duration = Duration::from_secs(30);

/// Where worker numbers and marks are.
const NAMESPACE: &str = "meshwork.ids";

impl Mesh {
    /// Ids that are unique in the mesh. [`IdsBuilder::open`] leases a worker number for them.
    #[must_use]
    pub fn ids(&self) -> IdsBuilder {
        IdsBuilder {
            mesh: self.clone(),
            ttl: TTL,
            clock: WallClock(Arc::new(wall::now_ms)),
        }
    }
}

impl IdsBuilder {
    /// How long the worker number outlives this node: 1 s to 24 h, 30 s by default. Less frees it sooner after a crash; more makes ids through
    /// longer interruptions.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Takes the time from elsewhere than the system: milliseconds since 1970. For tests and simulated meshes.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.clock = WallClock(Arc::new(clock));
        self
    }

    /// Leases a worker number. Takes a few requests to the group.
    ///
    /// Dropping the future gives it back.
    ///
    /// # Errors
    /// [`IdError`].
    ///
    /// # Panics
    /// Never: the namespace has a good name.
    pub async fn open(self) -> Result<Ids, IdError> {
        let namespace = self.mesh.strong(NAMESPACE).expect("the name is a good one");
        namespace.create().await?;
        let lease = self.mesh.lease(self.ttl).await?;
        loop {
            let wall_ms = self.clock.now_ms();
            let workers = Workers::read(&namespace).await?;
            let (worker, left) = workers
                .choose(lease.session().0, wall_ms)
                .ok_or(IdError::NoWorker)?;
            let mut mint = Mint::new(worker, left.mark, wall_ms);
            let mark = mint.wish(wall_ms).ok_or(IdError::Over)?;
            let claim = claim(&self.mesh, worker, left.revision, mark);
            let Outcome::Done { branch, .. } = lease.transact(claim).await? else {
                return Err(unexpected().into());
            };
            // Else another took it meanwhile.
            if branch == Branch::Then {
                mint.reserved(mark);
                let state = Mutex::new(Minting { mint, asked: None });
                return Ok(Ids {
                    mesh: self.mesh,
                    lease,
                    worker,
                    clock: self.clock,
                    state,
                });
            }
        }
    }
}

impl Ids {
    /// The next id.
    ///
    /// Dropping the future loses none.
    ///
    /// # Errors
    /// [`IdError`].
    pub async fn next(&self) -> Result<u64, IdError> {
        let mut state = self.state.lock().await;
        loop {
            if self.lease.is_lost() {
                return Err(IdError::Lost);
            }
            let Minting { mint, asked } = &mut *state;
            if let Some((_, answered)) = asked
                && let Ok(answer) = answered.try_recv()
            {
                // What failed is asked for again; that matters only once nothing is left.
                drop(take(mint, asked, answer));
            }
            let wall_ms = self.clock.now_ms();
            if asked.is_none()
                && let Some(mark) = mint.wish(wall_ms)
            {
                *asked = Some((mark, self.ask(mark).await?));
            }
            if let Some(id) = mint.next(wall_ms) {
                return Ok(id);
            }
            let Some((_, answered)) = asked else {
                return Err(IdError::Over);
            };
            let answer = answered.await.map_err(|_gone| RequestError::Stopped)?;
            take(mint, asked, answer)?;
        }
    }

    /// The worker number, below 1,024.
    #[must_use]
    pub const fn worker(&self) -> u64 {
        self.worker
    }

    /// Whether the worker number is lost, or may be.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lease.is_lost()
    }

    /// Waits until the worker number is lost, or may be.
    pub async fn lost(&self) {
        self.lease.lost().await;
    }

    /// Gives the worker number back, and waits until others can have it.
    ///
    /// # Errors
    /// [`StrongFailure`]: the group was not reached in time; others have it when its time is over.
    pub async fn close(self) -> Result<(), StrongFailure> {
        self.lease.revoke().await
    }

    /// Asks the group to set the mark.
    ///
    /// In the lease's session: the group refuses it once the number may be another's, and applies no earlier one after it.
    async fn ask(&self, mark: u64) -> Result<Answered, StrongFailure> {
        let transact = Request::Transact(Transaction {
            then: vec![put_mark(self.worker, mark)],
            ..Transaction::default()
        });
        let request = StrongRequest::In(self.lease.session(), transact);
        let answered = self.mesh.begin_strong(request, STRONG_TIMEOUT).await;
        answered.ok_or(RequestError::Stopped)
    }
}

/// Takes in what the group said of a mark.
fn take(
    mint: &mut Mint,
    asked: &mut Option<(u64, Answered)>,
    answer: Result<StrongDone, StrongError>,
) -> Result<(), IdError> {
    let Some((mark, _)) = asked.take() else {
        return Ok(());
    };
    match answer {
        Ok(StrongDone::Done(Outcome::Done { .. })) => {
            mint.reserved(mark);
            Ok(())
        }
        Ok(_) => Err(unexpected().into()),
        Err(StrongError::Refused(Refusal::SessionExpired { .. })) => Err(IdError::Lost),
        Err(error) => Err(StrongFailure::from(error).into()),
    }
}

/// Worker numbers that are or were in use.
#[derive(Debug, Default)]
struct Workers(BTreeMap<u64, Left>);

/// What is known of a worker number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Left {
    taken: bool,
    mark: u64,
    /// When the mark was set.
    revision: Revision,
}

impl Workers {
    async fn read(namespace: &StrongNamespace) -> Result<Self, StrongFailure> {
        let mut workers = Self::default();
        let mut after = None;
        loop {
            let (_, keys) = namespace.list("", after.as_ref()).await?;
            let Some((last, _)) = keys.last() else {
                return Ok(workers);
            };
            after = Some(last.clone());
            for (key, found) in keys {
                workers.note(&key, &found.value, found.revision);
            }
        }
    }

    fn note(&mut self, key: &Key, value: &[u8], revision: Revision) {
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let Some((kind, worker)) = text(key.name()).and_then(|name| name.split_once('/')) else {
            return;
        };
        let Ok(worker) = worker.parse() else {
            return;
        };
        let left = self.0.entry(worker).or_default();
        match (kind, text(value).and_then(|mark| mark.parse().ok())) {
            (MARK, Some(mark)) => (left.mark, left.revision) = (mark, revision),
            // A mark that cannot be read says nothing of what was used.
            (MARK | OWNER, _) => left.taken = true,
            _ => {}
        }
    }

    /// One that is free, rather one whose former owner's clock was not ahead; others choose others.
    fn choose(&self, first: u64, wall_ms: u64) -> Option<(u64, Left)> {
        let workers = (0..WORKERS).map(|step| first.wrapping_add(step) % WORKERS);
        let left = |worker| self.0.get(&worker).copied().unwrap_or_default();
        let free = workers.map(|worker| (worker, left(worker)));
        let free = free.filter(|(_, left)| !left.taken);
        free.min_by_key(|(_, left)| is_ahead(left.mark, wall_ms))
    }
}

/// Takes a worker number, if it is as it was seen.
fn claim(mesh: &Mesh, worker: u64, since: Revision, mark: u64) -> Transaction {
    let owner = key(OWNER, worker);
    Transaction {
        conditions: vec![
            Condition::Value {
                key: owner.clone(),
                value: None,
            },
            Condition::Unchanged {
                key: key(MARK, worker),
                since,
            },
        ],
        then: vec![
            KeyOp::Put {
                key: owner,
                value: mesh.id().to_string().into_bytes(),
                owner: Owner::Session,
            },
            put_mark(worker, mark),
        ],
        otherwise: vec![],
    }
}

fn put_mark(worker: u64, mark: u64) -> KeyOp {
    KeyOp::Put {
        key: key(MARK, worker),
        value: mark.to_string().into_bytes(),
        owner: Owner::Nobody,
    }
}

fn key(kind: &str, worker: u64) -> Key {
    let name = format!("{kind}/{worker}");
    Key::new(NAMESPACE, name.as_bytes()).expect("the name is short")
}

/// Who has a worker number: the node.
const OWNER: &str = "owner";

/// Up to which time it may have been used.
const MARK: &str = "mark";

impl WallClock {
    fn now_ms(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock")
    }
}
