//! Letting a node in, and going.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::{Value as Json, json};

use super::client::Door;
use super::exit::{Exit, Failure};
use super::output;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  meshwork invite
  meshwork invite --expires 10m | ssh cellar meshwork join -

Whoever reads the ticket first may use it: send it as carefully as a password.
This node must be running and reachable while the ticket is used.")]
pub(crate) struct InviteArgs {
    /// How long the ticket works
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration, value_name = "TIME")]
    expires: Duration,
    /// Print ticket and time of expiry, as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  meshwork leave
  meshwork leave --patience 10m

The node gives up its place, waits until others hold all it has and another votes in its place,
says goodbye and stops. What could not be handed over in time stays in the data folder, and the
exit code is 5.
To only stop a node for a while, press Ctrl-C where `meshwork up` runs.")]
pub(crate) struct LeaveArgs {
    /// How long to wait for others to take the data over
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration, value_name = "TIME")]
    patience: Duration,
    /// Print whether everything was handed over, as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn invite(folder: &Path, args: &InviteArgs) -> Result<(), Failure> {
    let valid_for_s = args.expires.as_secs();
    let body = json!({"valid_for_s": valid_for_s});
    let answer = Door::open(folder)?.post("invites", &body, SHORT)?;
    if args.json {
        return output::json(&answer);
    }
    let ticket = answer.get("ticket").and_then(Json::as_str);
    let ticket = ticket.ok_or_else(|| Failure::new(Exit::Failed, "the node gave no ticket"))?;
    output::line(output::one_line(ticket))?;
    output::person(format_args!(
        "On the other machine, within {}: meshwork join <ticket>, then meshwork up",
        humantime::format_duration(Duration::from_secs(valid_for_s))
    ));
    Ok(())
}

pub(crate) fn leave(folder: &Path, args: &LeaveArgs) -> Result<(), Failure> {
    let body = json!({"patience_s": args.patience.as_secs()});
    let answer = Door::open(folder)?.post("leave", &body, args.patience + SHORT)?;
    let handed_over = answer.get("handed_over").and_then(Json::as_bool) == Some(true);
    if args.json {
        output::json(&answer)?;
    } else if handed_over {
        output::line("Left the mesh; others hold all that was here.")?;
    }
    if handed_over {
        return Ok(());
    }
    let message = "left the mesh, but not everything was handed over in time";
    Err(Failure::new(Exit::Unavailable, message).hint(format!(
        "keep the folder {}: what others lack is in it",
        folder.display()
    )))
}

/// For requests that wait for nobody.
const SHORT: Duration = Duration::from_secs(5);
