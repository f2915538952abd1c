//! Whole nodes in one process, over real sockets on loopback.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod elections;
mod faults;
mod ids;
mod kinds;
mod leases;
mod life;
mod members;
mod strong;
mod strong_watch;
