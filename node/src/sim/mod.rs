//! Whole meshes in one thread, on virtual time, with networks, disks, processes and clocks that fail as a seed says.
//!
//! [`Simulation`] runs an application in such a mesh: it has the same [`Mesh`](crate::Mesh) handles as on real nodes, and
//! a [`World`] to sleep in, to split and to kill. The nodes are the very [`Node`](crate::core::Node) that the real driver runs.

mod proof;
mod simulation;
pub mod workload;
mod world;

mod custody;
mod judge;
mod links;
mod machine;
mod process;
mod reach;
mod voters;
mod wire;

mod disk;
mod network;

mod queue;
mod tasks;
mod trace;
mod violation;

#[cfg(feature = "planted")]
pub use meshwork_membership::planted::Bug;
pub use network::{Distance, Weather};
#[cfg(feature = "planted")]
pub use proof::{Caught, Hunt, hunt};
pub use proof::{Fault, FaultKind, Keep, Outcome, Plan, Planned, Shrunken, UnknownFault, schedule};
pub use simulation::Simulation;
pub use trace::Line;
pub use violation::Violation;
pub use world::{Setup, World};
