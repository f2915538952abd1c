//! Counters.

use core::iter::Sum;

use crate::kinds::ledger::{Ledger, Tally};
use crate::kinds::{shape_of_store, wire_of_store};
use crate::{Edit, Stamp};

/// A counter that goes up and down and can be reset.
///
/// Every replica has one live dot with the sum of its own additions, so the size is the number of
/// replicas that ever counted. No sum counts twice: while a delta is missing, too, of two sums of which one has the other in it only that
/// one counts. Resetting (removing) takes back the sums that were seen; a replica that counts concurrently with the reset keeps its own sum.
///
/// Source: Shapiro, Preguiça, Baquero, Zawirski, "A comprehensive study of CRDTs" (2011), specification 7, as a dot store: Baquero,
/// Almeida, Lerche, "The problem with embedded CRDT counters and a solution" (2016).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PnCounter(Ledger<i64>);

shape_of_store!(PnCounter);
wire_of_store!(PnCounter);

impl PnCounter {
    /// The sum over all replicas. Cannot overflow: there are fewer than 2^64 sums.
    #[must_use]
    pub fn value(&self) -> i128 {
        total(&self.0)
    }

    /// Adds `amount` to the sum of the writer's replica. The sum stays at `i64::MIN` or `i64::MAX` when it would pass it.
    #[must_use]
    pub fn add(&self, by: &Stamp, amount: i64) -> Edit<Self> {
        let edit = self.0.change(by, |sum| sum.add(&amount));
        edit.map(Self)
    }
}

/// A counter that only goes up, until it is reset. Otherwise as [`PnCounter`].
///
/// Source: specification 6 of the same study.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GCounter(Ledger<u64>);

shape_of_store!(GCounter);
wire_of_store!(GCounter);

impl GCounter {
    /// The sum over all replicas. Cannot overflow: there are fewer than 2^64 sums.
    #[must_use]
    pub fn value(&self) -> u128 {
        total(&self.0)
    }

    /// Adds `amount` to the sum of the writer's replica. The sum stays at `u64::MAX` when it would pass it.
    #[must_use]
    pub fn add(&self, by: &Stamp, amount: u64) -> Edit<Self> {
        let edit = self.0.change(by, |sum| sum.add(&amount));
        edit.map(Self)
    }
}

fn total<N: Copy, T: From<N> + Sum>(sums: &Ledger<N>) -> T {
    sums.iter().map(|(_, sum)| T::from(*sum)).sum()
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::{Causal, Dot, Hlc, ReplicaId};

    fn stamp(replica: u8, counter: u64) -> Stamp {
        Stamp {
            dot: Dot::new(ReplicaId::from_bytes([replica; 8]), counter),
            claim_after: None,
            hlc: Hlc::default(),
        }
    }

    /// Adds where it is, by a store that remembers its last write here, and gives the delta.
    fn add(state: &mut Causal<PnCounter>, by: &Stamp, amount: i64) -> Causal<PnCounter> {
        let last = state.context().max_of(by.dot.replica);
        let claim_after = (last > 0).then_some(last);
        write(state, &Stamp { claim_after, ..*by }, amount)
    }

    fn write(state: &mut Causal<PnCounter>, by: &Stamp, amount: i64) -> Causal<PnCounter> {
        let seen = by.with_seen(state.context());
        let delta = state.store().add(&seen, amount).at(by);
        state.join(&delta);
        delta
    }

    fn reset(state: &mut Causal<PnCounter>, by: &Stamp) -> Causal<PnCounter> {
        let delta = Edit::over(PnCounter::default(), state.store()).at(by);
        state.join(&delta);
        delta
    }

    fn joined<'a>(deltas: impl IntoIterator<Item = &'a Causal<PnCounter>>) -> Causal<PnCounter> {
        let mut state = Causal::default();
        deltas.into_iter().for_each(|delta| state.join(delta));
        state
    }

    #[test]
    fn no_sum_counts_twice_whatever_is_missing() {
        let mut own = Causal::default();
        let writes = [(18, 6), (94, 3), (98, 6)];
        let deltas = writes.map(|(counter, amount)| add(&mut own, &stamp(1, counter), amount));
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            for arrived in 1..=order.len() {
                let arrived = &order[..arrived];
                let state = joined(arrived.iter().map(|n| &deltas[*n]));
                let latest = *arrived.iter().max().unwrap();
                let so_far: i64 = writes[..=latest].iter().map(|write| write.1).sum();
                assert_eq!(state.store().value(), so_far.into(), "{arrived:?}");
            }
        }
    }

    #[test]
    fn a_replica_without_its_earlier_sum_adds_to_it() {
        let mut own = Causal::default();
        let mut deltas: Vec<_> = [1, 2].map(|n| add(&mut own, &stamp(1, n), 5)).into();
        let mut anew = Causal::default();
        deltas.extend([7, 8].map(|n| add(&mut anew, &stamp(1, n), 1)));
        assert_eq!(joined(&deltas).store().value(), 12);
        assert_eq!(joined([&deltas[0], &deltas[3]]).store().value(), 7);

        // What it writes once it has heard of both replaces its last alone: between 2 and 7 it may have written more.
        anew.join(&own);
        deltas.push(add(&mut anew, &stamp(1, 9), 3));
        assert_eq!(anew.store().value(), 15);
        // All but 1: between 2, which alone takes back what was before it, and 7 it may not have seen all.
        for missing in [0, 2, 3] {
            let arrived = (0..5).filter(|n| *n != missing).map(|n| &deltas[n]);
            assert_eq!(joined(arrived).store().value(), 15, "without {missing}");
        }
    }

    #[test]
    fn what_a_replica_wrote_and_has_not_seen_goes_on_counting() {
        let mut first = Causal::default();
        let mut deltas: Vec<_> = [1, 2].map(|n| add(&mut first, &stamp(1, n), 5)).into();
        let mut second = Causal::default();
        deltas.extend([7, 8].map(|n| add(&mut second, &stamp(1, n), 1)));
        // Its copy is gone twice over, and a replica that has not all gave it the first half back.
        deltas.push(write(&mut first, &stamp(1, 10), 3));
        assert_eq!(first.store().value(), 13);
        assert_eq!(joined(&deltas).store().value(), 15);
    }

    #[test]
    fn what_two_writes_took_over_from_the_same_sum_counts_once() {
        let mut own = Causal::default();
        let [first, second] = [(1, 7), (2, -5)].map(|(n, by)| add(&mut own, &stamp(1, n), by));
        // Its copy is gone, and a replica that has not all gave it the first half back.
        let mut copy = first.clone();
        let third = write(&mut copy, &stamp(1, 9), 5);
        assert_eq!(copy.store().value(), 12);
        assert_eq!(joined([&first, &second, &third]).store().value(), 7);
        assert_eq!(joined([&third, &second]).store().value(), 7);
    }

    #[test]
    fn a_sum_that_another_stands_for_is_not_added_again() {
        let mut own = Causal::default();
        let [first, _, third] = [1, 2, 3].map(|n| add(&mut own, &stamp(1, n), 5));
        let mut copy = joined([&first, &third]);
        add(&mut copy, &stamp(1, 4), 1);
        assert_eq!(copy.store().value(), 16);
    }

    #[test]
    fn a_reset_takes_back_what_it_saw_and_counting_beside_it_keeps_its_sum() {
        let mut own = Causal::default();
        let [first, second] = [1, 2].map(|n| add(&mut own, &stamp(1, n), 5));
        let mut other = joined([&first, &second]);
        let gone = reset(&mut other, &stamp(2, 1));
        let mut after = other.clone();
        let anew = add(&mut after, &stamp(1, 3), 1);
        assert_eq!(other.store().value(), 0);
        assert_eq!(joined([&anew, &gone, &second, &first]).store().value(), 1);

        let beside = add(&mut own, &stamp(1, 3), 1);
        assert_eq!(joined([&gone, &beside]).store().value(), 11);
        assert_eq!(joined([&first, &gone, &beside]).store().value(), 11);
    }

    #[test]
    fn sums_of_others_are_out_of_reach() {
        let mut states = [Causal::default(), Causal::default()];
        for (replica, state) in (1..).zip(&mut states) {
            for n in 1..=3 {
                add(state, &stamp(replica, n), 5);
            }
        }
        let [a, b] = &states;
        assert_eq!(joined([a, b]).store().value(), 30);
    }
}
