//! Clocks, dots, delta-state CRDTs and their encodings for the Meshwork data mesh.
//!
//! The way to read it: a [`Dot`] names one write, a [`CausalContext`] is a set of dots seen, a [`Causal`] pairs
//! one of three dot stores with its context and joins by one rule; every kind of value is a thin shape over a
//! dot store; an [`Object`] is what the mesh stores under a key. States and deltas are one type: a write yields the
//! small [`Object`] that, joined anywhere, in any order and any number of times, has the effect of the write.
//!
//! Invariants: every mutation has a dot of its own in its delta's context, so equal digests mean equal states;
//! a join is total, also on hostile states; no bytes make [`Object::decode`] panic or take more memory than
//! in proportion to their length.
//!
//! Deliberately absent: clocks, randomness and I/O (stamps are inputs), and any forgetting of contexts,
//! which is for the replication engine to decide.
//!
//! Feature `document` (on by default, needs std): reads and edits documents with automerge. Without it the
//! crate is `no_std` with `alloc`, and documents are still stored, joined and relayed.
//!
//! Feature `laws` (needs std): the kit that tests whether a type may be merged, ours and an application's own.
#![no_std]

extern crate alloc;
#[cfg(any(test, feature = "document", feature = "laws"))]
extern crate std;

mod causal;
mod dot;
mod hlc;
mod kinds;
#[cfg(feature = "laws")]
pub mod laws;
mod object;
mod op;
mod replica;
#[cfg(feature = "document")]
mod text;
mod wire;

/// The crate whose documents [`Text`] opens.
#[cfg(feature = "document")]
pub use automerge;
pub use causal::{
    Causal, CausalContext, Causality, Contexts, DotFun, DotMap, DotSet, DotStore, Edit,
    VersionVector,
};
pub use dot::Dot;
pub use hlc::{ClockAhead, Hlc, HybridClock};
pub use kinds::{
    AwSet, BoundedCounter, Custom, Decode, Document, DwFlag, EditSequence, Encode, EwFlag, Fenced,
    FencedOff, GCounter, GSet, Kind, Lattice, Max, MergeFn, MergeRefused, Merges, Min, MvRegister,
    NoRights, Opaque, OrMap, ParseKind, PnCounter, RwSet, Sequence, Shape, Value,
};
pub use object::Object;
pub use op::{ApplyOp, Op, Stamp};
pub use replica::{ParseReplicaId, ReplicaId};
#[cfg(feature = "document")]
pub use text::{ActorSeed, EditText, Text, UnknownHead};
pub use wire::{Bound, DecodeObject, Limits};
