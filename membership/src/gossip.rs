//! News that is still to be spread.
//!
//! Source: SWIM (Das, Gupta, Motivala 2002), section 4.1: what was sent less often goes first, and each piece is
//! sent λ log n times.

use std::collections::{BTreeMap, BTreeSet};

use crate::NodeId;
use crate::message::Claim;

/// At most one claim about each member: the newest replaces the older one, so the queue is bounded by the member table.
#[derive(Debug, Default)]
pub(crate) struct GossipQueue {
    news: BTreeMap<NodeId, News>,
    /// Fewest sent first, then newest first.
    order: BTreeSet<(u32, core::cmp::Reverse<u64>, NodeId)>,
    count: u64,
}

#[derive(Debug)]
struct News {
    claim: Claim,
    bytes: usize,
    sent: u32,
    number: u64,
}

impl GossipQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.news.is_empty()
    }

    /// Begins to spread a claim, instead of whatever was being spread about that member.
    ///
    /// Metadata that was still being spread is so further on: a newcomer that is suspected at once must become known too.
    pub(crate) fn push(&mut self, mut claim: Claim) {
        let old = self.news.get_mut(&claim.id).map(|news| &mut news.claim);
        if let Some(old) = old.filter(|old| old.incarnation == claim.incarnation) {
            claim.meta = claim.meta.or(old.meta.take());
        }
        self.remove(claim.id);
        self.count += 1;
        self.insert(News {
            bytes: claim.bytes(),
            claim,
            sent: 0,
            number: self.count,
        });
    }

    /// Stops to spread anything about that member.
    pub(crate) fn remove(&mut self, id: NodeId) {
        if let Some(news) = self.news.remove(&id) {
            self.order.remove(&news.key());
        }
    }

    /// The most urgent news that fit into `bytes_max`; each is dropped after it was taken `times_max` times.
    pub(crate) fn take(&mut self, bytes_max: usize, times_max: u32) -> Vec<Claim> {
        let mut room = bytes_max;
        let mut picked = Vec::new();
        let mut misfits = 0;
        for (_, _, id) in &self.order {
            let bytes = self.news.get(id).map_or(0, |news| news.bytes);
            if bytes <= room {
                room -= bytes;
                picked.push(*id);
            } else {
                misfits += 1;
                if misfits == MISFITS_MAX {
                    break;
                }
            }
        }
        picked
            .into_iter()
            .filter_map(|id| self.take_one(id, times_max))
            .collect()
    }

    fn take_one(&mut self, id: NodeId, times_max: u32) -> Option<Claim> {
        let mut news = self.news.remove(&id)?;
        self.order.remove(&news.key());
        let claim = news.claim.clone();
        news.sent += 1;
        if news.sent < times_max {
            self.insert(news);
        }
        Some(claim)
    }

    fn insert(&mut self, news: News) {
        self.order.insert(news.key());
        self.news.insert(news.claim.id, news);
    }
}

impl News {
    fn key(&self) -> (u32, core::cmp::Reverse<u64>, NodeId) {
        (self.sent, core::cmp::Reverse(self.number), self.claim.id)
    }
}

/// After so many that did not fit it is not worth looking further down the queue.
const MISFITS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::State;

    fn claim(n: u8, incarnation: u64) -> Claim {
        Claim {
            id: NodeId::from_bytes([n; 32]),
            incarnation,
            state: State::Suspect,
            gone_secs: 0,
            meta: None,
        }
    }

    #[test]
    fn fewest_sent_goes_first_and_all_end() {
        let mut queue = GossipQueue::default();
        queue.push(claim(1, 1));
        let one = claim(1, 1).bytes();
        assert_eq!(queue.take(one, 3), [claim(1, 1)]);
        queue.push(claim(2, 1));
        assert_eq!(queue.take(one, 3), [claim(2, 1)]);
        assert_eq!(queue.take(2 * one, 3).len(), 2);
        assert_eq!(queue.take(2 * one, 3).len(), 2);
        assert!(queue.is_empty() && queue.order.is_empty());
    }

    #[test]
    fn newer_replaces_older_and_starts_anew() {
        let mut queue = GossipQueue::default();
        queue.push(claim(1, 1));
        queue.take(1000, 2);
        queue.push(claim(1, 2));
        assert_eq!(queue.take(1000, 2), [claim(1, 2)]);
        assert_eq!(queue.take(1000, 2), [claim(1, 2)]);
        assert!(queue.take(1000, 2).is_empty());
    }

    #[test]
    fn metadata_survives_a_suspicion_at_the_same_incarnation_only() {
        let full = Claim {
            meta: Some(crate::Meta::default()),
            ..claim(1, 1)
        };
        let mut queue = GossipQueue::default();
        queue.push(full.clone());
        queue.push(claim(1, 1));
        assert_eq!(queue.take(1000, 2), core::slice::from_ref(&full));
        queue.push(claim(1, 2));
        assert_eq!(queue.take(1000, 2), [claim(1, 2)]);
    }

    #[test]
    fn nothing_is_taken_that_does_not_fit() {
        let mut queue = GossipQueue::default();
        queue.push(claim(1, 1));
        assert!(queue.take(claim(1, 1).bytes() - 1, 2).is_empty());
        assert!(!queue.is_empty());
    }
}
