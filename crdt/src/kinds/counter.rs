//! Counters.

use core::iter::Sum;

use crate::kinds::{shape_of_store, wire_of_store};
use crate::{CausalContext, Dot, DotFun, Edit};

/// A counter that goes up and down and can be reset.
///
/// Every replica has one live dot with the sum of its own additions, so the size is the number of
/// replicas that ever counted. Resetting (removing) takes back the sums that were seen; a replica that counts
/// concurrently with the reset keeps its own sum.
///
/// Source: Shapiro, Preguiça, Baquero, Zawirski, "A comprehensive study of CRDTs" (2011), specification 7, as a dot store: Baquero,
/// Almeida, Lerche, "The problem with embedded CRDT counters and a solution" (2016).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PnCounter(DotFun<i64>);

shape_of_store!(PnCounter);
wire_of_store!(PnCounter);

impl PnCounter {
    /// The sum over all replicas. Cannot overflow: there are fewer than 2^64 sums.
    #[must_use]
    pub fn value(&self) -> i128 {
        total(&self.0)
    }

    /// Adds `amount` to the sum of the dot's replica. The sum stays at `i64::MIN` or `i64::MAX` when it would pass it.
    #[must_use]
    pub fn add(&self, dot: Dot, amount: i64) -> Edit<Self> {
        add(&self.0, dot, amount, i64::saturating_add).map(Self)
    }
}

/// A counter that only goes up, until it is reset. Otherwise as [`PnCounter`].
///
/// Source: specification 6 of the same study.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GCounter(DotFun<u64>);

shape_of_store!(GCounter);
wire_of_store!(GCounter);

impl GCounter {
    /// The sum over all replicas. Cannot overflow: there are fewer than 2^64 sums.
    #[must_use]
    pub fn value(&self) -> u128 {
        total(&self.0)
    }

    /// Adds `amount` to the sum of the dot's replica. The sum stays at `u64::MAX` when it would pass it.
    #[must_use]
    pub fn add(&self, dot: Dot, amount: u64) -> Edit<Self> {
        add(&self.0, dot, amount, u64::saturating_add).map(Self)
    }
}

fn total<N: Copy, T: From<N> + Sum>(sums: &DotFun<N>) -> T {
    sums.iter().map(|(_, sum)| T::from(*sum)).sum()
}

/// The replica's own sum with `amount` in it, in place of what it was.
fn add<N>(sums: &DotFun<N>, dot: Dot, amount: N, plus: fn(N, N) -> N) -> Edit<DotFun<N>>
where
    N: Copy + Ord + core::fmt::Debug,
{
    let (mut sum, mut replaces) = (amount, CausalContext::new());
    for (seen, value) in sums.range(dot.replica, 0..=u64::MAX) {
        sum = plus(sum, *value);
        replaces.insert(seen);
    }
    let store = DotFun::of(dot, sum);
    Edit { store, replaces }
}
