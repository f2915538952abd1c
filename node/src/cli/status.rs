//! What the node knows about its mesh and itself.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanBytes;
use serde_json::Value as Json;

use super::client::Door;
use super::exit::Failure;
use super::output;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  meshwork status
  meshwork status --json | jq '.status.members[] | select(.state != \"alive\").name'

state       alive, suspect (does not answer), down (for long), left
partitions  of 4,096; each is placed on as many members as there are copies
waiting     changes here that the member has not acknowledged yet")]
pub(crate) struct StatusArgs {
    /// Print all that is known, as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(folder: &Path, args: &StatusArgs) -> Result<(), Failure> {
    let answer = Door::open(folder)?.get("status", Duration::from_secs(5))?;
    if args.json {
        return output::json(&answer);
    }
    let status = answer.get("status").unwrap_or(&Json::Null);
    let members = status
        .get("members")
        .and_then(Json::as_array)
        .map_or(&[][..], Vec::as_slice);
    output::line(format_args!(
        "mesh {}, node {}, {} member{}",
        text(&answer, "mesh"),
        text(&answer, "name"),
        members.len(),
        if members.len() == 1 { "" } else { "s" }
    ))?;
    output::line("")?;
    output::line(table(members))?;
    output::line("")?;
    summary(status)
}

fn table(members: &[Json]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header([
        "name",
        "id",
        "state",
        "zone",
        "partitions",
        "waiting",
        "address",
    ]);
    for member in members {
        table.add_row(row(member));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for right in [4, 5] {
        if let Some(column) = table.column_mut(right) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

fn row(member: &Json) -> [String; 7] {
    let me = member.get("me").and_then(Json::as_bool) == Some(true);
    let connected = member.get("connected").and_then(Json::as_bool) == Some(true);
    let state = text(member, "state");
    let since = humantime::format_duration(Duration::from_secs(number(member, "for_seconds")));
    let state = match (state.as_str(), me || connected) {
        ("alive", true) => state,
        ("alive", false) => "alive, no link".into(),
        _ => format!("{state} for {since}"),
    };
    let addresses = member.get("addresses").and_then(Json::as_array);
    let address = addresses.and_then(|all| all.first()).and_then(Json::as_str);
    let partitions = match member.get("storage").and_then(Json::as_bool) {
        Some(false) => "none".into(),
        _ => number(member, "partitions").to_string(),
    };
    [
        format!(
            "{}{}",
            text(member, "name"),
            if me { " (here)" } else { "" }
        ),
        text(member, "id").chars().take(12).collect(),
        state,
        dash(text(member, "zone")),
        partitions,
        if me {
            "-".into()
        } else {
            lag(number(member, "lag_deltas"), number(member, "lag_bytes"))
        },
        dash(address.map(output::one_line).unwrap_or_default()),
    ]
}

fn summary(status: &Json) -> Result<(), Failure> {
    output::line(format_args!(
        "{} keys here; outbox: {}",
        number(status, "objects"),
        lag(
            number(status, "outbox_deltas"),
            number(status, "outbox_bytes")
        )
    ))?;
    let filling = number(status, "partitions_filling");
    if filling > 0 {
        output::line(format_args!(
            "{filling} partitions are being filled from others"
        ))?;
    }
    let leaving = number(status, "partitions_leaving");
    if leaving > 0 {
        output::line(format_args!(
            "{leaving} partitions are being handed over to others"
        ))?;
    }
    if number(status, "clock_ahead_by_peers") > 0 {
        output::line(
            "WRITES ARE REFUSED BY OTHERS: this node's clock is ahead of theirs; set it, restart the node, and write again",
        )?;
    }
    if let Some(reason) = status.get("store_failure").and_then(Json::as_str) {
        output::line(format_args!(
            "WRITES ARE REFUSED: {}",
            output::one_line(reason)
        ))?;
    }
    Ok(())
}

fn lag(deltas: u64, bytes: u64) -> String {
    match deltas {
        0 => "nothing".into(),
        _ => format!("{deltas} ({})", HumanBytes(bytes)),
    }
}

pub(crate) fn dash(text: String) -> String {
    if text.is_empty() { "-".into() } else { text }
}

/// A field for people; others choose their names, so control characters are escaped.
pub(crate) fn text(json: &Json, field: &str) -> String {
    let text = json.get(field).and_then(Json::as_str).unwrap_or_default();
    output::one_line(text)
}

pub(crate) fn number(json: &Json, field: &str) -> u64 {
    json.get(field).and_then(Json::as_u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_line_up_and_hostile_names_are_escaped() {
        let member = |name: &str, state: &str, lag: u64| {
            json!({
                "id": "00112233445566778899", "name": name, "state": state, "me": lag == 0, "zone": "",
                "storage": true, "partitions": 4096, "connected": true, "addresses": ["192.0.2.1:7117"],
                "for_seconds": 61, "lag_deltas": lag, "lag_bytes": lag * 1024,
            })
        };
        let shown = table(&[member("a", "alive", 0), member("\u{1b}[2J", "down", 2)]);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(
            lines,
            [
                "name       id            state           zone  partitions       waiting  address",
                "a (here)   001122334455  alive           -           4096             -  192.0.2.1:7117",
                "\\u{1b}[2J  001122334455  down for 1m 1s  -           4096  2 (2.00 KiB)  192.0.2.1:7117",
            ]
        );
    }
}
