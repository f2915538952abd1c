//! The proof: seeded meshes under load and faults, and what must hold.

mod fault;
#[cfg(feature = "planted")]
mod hunt;
mod run;
mod schedule;
mod shrink;

pub(crate) use fault::Act;
pub use fault::Fault;
#[cfg(feature = "planted")]
pub use hunt::{Caught, Hunt, hunt};
pub use run::{Keep, Outcome, Plan};
pub use schedule::{FaultKind, Planned, UnknownFault, schedule};
pub use shrink::Shrunken;
