//! The command line. Every command is a thin client: it checks what was typed, asks the running node, and shows the answer.
//!
//! Only `init`, `join` and `up` touch the data folder's secrets themselves.

mod args;
mod backup;
mod child;
pub(crate) mod client;
mod collections;
mod document;
mod elect;
mod events;
pub(crate) mod exit;
mod folder;
mod hold;
mod import;
mod key;
mod laws;
mod list;
mod lock;
mod logging;
mod mesh;
mod namespace;
mod op;
pub(crate) mod output;
#[cfg(feature = "planted")]
mod planted;
mod setup;
mod show;
mod signals;
mod sim;
mod status;
mod strong;
mod txn;
mod up;
mod values;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::{bench, demo};
use args::{Cli, Command};
use exit::Failure;

/// Reads the arguments, carries the command out and says how it went.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    match carry_out(&cli) {
        Ok(code) => code,
        Err(failure) => {
            output::failure(&failure);
            failure.exit.into()
        }
    }
}

fn carry_out(cli: &Cli) -> Result<ExitCode, Failure> {
    let folder = folder::choose(cli.dir.as_deref())?;
    match &cli.command {
        Command::Init(args) => setup::init(&folder, args),
        Command::Join(args) => setup::join(&folder, args),
        Command::Up(args) => up::run(&folder, args),
        Command::Invite(args) => mesh::invite(&folder, args),
        Command::Leave(args) => mesh::leave(&folder, args),
        Command::Status(args) => status::run(&folder, args),
        Command::Put(args) => values::put(&folder, args),
        Command::Get(args) => values::get(&folder, args),
        Command::Del(args) => values::delete(&folder, args),
        Command::Incr(args) => values::increment(&folder, args),
        Command::Op(args) => op::run(&folder, args),
        Command::Set(args) => collections::set(&folder, &args.command),
        Command::Map(args) => collections::map(&folder, &args.command),
        Command::Flag(args) => collections::flag(&folder, &args.command),
        Command::List(args) => list::run(&folder, &args.command),
        Command::Doc(args) => document::run(&folder, &args.command),
        Command::Watch(args) => watch::run(&folder, args),
        Command::Namespace(args) => namespace::run(&folder, &args.command),
        Command::Cas(args) => txn::cas(&folder, args),
        Command::Txn(args) => txn::run(&folder, args),
        // They end as what they run ends.
        Command::Lock(args) => return lock::run(&folder, args),
        Command::Elect(args) => return elect::run(&folder, args),
        Command::Strong(args) => strong::run(&folder, &args.command),
        Command::Laws(args) => laws::run(args),
        Command::Sim(args) => sim::run(args),
        Command::Bench(args) => bench::run(&args.command),
        Command::Demo(args) => demo::run(args),
    }?;
    Ok(ExitCode::SUCCESS)
}
