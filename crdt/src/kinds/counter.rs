//! A counter.

use crate::kinds::{shape_of_store, wire_of_store};
use crate::{Dot, DotFun, DotStore, Edit};

/// A counter that goes up and down and can be reset.
///
/// Every replica has one live dot with the sum of its own additions, so the size is the number of
/// replicas that ever counted. Resetting (removing) takes back the sums that were seen; a replica that counts
/// concurrently with the reset keeps its own sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PnCounter(DotFun<i64>);

shape_of_store!(PnCounter);
wire_of_store!(PnCounter);

impl PnCounter {
    /// The sum over all replicas. Cannot overflow: there are fewer than 2^64 sums.
    #[must_use]
    pub fn value(&self) -> i128 {
        self.0.iter().map(|(_, sum)| i128::from(*sum)).sum()
    }

    /// Adds `amount` to the sum of the dot's replica. The sum stays at `i64::MIN` or `i64::MAX` when it would pass it.
    #[must_use]
    pub fn add(&self, dot: Dot, amount: i64) -> Edit<Self> {
        let own = self.0.kept(&mut |live| live.replica == dot.replica);
        let sum = own
            .iter()
            .fold(amount, |sum, (_, value)| sum.saturating_add(*value));
        Edit::over(Self(DotFun::of(dot, sum)), &own)
    }
}
