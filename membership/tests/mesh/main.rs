//! Many cores on one event queue and virtual time.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod faults;
mod figures;
mod hostile;
mod life;
mod pair;
mod sim;
