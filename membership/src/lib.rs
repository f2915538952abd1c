//! SWIM membership for the Meshwork data mesh, as a pure state machine.

mod node_id;
mod time;

pub use node_id::{NodeId, ParseNodeId};
pub use time::Time;
