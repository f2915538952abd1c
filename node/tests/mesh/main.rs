//! Whole nodes in one process, over real sockets on loopback.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod faults;
mod kinds;
mod life;
mod members;
mod strong;
