//! Leaders, which are holders of a lock whose note is their name.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use meshwork_sync::Key;
use serde_json::Value as Json;

use super::client::Door;
use super::events::Events;
use super::exit::{Exit, Failure};
use super::hold::{Held, Wait, Wanted};
use super::status::{number, text};
use super::{key, lock, output, show};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  meshwork elect svc/primary                              leads until Ctrl-C
  meshwork elect svc/primary --ttl 10s -- ./serve.sh      runs while it leads
  meshwork elect svc/primary --name 10.0.0.7:5432         others read the name
  meshwork elect svc/primary --observe                    who leads now?
  meshwork elect svc/primary --follow                     and who leads after that?

Whoever stood first leads first; when a leader ends or is cut off, the next one follows. All that
`meshwork lock --help` says of commands, tokens and exit codes goes for leaders too: the election
is a lock of the same name. --observe exits with 4 if nobody leads; --follow prints a line at once
and one with every change.")]
pub(crate) struct ElectArgs {
    /// What is led: namespace/name
    #[arg(value_parser = key::parse)]
    office: Key,
    /// How long a leader that is cut off still counts as one: 1s to 24h
    #[arg(long, default_value = "10s", value_parser = lock::ttl, value_name = "TIME")]
    ttl: Duration,
    /// The name that others read; this node's name if left out
    #[arg(long)]
    name: Option<String>,
    /// Only print who leads now
    #[arg(long, group = "looks", conflicts_with_all = ["name", "command"])]
    observe: bool,
    /// Print who leads now, and again whenever that changes
    #[arg(long, group = "looks", conflicts_with_all = ["name", "command"])]
    follow: bool,
    /// Print who leads, as JSON
    #[arg(long, requires = "looks")]
    json: bool,
    /// What to run while leading
    #[arg(last = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(folder: &Path, args: &ElectArgs) -> Result<ExitCode, Failure> {
    let door = Door::open(folder)?;
    if args.observe {
        observe(&door, args)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.follow {
        return follow(&door, args);
    }
    let name = match &args.name {
        Some(name) => name.clone(),
        None => text(&door.get("status", PATIENCE)?, "name"),
    };
    let wanted = Wanted {
        lock: &args.office,
        ttl: args.ttl,
        wait: Wait::Forever,
        shared: false,
        note: &name,
    };
    let held = Held::take(&door, &wanted)?;
    let (name, token) = (output::one_line(&name), held.token);
    let leads = format!("{name} leads {} (token {token})", args.office);
    if args.command.is_empty() {
        output::line(leads)?;
        return held.until_asked();
    }
    // Standard output is the command's.
    output::note(leads);
    held.run(&args.command)
}

fn observe(door: &Door, args: &ElectArgs) -> Result<(), Failure> {
    let path = key::strong_path("locks", &args.office, PATIENCE);
    let answer = door.get(&path, PATIENCE)?;
    let holders = answer.get("holders").and_then(Json::as_array);
    let Some(leader) = holders.and_then(|holders| holders.first()) else {
        let message = format!("nobody leads {}", args.office);
        return Err(Failure::new(Exit::NotFound, message));
    };
    tell(leader, args)
}

fn follow(door: &Door, args: &ElectArgs) -> Result<ExitCode, Failure> {
    let stream = door.stream(&key::address("strong/elections", &args.office))?;
    for frame in Events::new(stream) {
        match frame.event.as_str() {
            "leads" => tell(&serde_json::from_str(&frame.data).unwrap_or_default(), args)?,
            "vacant" if args.json => output::json(&Json::Null)?,
            "vacant" => output::line(format_args!("nobody leads {}", args.office))?,
            _ => {}
        }
    }
    Err(Failure::new(Exit::NoNode, "the node stopped"))
}

fn tell(leader: &Json, args: &ElectArgs) -> Result<(), Failure> {
    if args.json {
        return output::json(leader);
    }
    output::line(format_args!(
        "{} leads {} (token {})",
        name(leader)?,
        args.office,
        number(leader, "token")
    ))
}

/// What a leader calls itself; whoever took the lock by another command may have said nothing.
fn name(leader: &Json) -> Result<String, Failure> {
    let note = show::bytes(leader.get("note").unwrap_or(&Json::Null))?;
    if note.is_empty() {
        return Ok(format!("session {}", text(leader, "session")));
    }
    Ok(output::one_line(&String::from_utf8_lossy(&note)))
}

const PATIENCE: Duration = Duration::from_secs(5);
