//! `Node`: membership, placement and replication put together into one core, as pure as its parts.

mod batches;
mod config;
mod node;
mod status;

pub use config::{NodeConfig, roles};
pub use node::{Class, Node, NodeSetup, OpenNode, Output, RejectFrame};
pub use status::{HAND_OVER_TIMEOUT, MemberStatus, Status};
