//! Keys with a dot store each.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
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

impl<K: Clone + Ord + Debug, S: DotStore> DotMap<K, S> {
    /// Joins all of `other`, which has few keys; what is under other keys stays.
    fn join_each(&mut self, other: &Self, contexts: &Contexts<'_>) {
        for (key, theirs) in &other.0 {
            match self.0.get_mut(key) {
                Some(mine) => {
                    mine.join(theirs, contexts);
                    if mine.is_empty() {
                        self.0.remove(key);
                    }
                }
                None => self.0.extend(taken(key, theirs, contexts)),
            }
        }
    }

    /// Drops what `other` knows of and has not, under the keys that it has not.
    fn drop_removed(&mut self, other: &Self, contexts: &Contexts<'_>) {
        let mut gone = Vec::new();
        for (key, mine) in &mut self.0 {
            if contexts.all_met() {
                break;
            }
            if !other.0.contains_key(key) {
                mine.retain(&mut |dot| contexts.meet_mine(dot));
                gone.extend(mine.is_empty().then(|| key.clone()));
            }
        }
        self.remove_all(&gone);
    }

    /// Joins two maps of about one size: goes through both at once, in the order of their keys.
    fn join_in_step(&mut self, other: &Self, contexts: &Contexts<'_>) {
        let mut theirs = other.0.iter().peekable();
        let (mut gone, mut new) = (Vec::new(), Vec::new());
        for (key, mine) in &mut self.0 {
            let mut same = None;
            while let Some((their_key, store)) = theirs.next_if(|(their_key, _)| *their_key <= key)
            {
                if their_key == key {
                    same = Some(store);
                } else {
                    new.extend(taken(their_key, store, contexts));
                }
            }
            match same {
                Some(store) => mine.join(store, contexts),
                None if contexts.all_met() => {}
                None => mine.retain(&mut |dot| contexts.meet_mine(dot)),
            }
            gone.extend(mine.is_empty().then(|| key.clone()));
        }
        new.extend(theirs.filter_map(|(key, store)| taken(key, store, contexts)));
        self.remove_all(&gone);
        // Builds the tree anew, where that is cheaper than to insert one by one.
        if new.len() > self.len() / 8 {
            self.0.append(&mut new.into_iter().collect());
        } else {
            self.0.extend(new);
        }
    }

    fn remove_all(&mut self, keys: &[K]) {
        for key in keys {
            self.0.remove(key);
        }
    }
}

/// What is live of an entry that is only there.
fn taken<K: Clone, S: DotStore>(key: &K, theirs: &S, contexts: &Contexts<'_>) -> Option<(K, S)> {
    let taken = theirs.kept(&mut |dot| contexts.takes_theirs(dot));
    (!taken.is_empty()).then(|| (key.clone(), taken))
}

impl<K: Clone + Ord + Debug, S: DotStore> DotStore for DotMap<K, S> {
    fn join(&mut self, other: &Self, contexts: &Contexts<'_>) {
        // Looking up a key costs more than going past one.
        if other.len() > self.len() / 8 {
            self.join_in_step(other, contexts);
        } else {
            self.join_each(other, contexts);
            self.drop_removed(other, contexts);
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
