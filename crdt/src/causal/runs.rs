//! A set of counters as sorted runs.

use alloc::vec::Vec;
use core::ops::RangeInclusive;

/// A set of counters >= 1, kept as sorted, disjoint, non-adjacent runs `(first, last)`.
///
/// Every operation costs time in proportion to runs, never to counters, since a peer may claim 2^63 of them in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs(Vec<(u64, u64)>);

impl Runs {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = RangeInclusive<u64>> + '_ {
        self.0.iter().map(|&(first, last)| first..=last)
    }

    pub(crate) fn max(&self) -> u64 {
        self.0.last().map_or(0, |run| run.1)
    }

    pub(crate) fn contains(&self, counter: u64) -> bool {
        self.overlaps(counter, counter)
    }

    /// Whether any counter of `first..=last` is in the set.
    pub(crate) fn overlaps(&self, first: u64, last: u64) -> bool {
        let at = self.0.partition_point(|run| run.1 < first);
        self.0.get(at).is_some_and(|run| run.0 <= last)
    }

    /// Whether all of `first..=last` is in the set.
    fn covers(&self, first: u64, last: u64) -> bool {
        let at = self.0.partition_point(|run| run.1 < first);
        self.0
            .get(at)
            .is_some_and(|run| run.0 <= first && last <= run.1)
    }

    pub(crate) fn is_superset(&self, other: &Self) -> bool {
        other
            .0
            .iter()
            .all(|&(first, last)| self.covers(first, last))
    }

    pub(crate) fn is_disjoint(&self, other: &Self) -> bool {
        let (few, many) = if self.len() < other.len() {
            (self, other)
        } else {
            (other, self)
        };
        !few.0
            .iter()
            .any(|&(first, last)| many.overlaps(first, last))
    }

    /// Adds `first..=last`; the caller made sure that `1 <= first <= last`.
    pub(crate) fn insert(&mut self, first: u64, last: u64) {
        // The runs that touch or overlap the new one melt into it.
        let from = self
            .0
            .partition_point(|run| run.1.saturating_add(1) < first);
        let to = self
            .0
            .partition_point(|run| run.0 <= last.saturating_add(1))
            .max(from);
        let melted = self.0.get(from..to).unwrap_or_default();
        let first = melted.first().map_or(first, |run| run.0.min(first));
        let last = melted.last().map_or(last, |run| run.1.max(last));
        self.0.splice(from..to, [(first, last)]);
    }

    pub(crate) fn join(&mut self, other: &Self) {
        if let [(first, last)] = *other.0 {
            return self.insert(first, last);
        }
        let mut all: Vec<_> = self.0.iter().chain(&other.0).copied().collect();
        all.sort_unstable();
        self.0.clear();
        for (first, last) in all {
            match self.0.last_mut() {
                Some(run) if first <= run.1.saturating_add(1) => run.1 = run.1.max(last),
                Some(_) | None => self.0.push((first, last)),
            }
        }
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        let mut kept = Vec::with_capacity(self.0.len());
        let mut holes = other.0.iter().copied().peekable();
        for &(mut first, last) in &self.0 {
            while holes.next_if(|hole| hole.1 < first).is_some() {}
            // A hole that ends beyond this run may also cut the next one, so it stays.
            loop {
                match holes.peek() {
                    Some(&(hole_first, hole_last)) if hole_first <= last => {
                        if first < hole_first {
                            kept.push((first, hole_first - 1));
                        }
                        if hole_last >= last {
                            break;
                        }
                        first = hole_last + 1;
                        holes.next();
                    }
                    Some(_) | None => {
                        kept.push((first, last));
                        break;
                    }
                }
            }
        }
        self.0 = kept;
    }
}
