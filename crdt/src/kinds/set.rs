//! Sets.

use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt::Debug;

use crate::kinds::{DwFlag, shape_of_store, wire_of_store};
use crate::{Dot, DotMap, DotSet, DotStore, Edit};

/// A set where inserting wins over concurrent removing. Leaves no tombstones.
///
/// One live dot an element, and one more for each concurrent insertion of it. Inserting, removing and looking up are
/// `O(log elements)`; the delta holds the element alone, or nothing but dots.
///
/// Source: Bieniusa, Zawirski, Preguiça, Shapiro, Baquero, Balegas, Duarte, "An optimized conflict-free replicated set" (2012).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwSet<E>(DotMap<E, DotSet>);

shape_of_store!(AwSet<E>, E: Clone, Ord, Debug);
wire_of_store!(AwSet<Vec<u8>>);

impl<E: Clone + Ord + Debug> AwSet<E> {
    /// Inserts an element, also if it is there already: the new insertion must survive a concurrent removal.
    #[must_use]
    pub fn insert(&self, dot: Dot, element: E) -> Edit<Self> {
        replace(&self.0, element, DotSet::of(dot)).map(Self)
    }

    /// Removes an element, as far as its insertions were seen.
    #[must_use]
    pub fn remove<Q: Ord + ?Sized>(&self, element: &Q) -> Edit<Self>
    where
        E: Borrow<Q>,
    {
        match self.0.get(element) {
            Some(seen) => Edit::over(Self::default(), seen),
            None => Edit::nothing(Self::default()),
        }
    }
}

/// A set that only grows, until it is removed as a whole. Otherwise as [`AwSet`].
///
/// Source: Shapiro, Preguiça, Baquero, Zawirski, "A comprehensive study of CRDTs" (2011), specification 11.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GSet<E>(DotMap<E, DotSet>);

shape_of_store!(GSet<E>, E: Clone, Ord, Debug);
wire_of_store!(GSet<Vec<u8>>);

impl<E: Clone + Ord + Debug> GSet<E> {
    /// Inserts an element, also if it is there already: the new insertion must survive a concurrent removal of all.
    #[must_use]
    pub fn insert(&self, dot: Dot, element: E) -> Edit<Self> {
        replace(&self.0, element, DotSet::of(dot)).map(Self)
    }
}

/// A set where removing wins over concurrent inserting.
///
/// What was removed stays behind as one live dot, also if it never was in: a concurrent insertion must meet it. Otherwise as [`AwSet`].
///
/// Source: Bieniusa et al. (2012), section 2, as a map of [`DwFlag`]s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RwSet<E>(DotMap<E, DwFlag>);

shape_of_store!(RwSet<E>, E: Clone, Ord, Debug);
wire_of_store!(RwSet<Vec<u8>>);

impl<E: Clone + Ord + Debug> RwSet<E> {
    /// Whether the element is in the set.
    #[must_use]
    pub fn contains<Q: Ord + ?Sized>(&self, element: &Q) -> bool
    where
        E: Borrow<Q>,
    {
        self.0.get(element).is_some_and(DwFlag::is_enabled)
    }

    /// The elements, in order. `O(elements and removed elements)`.
    pub fn iter(&self) -> impl Iterator<Item = &E> + '_ {
        let flags = self.0.iter().filter(|(_, flag)| flag.is_enabled());
        flags.map(|(element, _)| element)
    }

    /// Inserts an element.
    #[must_use]
    pub fn insert(&self, dot: Dot, element: E) -> Edit<Self> {
        self.set(element, |flag| flag.enable(dot))
    }

    /// Removes an element.
    #[must_use]
    pub fn remove(&self, dot: Dot, element: E) -> Edit<Self> {
        self.set(element, |flag| flag.disable(dot))
    }

    fn set(&self, element: E, switch: impl FnOnce(&DwFlag) -> Edit<DwFlag>) -> Edit<Self> {
        let edit = match self.0.get(&element) {
            Some(seen) => switch(seen),
            None => switch(&DwFlag::default()),
        };
        edit.map(|flag| Self(DotMap::of(element, flag)))
    }
}

/// Puts `store` in the place of what is seen of the element.
fn replace<E: Clone + Ord + Debug, S: DotStore>(
    seen: &DotMap<E, S>,
    element: E,
    store: S,
) -> Edit<DotMap<E, S>> {
    match seen.get(&element) {
        Some(seen) => Edit::over(DotMap::of(element, store), seen),
        None => Edit::nothing(DotMap::of(element, store)),
    }
}

/// What can be asked of a set whose elements are those that anything is live of.
macro_rules! read_set {
    ($($set:ident),+) => {
        $(
            impl<E: Clone + Ord + Debug> $set<E> {
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
            }
        )+
    };
}

read_set!(AwSet, GSet);

macro_rules! empty_set {
    ($($set:ident),+) => {
        $(
            impl<E> Default for $set<E> {
                fn default() -> Self {
                    Self(DotMap::default())
                }
            }
        )+
    };
}

empty_set!(AwSet, GSet, RwSet);
