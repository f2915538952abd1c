//! Values by key: found at once, and listed in order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use meshwork_sync::Key;
use serde::de::Deserializer;
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

/// A map whose order costs something only when a key comes or goes; most writes are to keys that are there.
///
/// Written as what it is in order: the same values give the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table<V> {
    values: HashMap<Key, V>,
    order: BTreeSet<Key>,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self {
            values: HashMap::new(),
            order: BTreeSet::new(),
        }
    }
}

impl<V> Table<V> {
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&V> {
        self.values.get(key)
    }

    /// Returns what was there.
    pub(crate) fn insert(&mut self, key: &Key, value: V) -> Option<V> {
        if let Some(there) = self.values.get_mut(key) {
            return Some(core::mem::replace(there, value));
        }
        self.order.insert(key.clone());
        self.values.insert(key.clone(), value)
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Option<V> {
        let removed = self.values.remove(key)?;
        self.order.remove(key);
        Some(removed)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &V)> + Clone {
        self.after(Bound::Unbounded)
    }

    /// From behind `after` on.
    pub(crate) fn after<'a>(
        &'a self,
        after: Bound<&'a Key>,
    ) -> impl Iterator<Item = (&'a Key, &'a V)> + Clone {
        let keys = self.order.range::<Key, _>((after, Bound::Unbounded));
        keys.filter_map(|key| Some((key, self.values.get(key)?)))
    }
}

impl<V: Serialize> Serialize for Table<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len()))?;
        for (key, value) in self.iter() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Table<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = BTreeMap::<Key, V>::deserialize(deserializer)?;
        Ok(Self {
            order: values.keys().cloned().collect(),
            values: values.into_iter().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(name: u8) -> Key {
        Key::new("bank", &[name]).unwrap()
    }

    proptest! {
        #[test]
        fn it_is_a_map_in_order(
            steps in prop::collection::vec((0..12_u8, prop::option::of(0..9_u8)), 0..60),
            from in 0..12_u8,
        ) {
            let (mut table, mut map) = (Table::default(), BTreeMap::new());
            for (name, value) in steps {
                let key = key(name);
                match value {
                    Some(value) => prop_assert_eq!(table.insert(&key, value), map.insert(key, value)),
                    None => prop_assert_eq!(table.remove(&key), map.remove(&key)),
                }
            }
            prop_assert!(table.iter().eq(&map));
            let after = (Bound::Excluded(key(from)), Bound::Unbounded);
            let from = key(from);
            prop_assert!(table.after(Bound::Excluded(&from)).eq(map.range(after)));
            prop_assert_eq!(table.get(&from), map.get(&from));
            let bytes = postcard::to_allocvec(&table).unwrap();
            prop_assert_eq!(&bytes, &postcard::to_allocvec(&map).unwrap());
            prop_assert_eq!(postcard::from_bytes::<Table<u8>>(&bytes).unwrap(), table);
        }
    }
}
