//! Values of the application's own kinds.

use meshwork_crdt::{Kind, Op, Value};
use meshwork_sync::Written;

use super::{Entry, ValueError};

/// A value of the application's own kind.
#[derive(Clone, Debug)]
pub struct CustomValue {
    entry: Entry,
    tag: u16,
}

impl CustomValue {
    pub(super) const fn new(entry: Entry, tag: u16) -> Self {
        Self { entry, tag }
    }

    /// Merges a payload into the value.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn merge(&self, payload: impl Into<Vec<u8>>) -> Result<Written, ValueError> {
        let (tag, payload) = (self.tag, payload.into());
        self.entry.write(Op::Merge { tag, payload }).await
    }

    /// The value: everything merged so far, joined by the application's merge function.
    ///
    /// `None` when there is none, or when the application registered no merge function for the tag.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn get(&self) -> Result<Option<Vec<u8>>, ValueError> {
        let object = self.entry.object().await?;
        let Some(Value::Custom(tag, value)) = self.entry.value(&object, Kind::Custom(self.tag))
        else {
            return Ok(None);
        };
        Ok(value.joined(*tag, &self.entry.mesh().running.merges))
    }
}
