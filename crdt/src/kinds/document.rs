//! A document, as every node keeps it: changes by dot, not looked into.

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use crate::kinds::{shape_of_store, wire_of_store};
use crate::{CausalContext, Dot, DotFun, Edit, ReplicaId};

/// A document: a set of chunks, one for each commit, each of one or more automerge changes.
///
/// Edits replace nothing, but a store may pack its own chunks into one; deleting the document removes the chunks that were seen. Nodes
/// store, join and relay chunks without reading them; [`crate::Text`] (feature `document`) reads and edits them.
///
/// One live dot a chunk: about 120 bytes for a commit of one keystroke, and less than a third of that packed. A delta is one chunk.
///
/// Source: the changes and their merge are automerge's (automerge.org; Kleppmann and Beresford, "A conflict-free replicated JSON datatype", 2017).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document(DotFun<Vec<u8>>);

shape_of_store!(Document);
wire_of_store!(Document);

impl Document {
    /// The chunks, by dot: of one replica in the order of its commits.
    pub fn chunks(&self) -> impl Iterator<Item = (Dot, &[u8])> + '_ {
        self.0.iter().map(|(dot, chunk)| (dot, chunk.as_slice()))
    }

    /// The chunks of one run of a replica's dots; found without looking at others.
    pub fn chunks_of(
        &self,
        replica: ReplicaId,
        run: RangeInclusive<u64>,
    ) -> impl Iterator<Item = (Dot, &[u8])> + '_ {
        self.0
            .range(replica, run)
            .map(|(dot, chunk)| (dot, chunk.as_slice()))
    }

    /// How many chunks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no chunk.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the changes of one commit.
    #[must_use]
    pub fn commit(&self, dot: Dot, chunk: Vec<u8>) -> Edit<Self> {
        Edit::nothing(Self(DotFun::of(dot, chunk)))
    }

    /// Adds a chunk in the place of others of the dot's replica, whose changes are in it.
    #[must_use]
    pub fn pack(&self, dot: Dot, chunk: Vec<u8>, replaces: &CausalContext) -> Edit<Self> {
        let own = self.chunks_of(dot.replica, 1..=u64::MAX);
        let own = own
            .map(|(own, _)| own)
            .filter(|own| replaces.contains(*own));
        Edit {
            replaces: CausalContext::from_dots(own),
            store: Self(DotFun::of(dot, chunk)),
        }
    }
}
