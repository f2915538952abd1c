//! Live dots that carry a value each.

use core::fmt::Debug;
use core::ops::RangeInclusive;

use crate::causal::few::Few;
use crate::wire::{StoreReader, StoreWriter, Wire};
use crate::{Contexts, DecodeObject, Dot, DotStore, ReplicaId};

/// A map from live dots to values. A dot means the same value wherever it is live.
///
/// If a hostile replica gave one dot two values, the greater one wins wherever both meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DotFun<V>(Few<Dot, V>);

impl<V> DotFun<V> {
    /// The map of one dot.
    #[must_use]
    pub fn of(dot: Dot, value: V) -> Self {
        Self(Few::One(dot, value))
    }

    /// The value of a live dot.
    #[must_use]
    pub fn get(&self, dot: Dot) -> Option<&V> {
        self.0.get(&dot)
    }

    /// The live dots and their values, by dot.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Dot, &V)> + '_ {
        self.0.iter().map(|(dot, value)| (*dot, value))
    }

    /// The live dots of one run of a replica's counters, and their values.
    pub fn range(
        &self,
        replica: ReplicaId,
        run: RangeInclusive<u64>,
    ) -> impl Iterator<Item = (Dot, &V)> + '_ {
        // An empty run would make the map panic.
        let (last, max) = match run.is_empty() {
            true => (*run.start(), 0),
            false => (*run.end(), usize::MAX),
        };
        let range = Dot::new(replica, *run.start())..=Dot::new(replica, last);
        let range = self.0.range(range).take(max);
        range.map(|(dot, value)| (*dot, value))
    }

    /// The live dots of one replica and their values, by counter; found without looking at others.
    pub(crate) fn replica(
        &self,
        replica: ReplicaId,
    ) -> impl DoubleEndedIterator<Item = (Dot, &V)> + '_ {
        let range = Dot::new(replica, 0)..=Dot::new(replica, u64::MAX);
        self.0.range(range).map(|(dot, value)| (*dot, value))
    }

    /// The part with the live dots of one replica; found without looking at others.
    #[must_use]
    pub fn of_replica(&self, replica: ReplicaId) -> Self
    where
        V: Clone,
    {
        let own = self.replica(replica);
        Self(own.map(|(dot, value)| (dot, value.clone())).collect())
    }

    /// How many dots are live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no dot is live.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<V> Default for DotFun<V> {
    fn default() -> Self {
        Self(Few::new())
    }
}

impl<V: Clone + Ord + Debug> DotStore for DotFun<V> {
    fn join(&mut self, other: &Self, contexts: &Contexts<'_>) {
        if !contexts.all_met() {
            self.0.retain(|dot, _| match other.0.get(dot) {
                Some(_) => {
                    contexts.meet_both();
                    true
                }
                None => contexts.meet_mine(*dot),
            });
        }
        for (dot, theirs) in other.0.iter() {
            match self.0.get_mut(dot) {
                Some(mine) if *mine < *theirs => *mine = theirs.clone(),
                Some(_) => {}
                None if contexts.takes_theirs(*dot) => self.0.insert(*dot, theirs.clone()),
                None => {}
            }
        }
    }

    fn visit(&self, visitor: &mut dyn FnMut(Dot)) {
        self.0.iter().for_each(|(dot, _)| visitor(*dot));
    }

    fn retain(&mut self, keep: &mut dyn FnMut(Dot) -> bool) {
        self.0.retain(|dot, _| keep(*dot));
    }

    fn kept(&self, keep: &mut dyn FnMut(Dot) -> bool) -> Self {
        let kept = self.0.iter().filter(|(dot, _)| keep(**dot));
        Self(kept.map(|(dot, value)| (*dot, value.clone())).collect())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<V: Wire> Wire for DotFun<V> {
    fn write(&self, writer: &mut StoreWriter) {
        writer.writer.length(self.0.len());
        for (dot, value) in self.0.iter() {
            writer.dot(*dot);
            value.write(writer);
        }
    }

    fn read(reader: &mut StoreReader<'_>, depth: usize) -> Result<Self, DecodeObject> {
        let entries = reader.some_entries(|reader| Ok((reader.dot()?, V::read(reader, depth)?)))?;
        Ok(Self(entries.into_iter().collect()))
    }
}
