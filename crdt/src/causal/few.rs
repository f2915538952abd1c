//! A map that is mostly of one entry.

use alloc::collections::BTreeMap;
use core::fmt;
use core::ops::RangeInclusive;

/// A sorted map that takes no memory beside itself for one entry.
///
/// Most stores have one live dot and most deltas one replica. A tree takes memory for eleven entries as soon as it has one, and
/// taking that and giving it back was most of what a write to a counter cost.
#[derive(Clone)]
pub(crate) enum Few<K, V> {
    None,
    One(K, V),
    /// Several, or what is left of several: only the content counts.
    Many(BTreeMap<K, V>),
}

impl<K: Ord, V> Few<K, V> {
    #[inline]
    pub(crate) const fn new() -> Self {
        Self::None
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(..) => 1,
            Self::Many(map) => map.len(),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        match self {
            Self::None => None,
            Self::One(only, value) => (only == key).then_some(value),
            Self::Many(map) => map.get(key),
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        match self {
            Self::None => None,
            Self::One(only, value) => (only == key).then_some(value),
            Self::Many(map) => map.get_mut(key),
        }
    }

    /// By key.
    #[inline]
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + '_ {
        match self {
            Self::None => Entries::One(None),
            Self::One(key, value) => Entries::One(Some((key, value))),
            Self::Many(map) => Entries::Many(map.iter()),
        }
    }

    /// The entries of a range that is not empty.
    #[inline]
    pub(crate) fn range(
        &self,
        range: RangeInclusive<K>,
    ) -> impl DoubleEndedIterator<Item = (&K, &V)> + '_ {
        match self {
            Self::None => Entries::One(None),
            Self::One(key, value) => Entries::One(range.contains(key).then_some((key, value))),
            Self::Many(map) => Entries::Many(map.range(range)),
        }
    }

    #[inline]
    pub(crate) fn insert(&mut self, key: K, value: V) {
        match self {
            Self::None => *self = Self::One(key, value),
            Self::One(..) | Self::Many(_) => self.insert_beside(key, value),
        }
    }

    fn insert_beside(&mut self, key: K, value: V) {
        match core::mem::take(self) {
            Self::One(only, old) if only != key => {
                *self = Self::Many([(only, old), (key, value)].into());
            }
            Self::None | Self::One(..) => *self = Self::One(key, value),
            Self::Many(mut map) => {
                map.insert(key, value);
                *self = Self::Many(map);
            }
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, key: &K) {
        match self {
            Self::One(only, _) if only == key => *self = Self::None,
            Self::None | Self::One(..) => {}
            Self::Many(map) => {
                map.remove(key);
            }
        }
    }

    #[inline]
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        match self {
            Self::None => {}
            Self::One(key, value) => {
                if !keep(key, value) {
                    *self = Self::None;
                }
            }
            Self::Many(map) => map.retain(|key, value| keep(key, value)),
        }
    }
}

/// Entries of either form. Chained iterators would ask both at each step.
enum Entries<T, M> {
    One(Option<T>),
    Many(M),
}

impl<T, M: Iterator<Item = T>> Iterator for Entries<T, M> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        match self {
            Self::One(entry) => entry.take(),
            Self::Many(entries) => entries.next(),
        }
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::One(entry) => {
                let len = usize::from(entry.is_some());
                (len, Some(len))
            }
            Self::Many(entries) => entries.size_hint(),
        }
    }
}

impl<T, M: DoubleEndedIterator<Item = T>> DoubleEndedIterator for Entries<T, M> {
    #[inline]
    fn next_back(&mut self) -> Option<T> {
        match self {
            Self::One(entry) => entry.take(),
            Self::Many(entries) => entries.next_back(),
        }
    }
}

impl<K: Ord, V> Default for Few<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for Few<K, V> {
    #[inline]
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut entries = entries.into_iter();
        let Some((key, value)) = entries.next() else {
            return Self::new();
        };
        match entries.next() {
            None => Self::One(key, value),
            Some(second) => Self::Many([(key, value), second].into_iter().chain(entries).collect()),
        }
    }
}

impl<K: Ord, V: PartialEq> PartialEq for Few<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<K: Ord, V: Eq> Eq for Few<K, V> {}

impl<K: Ord + fmt::Debug, V: fmt::Debug> fmt::Debug for Few<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn few_is_a_map(
            first: Vec<(u8, u8)>,
            steps in prop::collection::vec((0_u8..3, 0_u8..4, any::<u8>()), 0..20),
        ) {
            let mut few: Few<u8, u8> = first.iter().copied().collect();
            let mut map: BTreeMap<u8, u8> = first.iter().copied().collect();
            for (what, key, value) in steps {
                match what {
                    0 => {
                        few.insert(key, value);
                        map.insert(key, value);
                    }
                    1 => {
                        few.remove(&key);
                        map.remove(&key);
                    }
                    _ => {
                        few.retain(|k, v| *k != key || *v > value);
                        map.retain(|k, v| *k != key || *v > value);
                    }
                }
                prop_assert!(few.iter().eq(map.iter()));
                prop_assert!(few.iter().rev().eq(map.iter().rev()));
                prop_assert_eq!(few.get(&key), map.get(&key));
                prop_assert_eq!(few.get_mut(&key), map.get_mut(&key));
                prop_assert!(few.range(1..=key.max(1)).eq(map.range(1..=key.max(1))));
                prop_assert_eq!(&few, &map.iter().map(|(k, v)| (*k, *v)).collect());
            }
        }
    }
}
