//! Text documents, for embedding applications.

use meshwork_crdt::{CausalContext, Document, Object, Op, SpliceText, Text};
use meshwork_sync::Written;

use crate::namespace::{Entry, ValueError};

/// A text under one key that everybody may edit at once, also while apart.
#[derive(Clone, Debug)]
pub struct TextDocument(Entry);

impl TextDocument {
    pub(crate) const fn new(entry: Entry) -> Self {
        Self(entry)
    }

    /// The text; `None` when nobody has written any yet.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn text(&self) -> Result<Option<String>, ValueError> {
        let object = self.0.read().await?;
        Ok(object
            .as_document()
            .map(|document| self.open(document, object.version()).text()))
    }

    /// Opens the text, lets `change` edit it, and writes what it did. Returns `None` when it did nothing.
    ///
    /// What others write meanwhile is not lost: edits merge character by character.
    ///
    /// # Errors
    /// [`ValueError`]; nothing was written when `change` failed.
    pub async fn edit(
        &self,
        change: impl FnOnce(&mut Text) -> Result<(), SpliceText>,
    ) -> Result<Option<Written>, ValueError> {
        let chunk = {
            let object = self.0.read().await?;
            let mut text = self.open_object(&object);
            change(&mut text)?;
            text.commit()
        };
        match chunk {
            Some(chunk) => self.0.write(Op::Chunk(chunk)).await.map(Some),
            None => Ok(None),
        }
    }

    fn open_object(&self, object: &Object) -> Text {
        match object.as_document() {
            Some(document) => self.open(document, object.version()),
            None => self.open(&Document::default(), object.version()),
        }
    }

    fn open(&self, document: &Document, version: &CausalContext) -> Text {
        Text::open(document, version, self.0.mesh().running.next_actor())
    }
}
