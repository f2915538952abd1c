//! A peer-to-peer gossip and CRDT data mesh: the node, its doors and its program.

pub mod admission;
pub mod net;
pub mod store;
