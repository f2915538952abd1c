//! The program `meshwork`: runs a node, and speaks to a running one through its HTTP door.

mod bench;
mod cli;
mod demo;

use std::process::ExitCode;

/// Answers to many requests at once are many small pieces of memory, made in one thread and freed in another.
#[cfg(all(feature = "jemalloc", target_os = "linux", target_arch = "x86_64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::run()
}
