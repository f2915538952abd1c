//! Connections between nodes: libp2p over QUIC, admission at the door, framed streams behind it.
//!
//! Each pair of connected members shares **one link**: a QUIC connection with one long-lived stream for each [`Class`] of
//! traffic, both directions used. Negotiating and opening is paid once; after that a frame costs a few microseconds.
//! [`Net`] is the handle: sending never blocks, what should be connected is said by [`Net::want`], and what happens comes
//! out of [`NetEvents`].
//!
//! **Nothing is parsed before membership is proved.** TLS proves the peer's [`NodeId`](meshwork_membership::NodeId); its first frame must
//! be a hello with a credential of this mesh. Whoever shows none gets one refusal code and learns nothing else. The only other
//! thing a stranger may ask is to come in by ticket.
//!
//! **Bounds.** Frames, queues, undelivered events, links, pending handshakes, connections and streams of one peer are bounded by
//! [`NetLimits`]. A receiver that does not keep up pushes back through QUIC's flow control onto the sender's queue, where
//! [`Net::send`] says [`SendFrame::Full`]. A sender whose peer takes nothing for a while drops the link.
//!
//! A frame that was accepted by [`Net::send`] may still be lost with its link: whoever needs it delivered waits for an
//! answer and sends again.

mod address;
mod behaviour;
mod config;
mod dialing;
mod door;
mod driver;
mod event;
mod frames;
mod handle;
mod handshake;
mod join;
mod link;
mod refusal;
mod shared;
mod stats;
mod wire;

pub use config::{NetConfig, NetLimits};
pub use event::{Class, DialFailure, DownReason, JoinAnswer, NetEvent, NetEvents};
pub use handle::{Net, SendFrame, StartNet};
pub use join::{JoinMesh, Joined, join_mesh};
pub use refusal::RefuseReason;
pub use stats::NetStats;
pub use wire::{
    DecodeFrame, Header, Hello, JoinGrant, JoinMessage, Kind, Reply, Welcome, decode_join_answer,
    encode_join_answer,
};

#[cfg(test)]
mod tests;
