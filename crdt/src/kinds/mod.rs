//! The kinds of values: thin shapes over the dot stores.

mod bounded;
mod counter;
mod custom;
mod document;
mod extreme;
mod fenced;
mod flag;
mod kind;
mod leaf;
mod ledger;
mod map;
mod opaque;
mod place;
mod register;
mod sequence;
mod set;
mod value;

pub use bounded::{BoundedCounter, NoRights};
pub use counter::{GCounter, PnCounter};
pub use custom::{Custom, Decode, Encode, Lattice, MergeFn, MergeRefused, Merges};
pub use document::Document;
pub use extreme::{Max, Min};
pub use fenced::{Fenced, FencedOff};
pub use flag::{DwFlag, EwFlag};
pub use kind::{Kind, ParseKind};
pub(crate) use leaf::Leaf;
pub use map::OrMap;
pub use opaque::{Opaque, Shape};
pub use register::MvRegister;
pub use sequence::{EditSequence, Sequence};
pub use set::{AwSet, GSet, RwSet};
pub use value::Value;

/// Makes a kind a dot store and gives it an encoding, both those of the store inside.
macro_rules! shape_of_store {
    ($kind:ty $(, $parameter:ident: $($bound:path),+)?) => {
        impl$(<$parameter: $($bound +)+>)? $crate::DotStore for $kind {
            fn join(&mut self, other: &Self, contexts: &$crate::Contexts<'_>) {
                self.0.join(&other.0, contexts);
            }

            fn visit(&self, visitor: &mut dyn FnMut($crate::Dot)) {
                self.0.visit(visitor);
            }

            fn retain(&mut self, keep: &mut dyn FnMut($crate::Dot) -> bool) {
                self.0.retain(keep);
            }

            fn kept(&self, keep: &mut dyn FnMut($crate::Dot) -> bool) -> Self {
                Self(self.0.kept(keep))
            }

            fn is_empty(&self) -> bool {
                $crate::DotStore::is_empty(&self.0)
            }
        }
    };
}
pub(crate) use shape_of_store;

/// Gives a kind the encoding of the store inside.
macro_rules! wire_of_store {
    ($kind:ty) => {
        impl $crate::wire::Wire for $kind {
            fn write(&self, writer: &mut $crate::wire::StoreWriter) {
                self.0.write(writer);
            }

            fn read(
                reader: &mut $crate::wire::StoreReader<'_>,
                depth: usize,
            ) -> Result<Self, $crate::DecodeObject> {
                $crate::wire::Wire::read(reader, depth).map(Self)
            }
        }
    };
}
pub(crate) use wire_of_store;
