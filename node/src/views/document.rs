//! Text documents.

use meshwork_crdt::{Document, EditText, Kind, Object, Text};
use meshwork_sync::Written;

use super::entry::Stored;
use super::{Entry, ValueError};

/// A text that everybody may edit at once, also while apart.
#[derive(Clone, Debug)]
pub struct TextDocument(Entry);

impl TextDocument {
    pub(super) const fn new(entry: Entry) -> Self {
        Self(entry)
    }

    /// The text; `None` when nobody has written any yet.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn text(&self) -> Result<Option<String>, ValueError> {
        Ok(self.read().await?.map(|text| text.text()))
    }

    /// The document, open for reading: its text, the marks on it, and what else is in it; `None` when nobody has written any yet.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn read(&self) -> Result<Option<Text>, ValueError> {
        let object = self.0.object().await?;
        let document = self.document(&object);
        Ok(document.map(|document| self.open(document, &object)))
    }

    /// Opens the text, lets `change` edit and mark it, and writes what it did. Returns `None` when it did nothing.
    ///
    /// What others write meanwhile is not lost: edits merge character by character.
    ///
    /// # Errors
    /// [`ValueError`]; nothing was written when `change` failed.
    pub async fn edit(
        &self,
        change: impl FnOnce(&mut Text) -> Result<(), EditText>,
    ) -> Result<Option<Written>, ValueError> {
        let op = {
            let object = self.0.object().await?;
            let new = Document::default();
            let document = self.document(&object).unwrap_or(&new);
            let mut text = self.open(document, &object);
            change(&mut text)?;
            text.commit_to(document)
        };
        match op {
            Some(op) => self.0.write(op).await.map(Some),
            None => Ok(None),
        }
    }

    fn document<'a>(&self, object: &'a Object) -> Option<&'a Document> {
        self.0.value(object, Kind::Document).and_then(Document::of)
    }

    fn open(&self, document: &Document, object: &Object) -> Text {
        let actor = self.0.mesh().running.next_actor();
        Text::open(document, object.version(), actor)
    }
}
