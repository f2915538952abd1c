//! Dots, contexts and the three dot stores that all kinds are made of.

mod context;
mod dot_fun;
mod dot_map;
mod dot_set;
mod dot_store;
mod few;
mod runs;
mod state;
mod version_vector;

pub use context::{CausalContext, Causality};
pub use dot_fun::DotFun;
pub use dot_map::DotMap;
pub use dot_set::DotSet;
pub use dot_store::{Contexts, DotStore};
pub use state::{Causal, Edit};
pub use version_vector::VersionVector;
