//! Keys with a dot store each.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use core::fmt::Debug;

use crate::kinds::Leaf;
use crate::wire::{StoreReader, StoreWriter, Wire};
use crate::{Contexts, DecodeObject, Dot, DotStore};

/// A map from keys to dot stores; a key is there as long as any dot below it is live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DotMap<K, S>(BTreeMap<K, S>);

impl<K: Ord, S: DotStore> DotMap<K, S> {
    /// The map of one key, or the empty one if `store` is empty.
    #[must_use]
    pub fn of(key: K, store: S) -> Self {
        Self::from_entries([(key, store)])
    }

    /// The map of these entries without the empty stores; of two entries with one key the later counts.
    pub fn from_entries(entries: impl IntoIterator<Item = (K, S)>) -> Self {
        Self(
            entries
                .into_iter()
                .filter(|(_, store)| !store.is_empty())
                .collect(),
        )
    }

    /// The store of a key.
    #[must_use]
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&S>
    where
        K: core::borrow::Borrow<Q>,
    {
        self.0.get(key)
    }

    /// The keys and their stores, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &S)> + '_ {
        self.0.iter()
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K, S> Default for DotMap<K, S> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Clone + Ord + Debug, S: DotStore> DotStore for DotMap<K, S> {
    fn join(&mut self, other: &Self, contexts: &Contexts<'_>) {
        if !contexts.disjoint {
            self.0.retain(|key, store| {
                if !other.0.contains_key(key) {
                    store.retain(&mut |dot| contexts.keeps_mine(dot));
                }
                !store.is_empty()
            });
        }
        for (key, theirs) in &other.0 {
            match self.0.entry(key.clone()) {
                Entry::Occupied(mut mine) => {
                    mine.get_mut().join(theirs, contexts);
                    if mine.get().is_empty() {
                        mine.remove();
                    }
                }
                Entry::Vacant(free) => {
                    let taken = theirs.kept(&mut |dot| contexts.takes_theirs(dot));
                    if !taken.is_empty() {
                        free.insert(taken);
                    }
                }
            }
        }
    }

    fn visit(&self, visitor: &mut dyn FnMut(Dot)) {
        self.0.values().for_each(|store| store.visit(visitor));
    }

    fn retain(&mut self, keep: &mut dyn FnMut(Dot) -> bool) {
        self.0.retain(|_, store| {
            store.retain(keep);
            !store.is_empty()
        });
    }

    fn kept(&self, keep: &mut dyn FnMut(Dot) -> bool) -> Self {
        let kept = self.0.iter().map(|(key, store)| (key, store.kept(keep)));
        let kept = kept.filter(|(_, store)| !store.is_empty());
        Self(kept.map(|(key, store)| (key.clone(), store)).collect())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Leaf + Ord, S: Wire + DotStore> Wire for DotMap<K, S> {
    fn write(&self, writer: &mut StoreWriter) {
        writer.writer.length(self.0.len());
        for (key, store) in &self.0 {
            key.with_bytes(|bytes| writer.writer.string(bytes));
            store.write(writer);
        }
    }

    fn read(reader: &mut StoreReader<'_>, depth: usize) -> Result<Self, DecodeObject> {
        let entries = reader.some_entries(|reader| {
            let key = K::from_bytes(reader.reader.key()?).ok_or(DecodeObject::BadValue)?;
            Ok((key, S::read(reader, depth)?))
        })?;
        Ok(Self::from_entries(entries))
    }
}
