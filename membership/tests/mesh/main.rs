//! Many cores on one event queue and virtual time.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap is a failed test"
)]
#![expect(clippy::print_stdout, reason = "the figures are for people")]

mod faults;
mod figures;
mod hostile;
mod life;
mod pair;
mod sim;
