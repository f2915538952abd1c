//! What clients do to a mesh, and what they may expect of it: the same for simulated meshes and for real processes.

mod client;
mod seen;

pub use client::{Client, Failure};
pub use seen::Seen;
