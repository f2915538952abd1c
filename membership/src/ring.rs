//! Whom to probe next, and whom to pick at random.
//!
//! Source: SWIM, section 4.3: round robin over a shuffled list, so that a crash is found within two rounds at worst.
//! The list is rebuilt once a round; in between, a step costs the same for 5 members as for 16,384.

use std::collections::{BTreeSet, VecDeque};

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::NodeId;

/// Live members in random order, with a place in it.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    order: Vec<NodeId>,
    next: usize,
    urgent: VecDeque<NodeId>,
    last_was_urgent: bool,
}

impl Ring {
    /// A member came: it gets a random place among those that are still to be probed in this round.
    pub(crate) fn insert(&mut self, id: NodeId, rng: &mut ChaCha8Rng) {
        self.order.push(id);
        let last = self.order.len() - 1;
        let place = rng.random_range(self.next.min(last)..=last);
        self.order.swap(place, last);
    }

    /// Asks for a probe soon. A hint, bounded: when full, it is not taken.
    pub(crate) fn hurry(&mut self, id: NodeId) {
        if self.urgent.len() < URGENT_MAX && !self.urgent.contains(&id) {
            self.urgent.push_back(id);
        }
    }

    /// The next member to probe. Hints get every second turn only, so that hostile ones cannot starve the others.
    pub(crate) fn next(&mut self, live: &BTreeSet<NodeId>, rng: &mut ChaCha8Rng) -> Option<NodeId> {
        self.last_was_urgent = !self.last_was_urgent;
        if self.last_was_urgent {
            while let Some(id) = self.urgent.pop_front() {
                if live.contains(&id) {
                    return Some(id);
                }
            }
        }
        // Twice: the rest of this round, then all of the next one.
        for _ in 0..2 {
            while let Some(id) = self.order.get(self.next).copied() {
                self.next += 1;
                if live.contains(&id) {
                    return Some(id);
                }
            }
            self.rebuild(live, rng);
        }
        None
    }

    /// Up to `count` distinct live members other than `but`, at random.
    pub(crate) fn pick(
        &mut self,
        count: usize,
        but: NodeId,
        live: &BTreeSet<NodeId>,
        rng: &mut ChaCha8Rng,
    ) -> Vec<NodeId> {
        if live.len() <= count.saturating_mul(4) {
            let mut all: Vec<_> = live.iter().copied().filter(|id| *id != but).collect();
            all.shuffle(rng);
            all.truncate(count);
            return all;
        }
        if self.order.len() > 2 * live.len() + 16 {
            self.rebuild(live, rng);
        }
        let mut picked = Vec::with_capacity(count);
        // At least half of the list is live and three quarters of it are not picked yet: this many tries miss rarely.
        for _ in 0..count * 16 {
            if picked.len() == count {
                break;
            }
            let place = rng.random_range(0..self.order.len().max(1));
            let Some(id) = self.order.get(place).copied() else {
                break;
            };
            if id != but && live.contains(&id) && !picked.contains(&id) {
                picked.push(id);
            }
        }
        picked
    }

    fn rebuild(&mut self, live: &BTreeSet<NodeId>, rng: &mut ChaCha8Rng) {
        self.order = live.iter().copied().collect();
        self.order.shuffle(rng);
        self.next = 0;
    }
}

const URGENT_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn ids(count: u8) -> BTreeSet<NodeId> {
        (0..count).map(|n| NodeId::from_bytes([n; 32])).collect()
    }

    fn ring(live: &BTreeSet<NodeId>, rng: &mut ChaCha8Rng) -> Ring {
        let mut ring = Ring::default();
        live.iter().for_each(|id| ring.insert(*id, rng));
        ring
    }

    #[test]
    fn each_round_visits_every_member_once() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let live = ids(20);
        let mut ring = ring(&live, &mut rng);
        let mut rounds = Vec::new();
        for _ in 0..3 {
            let round: Vec<_> = (0..20)
                .map(|_| ring.next(&live, &mut rng).unwrap())
                .collect();
            assert_eq!(round.iter().copied().collect::<BTreeSet<_>>(), live);
            rounds.push(round);
        }
        assert_ne!(rounds[0], rounds[1]);
    }

    #[test]
    fn hints_get_every_second_turn() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let live = ids(20);
        let mut ring = ring(&live, &mut rng);
        let hinted = NodeId::from_bytes([7; 32]);
        let mut hits = 0;
        for _ in 0..20 {
            ring.hurry(hinted);
            hits += usize::from(ring.next(&live, &mut rng) == Some(hinted));
        }
        assert!((10..=11).contains(&hits), "{hits}");
    }

    #[test]
    fn picks_are_distinct_live_and_not_the_excluded() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for size in [0, 1, 4, 50] {
            let mut live = ids(size);
            let mut ring = ring(&live, &mut rng);
            let but = NodeId::from_bytes([0; 32]);
            live.remove(&NodeId::from_bytes([1; 32]));
            let picked = ring.pick(3, but, &live, &mut rng);
            let distinct: BTreeSet<_> = picked.iter().copied().collect();
            assert_eq!(distinct.len(), picked.len());
            assert_eq!(
                picked.len(),
                live.iter().filter(|id| **id != but).count().min(3)
            );
            assert!(distinct.is_subset(&live) && !distinct.contains(&but));
        }
    }
}
