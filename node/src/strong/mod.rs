//! The few keys that must be linearizable, and locks.
//!
//! What the strong group will agree on and what it makes of it: [`Command`]s, one after the other, and the [`State`] that they build.
//! No group is formed yet: this is the part of it that has neither network nor time.

mod command;
mod history;
mod keys;
mod locks;
mod sessions;
mod state;
#[cfg(test)]
mod tests;

pub use command::{
    Branch, Command, Condition, Found, Full, KeyOp, Link, Mode, Outcome, Owner, Refusal, Request,
    Revision, SessionId, Token, TooLarge, Transaction, Wait,
};
pub use history::Change;
pub use locks::{Holder, Lock, Waiter};
pub use state::{ReadSnapshot, State};
