//! What a document holds beside plain text: marks on it, and lists, maps and counters beside it.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use automerge::marks::{ExpandMark, Mark};
use automerge::transaction::Transactable;
use automerge::{AutomergeError, ObjId, ReadDoc, ScalarValue};

use crate::text::editor::Text;

impl Text {
    /// Marks part of the text: bold, a link, a comment. Text that is typed at its ends is marked as `expand` says.
    ///
    /// Marks of one name that overlap are settled by automerge: the later one counts where both are.
    /// Source: Litt, Lim, Kleppmann, van Hardenberg, "Peritext: a CRDT for collaborative rich text editing" (2022).
    ///
    /// # Errors
    /// [`EditText`]; nothing changed.
    ///
    /// # Examples
    /// ```
    /// use meshwork_crdt::automerge::marks::ExpandMark;
    /// use meshwork_crdt::{ActorSeed, ReplicaId, Text};
    /// let seed = ActorSeed::new(ReplicaId::from_bytes(*b"replicaA"), 1);
    /// let mut text = Text::open(&Default::default(), &Default::default(), seed);
    /// text.splice(0, 0, "a bold word")?;
    /// text.mark(2..6, "bold", true, ExpandMark::Both)?;
    /// let marks = text.marks();
    /// assert_eq!((marks[0].start, marks[0].end, marks[0].name.as_str()), (2, 6, "bold"));
    /// # Ok::<(), meshwork_crdt::EditText>(())
    /// ```
    pub fn mark(
        &mut self,
        range: Range<usize>,
        name: &str,
        value: impl Into<ScalarValue>,
        expand: ExpandMark,
    ) -> Result<(), EditText> {
        let range = self.within(range.start, range.len())?;
        let mark = Mark::new(name.to_string(), value, range.start, range.end);
        Ok(self.doc.mark(&self.text, mark, expand)?)
    }

    /// Takes marks of a name off part of the text.
    ///
    /// # Errors
    /// [`EditText`]; nothing changed.
    pub fn unmark(
        &mut self,
        range: Range<usize>,
        name: &str,
        expand: ExpandMark,
    ) -> Result<(), EditText> {
        let range = self.within(range.start, range.len())?;
        Ok(self
            .doc
            .unmark(&self.text, name, range.start, range.end, expand)?)
    }

    /// The marks on the text, by where they start.
    #[must_use]
    pub fn marks(&self) -> Vec<Mark> {
        self.doc.marks(&self.text).unwrap_or_default()
    }

    /// Everything in the document, to be read with automerge's own methods: [`automerge::ROOT`] is a map, and the text is in it.
    #[must_use]
    pub const fn contents(&self) -> &impl ReadDoc {
        &self.doc
    }

    /// Everything in the document, to be changed with automerge's own methods; the changes are part of the next [`Text::commit`].
    ///
    /// # Examples
    /// ```
    /// use meshwork_crdt::automerge::{ObjType, ROOT, ReadDoc, transaction::Transactable};
    /// use meshwork_crdt::{ActorSeed, ReplicaId, Text};
    /// let seed = ActorSeed::new(ReplicaId::from_bytes(*b"replicaA"), 1);
    /// let mut text = Text::open(&Default::default(), &Default::default(), seed);
    /// let tasks = text.contents_mut().put_object(ROOT, "tasks", ObjType::List)?;
    /// text.contents_mut().insert(&tasks, 0, "buy tea")?;
    /// assert_eq!(text.contents().length(&tasks), 1);
    /// assert!(text.commit().is_some());
    /// # Ok::<(), meshwork_crdt::EditText>(())
    /// ```
    pub const fn contents_mut(&mut self) -> &mut impl Transactable {
        &mut self.doc
    }

    /// Where the text is in the document.
    #[must_use]
    pub const fn object(&self) -> &ObjId {
        &self.text
    }
}

/// An edit was refused: the caller's mistake; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditText {
    /// It reaches beyond the end of the text.
    #[error("{count} code points from {position} on are not within {length}")]
    Beyond {
        /// Where it starts.
        position: usize,
        /// How much it is about.
        count: usize,
        /// How long the text is.
        length: usize,
    },
    /// automerge refuses it: there is no such object, or it is of another type.
    #[error("automerge refuses the edit: {0}")]
    Refused(String),
}

impl From<AutomergeError> for EditText {
    fn from(error: AutomergeError) -> Self {
        Self::Refused(error.to_string())
    }
}
