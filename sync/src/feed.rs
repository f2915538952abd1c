//! Who wants to hear of which changes: applications here, and peers that hold no copy of what they watch.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meshwork_membership::{NodeId, Time};

use crate::{Key, Prefix};

/// Subscriptions of this node's applications and of its peers.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    local: BTreeMap<Prefix, u32>,
    remote: BTreeMap<NodeId, (Time, Vec<Prefix>)>,
    told: BTreeMap<Key, [u8; 32]>,
    told_order: VecDeque<Key>,
}

/// Remote changes remembered, so that the replicas of one key are not all heard.
const TOLD_MAX: usize = 4_096;

impl Feed {
    /// One more application watches `prefix`. Returns whether it is the first.
    pub(crate) fn watch(&mut self, prefix: Prefix) -> bool {
        let count = self.local.entry(prefix).or_default();
        *count += 1;
        *count == 1
    }

    /// One application fewer watches `prefix`. Returns whether it was the last.
    pub(crate) fn unwatch(&mut self, prefix: &Prefix) -> bool {
        match self.local.get_mut(prefix) {
            Some(1) => self.local.remove(prefix).is_some(),
            Some(count) => {
                *count -= 1;
                false
            }
            None => false,
        }
    }

    /// What to subscribe to at peers, in at most `prefixes_max` prefixes: with more than that, whole namespaces.
    ///
    /// Changes that nobody here watches are left out on arrival.
    pub(crate) fn prefixes(&self, prefixes_max: usize) -> Vec<Prefix> {
        if self.local.len() <= prefixes_max {
            return self.local.keys().cloned().collect();
        }
        let namespaces: BTreeSet<&str> = self
            .local
            .keys()
            .map(|prefix| prefix.namespace.as_str())
            .collect();
        let whole = |namespace: &str| Prefix {
            namespace: namespace.to_owned(),
            name: Vec::new(),
        };
        namespaces
            .into_iter()
            .take(prefixes_max)
            .map(whole)
            .collect()
    }

    pub(crate) fn is_watched_here(&self, key: &Key) -> bool {
        self.local.keys().any(|prefix| prefix.covers(key))
    }

    pub(crate) fn subscribe(&mut self, peer: NodeId, prefixes: Vec<Prefix>, until: Time) {
        if prefixes.is_empty() {
            self.remote.remove(&peer);
        } else {
            self.remote.insert(peer, (until, prefixes));
        }
    }

    pub(crate) fn forget_peer(&mut self, peer: &NodeId) {
        self.remote.remove(peer);
    }

    pub(crate) fn expire(&mut self, now: Time) {
        self.remote.retain(|_, (until, _)| *until > now);
    }

    /// Peers to tell of a change of `key`.
    pub(crate) fn subscribers(&self, key: &Key) -> Vec<NodeId> {
        self.remote
            .iter()
            .filter(|(_, (_, prefixes))| prefixes.iter().any(|prefix| prefix.covers(key)))
            .map(|(peer, _)| *peer)
            .collect()
    }

    /// A peer told of a change. Returns whether it is news.
    pub(crate) fn is_news(&mut self, key: &Key, digest: [u8; 32]) -> bool {
        match self.told.insert(key.clone(), digest) {
            Some(known) => known != digest,
            None => {
                self.told_order.push_back(key.clone());
                if self.told_order.len() > TOLD_MAX
                    && let Some(oldest) = self.told_order.pop_front()
                {
                    self.told.remove(&oldest);
                }
                true
            }
        }
    }
}
