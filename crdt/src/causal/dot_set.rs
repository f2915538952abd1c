//! Live dots that carry nothing.

use crate::causal::few::Few;
use crate::wire::{StoreReader, StoreWriter, Wire};
use crate::{Contexts, DecodeObject, Dot, DotStore};

/// A set of live dots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DotSet(Few<Dot, ()>);

impl DotSet {
    /// The set of one dot.
    #[must_use]
    pub fn of(dot: Dot) -> Self {
        Self(Few::One(dot, ()))
    }

    /// The live dots, in order.
    pub fn iter(&self) -> impl Iterator<Item = Dot> + '_ {
        self.0.iter().map(|(dot, ())| *dot)
    }
}

impl DotStore for DotSet {
    fn join(&mut self, other: &Self, contexts: &Contexts<'_>) {
        if let (Few::One(mine, ()), Few::One(theirs, ())) = (&self.0, &other.0)
            && mine == theirs
        {
            // Almost all elements of two sets that meet.
            return contexts.meet_both();
        }
        if !contexts.all_met() {
            self.0.retain(|dot, ()| match other.0.get(dot) {
                Some(()) => {
                    contexts.meet_both();
                    true
                }
                None => contexts.meet_mine(*dot),
            });
        }
        for dot in other.iter().filter(|dot| contexts.takes_theirs(*dot)) {
            self.0.insert(dot, ());
        }
    }

    fn visit(&self, visitor: &mut dyn FnMut(Dot)) {
        self.iter().for_each(visitor);
    }

    fn retain(&mut self, keep: &mut dyn FnMut(Dot) -> bool) {
        self.0.retain(|dot, ()| keep(*dot));
    }

    fn kept(&self, keep: &mut dyn FnMut(Dot) -> bool) -> Self {
        let kept = self.iter().filter(|dot| keep(*dot));
        Self(kept.map(|dot| (dot, ())).collect())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Wire for DotSet {
    fn write(&self, writer: &mut StoreWriter) {
        writer.writer.length(self.0.len());
        self.iter().for_each(|dot| writer.dot(dot));
    }

    fn read(reader: &mut StoreReader<'_>, _: usize) -> Result<Self, DecodeObject> {
        let dots = reader.some_entries(|reader| Ok((reader.dot()?, ())))?;
        Ok(Self(dots.into_iter().collect()))
    }
}
