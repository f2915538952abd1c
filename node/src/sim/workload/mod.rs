//! What clients do to a mesh, and what they may expect of it: the same for simulated meshes and for real processes.
//!
//! A [`Workload`] says what its clients do; each runs as a plain future on a [`Client`], its way into the mesh, and tells an
//! [`Oracle`] what it asked for and what came back. The oracle checks every answer as it comes. Once the faults have stopped,
//! [`settle`] waits for the nodes to agree and checks what they show in the end.
//!
//! What may be expected depends on where the keys are: see [`Placement`].

mod book;
mod claims;
mod client;
mod dice;
mod history;
mod json;
mod oracle;
mod over_mesh;
mod record;
mod seen;
mod session;
mod settle;
mod token;
mod typing;
mod violation;
mod wishes;

pub use claims::Placement;
pub use client::{Client, Failure};
pub use json::ReadSeen;
pub use oracle::{Oracle, Shows, Tally, WriteId};
pub use over_mesh::{Clock, MeshClient};
pub use record::{Effect, Outcome, Request, Write};
pub use seen::{Seen, Shown, Slot};
pub use session::{Session, Workload};
pub use settle::{Unsettled, settle};
pub use violation::{Look, Violation, Wrong};
pub use wishes::{Kinds, Mix};
