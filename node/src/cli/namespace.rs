//! Namespaces that are made before they are used.

use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::client::Door;
use super::exit::{Exit, Failure};
use super::output;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  meshwork namespace create bank --strong
  meshwork namespace list

All nodes agree on each value of a strong namespace: a read finds the last write, and `meshwork
cas` and `meshwork txn` change only what is as expected. That needs a majority of the voters, so
without a connection strong keys cannot be read or written. Keys of all other namespaces can
always be; those namespaces exist from their first write.")]
pub(crate) enum NamespaceCommand {
    /// Make a strong namespace
    Create(CreateArgs),
    /// Show the strong namespaces that this node knows
    List(ListArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  meshwork namespace create bank --strong

A namespace stays a strong one. Make it before anything is written to it: what was written to an
ordinary namespace of the same name cannot be reached any more.")]
pub(crate) struct CreateArgs {
    /// Its name
    name: String,
    /// All nodes are to agree on its keys
    #[arg(long)]
    strong: bool,
    /// Print whether it is new, as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print the names as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(folder: &Path, command: &NamespaceCommand) -> Result<(), Failure> {
    match command {
        NamespaceCommand::Create(args) => create(folder, args),
        NamespaceCommand::List(args) => list(folder, args),
    }
}

fn create(folder: &Path, args: &CreateArgs) -> Result<(), Failure> {
    if !args.strong {
        let message = "ordinary namespaces need not be made: they exist from the first write";
        return Err(Failure::new(Exit::Usage, message)
            .hint("say --strong for one whose keys all nodes agree on"));
    }
    let body = json!({"name": args.name});
    let answer = Door::open(folder)?.post("strong/namespaces", &body, PATIENCE)?;
    if args.json {
        return output::json(&answer);
    }
    let name = output::one_line(&args.name);
    match answer.get("created").and_then(Json::as_bool) {
        Some(true) => output::line(format_args!("Made the strong namespace {name}.")),
        _ => output::line(format_args!("{name} is a strong namespace already.")),
    }
}

fn list(folder: &Path, args: &ListArgs) -> Result<(), Failure> {
    let status = Door::open(folder)?.get("strong/status", PATIENCE)?;
    let names = status.get("namespaces").unwrap_or(&Json::Null);
    if args.json {
        return output::json(names);
    }
    let mut names = names.as_array().into_iter().flatten();
    names.try_for_each(|name| output::line(output::one_line(name.as_str().unwrap_or_default())))
}

const PATIENCE: Duration = Duration::from_secs(5);
