//! The law kit: finds out whether a type may be merged.
//!
//! Give it a type, a way to make operations and, if there is one, a plain model; [`assert_laws`] then runs random histories of several
//! replicas that write, lose, repeat and reorder deltas, and checks every [`Law`] on all that comes of them. A history that breaks a law is made
//! as small as it can be and printed as a diagram and as a test to paste. Feature `laws`; needs std.
//!
//! A type of an application's own implements [`Lawful`] beside [`Lattice`](crate::Lattice), [`Encode`](crate::Encode) and
//! [`Decode`](crate::Decode); a few functions that are not a type yet are tried with a [`Sketch`]; anything else implements [`Subject`].
//!
//! # Examples
//! ```
//! use meshwork_crdt::laws::{By, Lawful, Write, assert_laws, Of, proptest::prelude::*};
//! use meshwork_crdt::{Decode, Encode, Lattice, MergeRefused};
//!
//! #[derive(Clone, Debug, Default, PartialEq)]
//! struct Highest(u8);
//!
//! impl Lattice for Highest {
//!     fn join(&mut self, other: &Self) {
//!         self.0 = self.0.max(other.0);
//!     }
//! }
//! impl Encode for Highest {
//!     fn encode(&self) -> Vec<u8> {
//!         vec![self.0]
//!     }
//! }
//! impl Decode for Highest {
//!     fn decode(bytes: &[u8]) -> Result<Self, MergeRefused> {
//!         match bytes {
//!             [score] => Ok(Self(*score)),
//!             _ => Err(MergeRefused),
//!         }
//!     }
//! }
//! impl Lawful for Highest {
//!     type Op = u8;
//!     type View = u8;
//!     fn ops() -> BoxedStrategy<u8> {
//!         any::<u8>().boxed()
//!     }
//!     fn write(&mut self, _: &By, score: &u8) -> Option<Self> {
//!         self.join(&Self(*score));
//!         Some(Self(*score))
//!     }
//!     fn view(&self) -> u8 {
//!         self.0
//!     }
//!     fn expected(writes: &[Write<u8>]) -> Option<u8> {
//!         writes.iter().map(|write| write.op).max()
//!     }
//! }
//!
//! assert_laws(&Of::<Highest>::new());
//! ```
//! A cargo-fuzz target is one line: `fuzz_target!(|data: &[u8]| laws::fuzz(&Of::<Highest>::new(), data));`

mod bytes;
mod check;
mod history;
mod hunt;
mod interleave;
mod law;
mod lawful;
mod objects;
mod report;
mod sketch;
mod subject;
pub mod wrong;

/// The crate that operations are made with.
pub use proptest;

pub use history::{By, Step, Write, in_turn};
pub use hunt::{Effort, Kept, assert_laws, fuzz, hunt, replay};
pub use law::Law;
pub use lawful::{Lawful, Of};
pub use objects::{Objects, Shown};
pub use report::Broken;
pub use sketch::Sketch;
pub use subject::Subject;

/// Makes a suite of tests for a [`Subject`], one for each group of laws, in a module of that name.
///
/// ```
/// # use meshwork_crdt::laws::Objects;
/// # use meshwork_crdt::Kind;
/// meshwork_crdt::law_tests!(counter, Objects::of(Kind::Counter));
/// ```
#[macro_export]
macro_rules! law_tests {
    ($name:ident, $subject:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "the subject may need any of them")]
            use super::*;

            $crate::law_tests! { @ $subject;
                joins_keep_the_laws: $crate::laws::Law::JOINS,
                deltas_keep_the_laws: $crate::laws::Law::DELTAS,
                bytes_keep_the_laws: $crate::laws::Law::BYTES,
                replicas_agree: $crate::laws::Law::REPLICAS,
            }
        }
    };
    (@ $subject:expr; $($test:ident: $laws:expr,)+) => {
        $(
            #[test]
            fn $test() {
                let found = $crate::laws::hunt(&$subject, $laws, &$crate::laws::Effort::default());
                if let Err(broken) = found {
                    panic!("{broken}");
                }
            }
        )+
    };
}
