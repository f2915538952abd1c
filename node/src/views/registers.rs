//! Single values.

use meshwork_crdt::{Kind, MvRegister, Op};
use meshwork_sync::Written;

use super::{Entry, ValueError};

/// A register: one value, or the concurrent ones until somebody settles it.
#[derive(Clone, Debug)]
pub struct Register(Entry);

impl Register {
    pub(super) const fn new(entry: Entry) -> Self {
        Self(entry)
    }

    /// Sets the value; it supersedes every value that its writer's node can see.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn put(&self, value: impl Into<Vec<u8>>) -> Result<Written, ValueError> {
        self.0.write(Op::Put(value.into())).await
    }

    /// The value that was written last by the writers' clocks; `None` when there is none.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn latest(&self) -> Result<Option<Vec<u8>>, ValueError> {
        let latest = |register: &MvRegister<Vec<u8>>| register.latest().cloned();
        Ok(self.0.read(latest).await?.flatten())
    }

    /// All values that nobody has superseded: more than one after concurrent writes.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn siblings(&self) -> Result<Vec<Vec<u8>>, ValueError> {
        let siblings = |register: &MvRegister<Vec<u8>>| {
            let values = register.siblings().map(|(_, _, value)| value.clone());
            values.collect()
        };
        Ok(self.0.read(siblings).await?.unwrap_or_default())
    }

    /// Deletes the key, or removes the field.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn delete(&self) -> Result<Written, ValueError> {
        self.0.remove(Kind::Register).await
    }
}

/// A value that the holder of the greatest fencing token writes.
///
/// Write with the token of the lock that protects it. Whoever lost the lock without noticing, in a long pause, comes with a
/// lower token than its successor and is refused, or loses wherever the two meet.
#[derive(Clone, Debug)]
pub struct Fenced(Entry);

impl Fenced {
    pub(super) const fn new(entry: Entry) -> Self {
        Self(entry)
    }

    /// Writes a value under a token.
    ///
    /// # Errors
    /// [`ValueError`]; [`FencedOff`](meshwork_crdt::FencedOff) within it if a greater token has been here: stop, do not
    /// try again.
    pub async fn put(&self, token: u64, value: impl Into<Vec<u8>>) -> Result<Written, ValueError> {
        let value = value.into();
        self.0.write(Op::PutFenced { token, value }).await
    }

    /// The greatest token and its value; `None` when nothing was written yet.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn get(&self) -> Result<Option<(u64, Vec<u8>)>, ValueError> {
        let held = |fenced: &meshwork_crdt::Fenced<Vec<u8>>| {
            let held = fenced.value();
            held.map(|(token, value)| (token, value.clone()))
        };
        Ok(self.0.read(held).await?.flatten())
    }
}
