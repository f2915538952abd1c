//! Typed views of keys, for embedding applications.

use std::collections::BTreeSet;

use meshwork_crdt::{CausalContext, Object, Op, SpliceText};
use meshwork_sync::{Found, InvalidKey, Key, ReadError, WriteError, Written};

use crate::document::TextDocument;
use crate::mesh::{Mesh, Options, RequestError};

/// Keys that belong together, with the level and deadline to use for them.
#[derive(Clone, Debug)]
pub struct Namespace {
    mesh: Mesh,
    name: String,
    options: Options,
}

/// One key of a namespace, before it is known what its value is.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    mesh: Mesh,
    key: Result<Key, InvalidKey>,
    options: Options,
}

/// A request through a typed view failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// The key's name breaks a limit. The caller's mistake.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// The write was not acknowledged.
    #[error(transparent)]
    Write(#[from] RequestError<WriteError>),
    /// The read was not answered.
    #[error(transparent)]
    Read(#[from] RequestError<ReadError>),
    /// An edit lay outside the text. The caller's mistake; nothing was written.
    #[error(transparent)]
    Edit(#[from] SpliceText),
}

impl Namespace {
    pub(crate) fn new(mesh: Mesh, name: &str) -> Result<Self, InvalidKey> {
        Key::new(name, b"-")?;
        Ok(Self {
            mesh,
            name: name.to_owned(),
            options: Options::default(),
        })
    }

    /// The same keys at another level or deadline.
    #[must_use]
    pub fn with(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// A counter: up and down from everywhere at once.
    #[must_use]
    pub fn counter(&self, name: &str) -> Counter {
        Counter(self.entry(name))
    }

    /// A register: one value, or the concurrent ones until somebody settles it.
    #[must_use]
    pub fn register(&self, name: &str) -> Register {
        Register(self.entry(name))
    }

    /// A set in which a concurrent add wins over a remove.
    #[must_use]
    pub fn set(&self, name: &str) -> Set {
        Set(self.entry(name))
    }

    /// A flag in which a concurrent enable wins over a disable.
    #[must_use]
    pub fn flag(&self, name: &str) -> Flag {
        Flag(self.entry(name))
    }

    /// A text that everybody may edit at once.
    #[must_use]
    pub fn document(&self, name: &str) -> TextDocument {
        TextDocument::new(self.entry(name))
    }

    /// A value of the application's own kind; its merge function is registered with
    /// [`Builder::merges`](crate::Builder::merges) under `tag`.
    #[must_use]
    pub fn custom(&self, name: &str, tag: u16) -> CustomValue {
        CustomValue {
            entry: self.entry(name),
            tag,
        }
    }

    fn entry(&self, name: &str) -> Entry {
        let key = Key::new(&self.name, name.as_bytes());
        Entry {
            mesh: self.mesh.clone(),
            key,
            options: self.options,
        }
    }
}

impl Entry {
    pub(crate) const fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    pub(crate) async fn write(&self, op: Op) -> Result<Written, ValueError> {
        Ok(self
            .mesh
            .write(self.key.as_ref().map_err(Clone::clone)?, op, self.options)
            .await?)
    }

    pub(crate) async fn read(&self) -> Result<Object, ValueError> {
        let key = self.key.as_ref().map_err(Clone::clone)?;
        let Found { object, .. } = self
            .mesh
            .read(key, CausalContext::default(), self.options)
            .await?;
        Ok(object)
    }
}

/// A counter under one key.
#[derive(Clone, Debug)]
pub struct Counter(Entry);

impl Counter {
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
        Ok(self
            .0
            .read()
            .await?
            .as_counter()
            .map_or(0, meshwork_crdt::PnCounter::value))
    }
}

/// A register under one key.
#[derive(Clone, Debug)]
pub struct Register(Entry);

impl Register {
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
        let object = self.0.read().await?;
        Ok(object
            .as_register()
            .and_then(|register| register.latest().cloned()))
    }

    /// All values that nobody has superseded: more than one after concurrent writes.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn siblings(&self) -> Result<Vec<Vec<u8>>, ValueError> {
        let object = self.0.read().await?;
        Ok(object.as_register().map_or_else(Vec::new, |r| {
            r.siblings().map(|(_, _, value)| value.clone()).collect()
        }))
    }

    /// Deletes the key.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn delete(&self) -> Result<Written, ValueError> {
        self.0.write(Op::Delete).await
    }
}

/// A set under one key.
#[derive(Clone, Debug)]
pub struct Set(Entry);

impl Set {
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
        let object = self.0.read().await?;
        Ok(object
            .as_set()
            .map_or_else(BTreeSet::new, |set| set.iter().cloned().collect()))
    }
}

/// A flag under one key.
#[derive(Clone, Debug)]
pub struct Flag(Entry);

impl Flag {
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
        Ok(self
            .0
            .read()
            .await?
            .as_flag()
            .is_some_and(meshwork_crdt::EwFlag::is_enabled))
    }
}

/// A value of the application's own kind under one key.
#[derive(Clone, Debug)]
pub struct CustomValue {
    entry: Entry,
    tag: u16,
}

impl CustomValue {
    /// Merges a payload into the value.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn merge(&self, payload: impl Into<Vec<u8>>) -> Result<Written, ValueError> {
        self.entry
            .write(Op::Merge {
                tag: self.tag,
                payload: payload.into(),
            })
            .await
    }

    /// The value: everything merged so far, joined by the application's merge function.
    ///
    /// `None` when there is none, or when the application registered no merge function for the tag.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn get(&self) -> Result<Option<Vec<u8>>, ValueError> {
        let object = self.entry.read().await?;
        let merges = &self.entry.mesh.running.merges;
        Ok(object
            .custom(self.tag)
            .and_then(|value| value.joined(self.tag, merges)))
    }
}
