//! The state alone, and whole groups in virtual time.

mod backup;
mod bounds;
mod clocks;
mod disk;
mod group;
mod hostile;
#[cfg(feature = "sim")]
mod linear;
mod net;
mod reset;
mod snapshots;
mod stale;
mod state;
mod watch;
