//! The greatest and the least of what was written.

use meshwork_crdt::Op;
use meshwork_sync::Written;

use super::{Entry, ValueError};

/// The greatest of all numbers that anybody wrote: a high-water mark, a version in use.
#[derive(Clone, Debug)]
pub struct Max(Entry);

impl Max {
    pub(super) const fn new(entry: Entry) -> Self {
        Self(entry)
    }

    /// Writes a number, which counts if it is the greatest.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn put(&self, number: i64) -> Result<Written, ValueError> {
        self.0.write(Op::Max(number)).await
    }

    /// The greatest number; `None` when none was written yet.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn get(&self) -> Result<Option<i64>, ValueError> {
        Ok(self.0.read(meshwork_crdt::Max::value).await?.flatten())
    }
}

/// The least of all numbers that anybody wrote.
#[derive(Clone, Debug)]
pub struct Min(Entry);

impl Min {
    pub(super) const fn new(entry: Entry) -> Self {
        Self(entry)
    }

    /// Writes a number, which counts if it is the least.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn put(&self, number: i64) -> Result<Written, ValueError> {
        self.0.write(Op::Min(number)).await
    }

    /// The least number; `None` when none was written yet.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn get(&self) -> Result<Option<i64>, ValueError> {
        Ok(self.0.read(meshwork_crdt::Min::value).await?.flatten())
    }
}
