//! Sets.

use std::collections::BTreeSet;

use meshwork_crdt::{AwSet, Op};
use meshwork_sync::Written;

use super::{Entry, ValueError};

/// A set in which a concurrent add wins over a remove.
#[derive(Clone, Debug)]
pub struct Set(Entry);

impl Set {
    pub(super) const fn new(entry: Entry) -> Self {
        Self(entry)
    }

    /// Adds an element.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn add(&self, element: impl Into<Vec<u8>>) -> Result<Written, ValueError> {
        self.0.write(Op::Insert(element.into())).await
    }

    /// Removes an element as far as this node has seen it added.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn remove(&self, element: impl Into<Vec<u8>>) -> Result<Written, ValueError> {
        self.0.write(Op::Remove(element.into())).await
    }

    /// The elements.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn elements(&self) -> Result<BTreeSet<Vec<u8>>, ValueError> {
        let elements = |set: &AwSet<Vec<u8>>| set.iter().cloned().collect();
        Ok(self.0.read(elements).await?.unwrap_or_default())
    }
}

/// A set in which a concurrent remove wins over an add: for access lists, where a doubt should shut somebody out.
///
/// What was removed is remembered, so the set is as large as all elements that ever were in it.
#[derive(Clone, Debug)]
pub struct RwSet(Entry);

impl RwSet {
    pub(super) const fn new(entry: Entry) -> Self {
        Self(entry)
    }

    /// Adds an element as far as this node has seen it removed.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn add(&self, element: impl Into<Vec<u8>>) -> Result<Written, ValueError> {
        self.0.write(Op::Admit(element.into())).await
    }

    /// Removes an element, also one that was never added.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn remove(&self, element: impl Into<Vec<u8>>) -> Result<Written, ValueError> {
        self.0.write(Op::Ban(element.into())).await
    }

    /// The elements.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn elements(&self) -> Result<BTreeSet<Vec<u8>>, ValueError> {
        let elements = |set: &meshwork_crdt::RwSet<Vec<u8>>| set.iter().cloned().collect();
        Ok(self.0.read(elements).await?.unwrap_or_default())
    }
}

/// A set that only grows.
#[derive(Clone, Debug)]
pub struct GSet(Entry);

impl GSet {
    pub(super) const fn new(entry: Entry) -> Self {
        Self(entry)
    }

    /// Adds an element.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn add(&self, element: impl Into<Vec<u8>>) -> Result<Written, ValueError> {
        self.0.write(Op::Gather(element.into())).await
    }

    /// The elements.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn elements(&self) -> Result<BTreeSet<Vec<u8>>, ValueError> {
        let elements = |set: &meshwork_crdt::GSet<Vec<u8>>| set.iter().cloned().collect();
        Ok(self.0.read(elements).await?.unwrap_or_default())
    }
}
