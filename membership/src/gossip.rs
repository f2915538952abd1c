//! News that is still to be spread.
//!
//! Source: SWIM (Das, Gupta, Motivala 2002), section 4.1: what was sent less often goes first, and each piece is
//! sent λ log n times. Where we differ: hearing a piece of news from others counts as having sent it, as it shows that the
//! news is about already (feedback; Demers and others, PODC 1987). Under loss less comes back, and more is sent.

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
    heard: u32,
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
        let described = |old: &Claim| old.meta.as_ref().map(crate::Meta::hash);
        let still_fits = |old: &&mut Claim| {
            old.incarnation == claim.incarnation
                || (claim.described != 0 && described(old) == Some(claim.described))
        };
        if let Some(old) = old.filter(still_fits)
            && claim.meta.is_none()
        {
            claim.meta = old.meta.take();
        }
        self.remove(claim.id);
        self.count += 1;
        self.insert(News {
            bytes: claim.bytes(),
            claim,
            sent: 0,
            heard: 0,
            number: self.count,
        });
    }

    /// Others spread this too. Counts for three quarters of the repetitions at most: nobody is silenced by being told his own.
    pub(crate) fn heard(&mut self, claim: &Claim, times_max: u32) {
        let Some(news) = self.news.get_mut(&claim.id) else {
            return;
        };
        let ours = &news.claim;
        let same = (ours.incarnation, ours.state) == (claim.incarnation, claim.state)
            && ours.accusers.iter().all(|tag| claim.accusers.contains(tag));
        if same && news.heard < times_max - times_max.div_ceil(4) {
            news.heard += 1;
            if news.sent + news.heard >= times_max {
                self.remove(claim.id);
            }
        }
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
        if news.sent + news.heard < times_max {
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
            accusers: Vec::new(),
            described: 0,
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
    fn what_others_spread_is_spread_less_but_a_quarter_of_it_always() {
        let mut queue = GossipQueue::default();
        queue.push(claim(1, 1));
        (0..100).for_each(|_| queue.heard(&claim(1, 2), 8));
        (0..100).for_each(|_| queue.heard(&claim(1, 1), 8));
        let sent = (0..100).filter(|_| !queue.take(1000, 8).is_empty());
        assert_eq!(sent.count(), 2);
    }

    #[test]
    fn a_refutation_takes_the_metadata_along_that_is_still_spread() {
        let meta = crate::Meta::default();
        let joined = Claim {
            state: State::Alive,
            meta: Some(meta.clone()),
            ..claim(1, 1)
        };
        let refuted = |described| Claim {
            state: State::Alive,
            described,
            ..claim(1, 2)
        };
        let mut queue = GossipQueue::default();
        queue.push(joined.clone());
        queue.push(refuted(meta.hash()));
        assert_eq!(queue.take(1000, 2)[0].meta, Some(meta.clone()));
        queue.push(joined);
        queue.push(refuted(meta.hash() ^ 1));
        assert_eq!(queue.take(1000, 2)[0].meta, None);
    }

    #[test]
    fn nothing_is_taken_that_does_not_fit() {
        let mut queue = GossipQueue::default();
        queue.push(claim(1, 1));
        assert!(queue.take(claim(1, 1).bytes() - 1, 2).is_empty());
        assert!(!queue.is_empty());
    }
}
