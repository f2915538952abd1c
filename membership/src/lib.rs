//! SWIM membership for the Meshwork data mesh, as a pure state machine.

mod claims;
mod config;
mod event;
mod exchange;
mod gossip;
mod member;
mod membership;
mod message;
mod meta;
mod myself;
mod node_id;
mod probing;
mod ring;
mod table;
mod time;
mod timing;

pub use config::Config;
pub use event::{Counters, Event, Output};
pub use member::{DecodeRemembered, Member, Remembered, State};
pub use membership::{Membership, RejectMessage};
pub use message::{Claim, DecodeMessage, INCARNATION_MAX, MESSAGE_BYTES_MAX, Message, Purpose};
pub use meta::{InvalidMeta, Meta};
pub use node_id::{NodeId, ParseNodeId};
pub use time::Time;
