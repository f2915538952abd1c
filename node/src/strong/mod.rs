//! The few keys that must be linearizable, and locks.
//!
//! One Raft group inside the mesh. Applications use it through [`Mesh::strong`](crate::Mesh::strong) and
//! [`Mesh::lock`](crate::Mesh::lock); what they ask for is a [`Command`] of the group's log, and what that makes of its [`State`].
//! `ARCHITECTURE.md` says how the parts fit together.

mod change;
mod client;
mod command;
mod core;
mod deadlines;
mod group;
mod growth;
mod handle;
mod history;
mod keys;
mod leader;
mod lock_handle;
mod locks;
mod log;
mod message;
mod records;
mod sessions;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod wire;

pub use client::{StrongDone, StrongError, StrongRequest};
pub use command::{
    Branch, Command, Condition, Found, Full, KeyOp, Link, Mode, Outcome, Owner, Refusal, Request,
    Revision, SessionId, Token, TooLarge, Transaction, Wait,
};
pub use core::RejectStrong;
pub(crate) use core::{Ability, Strong, StrongOutput, StrongSetup};
pub use group::GroupConfig;
pub(crate) use growth::{Able, Condition as MemberCondition};
pub use handle::{STRONG_TIMEOUT, StrongFailure, StrongKeyError, StrongNamespace};
pub use history::Change;
pub use lock_handle::{AcquireError, LockBuilder, LockGuard};
pub use locks::{Holder, Lock, Waiter};
pub(crate) use message::Message;
pub use message::{DecodeStrong, Finding, LockHolder, Query, Turn};
pub(crate) use records::VoterId;
pub use records::{GroupId, OpenGroup};
pub use state::{ReadSnapshot, State};
pub use status::{GroupMember, StrongStatus};
pub use wire::RejectRaft;
