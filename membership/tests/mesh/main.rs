//! Many cores on one event queue and virtual time.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap is a failed test"
)]
#![expect(clippy::print_stdout, reason = "the figures are for people")]

mod cost;
mod distance;
mod faults;
mod figures;
mod hostile;
mod life;
mod lifeguard;
mod pair;
mod sim;
