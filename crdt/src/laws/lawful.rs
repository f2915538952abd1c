//! An application's own type under test.

use alloc::vec::Vec;
use core::fmt::Debug;
use core::marker::PhantomData;

use proptest::strategy::BoxedStrategy;

use super::history::{By, Write};
use super::subject::Subject;
use crate::{Decode, Encode, Lattice};

/// What the kit must know of a type that joins and encodes itself: how it is written and read.
pub trait Lawful: Lattice + Encode + Decode + Clone + Default + PartialEq + Debug {
    /// As [`Subject::Op`].
    type Op: Clone + Debug + 'static;
    /// As [`Subject::View`].
    type View: PartialEq + Debug;

    /// As [`Subject::ops`].
    fn ops() -> BoxedStrategy<Self::Op>;

    /// As [`Subject::write`].
    fn write(&mut self, by: &By, op: &Self::Op) -> Option<Self>;

    /// As [`Subject::view`].
    fn view(&self) -> Self::View;

    /// As [`Subject::expected`].
    fn expected(writes: &[Write<Self::Op>]) -> Option<Self::View>;
}

/// The [`Subject`] of a [`Lawful`] type.
#[derive(Clone, Copy, Debug, Default)]
pub struct Of<T>(PhantomData<T>);

impl<T> Of<T> {
    /// The subject of the type.
    #[must_use]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: Lawful> Subject for Of<T> {
    type State = T;
    type Op = T::Op;
    type View = T::View;

    fn start(&self) -> T {
        T::default()
    }

    fn ops(&self) -> BoxedStrategy<T::Op> {
        T::ops()
    }

    fn write(&self, state: &mut T, by: &By, op: &T::Op) -> Option<T> {
        state.write(by, op)
    }

    fn join(&self, state: &mut T, other: &T) {
        state.join(other);
    }

    fn view(&self, state: &T) -> T::View {
        state.view()
    }

    fn expected(&self, writes: &[Write<T::Op>]) -> Option<T::View> {
        T::expected(writes)
    }

    fn encode(&self, state: &T) -> Vec<u8> {
        state.encode()
    }

    fn decode(&self, bytes: &[u8]) -> Option<T> {
        T::decode(bytes).ok()
    }
}
