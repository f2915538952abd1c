//! The group that agrees on strong keys and locks.

use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanBytes;
use meshwork_sync::Key;
use serde_json::{Value as Json, json};

use super::backup::{self, BackupArgs, RestoreArgs};
use super::client::Door;
use super::exit::{Exit, Failure};
use super::status::{dash, number, text};
use super::{key, output};

#[derive(Debug, Subcommand)]
pub(crate) enum StrongCommand {
    /// Show who leads, who votes, and how far they are
    Status(StatusArgs),
    /// Write the state of the group to a file
    Backup(BackupArgs),
    /// Put a backup into a group that holds nothing
    Restore(RestoreArgs),
    /// Begin a new group where this node was the only voter and has lost what it held
    Reset(ResetArgs),
    /// Draw the next numbers of a sequence
    Sequence(SequenceArgs),
    /// Make ids that are unique in the mesh
    Id(IdArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  meshwork strong sequence billing/invoices
  meshwork strong sequence billing/invoices --count 10

A sequence begins at 1 and needs no namespace. Nobody else gets the same numbers, and a later
drawing gets greater ones. Prints one number a line.")]
pub(crate) struct SequenceArgs {
    /// The sequence: namespace/name
    #[arg(value_parser = key::parse)]
    sequence: Key,
    /// How many
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  meshwork strong id
  meshwork strong id --count 1000

An id is a number below 2^63, ordered by time: 41 bits of milliseconds since 2026, 10 bits of a
worker number that the node leases from the group, and 12 bits that count. After the first, the
node makes them without asking the group for each. Prints one a line.")]
pub(crate) struct IdArgs {
    /// How many
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example, on the node that `meshwork strong status` says this of:
  meshwork strong reset --yes
  meshwork strong restore bank-today.strong

For a group with one voter whose folder was restored from an older copy, or is damaged. The new
group holds nothing; the namespaces stay strong, and revisions and fencing tokens are greater than
all before. Everything that was agreed on and is in no backup is lost: if another copy of the
folder has it, use that instead, and never let the old folder run again after this.")]
pub(crate) struct ResetArgs {
    /// Yes, what the old group held may be lost
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  meshwork strong status
  meshwork strong status --json | jq .leader

voter     has a vote: a majority of the voters must be reached for anything to be agreed on
learner   is being filled, to become a voter
lag       entries of the log that a member lacks; only the leader knows
Nodes become voters by themselves if they were set up with --voter: `meshwork init --help`.")]
pub(crate) struct StatusArgs {
    /// Print all that is known, as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(folder: &Path, command: &StrongCommand) -> Result<(), Failure> {
    match command {
        StrongCommand::Status(args) => status(folder, args),
        StrongCommand::Backup(args) => backup::backup(folder, args),
        StrongCommand::Restore(args) => backup::restore(folder, args),
        StrongCommand::Reset(args) => reset(folder, args),
        StrongCommand::Sequence(args) => sequence(folder, args),
        StrongCommand::Id(args) => id(folder, args),
    }
}

fn status(folder: &Path, args: &StatusArgs) -> Result<(), Failure> {
    let door = Door::open(folder)?;
    if args.json {
        return output::json(&door.get("strong/status", PATIENCE)?);
    }
    let answer = door.get("status", PATIENCE)?;
    let part = |at| answer.pointer(at).unwrap_or(&Json::Null);
    let (strong, members) = (part("/status/strong"), part("/status/members"));
    for line in summary(strong, members) {
        output::line(line)?;
    }
    if array(strong, "members").is_empty() {
        return Ok(());
    }
    output::line("")?;
    output::line(table(strong, members))
}

fn reset(folder: &Path, args: &ResetArgs) -> Result<(), Failure> {
    if !args.yes {
        let message = "what the old group held, and no backup has, would be lost for good";
        return Err(Failure::new(Exit::Refused, message)
            .hint("see `meshwork strong reset --help`, and say --yes"));
    }
    Door::open(folder)?.post("strong/reset", &json!({}), PATIENCE)?;
    output::line("A new group begins here. Fill it from a backup: meshwork strong restore FILE")
}

fn sequence(folder: &Path, args: &SequenceArgs) -> Result<(), Failure> {
    let path = key::strong_path("sequences", &args.sequence, PATIENCE);
    let body = json!({"count": args.count});
    let answer = Door::open(folder)?.post(&path, &body, PATIENCE)?;
    let first = number(&answer, "first");
    let mut numbers = first..first + u64::from(args.count);
    numbers.try_for_each(output::line)
}

fn id(folder: &Path, args: &IdArgs) -> Result<(), Failure> {
    let body = json!({"count": args.count});
    let answer = Door::open(folder)?.post("strong/ids", &body, PATIENCE)?;
    let mut ids = array(&answer, "ids").iter().filter_map(Json::as_str);
    ids.try_for_each(|id| output::line(output::one_line(id)))
}

fn summary(strong: &Json, members: &Json) -> Vec<String> {
    let Some(group) = strong.get("group").and_then(Json::as_str) else {
        return vec!["no strong group: start a node that was set up with --voter".into()];
    };
    let bytes = |field| HumanBytes(number(strong, field));
    let leader = strong.get("leader").and_then(Json::as_str);
    let leader = leader.map_or_else(|| "-".into(), |leader| name(members, leader));
    let role = text(strong, "role");
    let mut lines = vec![
        format!("group      {}", short(group)),
        format!("role here  {role}"),
    ];
    if let Some(reason) = strong.get("out").and_then(Json::as_str) {
        lines.push(format!("OUT OF IT  {}", output::one_line(reason)));
    }
    // Others know neither the leader nor the log.
    if role != "none" {
        lines.extend([
            format!("leader     {leader}"),
            format!("term       {}", number(strong, "term")),
            format!("revision   {}", number(strong, "revision")),
            format!("log        {}", bytes("log_bytes")),
            format!("snapshot   {}", bytes("snapshot_bytes")),
        ]);
    }
    let names = array(strong, "namespaces").iter().filter_map(Json::as_str);
    let names = names.map(output::one_line).collect::<Vec<_>>().join(", ");
    lines.push(format!("namespaces {}", dash(names)));
    lines
}

fn table(strong: &Json, members: &Json) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["name", "id", "role", "lag", "heard"]);
    for member in array(strong, "members") {
        let (node, lag) = (text(member, "node"), member.get("lag"));
        let heard = match member.get("heard").and_then(Json::as_bool) {
            Some(true) => "lately",
            Some(false) => "NOT LATELY",
            None => "-",
        };
        table.add_row([
            name(members, &node),
            short(&node),
            text(member, "role"),
            dash(
                lag.and_then(Json::as_u64)
                    .map_or_else(String::new, |lag| lag.to_string()),
            ),
            heard.to_owned(),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    if let Some(lag) = table.column_mut(3) {
        lag.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

/// A member's name, or the beginning of its id.
fn name(members: &Json, id: &str) -> String {
    let mut members = members.as_array().into_iter().flatten();
    let member = members.find(|member| member.get("id").and_then(Json::as_str) == Some(id));
    let name = member.map(|member| text(member, "name"));
    name.filter(|name| !name.is_empty())
        .unwrap_or_else(|| short(id))
}

fn short(id: &str) -> String {
    output::one_line(&id.chars().take(12).collect::<String>())
}

fn array<'a>(json: &'a Json, field: &str) -> &'a [Json] {
    let array = json.get(field).and_then(Json::as_array);
    array.map_or(&[], Vec::as_slice)
}

const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaders_and_members_are_shown_by_name_where_it_is_known() {
        let members = json!([{"id": "00112233445566778899", "name": "cellar"}]);
        let strong = json!({
            "group": "abcdef", "role": "voter", "out": null, "leader": "00112233445566778899", "term": 2,
            "revision": 17, "log_bytes": 2048, "snapshot_bytes": 0, "namespaces": ["bank"],
            "members": [
                {"node": "00112233445566778899", "role": "voter", "lag": 0, "heard": true},
                {"node": "ffeeddccbbaa99887766", "role": "learner", "lag": 12, "heard": false},
            ],
        });
        let summary = summary(&strong, &members).join("\n");
        assert!(summary.contains("leader     cellar"), "{summary}");
        assert!(summary.contains("log        2.00 KiB"), "{summary}");
        let table = table(&strong, &members);
        let lines: Vec<&str> = table.lines().map(str::trim_end).collect();
        assert_eq!(
            lines,
            [
                "name          id            role     lag  heard",
                "cellar        001122334455  voter      0  lately",
                "ffeeddccbbaa  ffeeddccbbaa  learner   12  NOT LATELY",
            ]
        );
    }

    #[test]
    fn without_a_group_it_is_said_how_one_comes_about() {
        let lines = summary(&json!({"group": null, "members": []}), &json!([]));
        assert!(lines.len() == 1 && lines.iter().all(|line| line.contains("--voter")));
    }
}
