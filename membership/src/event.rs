//! What the core hands out.

use crate::{NodeId, Remembered};

/// Something for the driver to do. Drain with [`Membership::poll_output`](crate::Membership::poll_output) after each call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Send a message. It may be lost, delayed or repeated; the core copes. At most 1 MiB.
    Send {
        /// To whom; its addresses are in its [`Member::meta`](crate::Member::meta), unless it is a seed of a join.
        to: NodeId,
        /// The bytes for its [`Membership::handle_message`](crate::Membership::handle_message).
        message: Vec<u8>,
    },
    /// Something changed.
    Event(Event),
    /// Keep this on disk, in place of what was kept for the same id. No answer is awaited.
    Remember(Remembered),
    /// Drop what was kept on disk for this id.
    ForgetRemembered(NodeId),
}

/// A change in the view of the mesh. Details are in [`Membership::member`](crate::Membership::member).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A member that was not known, or had left, is alive.
    Joined(NodeId),
    /// A member changed its metadata; a new `instance` there means that it was restarted.
    Changed(NodeId),
    /// A member did not answer. It keeps its place.
    Suspected(NodeId),
    /// A suspected or dead member is alive.
    Recovered(NodeId),
    /// A member is dead, or was when others told about it. It keeps its place.
    Down(NodeId),
    /// A member said goodbye: it loses its place.
    Left(NodeId),
    /// A member was dead for so long that it is forgotten: it loses its place.
    Expired(NodeId),
    /// This node has the list of its mesh: see [`Membership::seek_list`](crate::Membership::seek_list).
    Listed,
    /// Somebody called this node dead; it refuted by raising its incarnation.
    Refuted {
        /// Its incarnation now.
        incarnation: u64,
    },
    /// Another process lives under this node's id: a copied key. Both should be stopped, and one given a new key.
    Impostor {
        /// The other's [`Meta::instance`](crate::Meta::instance).
        instance: u64,
    },
}

/// What was refused or dropped since the start, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Claims whose incarnation jumped too far.
    pub jumps_refused: u64,
    /// Unknown members refused because the list is full.
    pub members_refused: u64,
    /// Dead or departed members forgotten early because too many are gone.
    pub gone_forgotten: u64,
    /// Times that this node was called dead and refuted.
    pub refutations: u64,
    /// Times that this node was not run for so long that it gave its suspects more time.
    pub pauses: u64,
}
