//! The few keys that must be linearizable, and locks.
//!
//! One Raft group inside the mesh. Applications use it through [`Mesh::strong`](crate::Mesh::strong) and
//! [`Mesh::lock`](crate::Mesh::lock); what they ask for is a [`Command`] of the group's log, and what that makes of its [`State`].
//! `ARCHITECTURE.md` says how the parts fit together.

mod backup;
mod backup_handle;
mod backups;
mod change;
mod client;
mod command;
mod core;
mod deadlines;
mod election;
mod frames;
mod freshness;
mod gathered;
mod group;
mod growth;
mod handle;
mod history;
mod ids;
mod keys;
mod leader;
mod lease;
mod lock_handle;
mod locks;
mod log;
mod message;
mod mint;
mod parked;
mod records;
mod sequence;
mod sessions;
mod staging;
mod stale;
mod state;
mod status;
mod table;
#[cfg(test)]
mod tests;
mod watch;
mod wire;

pub use backup::{BACKUP_BYTES_MAX, Backup, ReadBackup};
pub use backup_handle::{FetchBackup, StrongBackup, StrongRestore};
pub use client::{StrongDone, StrongError, StrongRequest};
pub use command::{
    Branch, Command, Condition, Found, Full, KeyOp, Link, Mode, Outcome, Owner, Refusal, Request,
    Revision, SessionId, Token, TooLarge, Transaction, Wait,
};
pub(crate) use core::{Ability, Stored, Strong, StrongOutput, StrongSetup};
pub use core::{RejectStrong, ResetStrong};
pub use election::{Election, Leader, LeaderWatch, Leadership, Reign};
pub use group::GroupConfig;
pub(crate) use growth::{Able, Condition as MemberCondition};
pub use handle::{STRONG_TIMEOUT, StrongFailure, StrongKeyError, StrongNamespace};
pub use history::Change;
pub use ids::{IdError, Ids, IdsBuilder};
pub use lease::Lease;
pub use lock_handle::{AcquireError, LockBuilder, LockGuard};
pub use locks::{Holder, Lock, Waiter};
pub(crate) use message::Message;
pub use message::{Changes, DecodeStrong, Finding, LockHolder, Query, Seen, Turn};
pub use records::{GroupId, OpenGroup};
pub(crate) use records::{VoterId, forget_group};
pub use sequence::StrongSequence;
pub use stale::Stale;
pub use state::{ReadSnapshot, State};
#[cfg(feature = "sim")]
pub(crate) use status::Voters;
pub use status::{GroupMember, StrongStatus};
pub use watch::{StrongEvent, StrongWatch};
pub use wire::RejectRaft;
