//! Changes as they arrive.

use std::path::Path;

use clap::Args;
use meshwork_sync::{InvalidKey, Key, Prefix};
use serde_json::{Value as Json, json};

use super::client::Door;
use super::events::{Events, Frame};
use super::exit::{Exit, Failure};
use super::key::{self, Reach, percent};
use super::values::{entries, is_strong, weak_or_strong};
use super::{output, show};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  meshwork watch notes/
  meshwork watch stats/visits --json | while read -r line; do ...; done

Each line is a key and its value after the change. Changes that come faster than they can be
read are told as one; if some had to be left out, a line says so. Changes of strong keys come in
the order in which all agreed on them.")]
pub(crate) struct WatchArgs {
    /// The first part of the keys: namespace/ or namespace/first-letters
    #[arg(value_parser = prefix, value_name = "PREFIX")]
    prefix: String,
    #[command(flatten)]
    reach: Reach,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// What a stream of events tells.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Changed(Vec<Key>),
    Missed,
}

pub(crate) fn run(folder: &Path, args: &WatchArgs) -> Result<(), Failure> {
    let door = Door::open(folder)?;
    let prefix = percent(args.prefix.as_bytes());
    let open = |path: &str| door.stream(&format!("{path}?prefix={prefix}"));
    let stream = match open("watch") {
        Err(failure) if is_strong(&failure) => open("strong/watch")?,
        stream => stream?,
    };
    output::note(format_args!(
        "watching {}; Ctrl-C ends",
        output::one_line(&args.prefix)
    ));
    for event in Events::new(stream).filter_map(event) {
        match event {
            Event::Changed(keys) => keys.iter().try_for_each(|key| changed(&door, key, args))?,
            Event::Missed if args.json => output::json(&json!({"missed": true}))?,
            Event::Missed => output::line("(some changes were missed: read again what matters)")?,
        }
    }
    Err(Failure::new(Exit::NoNode, "the node stopped"))
}

fn changed(door: &Door, key: &Key, args: &WatchArgs) -> Result<(), Failure> {
    let ask = |path: &str| door.get(path, args.reach.timeout);
    let answer = match weak_or_strong(key, &args.reach, ask) {
        Ok(answer) => answer,
        Err(failure) if failure.exit == Exit::NotFound => Json::Null,
        Err(failure) => return Err(failure),
    };
    if args.json {
        return output::json(&shown(key, answer));
    }
    let strong = answer.get("value").map(show::scalar);
    let values = entries(&answer).iter().map(line).chain(strong);
    let values: Vec<String> = values.collect();
    if values.is_empty() {
        return output::line(format_args!("{key} (deleted)"));
    }
    output::line(format_args!("{key} = {}", values.join(" | ")))
}

/// The door's answer, which names no strong key by itself.
fn shown(key: &Key, mut answer: Json) -> Json {
    match answer.as_object_mut() {
        Some(fields) => {
            fields
                .entry("key")
                .or_insert_with(|| key.to_string().into());
            answer
        }
        None => json!({"key": key.to_string(), "deleted": true}),
    }
}

/// A document is too long for a line.
fn line(value: &Json) -> String {
    match (show::kind(value), value.get("value").and_then(Json::as_str)) {
        ("document", Some(text)) => format!("(a document of {} characters)", text.chars().count()),
        _ => show::brief(value),
    }
}

/// Checks what was typed, and gives it back as it is sent.
fn prefix(text: &str) -> Result<String, InvalidKey> {
    Prefix::parse(text).map(|_| text.to_owned())
}

fn event(Frame { event, data }: Frame) -> Option<Event> {
    match event.as_str() {
        "missed" => Some(Event::Missed),
        "changed" => {
            let json: Json = serde_json::from_str(&data).ok()?;
            let keys = json.get("keys").and_then(Json::as_array);
            let keys = keys.map_or_else(|| json.get("key").into_iter().collect(), Vec::from_iter);
            Some(Event::Changed(
                keys.into_iter().filter_map(key::of_json).collect(),
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_and_comments_skipped() {
        let stream = b": keep-alive\n\nevent: changed\ndata: {\"key\":\"notes/a\"}\n\nevent: other\ndata: x\n\n\
            event: changed\ndata: {\"revision\":7,\"keys\":[\"bank/a\",\"bank/b\"]}\n\n\
            event: missed\ndata: {}\n\nevent: changed\ndata: {\"key\":\"not";
        let events: Vec<Event> = Events::new(&stream[..]).filter_map(event).collect();
        assert_eq!(
            events,
            [
                Event::Changed(vec![Key::parse("notes/a").unwrap()]),
                Event::Changed(vec![
                    Key::parse("bank/a").unwrap(),
                    Key::parse("bank/b").unwrap()
                ]),
                Event::Missed
            ]
        );
    }
}
