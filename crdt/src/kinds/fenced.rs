//! A value that only the holder of the greatest token writes.

use alloc::vec::Vec;
use core::fmt::Debug;

use crate::kinds::{shape_of_store, wire_of_store};
use crate::{Dot, DotFun, Edit};

/// A value under a fencing token: the greater token wins whole, whenever its write arrives.
///
/// A lock that hands out rising tokens lets its holder write here; a holder that was paused beyond its lease comes with a lower
/// token and is refused, or loses wherever it was not. One live dot, and one more for each value that was written concurrently until
/// somebody writes again.
///
/// Source: Kleppmann, "How to do distributed locking" (2016), on fencing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fenced<V>(DotFun<(u64, V)>);

shape_of_store!(Fenced<V>, V: Clone, Ord, Debug);
wire_of_store!(Fenced<Vec<u8>>);

impl<V: Clone + Ord + Debug> Fenced<V> {
    /// The greatest token and its value. If its holder wrote twice at once, from two nodes, the greater dot counts.
    #[must_use]
    pub fn value(&self) -> Option<(u64, &V)> {
        let holder = self.0.iter().max_by_key(|(dot, (token, _))| (*token, *dot));
        holder.map(|(_, (token, value))| (*token, value))
    }

    /// Writes a value under a token, in place of all that is seen.
    ///
    /// # Errors
    /// [`FencedOff`] if a greater token has been here: the caller's lease is over. Nothing changed.
    pub fn put(&self, dot: Dot, token: u64, value: V) -> Result<Edit<Self>, FencedOff> {
        match self.value() {
            Some((held, _)) if held > token => Err(FencedOff { token, held }),
            Some(_) | None => Ok(Edit::over(Self(DotFun::of(dot, (token, value))), self)),
        }
    }
}

impl<V> Default for Fenced<V> {
    fn default() -> Self {
        Self(DotFun::default())
    }
}

/// A greater fencing token has been here. The caller's lease is over: it must stop, not try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("token {token} is fenced off by {held}: whoever holds that one has taken over")]
pub struct FencedOff {
    /// The caller's token.
    pub token: u64,
    /// The greatest that has been here.
    pub held: u64,
}
