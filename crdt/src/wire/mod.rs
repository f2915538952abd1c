//! The encoding: bounds, a reader of bytes nobody vouches for, a writer, and how stores use them.

mod limits;
mod reader;
mod serde_impls;
mod store;
mod writer;

pub use limits::{Bound, DecodeObject, Limits};
pub(crate) use reader::Reader;
pub(crate) use store::{StoreReader, StoreWriter, Wire};
pub(crate) use writer::Writer;
