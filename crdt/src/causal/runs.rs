//! A set of counters as sorted runs.

use alloc::vec::Vec;
use core::ops::RangeInclusive;

/// A set of counters >= 1, kept as sorted, disjoint, non-adjacent runs `(first, last)`.
///
/// Every operation costs time in proportion to runs, never to counters, since a peer may claim 2^63 of them in one run.
#[derive(Clone, Debug)]
pub(crate) enum Runs {
    /// Most are: it takes no memory beside itself.
    One((u64, u64)),
    /// None, several, or one that is left of several.
    Many(Vec<(u64, u64)>),
}

impl Runs {
    /// The set `first..=last`; the caller made sure that `1 <= first <= last`.
    #[inline]
    pub(crate) const fn one(first: u64, last: u64) -> Self {
        Self::One((first, last))
    }

    #[inline]
    fn as_slice(&self) -> &[(u64, u64)] {
        match self {
            Self::One(run) => core::slice::from_ref(run),
            Self::Many(runs) => runs,
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = RangeInclusive<u64>> + '_ {
        self.as_slice().iter().map(|&(first, last)| first..=last)
    }

    pub(crate) fn max(&self) -> u64 {
        self.as_slice().last().map_or(0, |run| run.1)
    }

    #[inline]
    pub(crate) fn contains(&self, counter: u64) -> bool {
        self.overlaps(counter, counter)
    }

    /// The run that a counter is in.
    pub(crate) fn run_of(&self, counter: u64) -> Option<RangeInclusive<u64>> {
        let runs = self.as_slice();
        let at = runs.partition_point(|run| run.1 < counter);
        let run = runs.get(at).filter(|run| run.0 <= counter);
        run.map(|(first, last)| *first..=*last)
    }

    /// Whether any counter of `first..=last` is in the set.
    #[inline]
    pub(crate) fn overlaps(&self, first: u64, last: u64) -> bool {
        let runs = self.as_slice();
        let at = runs.partition_point(|run| run.1 < first);
        runs.get(at).is_some_and(|run| run.0 <= last)
    }

    /// Whether all of `first..=last` is in the set.
    #[inline]
    fn covers(&self, first: u64, last: u64) -> bool {
        let runs = self.as_slice();
        let at = runs.partition_point(|run| run.1 < first);
        runs.get(at)
            .is_some_and(|run| run.0 <= first && last <= run.1)
    }

    #[inline]
    pub(crate) fn is_superset(&self, other: &Self) -> bool {
        other
            .as_slice()
            .iter()
            .all(|&(first, last)| self.covers(first, last))
    }

    #[inline]
    pub(crate) fn is_disjoint(&self, other: &Self) -> bool {
        let (few, many) = if self.len() < other.len() {
            (self, other)
        } else {
            (other, self)
        };
        !few.as_slice()
            .iter()
            .any(|&(first, last)| many.overlaps(first, last))
    }

    /// How many counters are in both; stays at `u64::MAX` when it would pass it.
    #[inline]
    pub(crate) fn common_len(&self, other: &Self) -> u64 {
        if let (Self::One(mine), Self::One(theirs)) = (self, other) {
            return common(*mine, *theirs);
        }
        let (few, many) = if self.len() < other.len() {
            (self, other)
        } else {
            (other, self)
        };
        let mut all = 0_u64;
        for &run in few.as_slice() {
            let from = many.as_slice().partition_point(|other| other.1 < run.0);
            let others = many.as_slice().get(from..).unwrap_or_default();
            for other in others.iter().take_while(|other| other.0 <= run.1) {
                all = all.saturating_add(common(run, *other));
            }
        }
        all
    }

    /// Adds `first..=last`; the caller made sure that `1 <= first <= last`.
    #[inline]
    pub(crate) fn insert(&mut self, first: u64, last: u64) {
        match self {
            Self::One(run)
                if run.0 <= last.saturating_add(1) && first <= run.1.saturating_add(1) =>
            {
                *run = (run.0.min(first), run.1.max(last));
            }
            Self::One(run) => {
                let (one, other) = (*run, (first, last));
                *self = Self::Many(alloc::vec![one.min(other), one.max(other)]);
            }
            Self::Many(runs) if runs.is_empty() => *self = Self::one(first, last),
            Self::Many(runs) => insert(runs, first, last),
        }
    }

    #[inline]
    pub(crate) fn join(&mut self, other: &Self) {
        if let [(first, last)] = *other.as_slice() {
            return self.insert(first, last);
        }
        let mut all = [self.as_slice(), other.as_slice()].concat();
        // Two sorted parts: this sort finds them.
        all.sort();
        let mut joined: Vec<(u64, u64)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match joined.last_mut() {
                Some(run) if first <= run.1.saturating_add(1) => run.1 = run.1.max(last),
                Some(_) | None => joined.push((first, last)),
            }
        }
        *self = Self::Many(joined);
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        if self.is_disjoint(other) {
            return;
        }
        if other.is_superset(self) {
            *self = Self::default();
            return;
        }
        let mut kept = Vec::new();
        let mut holes = other.as_slice().iter().copied().peekable();
        for &(mut first, last) in self.as_slice() {
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
        *self = Self::Many(kept);
    }
}

impl Default for Runs {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl PartialEq for Runs {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Runs {}

/// How many counters are in both runs. They start at 1, so that a run of all of them can be counted.
#[inline]
fn common(one: (u64, u64), other: (u64, u64)) -> u64 {
    let (first, last) = (one.0.max(other.0), one.1.min(other.1));
    last.checked_sub(first).map_or(0, |more| more + 1)
}

fn insert(runs: &mut Vec<(u64, u64)>, first: u64, last: u64) {
    // The runs that touch or overlap the new one melt into it.
    let from = runs.partition_point(|run| run.1.saturating_add(1) < first);
    let to = runs
        .partition_point(|run| run.0 <= last.saturating_add(1))
        .max(from);
    let melted = runs.get(from..to).unwrap_or_default();
    let first = melted.first().map_or(first, |run| run.0.min(first));
    let last = melted.last().map_or(last, |run| run.1.max(last));
    runs.splice(from..to, [(first, last)]);
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn runs(pairs: &[(u64, u64)]) -> (Runs, BTreeSet<u64>) {
        let (mut runs, mut model) = (Runs::default(), BTreeSet::new());
        for &(first, more) in pairs {
            runs.insert(first, first + more);
            model.extend(first..=first + more);
        }
        (runs, model)
    }

    fn counters(runs: &Runs) -> BTreeSet<u64> {
        runs.iter().flatten().collect()
    }

    proptest! {
        #[test]
        fn runs_are_a_set_in_one_form(
            one in prop::collection::vec((1_u64..40, 0_u64..4), 0..8),
            other in prop::collection::vec((1_u64..40, 0_u64..4), 0..8),
        ) {
            let ((mut mine, mut my_model), (theirs, their_model)) = (runs(&one), runs(&other));
            prop_assert_eq!(counters(&mine), my_model.clone());
            let common = my_model.intersection(&their_model).count();
            prop_assert_eq!(mine.common_len(&theirs), common as u64);
            prop_assert_eq!(mine.is_disjoint(&theirs), common == 0);
            prop_assert_eq!(mine.is_superset(&theirs), my_model.is_superset(&their_model));
            let mut cut = mine.clone();
            cut.subtract(&theirs);
            prop_assert_eq!(counters(&cut), &my_model - &their_model);
            mine.join(&theirs);
            my_model.extend(&their_model);
            prop_assert_eq!(counters(&mine), my_model.clone());
            let singles: Vec<_> = my_model.iter().map(|counter| (*counter, 0)).collect();
            prop_assert_eq!(mine, runs(&singles).0);
        }
    }

    #[test]
    fn what_all_counters_have_in_common_is_counted() {
        let all = Runs::one(1, u64::MAX);
        assert_eq!(all.common_len(&all), u64::MAX);
        assert_eq!(all.common_len(&runs(&[(1, 0), (9, 0)]).0), 2);
    }
}
