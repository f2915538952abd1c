//! A merge that is no type yet.

use alloc::vec::Vec;
use core::fmt::{self, Debug};

use proptest::strategy::BoxedStrategy;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::history::{By, Write};
use super::subject::Subject;

/// A [`Subject`] of a few functions, for a merge that is still being thought about.
///
/// What an idea does not need stays as [`Sketch::new`] sets it: no model, the encoding of postcard, whole states for `delta_since`.
#[derive(Clone, Copy)]
pub struct Sketch<S, O, V = ()> {
    /// Operations.
    pub ops: fn() -> BoxedStrategy<O>,
    /// Does an operation and gives the delta.
    pub write: fn(&mut S, &By, &O) -> Option<S>,
    /// Takes over what the other knows.
    pub join: fn(&mut S, &S),
    /// What is read.
    pub view: fn(&S) -> V,
    /// What should be read.
    pub expected: fn(&[Write<O>]) -> Option<V>,
    /// What a peer lacks.
    pub delta_since: fn(&S, &S) -> Option<S>,
    /// To bytes.
    pub encode: fn(&S) -> Vec<u8>,
    /// And back.
    pub decode: fn(&[u8]) -> Option<S>,
    /// What is compared; `None` for the encoding.
    pub digest: Option<fn(&S) -> Vec<u8>>,
}

impl<S, O, V> Sketch<S, O, V>
where
    S: Clone + Default + PartialEq + Debug + Serialize + DeserializeOwned,
    V: Default,
{
    /// A sketch of how a value is written and joined.
    ///
    /// # Panics
    /// The encoding does for a value that serde cannot tell the length of; no plain data is.
    pub const fn new(
        ops: fn() -> BoxedStrategy<O>,
        write: fn(&mut S, &By, &O) -> Option<S>,
        join: fn(&mut S, &S),
    ) -> Self {
        Self {
            ops,
            write,
            join,
            view: |_| V::default(),
            expected: |_| None,
            delta_since: |state, _| Some(state.clone()),
            encode: |state| postcard::to_allocvec(state).expect("plain data always encodes"),
            decode: |bytes| {
                let (state, rest) = postcard::take_from_bytes::<S>(bytes).ok()?;
                let again = postcard::to_allocvec(&state).ok()?;
                (rest.is_empty() && again == bytes).then_some(state)
            },
            digest: None,
        }
    }

    /// The same with a model: what is read, and what should be.
    #[must_use]
    pub const fn reads(
        mut self,
        view: fn(&S) -> V,
        expected: fn(&[Write<O>]) -> Option<V>,
    ) -> Self {
        (self.view, self.expected) = (view, expected);
        self
    }
}

impl<S, O, V> Subject for Sketch<S, O, V>
where
    S: Clone + Default + PartialEq + Debug,
    O: Clone + Debug + 'static,
    V: PartialEq + Debug,
{
    type State = S;
    type Op = O;
    type View = V;

    fn start(&self) -> S {
        S::default()
    }

    fn ops(&self) -> BoxedStrategy<O> {
        (self.ops)()
    }

    fn write(&self, state: &mut S, by: &By, op: &O) -> Option<S> {
        (self.write)(state, by, op)
    }

    fn join(&self, state: &mut S, other: &S) {
        (self.join)(state, other);
    }

    fn view(&self, state: &S) -> V {
        (self.view)(state)
    }

    fn expected(&self, writes: &[Write<O>]) -> Option<V> {
        (self.expected)(writes)
    }

    fn delta_since(&self, state: &S, peer: &S) -> Option<S> {
        (self.delta_since)(state, peer)
    }

    fn encode(&self, state: &S) -> Vec<u8> {
        (self.encode)(state)
    }

    fn decode(&self, bytes: &[u8]) -> Option<S> {
        (self.decode)(bytes)
    }

    fn digest(&self, state: &S) -> Vec<u8> {
        self.digest.unwrap_or(self.encode)(state)
    }
}

impl<S, O, V> Debug for Sketch<S, O, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sketch").finish_non_exhaustive()
    }
}
