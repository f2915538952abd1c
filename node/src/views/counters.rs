//! Counters.

use meshwork_crdt::{Op, PnCounter, ReplicaId};
use meshwork_sync::Written;

use super::{Entry, ValueError};

/// A counter that goes up and down.
#[derive(Clone, Debug)]
pub struct Counter(Entry);

impl Counter {
    pub(super) const fn new(entry: Entry) -> Self {
        Self(entry)
    }

    /// Adds `amount`, which may be negative. Saturates at the ends of `i64` for each replica.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn add(&self, amount: i64) -> Result<Written, ValueError> {
        self.0.write(Op::Add(amount)).await
    }

    /// The sum; 0 when nothing was added yet.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn get(&self) -> Result<i128, ValueError> {
        Ok(self.0.read(PnCounter::value).await?.unwrap_or(0))
    }
}

/// A counter that only goes up.
#[derive(Clone, Debug)]
pub struct GCounter(Entry);

impl GCounter {
    pub(super) const fn new(entry: Entry) -> Self {
        Self(entry)
    }

    /// Adds `amount`. Saturates at the end of `u64` for each replica.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn add(&self, amount: u64) -> Result<Written, ValueError> {
        self.0.write(Op::Increase(amount)).await
    }

    /// The sum; 0 when nothing was added yet.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn get(&self) -> Result<u128, ValueError> {
        let sum = self.0.read(meshwork_crdt::GCounter::value).await?;
        Ok(sum.unwrap_or(0))
    }
}

/// A counter that never falls below zero, on any node at any moment: for stock, seats, money.
///
/// Whoever adds gets as many *rights*, and whoever takes uses its own up: so each node decides alone, with no network. A node
/// whose rights do not suffice is refused even if the sum would do, until another gives it some.
///
/// ```
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
/// # let folder = tempfile::tempdir()?;
/// # meshwork::setup::found(folder.path(), "home", &meshwork::setup::SetupOptions::default())?;
/// # let mesh = meshwork::Mesh::builder(folder.path()).listen("127.0.0.1:0".parse()?).start().await?;
/// let seats = mesh.namespace("cinema")?.bounded_counter("hall-1");
/// seats.add(100).await?;
/// seats.take(2).await?;
/// assert!(seats.take(99).await.is_err());
/// assert_eq!(seats.get().await?, 98);
/// # mesh.stop().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct BoundedCounter(Entry);

impl BoundedCounter {
    pub(super) const fn new(entry: Entry) -> Self {
        Self(entry)
    }

    /// Adds `amount`, and gives this node as many rights.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn add(&self, amount: u64) -> Result<Written, ValueError> {
        self.0.write(Op::Deposit(amount)).await
    }

    /// Takes `amount` away.
    ///
    /// # Errors
    /// [`ValueError`]; [`NoRights`](meshwork_crdt::NoRights) within it if this node has too few rights.
    pub async fn take(&self, amount: u64) -> Result<Written, ValueError> {
        self.0.write(Op::Withdraw(amount)).await
    }

    /// Gives `amount` of this node's rights to another; see [`Mesh::replica`](crate::Mesh::replica) for its id.
    ///
    /// # Errors
    /// [`ValueError`]; [`NoRights`](meshwork_crdt::NoRights) within it if this node has too few rights.
    pub async fn give_rights(&self, to: ReplicaId, amount: u64) -> Result<Written, ValueError> {
        self.0.write(Op::GiveRights { to, amount }).await
    }

    /// What was added and not taken away; 0 when nothing was added yet.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn get(&self) -> Result<u128, ValueError> {
        let value = self.0.read(meshwork_crdt::BoundedCounter::value).await?;
        Ok(value.unwrap_or(0))
    }

    /// How much this node may take away or give.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn rights(&self) -> Result<u64, ValueError> {
        self.rights_of(self.0.mesh().replica()).await
    }

    /// How much another node may take away or give, as far as is known here.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn rights_of(&self, replica: ReplicaId) -> Result<u64, ValueError> {
        let rights = |counter: &meshwork_crdt::BoundedCounter| counter.rights(replica);
        Ok(self.0.read(rights).await?.unwrap_or(0))
    }
}
