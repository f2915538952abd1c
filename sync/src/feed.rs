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

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        Prefix::parse(text).unwrap()
    }

    #[test]
    fn more_prefixes_than_peers_take_become_their_namespaces() {
        let mut feed = Feed::default();
        for name in ["a/x", "a/y", "b/z"] {
            assert!(feed.watch(prefix(name)));
        }
        assert_eq!(feed.prefixes(3).len(), 3);
        assert_eq!(feed.prefixes(2), [prefix("a/"), prefix("b/")]);
        assert!(!feed.is_watched_here(&Key::parse("a/z").unwrap()));
    }

    #[test]
    fn a_watch_ends_with_its_last_watcher_and_a_subscription_with_its_lease() {
        let mut feed = Feed::default();
        assert!(feed.watch(prefix("a/")) && !feed.watch(prefix("a/")));
        assert!(!feed.unwatch(&prefix("a/")) && feed.unwatch(&prefix("a/")));
        assert!(!feed.unwatch(&prefix("a/")));
        let peer = NodeId::from_bytes([1; 32]);
        let key = Key::parse("a/k").unwrap();
        feed.subscribe(peer, vec![prefix("a/")], Time(10));
        assert_eq!(feed.subscribers(&key), [peer]);
        feed.expire(Time(10));
        assert_eq!(feed.subscribers(&key), []);
    }

    #[test]
    fn what_was_told_is_no_news_and_memory_of_it_is_bounded() {
        let mut feed = Feed::default();
        let key = |n: usize| Key::new("a", &n.to_be_bytes()).unwrap();
        assert!(feed.is_news(&key(0), [1; 32]) && !feed.is_news(&key(0), [1; 32]));
        assert!(feed.is_news(&key(0), [2; 32]));
        for n in 1..=TOLD_MAX {
            feed.is_news(&key(n), [1; 32]);
        }
        assert_eq!(
            (feed.told.len(), feed.told_order.len()),
            (TOLD_MAX, TOLD_MAX)
        );
        assert!(feed.is_news(&key(0), [2; 32]), "it was forgotten");
    }
}
