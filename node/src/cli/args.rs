//! What may be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::collections::{FlagCommand, MapCommand, SetCommand};
use super::document::DocCommand;
use super::elect::ElectArgs;
use super::laws::LawsArgs;
use super::list::ListCommand;
use super::lock::LockArgs;
use super::mesh::{InviteArgs, LeaveArgs};
use super::namespace::NamespaceCommand;
use super::op::OpArgs;
use super::setup::{InitArgs, JoinArgs};
use super::sim::SimArgs;
use super::status::StatusArgs;
use super::strong::StrongCommand;
use super::txn::{CasArgs, TxnArgs};
use super::up::UpArgs;
use super::values::{DelArgs, GetArgs, IncrArgs, PutArgs};
use super::watch::WatchArgs;
use crate::bench::BenchCommand;
use crate::demo::DemoArgs;

/// A data mesh without a centre: every node can write at any time, and all end up with the same data.
#[derive(Debug, Parser)]
#[command(name = "meshwork", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// The node's data folder; one folder is one node
    ///
    /// The default is the platform's place for application data, such as ~/.local/share/meshwork.
    #[arg(long, global = true, env = "MESHWORK_DIR", value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Found a mesh: make its key, this node's key and its store
    Init(InitArgs),
    /// Join a mesh with a ticket from `meshwork invite`
    Join(JoinArgs),
    /// Run the node until Ctrl-C
    Up(UpArgs),
    /// Print a ticket that lets one more machine join
    Invite(InviteArgs),
    /// Show the members, what they hold and what waits for them
    Status(StatusArgs),
    /// Hand this node's data over and leave the mesh for good
    Leave(LeaveArgs),
    /// Write a value
    Put(PutArgs),
    /// Show what is under a key
    Get(GetArgs),
    /// Delete a key
    Del(DelArgs),
    /// Add to a counter
    Incr(IncrArgs),
    /// Add to, remove from and show a set
    Set(Sub<SetCommand>),
    /// Write, remove and show the fields of a map
    Map(Sub<MapCommand>),
    /// Turn a flag on or off, and show it
    Flag(Sub<FlagCommand>),
    /// Add to, reorder and show a list
    List(Sub<ListCommand>),
    /// Edit, show and import text documents
    Doc(Sub<DocCommand>),
    /// Carry out any operation on a value of any kind
    Op(OpArgs),
    /// Follow changes as they arrive
    Watch(WatchArgs),
    /// Make strong namespaces, whose keys all nodes agree on
    Namespace(Sub<NamespaceCommand>),
    /// Write a strong key if it is as expected
    Cas(CasArgs),
    /// Read and change several strong keys at one point in history
    Txn(TxnArgs),
    /// Hold a lock, alone or while a command runs
    Lock(LockArgs),
    /// Stand for leader, and lead until Ctrl-C
    Elect(ElectArgs),
    /// Show the group that agrees on strong keys and locks; draw numbers and ids from it
    Strong(Sub<StrongCommand>),
    /// Show what a merge must keep, and how merges go wrong
    Laws(LawsArgs),
    /// Run whole meshes in a simulator, with faults, and check every promise
    Sim(SimArgs),
    /// Measure a mesh on this machine, beside a rival in the same run
    Bench(Sub<BenchCommand>),
    /// See a mesh of six processes take a crash, a split, a join and a leave, and lose nothing
    Demo(DemoArgs),
}

/// A command that has commands of its own.
#[derive(Debug, Args)]
pub(crate) struct Sub<T: Subcommand> {
    #[command(subcommand)]
    pub(crate) command: T,
}

const AFTER_HELP: &str = "\
First steps:
  meshwork init --mesh home        on the first machine
  meshwork up                      and leave it running
  meshwork invite                  in another terminal; prints a ticket
  meshwork join meshwork:AbC...    on the second machine, then `meshwork up` there
  meshwork put notes/today 'tea'   on either; `meshwork get notes/today` on the other

Exit codes:
  0  done
  1  failed: a disk, a file, an answer that makes no sense
  2  the command was typed wrong
  3  no node runs on this data folder
  4  not found
  5  unavailable or too slow: the level was not reached in time
  6  refused: the key holds another kind of value or not what was expected, a limit, a used ticket

`lock` and `elect` end with the exit code of the command that they run, if they run one.";
