//! A set.

use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt::Debug;

use crate::kinds::shape_of_store;
use crate::wire::{StoreReader, StoreWriter, Wire};
use crate::{DecodeObject, Dot, DotMap, DotSet, Edit};

/// A set where inserting wins over concurrent removing. Leaves no tombstones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwSet<E>(DotMap<E, DotSet>);

shape_of_store!(AwSet<E>, E: Clone, Ord, Debug);

impl<E: Clone + Ord + Debug> AwSet<E> {
    /// Whether the element is in the set.
    #[must_use]
    pub fn contains<Q: Ord + ?Sized>(&self, element: &Q) -> bool
    where
        E: Borrow<Q>,
    {
        self.0.get(element).is_some()
    }

    /// The elements, in order.
    pub fn iter(&self) -> impl Iterator<Item = &E> + '_ {
        self.0.iter().map(|(element, _)| element)
    }

    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Inserts an element, also if it is there already: the new insertion must survive a concurrent removal.
    #[must_use]
    pub fn insert(&self, dot: Dot, element: E) -> Edit<Self> {
        let seen = self.0.get(&element).cloned().unwrap_or_default();
        Edit::over(Self(DotMap::of(element, DotSet::of(dot))), &seen)
    }

    /// Removes an element, as far as its insertions were seen.
    #[must_use]
    pub fn remove<Q: Ord + ?Sized>(&self, element: &Q) -> Edit<Self>
    where
        E: Borrow<Q>,
    {
        let seen = self.0.get(element).cloned().unwrap_or_default();
        Edit::over(Self::default(), &seen)
    }
}

impl<E> Default for AwSet<E> {
    fn default() -> Self {
        Self(DotMap::default())
    }
}

impl Wire for AwSet<Vec<u8>> {
    fn write(&self, writer: &mut StoreWriter) {
        writer.writer.length(self.0.len());
        for (element, dots) in self.0.iter() {
            writer.writer.string(element);
            dots.write(writer);
        }
    }

    fn read(reader: &mut StoreReader<'_>, depth: usize) -> Result<Self, DecodeObject> {
        let entries = reader.some_entries(|reader| {
            let element = reader.reader.key()?.to_vec();
            Ok((element, DotSet::read(reader, depth)?))
        })?;
        Ok(Self(DotMap::from_entries(entries)))
    }
}
