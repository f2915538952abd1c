//! Typed views of values, for embedding applications.
//!
//! A view is opened by a [`Namespace`](crate::Namespace) for the value of a key, or by a [`Map`] for the value of a field, and
//! looks the same either way. Opening it asks nobody; each of its methods is one request.

mod counters;
mod custom;
mod document;
mod entry;
mod flags;
mod map;
mod numbers;
mod open;
mod registers;
mod sequence;
mod sets;

pub use counters::{BoundedCounter, Counter, GCounter};
pub use custom::CustomValue;
pub use document::TextDocument;
pub(crate) use entry::Entry;
pub use entry::ValueError;
pub use flags::{DwFlag, Flag};
pub use map::Map;
pub use numbers::{Max, Min};
pub use registers::{Fenced, Register};
pub use sequence::Sequence;
pub use sets::{GSet, RwSet, Set};
