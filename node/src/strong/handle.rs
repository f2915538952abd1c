//! Strong keys, for embedding applications.

use std::time::Duration;

use meshwork_sync::{InvalidKey, Key, Prefix};

use super::lease::Lease;
use super::watch::{StrongWatch, revision};
use super::{
    Branch, Condition, Finding, Found, KeyOp, Outcome, Owner, Query, Refusal, Request, Revision,
    StrongDone, StrongError, StrongRequest, Transaction,
};
use crate::mesh::{Mesh, RequestError};

/// Strong keys of one namespace: each read and write is one point in a history that all nodes agree on.
///
/// Needs a group of voters that can be reached; without one every method fails within its time, and says whether something may have
/// changed. Keys that can be written at any time, with no network, are in a [`Namespace`](crate::Namespace).
///
/// ```no_run
/// # async fn example(mesh: meshwork::Mesh) -> Result<(), Box<dyn std::error::Error>> {
/// let bank = mesh.strong("bank")?;
/// bank.create().await?;
/// bank.put("alice", "100").await?;
/// assert!(bank.compare_and_set("alice", Some(b"100"), "70").await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct StrongNamespace {
    pub(super) mesh: Mesh,
    name: String,
    pub(super) timeout: Duration,
}

/// Why a strong request failed.
pub type StrongFailure = RequestError<StrongError>;

/// The name of a key is outside its limits, or the request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StrongKeyError {
    /// The caller's mistake; nobody was asked.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// What the group said, or that it was not reached.
    #[error(transparent)]
    Request(#[from] StrongFailure),
}

/// How long a strong request may take unless told otherwise: a leader that was lost is replaced in about two election timeouts.
pub const STRONG_TIMEOUT: Duration = Duration::from_secs(5);

impl Mesh {
    /// Strong keys of a namespace.
    ///
    /// # Errors
    /// [`InvalidKey`] when the name breaks the rules for namespaces.
    pub fn strong(&self, namespace: &str) -> Result<StrongNamespace, InvalidKey> {
        Key::new(namespace, b"-")?;
        Ok(StrongNamespace {
            mesh: self.clone(),
            name: namespace.to_owned(),
            timeout: STRONG_TIMEOUT,
        })
    }

    /// Asks something of the strong group: what all other ways to it are made of.
    ///
    /// Dropping the future does not call off what it asked for.
    ///
    /// # Errors
    /// [`StrongError`] says whether anything may have changed.
    pub async fn ask_strong(
        &self,
        request: StrongRequest,
        timeout: Duration,
    ) -> Result<StrongDone, StrongFailure> {
        let answered = self.begin_strong(request, timeout).await;
        let answer = answered.ok_or(RequestError::Stopped)?.await;
        Ok(answer.ok().ok_or(RequestError::Stopped)??)
    }
}

impl StrongNamespace {
    /// The same keys with another time that a request may take.
    #[must_use]
    pub const fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Makes the namespace a strong one. Says whether it was none before.
    ///
    /// # Errors
    /// [`StrongFailure`].
    pub async fn create(&self) -> Result<bool, StrongFailure> {
        let namespace = self.name.clone();
        let Outcome::Created { new } = self.act(Request::Create { namespace }).await? else {
            return Err(unexpected());
        };
        Ok(new)
    }

    /// A key's value, and the revision of its last change.
    ///
    /// # Errors
    /// [`StrongKeyError`].
    pub async fn get(&self, name: &str) -> Result<Option<Found>, StrongKeyError> {
        let keys = vec![self.key(name)?];
        let Finding::Got { mut found, .. } = self.find(Query::Get(keys)).await? else {
            return Err(unexpected().into());
        };
        Ok(found.pop().flatten())
    }

    /// Keys whose names begin with `prefix`, in order and as of one revision: the first thousand, or as many as make half a MiB. The next
    /// are those `after` the last; none are left when there are none.
    ///
    /// # Errors
    /// [`StrongFailure`].
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<&Key>,
    ) -> Result<(Revision, Vec<(Key, Found)>), StrongFailure> {
        let query = Query::List {
            prefix: self.prefix(prefix),
            after: after.cloned(),
            max: u32::MAX,
        };
        let Finding::Listed { revision, keys } = self.find(query).await? else {
            return Err(unexpected());
        };
        Ok((revision, keys))
    }

    /// Tells of changes of keys whose names begin with `prefix`, from now on, until the watch is dropped.
    ///
    /// # Errors
    /// [`StrongFailure`].
    pub async fn watch(&self, prefix: &str) -> Result<StrongWatch, StrongFailure> {
        let now = revision(&self.mesh, self.timeout).await?;
        Ok(self.watch_after(prefix, now))
    }

    /// The same from a revision on: that of a [list](Self::list), or of the last event of another watch.
    #[must_use]
    pub fn watch_after(&self, prefix: &str, revision: Revision) -> StrongWatch {
        StrongWatch::new(self.mesh.clone(), self.prefix(prefix), revision)
    }

    /// Writes a key. Returns the revision of the change.
    ///
    /// # Errors
    /// [`StrongKeyError`].
    pub async fn put(
        &self,
        name: &str,
        value: impl Into<Vec<u8>>,
    ) -> Result<Revision, StrongKeyError> {
        let put = put(self.key(name)?, value.into());
        let (revision, _) = self.then(vec![], put).await?;
        Ok(revision)
    }

    /// Writes a key that is gone when the lease ends. Returns the revision of the change.
    ///
    /// Whoever writes it otherwise takes it from the lease.
    ///
    /// # Errors
    /// [`StrongKeyError`]; [`Refusal::SessionExpired`] when the lease has ended.
    pub async fn put_leased(
        &self,
        lease: &Lease,
        name: &str,
        value: impl Into<Vec<u8>>,
    ) -> Result<Revision, StrongKeyError> {
        let put = KeyOp::Put {
            key: self.key(name)?,
            value: value.into(),
            owner: Owner::Session,
        };
        let request = Request::Transact(only(put));
        let outcome = lease.act(request, self.timeout).await?;
        let Outcome::Done { revision, .. } = outcome else {
            return Err(unexpected().into());
        };
        Ok(revision)
    }

    /// Removes a key. Returns the revision of the change.
    ///
    /// # Errors
    /// [`StrongKeyError`].
    pub async fn delete(&self, name: &str) -> Result<Revision, StrongKeyError> {
        let key = self.key(name)?;
        let (revision, _) = self.then(vec![], KeyOp::Delete { key }).await?;
        Ok(revision)
    }

    /// Writes a key if it has this value, or if there is none where `None` is expected. Says whether it did.
    ///
    /// # Errors
    /// [`StrongKeyError`].
    pub async fn compare_and_set(
        &self,
        name: &str,
        expected: Option<&[u8]>,
        value: impl Into<Vec<u8>>,
    ) -> Result<bool, StrongKeyError> {
        let key = self.key(name)?;
        let holds = Condition::Value {
            key: key.clone(),
            value: expected.map(<[u8]>::to_vec),
        };
        let (_, branch) = self.then(vec![holds], put(key, value.into())).await?;
        Ok(branch == Branch::Then)
    }

    /// Reads and changes keys at one point in history.
    ///
    /// # Errors
    /// [`StrongFailure`].
    pub async fn transact(&self, transaction: Transaction) -> Result<Outcome, StrongFailure> {
        self.act(Request::Transact(transaction)).await
    }

    pub(super) fn key(&self, name: &str) -> Result<Key, InvalidKey> {
        Key::new(&self.name, name.as_bytes())
    }

    fn prefix(&self, name: &str) -> Prefix {
        Prefix {
            namespace: self.name.clone(),
            name: name.as_bytes().to_vec(),
        }
    }

    async fn find(&self, query: Query) -> Result<Finding, StrongFailure> {
        let request = StrongRequest::Read(query);
        self.mesh.ask_strong(request, self.timeout).await?.finding()
    }

    async fn then(
        &self,
        conditions: Vec<Condition>,
        then: KeyOp,
    ) -> Result<(Revision, Branch), StrongFailure> {
        let transaction = Transaction {
            conditions,
            then: vec![then],
            otherwise: vec![],
        };
        let done = self.transact(transaction).await?;
        let Outcome::Done {
            revision, branch, ..
        } = done
        else {
            return Err(unexpected());
        };
        Ok((revision, branch))
    }

    async fn act(&self, request: Request) -> Result<Outcome, StrongFailure> {
        let request = StrongRequest::Do(request);
        self.mesh.ask_strong(request, self.timeout).await?.outcome()
    }
}

impl StrongDone {
    /// What was done, where something was to be done.
    pub(crate) fn outcome(self) -> Result<Outcome, StrongFailure> {
        let Self::Done(outcome) = self else {
            return Err(unexpected());
        };
        Ok(outcome)
    }

    /// What was found, where something was to be read.
    pub(crate) fn finding(self) -> Result<Finding, StrongFailure> {
        let Self::Found(finding) = self else {
            return Err(unexpected());
        };
        Ok(finding)
    }
}

fn only(op: KeyOp) -> Transaction {
    Transaction {
        then: vec![op],
        ..Transaction::default()
    }
}

fn put(key: Key, value: Vec<u8>) -> KeyOp {
    KeyOp::Put {
        key,
        value,
        owner: Owner::Nobody,
    }
}

/// The leader answered another question: its fault, and what was done is open.
pub(super) const fn unexpected() -> StrongFailure {
    RequestError::Refused(StrongError::Unknown)
}

/// Whether a lock is somebody else's.
pub(super) fn is_held(error: &StrongFailure) -> bool {
    matches!(
        error,
        RequestError::Refused(StrongError::Refused(Refusal::Held { .. }))
    )
}
