//! When something is over, for many things at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meshwork_membership::Time;

/// A time for each of many things, in order of time too. `O(log n)` for each change.
#[derive(Debug)]
pub(crate) struct Deadlines<K> {
    times: BTreeMap<K, Time>,
    order: BTreeSet<(Time, K)>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self {
            times: BTreeMap::new(),
            order: BTreeSet::new(),
        }
    }
}

impl<K: Ord + Clone> Deadlines<K> {
    pub(crate) fn set(&mut self, key: K, at: Time) {
        self.remove(&key);
        self.order.insert((at, key.clone()));
        self.times.insert(key, at);
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(at) = self.times.remove(key) {
            self.order.remove(&(at, key.clone()));
        }
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.times.contains_key(key)
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Nothing is over before so much more time has passed. `O(n log n)`.
    pub(crate) fn postpone(&mut self, by: Duration) {
        for at in self.times.values_mut() {
            *at = *at + by;
        }
        let order = core::mem::take(&mut self.order).into_iter();
        self.order = order.map(|(at, key)| (at + by, key)).collect();
    }

    /// The first thing that is over by now.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<K> {
        let (at, _) = self.order.first()?;
        if *at > now {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.times.remove(&key);
        Some(key)
    }
}
