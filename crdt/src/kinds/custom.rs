//! Values of the application's own kinds.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::kinds::{shape_of_store, wire_of_store};
use crate::{CausalContext, Dot, DotFun, Edit};

/// A value of an application's own lattice, as payloads that nodes need not understand.
///
/// Concurrent payloads are kept side by side; a write by a node that knows the kind replaces all that it saw by
/// their join, and so does reading. A node that does not know the kind stores and relays the payloads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Custom(DotFun<Vec<u8>>);

shape_of_store!(Custom);
wire_of_store!(Custom);

impl Custom {
    /// The payloads that no write has joined yet, by dot.
    pub fn payloads(&self) -> impl Iterator<Item = (Dot, &[u8])> + '_ {
        self.0
            .iter()
            .map(|(dot, payload)| (dot, payload.as_slice()))
    }

    /// The join of all payloads. Payloads that the merge refuses are left out; `None` if
    /// none is left or the tag is unknown.
    #[must_use]
    pub fn joined(&self, tag: u16, merges: &Merges) -> Option<Vec<u8>> {
        let merge = merges.get(tag)?;
        let mut joined = None;
        for (_, payload) in self.payloads() {
            joined = merge(joined.as_deref().unwrap_or(payload), payload)
                .ok()
                .or(joined);
        }
        joined
    }

    /// Joins a payload in. What the merge refuses among the payloads that are there stays beside.
    ///
    /// # Errors
    /// [`MergeRefused`] if the merge refuses `payload` itself.
    pub fn merge(
        &self,
        dot: Dot,
        tag: u16,
        payload: &[u8],
        merges: &Merges,
    ) -> Result<Edit<Self>, MergeRefused> {
        let Some(merge) = merges.get(tag) else {
            return Ok(Edit::nothing(Self(DotFun::of(dot, payload.to_vec()))));
        };
        // Joining with itself changes nothing, and finds out whether it is one of the kind.
        let mut joined = merge(payload, payload)?;
        let mut replaces = CausalContext::new();
        for (seen, other) in self.payloads() {
            if let Ok(both) = merge(&joined, other) {
                joined = both;
                replaces.insert(seen);
            }
        }
        Ok(Edit {
            store: Self(DotFun::of(dot, joined)),
            replaces,
        })
    }
}

/// A join of two encoded values: total on what it does not refuse, commutative, associative and idempotent.
pub type MergeFn = dyn Fn(&[u8], &[u8]) -> Result<Vec<u8>, MergeRefused> + Send + Sync;

/// The merge functions of the application's own kinds, by tag.
///
/// # Examples
/// ```
/// use meshwork_crdt::{Decode, Encode, Lattice, MergeRefused, Merges};
/// struct Highest(u8);
/// impl Lattice for Highest {
///     fn join(&mut self, other: &Self) {
///         self.0 = self.0.max(other.0);
///     }
/// }
/// impl Encode for Highest {
///     fn encode(&self) -> Vec<u8> {
///         vec![self.0]
///     }
/// }
/// impl Decode for Highest {
///     fn decode(bytes: &[u8]) -> Result<Self, MergeRefused> {
///         match bytes {
///             [score] => Ok(Self(*score)),
///             _ => Err(MergeRefused),
///         }
///     }
/// }
/// let mut merges = Merges::default();
/// merges.register::<Highest>(7);
/// ```
#[derive(Clone, Default)]
pub struct Merges(BTreeMap<u16, Arc<MergeFn>>);

impl Merges {
    /// Registers the merge of a static type under a tag, in place of what was there.
    pub fn register<T: Lattice + Encode + Decode>(&mut self, tag: u16) {
        self.register_fn(tag, |mine, theirs| {
            let mut joined = T::decode(mine)?;
            joined.join(&T::decode(theirs)?);
            Ok(joined.encode())
        });
    }

    /// Registers a merge of encoded values under a tag, in place of what was there.
    pub fn register_fn<F>(&mut self, tag: u16, merge: F)
    where
        F: Fn(&[u8], &[u8]) -> Result<Vec<u8>, MergeRefused> + Send + Sync + 'static,
    {
        self.0.insert(tag, Arc::new(merge));
    }

    pub(crate) fn get(&self, tag: u16) -> Option<&MergeFn> {
        self.0.get(&tag).map(|merge| &**merge)
    }
}

impl fmt::Debug for Merges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A payload is not an encoding of its kind. The fault of whoever wrote it; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload is not a value of its kind")]
pub struct MergeRefused;

/// A type whose values join: commutative, associative, idempotent.
pub trait Lattice {
    /// Takes over all that `other` knows.
    fn join(&mut self, other: &Self);
}

/// A type with a canonical encoding: equal values have equal bytes.
pub trait Encode {
    /// The bytes of the value.
    fn encode(&self) -> Vec<u8>;
}

/// A type that reads its own encoding.
pub trait Decode: Sized {
    /// The value of these bytes, which may come from anyone.
    ///
    /// # Errors
    /// [`MergeRefused`] if they are not such a value.
    fn decode(bytes: &[u8]) -> Result<Self, MergeRefused>;
}
