//! The program `meshwork`: runs a node, and speaks to a running one through its HTTP door.

mod bench;
mod cli;
mod demo;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
