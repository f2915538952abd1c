//! Real processes that are killed, stopped, frozen and cut off while clients go on working, and then must hold all they promised.
//!
//! `MESHWORK_CHAOS_SECONDS` makes it longer; `MESHWORK_CHAOS_SEED` repeats what is done and what befalls the nodes, though not how
//! threads and packets meet.
#![cfg(all(feature = "program", feature = "sim", target_os = "linux"))]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

#[path = "../program/bridge.rs"]
mod bridge;
mod door;
mod faults;
mod load;
mod moving;
#[path = "../program/site.rs"]
#[expect(dead_code, reason = "the tests of the program need more of it")]
mod site;
mod stage;
mod steady;
mod wire;

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::runtime::{Builder, Runtime};

/// Two meshes at once would only wait for each other's processors.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The clients share one thread.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}
