//! Keys that belong together.

use meshwork_sync::{InvalidKey, Key};

use crate::mesh::{Mesh, Options};
use crate::views::Entry;

/// Keys that belong together, with the level and deadline to use for them.
///
/// A key holds a value of one kind; opening it as the kind that it should have asks nobody yet.
#[derive(Clone, Debug)]
pub struct Namespace {
    mesh: Mesh,
    name: String,
    options: Options,
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

    pub(crate) fn entry(&self, name: &str) -> Entry {
        let key = Key::new(&self.name, name.as_bytes());
        Entry::new(self.mesh.clone(), key, self.options)
    }
}
