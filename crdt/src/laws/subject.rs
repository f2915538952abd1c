//! What the kit must know of a type.

use alloc::vec::Vec;
use core::fmt::Debug;

use proptest::strategy::BoxedStrategy;

use super::history::{By, Write};

/// A type under test: how its values are written, joined, read and encoded.
pub trait Subject {
    /// A value, and a delta of it: the two are one type.
    type State: Clone + PartialEq + Debug;
    /// An operation. If its `Debug` is how it is written in Rust, the test that a failure prints can be pasted as it is.
    type Op: Clone + Debug + 'static;
    /// What the application reads; `()` if there is no model.
    type View: PartialEq + Debug;

    /// The value that nobody wrote yet.
    fn start(&self) -> Self::State;

    /// Operations, best few and small ones, so that writers often meet.
    fn ops(&self) -> BoxedStrategy<Self::Op>;

    /// Does `op` to the value and gives the delta; `None` if the operation is refused, which must leave the value alone.
    fn write(&self, state: &mut Self::State, by: &By, op: &Self::Op) -> Option<Self::State>;

    /// Takes over all that `other` knows.
    fn join(&self, state: &mut Self::State, other: &Self::State);

    /// What the application reads.
    fn view(&self, state: &Self::State) -> Self::View;

    /// What it should read after these writes, each of which comes after all that it saw; `None` where the model does not say.
    ///
    /// The plainest model is a sequential one: see [`in_turn`](super::in_turn).
    fn expected(&self, writes: &[Write<Self::Op>]) -> Option<Self::View>;

    /// What a peer lacks of this value; `None` if nothing. Left out, it is the value as a whole.
    fn delta_since(&self, state: &Self::State, peer: &Self::State) -> Option<Self::State> {
        let mut whole = peer.clone();
        self.join(&mut whole, state);
        (whole != *peer).then(|| state.clone())
    }

    /// The one encoding of the value.
    fn encode(&self, state: &Self::State) -> Vec<u8>;

    /// The value of these bytes, which may come from anyone; `None` if there is none.
    fn decode(&self, bytes: &[u8]) -> Option<Self::State>;

    /// What two nodes compare to find out whether they have the same. Left out, it is the encoding.
    fn digest(&self, state: &Self::State) -> Vec<u8> {
        self.encode(state)
    }

    /// Both, joined.
    fn joined(&self, a: &Self::State, b: &Self::State) -> Self::State {
        let mut joined = a.clone();
        self.join(&mut joined, b);
        joined
    }
}
