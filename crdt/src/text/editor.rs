//! A text that is open for reading and editing.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{
    ActorId, AutoCommit, Change, ChangeHash, ObjId, ObjType, ROOT, ReadDoc, TextEncoding, Value,
};

use crate::text::ready::{Origin, Ready};
use crate::text::rich::EditText;
use crate::text::{chunk, pack};
use crate::{CausalContext, Document, Op, ReplicaId};

/// The text at the key `text` of an automerge document, open for editing; what else the document holds, marks on the text included, is
/// reached with [`Text::contents`].
///
/// Opening costs one batch over all chunks, absorbing one over the new ones. Positions count Unicode code
/// points. Chunks that cannot be read are skipped and counted; changes whose dependencies have not arrived wait.
///
/// Two people who type backwards at one place see their characters interleave: that is automerge's order.
///
/// # Examples
/// ```
/// use meshwork_crdt::{ActorSeed, Dot, Hlc, Merges, Object, Op, ReplicaId, Stamp, Text};
/// let replica = ReplicaId::from_bytes(*b"replicaA");
/// let mut object = Object::new();
/// let mut text = Text::open(&Default::default(), object.version(), ActorSeed::new(replica, 1));
/// text.splice(0, 0, "Hello")?;
/// let op = Op::Chunk(text.commit().expect("something was edited"));
/// let stamp = Stamp { dot: Dot::new(replica, 1), claim_after: None, hlc: Hlc::default() };
/// object.join(&object.apply(&stamp, &op, &Merges::default())?);
///
/// let document = object.as_document().expect("just written");
/// let theirs = Text::open(document, object.version(), ActorSeed::new(ReplicaId::from_bytes(*b"replicaB"), 1));
/// assert_eq!(theirs.text(), "Hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Text {
    pub(super) doc: AutoCommit,
    pub(super) text: ObjId,
    first_text: ObjId,
    seed: ActorSeed,
    rebuilds: u32,
    seen: CausalContext,
    chunks: usize,
    ready: Ready,
    unsent: Vec<u8>,
    refused: usize,
    rewound: bool,
}

/// What the automerge actor is made from: never random, so that the same edits give the same bytes.
///
/// `session` must be new for every [`Text::open`] of a store (its next dot counter will do): an actor that starts again without
/// all of its own changes would use a sequence number twice.
/// Where two actors insert at one place at the same moment, their order is decided by replica and then session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActorSeed {
    /// The store that edits.
    pub replica: ReplicaId,
    /// Which opening by this store.
    pub session: u64,
}

impl ActorSeed {
    /// The seed of these parts.
    #[must_use]
    pub const fn new(replica: ReplicaId, session: u64) -> Self {
        Self { replica, session }
    }
}

impl Text {
    /// Opens the document; `version` is what the object that holds it has seen.
    #[must_use]
    pub fn open(document: &Document, version: &CausalContext, seed: ActorSeed) -> Self {
        Self::build(document, version, seed, (0, Vec::new()))
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> String {
        self.doc.text(&self.text).unwrap_or_default()
    }

    /// Length in Unicode code points.
    #[must_use]
    pub fn len(&self) -> usize {
        self.doc.length(&self.text)
    }

    /// Whether the text has no characters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Deletes `delete` code points from `position` on, and inserts there.
    ///
    /// # Errors
    /// [`EditText::Beyond`] if the text is too short: the caller's mistake; nothing changed.
    pub fn splice(&mut self, position: usize, delete: usize, insert: &str) -> Result<(), EditText> {
        let range = self.within(position, delete)?;
        let delete = isize::try_from(delete).unwrap_or(isize::MAX);
        Ok(self
            .doc
            .splice_text(&self.text, range.start, delete, insert)?)
    }

    /// So many code points from `position` on, which must be there.
    pub(super) fn within(&self, position: usize, count: usize) -> Result<Range<usize>, EditText> {
        let length = self.len();
        let end = position.checked_add(count).filter(|end| *end <= length);
        end.map(|end| position..end).ok_or(EditText::Beyond {
            position,
            count,
            length,
        })
    }

    /// Goes back to the text at `heads`, for an edit whose positions were counted there. What was written since is neither
    /// seen nor touched; the next call of [`Text::commit`], [`Text::heads`] or [`Text::absorb`] comes back to the present.
    ///
    /// # Errors
    /// [`UnknownHead`] if one of them is of a change that has not arrived; nothing changed.
    pub fn rewind(&mut self, heads: &[[u8; 32]]) -> Result<(), UnknownHead> {
        self.seal();
        let heads: Vec<ChangeHash> = heads.iter().copied().map(ChangeHash).collect();
        for head in &heads {
            let found = self.doc.get_change_by_hash(head);
            found.ok_or(UnknownHead { head: head.0 })?;
        }
        self.doc.isolate(&heads);
        self.rewound = true;
        Ok(())
    }

    /// Ends a commit: the chunk to write with [`crate::Op::Chunk`], or `None` if nothing was edited since the last.
    pub fn commit(&mut self) -> Option<Vec<u8>> {
        self.seal();
        let chunk = core::mem::take(&mut self.unsent);
        (!chunk.is_empty()).then_some(chunk)
    }

    /// Ends a commit: the operation to write, or `None` if nothing was edited since the last. Once this store's chunks in `document`
    /// are many, the operation packs them all into one, with the same changes in a small part of the bytes.
    ///
    /// A document that is deleted at the same moment keeps what was packed, as it keeps any commit that the deletion did not see.
    pub fn commit_to(&mut self, document: &Document) -> Option<Op> {
        let chunk = self.commit()?;
        Some(pack::write(document, self.seed.replica, chunk))
    }

    /// Takes over the chunks that are new in `document`, in one batch. Pass the whole document with the version
    /// of its object: if chunks were deleted since, the text is built anew from those that are left.
    pub fn absorb(&mut self, document: &Document, version: &CausalContext) {
        self.seal();
        let mut unseen = version.clone();
        unseen.subtract(&self.seen);
        let mut new = Changes::default();
        for (replica, run) in unseen.runs() {
            document
                .chunks_of(replica, run)
                .for_each(|(dot, chunk)| new.read(dot.replica, chunk));
        }
        self.seen.join(&unseen);
        self.chunks += new.chunks;
        self.refused += new.refused;
        // Without the deleted ones the text may not be what it was, and an actor whose changes are gone must
        // not go on; the same holds where an actor wrote two histories, or automerge was left half-way.
        let fits = self.chunks == document.len()
            && self.ready.add(new.changes).is_ok()
            && try_apply(&mut self.doc, self.ready.take());
        if fits {
            return self.find_text();
        }
        let unsent = core::mem::take(&mut self.unsent);
        let rebuilds = self.rebuilds.saturating_add(1);
        *self = Self::build(document, version, self.seed, (rebuilds, unsent));
    }

    /// The hashes of the changes that no other follows: the version of the text, in automerge's terms.
    pub fn heads(&mut self) -> Vec<[u8; 32]> {
        self.seal();
        self.doc
            .get_heads()
            .into_iter()
            .map(|head| head.0)
            .collect()
    }

    /// How many chunks or changes could not be read and were left out.
    #[must_use]
    pub const fn refused_len(&self) -> usize {
        self.refused
    }

    /// How many changes wait for others that have not arrived.
    #[must_use]
    pub fn waiting_len(&self) -> usize {
        self.ready.waiting_len()
    }

    fn build(
        document: &Document,
        version: &CausalContext,
        seed: ActorSeed,
        (rebuilds, unsent): (u32, Vec<u8>),
    ) -> Self {
        let mut all = Changes::default();
        document
            .chunks()
            .for_each(|(dot, chunk)| all.read(dot.replica, chunk));
        let (chunks, refused) = (all.chunks, all.refused);
        all.read(seed.replica, &unsent);
        let doc = AutoCommit::new_with_encoding(TextEncoding::UnicodeCodePoint);
        let mut text = Self {
            doc: doc.with_actor(actor(seed, rebuilds)),
            text: ROOT,
            first_text: ROOT,
            seed,
            rebuilds,
            seen: version.clone(),
            chunks,
            ready: Ready::default(),
            unsent,
            refused,
            rewound: false,
        };
        let genesis = chunk::parse(GENESIS).unwrap_or_default();
        genesis
            .iter()
            .for_each(|change| text.ready.note_own(change));
        text.apply(genesis);
        text.find_text();
        text.first_text = text.text.clone();
        // Nothing but the first change is applied yet, which has the only change of its actor that counts.
        let added = text.ready.add(all.changes);
        debug_assert_eq!(added, Ok(()), "no change that was applied can lose");
        let ready = text.ready.take();
        text.apply(ready);
        text.find_text();
        text
    }

    /// Moves what was edited since the last commit from automerge's transaction to `unsent`.
    fn seal(&mut self) {
        if self.doc.pending_ops() > 0 {
            self.seal_change();
        }
        if core::mem::take(&mut self.rewound) {
            self.doc.integrate();
        }
    }

    fn seal_change(&mut self) {
        let hash = self.doc.commit_with(CommitOptions::default().with_time(0));
        if let Some(change) = hash.and_then(|hash| self.doc.get_change_by_hash(&hash)) {
            if self.chunks == 0 && self.unsent.is_empty() {
                self.unsent.extend_from_slice(GENESIS);
            }
            // Uncompressed: others refuse to inflate what they have not looked at.
            self.unsent.extend_from_slice(change.raw_bytes());
            self.ready.note_own(&change);
        }
    }

    /// Applies changes in one batch; if that fails, halves it to find the bad ones, and leaves those out.
    fn apply(&mut self, changes: Vec<Change>) {
        let mut batches = alloc::vec![changes];
        while let Some(mut batch) = batches.pop() {
            let before = self.doc.clone();
            if try_apply(&mut self.doc, batch.clone()) {
                continue;
            }
            self.doc = before;
            match batch.len() {
                1 => self.refused += 1,
                length => {
                    batches.push(batch.split_off(length / 2));
                    batches.push(batch);
                }
            }
        }
    }

    /// The text that automerge shows at the key; if somebody put another thing there, the first text.
    fn find_text(&mut self) {
        self.text = match self.doc.get(ROOT, KEY) {
            Ok(Some((Value::Object(ObjType::Text), text))) => text,
            Ok(_) | Err(_) => self.first_text.clone(),
        };
    }
}

/// What was read from chunks.
#[derive(Debug, Default)]
struct Changes {
    changes: Vec<(Origin, Change)>,
    chunks: usize,
    refused: usize,
}

impl Changes {
    fn read(&mut self, replica: ReplicaId, chunk: &[u8]) {
        self.chunks += 1;
        let Some(parsed) = chunk::parse(chunk) else {
            self.refused += 1;
            return;
        };
        let origin = |change: &Change| match change
            .actor_id()
            .to_bytes()
            .starts_with(&replica.to_bytes())
        {
            true => Origin::Own,
            false => Origin::Relayed,
        };
        self.changes
            .extend(parsed.into_iter().map(|change| (origin(&change), change)));
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            rebuilds,
            seen,
            chunks,
            refused,
            ..
        } = self;
        let fields = (seed, rebuilds, seen, chunks, refused);
        f.debug_tuple("Text").field(&fields).finish_non_exhaustive()
    }
}

/// A text cannot be rewound to a change that has not arrived: fetch what is missing first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a change that was named is not here")]
pub struct UnknownHead {
    /// Its hash.
    pub head: [u8; 32],
}

/// One call, because a call costs automerge time in proportion to the whole document. If it says no, the
/// document may be half-way; automerge has panicked on hostile changes, and that is no reason for us to.
fn try_apply(doc: &mut AutoCommit, changes: Vec<Change>) -> bool {
    if changes.is_empty() {
        return true;
    }
    matches!(
        catch_unwind(AssertUnwindSafe(|| doc.apply_changes(changes))),
        Ok(Ok(()))
    )
}

fn actor(seed: ActorSeed, rebuilds: u32) -> ActorId {
    let mut bytes = seed.replica.to_bytes().to_vec();
    bytes.extend_from_slice(&seed.session.to_be_bytes());
    bytes.extend_from_slice(&rebuilds.to_be_bytes());
    ActorId::from(bytes)
}

const KEY: &str = "text";

/// The change that creates the text: the same bytes everywhere, so that two who start at once start one text and not two.
const GENESIS: &[u8] = &[
    133, 111, 74, 131, 174, 45, 131, 186, 1, 32, 0, 1, 0, 1, 1, 0, 0, 0, 5, 21, 6, 52, 1, 66, 2,
    86, 2, 112, 2, 127, 4, 116, 101, 120, 116, 1, 127, 4, 127, 0, 127, 0,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_of_an_earlier_text_keeps_what_was_written_since() {
        let seed = ActorSeed::new(ReplicaId::from_bytes(*b"replicaA"), 1);
        let mut text = Text::open(&Document::default(), &CausalContext::default(), seed);
        text.splice(0, 0, "one three").unwrap();
        let then = text.heads();
        text.splice(0, 0, "zero ").unwrap();
        text.heads();
        text.rewind(&then).unwrap();
        assert_eq!(text.text(), "one three");
        text.splice(4, 0, "two ").unwrap();
        assert!(text.commit().is_some());
        assert_eq!(text.text(), "zero one two three");
        assert_eq!(text.rewind(&[[7; 32]]), Err(UnknownHead { head: [7; 32] }));
        assert_eq!(text.text(), "zero one two three");
    }

    #[test]
    fn the_first_change_is_what_automerge_would_write() {
        let doc = AutoCommit::new_with_encoding(TextEncoding::UnicodeCodePoint);
        let mut doc = doc.with_actor(ActorId::from(&[0][..]));
        doc.put_object(ROOT, KEY, ObjType::Text).unwrap();
        let hash = doc
            .commit_with(CommitOptions::default().with_time(0))
            .unwrap();
        let change = doc.get_change_by_hash(&hash).unwrap();
        assert_eq!(change.raw_bytes(), GENESIS);
    }
}
