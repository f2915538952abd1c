//! Live dots that carry nothing.

use alloc::collections::BTreeSet;

use crate::wire::{StoreReader, StoreWriter, Wire};
use crate::{Contexts, DecodeObject, Dot, DotStore};

/// A set of live dots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DotSet(BTreeSet<Dot>);

impl DotSet {
    /// The set of one dot.
    #[must_use]
    pub fn of(dot: Dot) -> Self {
        Self([dot].into())
    }

    /// The live dots, in order.
    pub fn iter(&self) -> impl Iterator<Item = Dot> + '_ {
        self.0.iter().copied()
    }
}

impl DotStore for DotSet {
    fn join(&mut self, other: &Self, contexts: &Contexts<'_>) {
        if !contexts.disjoint {
            self.0
                .retain(|dot| other.0.contains(dot) || contexts.keeps_mine(*dot));
        }
        self.0
            .extend(other.0.iter().filter(|dot| contexts.takes_theirs(**dot)));
    }

    fn visit(&self, visitor: &mut dyn FnMut(Dot)) {
        self.0.iter().for_each(|dot| visitor(*dot));
    }

    fn retain(&mut self, keep: &mut dyn FnMut(Dot) -> bool) {
        self.0.retain(|dot| keep(*dot));
    }

    fn kept(&self, keep: &mut dyn FnMut(Dot) -> bool) -> Self {
        Self(self.0.iter().copied().filter(|dot| keep(*dot)).collect())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Wire for DotSet {
    fn write(&self, writer: &mut StoreWriter) {
        writer.writer.length(self.0.len());
        self.0.iter().for_each(|dot| writer.dot(*dot));
    }

    fn read(reader: &mut StoreReader<'_>, _: usize) -> Result<Self, DecodeObject> {
        let dots = reader.some_entries(|reader| Ok((reader.dot()?, ())))?;
        Ok(Self(dots.into_iter().map(|(dot, ())| dot).collect()))
    }
}
