//! Flags.

use meshwork_crdt::{EwFlag, Op};
use meshwork_sync::Written;

use super::{Entry, ValueError};

/// A flag in which a concurrent enable wins over a disable.
#[derive(Clone, Debug)]
pub struct Flag(Entry);

impl Flag {
    pub(super) const fn new(entry: Entry) -> Self {
        Self(entry)
    }

    /// Enables it.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn enable(&self) -> Result<Written, ValueError> {
        self.0.write(Op::Enable).await
    }

    /// Disables it as far as this node has seen it enabled.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn disable(&self) -> Result<Written, ValueError> {
        self.0.write(Op::Disable).await
    }

    /// Whether it is enabled.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn get(&self) -> Result<bool, ValueError> {
        Ok(self.0.read(EwFlag::is_enabled).await?.unwrap_or(false))
    }
}

/// A flag in which a concurrent disable wins over an enable: for a consent that can be withdrawn, a switch that must be safe.
#[derive(Clone, Debug)]
pub struct DwFlag(Entry);

impl DwFlag {
    pub(super) const fn new(entry: Entry) -> Self {
        Self(entry)
    }

    /// Enables it as far as this node has seen it disabled.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn enable(&self) -> Result<Written, ValueError> {
        self.0.write(Op::Switch(true)).await
    }

    /// Disables it.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn disable(&self) -> Result<Written, ValueError> {
        self.0.write(Op::Switch(false)).await
    }

    /// Whether it is enabled.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn get(&self) -> Result<bool, ValueError> {
        let on = self.0.read(meshwork_crdt::DwFlag::is_enabled).await?;
        Ok(on.unwrap_or(false))
    }
}
