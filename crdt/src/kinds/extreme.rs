//! The greatest or least number that anybody wrote.

use crate::kinds::leaf::Signed;
use crate::kinds::{shape_of_store, wire_of_store};
use crate::{Dot, DotFun, Edit};

/// The greatest number that was written. Removing (a field, a key) starts it anew from what the remover did not see.
///
/// A number that is greater than all replaces them; of the others each replica keeps one, the greatest that it wrote, so the size is at
/// most the number of replicas that wrote lately. Reading and writing are `O(live dots)`.
///
/// Source: the max lattice of Shapiro, Preguiça, Baquero, Zawirski, "A comprehensive study of CRDTs" (2011), as a dot store
/// so that it can be reset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Max(DotFun<Signed>);

shape_of_store!(Max);
wire_of_store!(Max);

impl Max {
    /// The greatest number; `None` if none was written.
    #[must_use]
    pub fn value(&self) -> Option<i64> {
        self.0.iter().map(|(_, number)| number.0).max()
    }

    /// Writes a number.
    #[must_use]
    pub fn put(&self, dot: Dot, number: i64) -> Edit<Self> {
        write(&self.0, dot, number, i64::max).map(Self)
    }
}

/// The least number that was written; otherwise as [`Max`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Min(DotFun<Signed>);

shape_of_store!(Min);
wire_of_store!(Min);

impl Min {
    /// The least number; `None` if none was written.
    #[must_use]
    pub fn value(&self) -> Option<i64> {
        self.0.iter().map(|(_, number)| number.0).min()
    }

    /// Writes a number.
    #[must_use]
    pub fn put(&self, dot: Dot, number: i64) -> Edit<Self> {
        write(&self.0, dot, number, i64::min).map(Self)
    }
}

/// One that goes further than all replaces them. Any other goes beside them, in place of the replica's own: whoever removes the
/// furthest without having seen this write does not remove it, too.
fn write(
    seen: &DotFun<Signed>,
    dot: Dot,
    number: i64,
    further: fn(i64, i64) -> i64,
) -> Edit<DotFun<Signed>> {
    let furthest = |numbers: &DotFun<Signed>| {
        let numbers = numbers.iter().map(|(_, seen)| seen.0);
        numbers.fold(number, further)
    };
    let own = seen.of_replica(dot.replica);
    let replaced = if furthest(seen) == number { seen } else { &own };
    Edit::over(DotFun::of(dot, Signed(furthest(replaced))), replaced)
}
