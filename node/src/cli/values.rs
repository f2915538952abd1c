//! Registers, counters, and what goes for keys of any kind.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use meshwork_sync::Key;
use serde_json::{Value as Json, json};
use ureq::http::Method;

use super::client::Door;
use super::exit::{Exit, Failure};
use super::key::{self, Reach};
use super::{output, show};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  meshwork put notes/today 'buy tea'
  date | meshwork put notes/today -
  meshwork put photos/cat --file cat.jpg --level quorum

Keys of strong namespaces are written by agreement, whatever the level.")]
pub(crate) struct PutArgs {
    /// Where to write: namespace/name
    #[arg(value_parser = key::parse)]
    key: Key,
    /// The value; `-` reads it from standard input
    #[arg(required_unless_present = "file", allow_hyphen_values = true)]
    value: Option<String>,
    /// Read the value from a file
    #[arg(long, conflicts_with = "value", value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    answer: Answer,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  meshwork get notes/today
  meshwork get notes/today --siblings     all values that were written at the same time
  meshwork get photos/cat > cat.jpg --level quorum
  meshwork get bank/alice --stale         a strong key, as some voter has it; works without a majority

Sets, lists and maps are shown one entry a line, flags as `on` or `off`, values of kinds of your
own as bytes if the node can join them. The token of a fenced value and the rights of this node
on a bounded counter are in --json. Keys of strong namespaces are read as they are at this moment,
whatever the level.")]
pub(crate) struct GetArgs {
    /// What to show: namespace/name
    #[arg(value_parser = key::parse)]
    key: Key,
    /// Show all concurrent values of a register, the latest first
    #[arg(long)]
    siblings: bool,
    #[command(flatten)]
    reach: Reach,
    /// Show a strong key as some voter has it, and say how old that may be
    #[arg(long, conflicts_with = "siblings")]
    stale: bool,
    /// Print all that is known, as JSON
    #[arg(long, conflicts_with = "siblings")]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  meshwork del notes/today

A value that somebody writes at the same time and that this node has not seen survives, except
in strong namespaces.")]
pub(crate) struct DelArgs {
    /// What to delete: namespace/name
    #[arg(value_parser = key::parse)]
    key: Key,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    answer: Answer,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  meshwork incr stats/visits
  meshwork incr stats/visits 3
  meshwork incr stats/stock -2

Prints nothing; `meshwork get stats/visits` shows the sum over all nodes.")]
pub(crate) struct IncrArgs {
    /// The counter: namespace/name
    #[arg(value_parser = key::parse)]
    key: Key,
    /// How much to add; may be negative
    #[arg(default_value_t = 1, allow_negative_numbers = true)]
    amount: i64,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    answer: Answer,
}

pub(crate) fn put(folder: &Path, args: &PutArgs) -> Result<(), Failure> {
    let door = Door::open(folder)?;
    let value = match (&args.file, args.value.as_deref()) {
        (Some(path), _) => read_file(path)?,
        (None, Some("-")) => read_stdin()?,
        (None, value) => value.unwrap_or_default().as_bytes().to_vec(),
    };
    let put = |path: &str| door.send(Method::PUT, path, &value, args.reach.timeout);
    let answer = weak_or_strong(&args.key, &args.reach, put)?;
    args.answer.print(&answer)
}

pub(crate) fn get(folder: &Path, args: &GetArgs) -> Result<(), Failure> {
    let door = Door::open(folder)?;
    let ask = |path: &str| door.get(path, args.reach.timeout);
    let answer = if args.stale {
        ask(&format!("{}&stale=1", args.reach.strong_path(&args.key)))?
    } else {
        weak_or_strong(&args.key, &args.reach, ask)?
    };
    if args.json {
        return output::json(&answer);
    }
    if args.stale {
        output::note(format_args!("# {}", age(&answer)));
    }
    if let Some(value) = answer.get("value") {
        return output::value(&show::bytes(value)?);
    }
    let values = entries(&answer);
    for value in values {
        if values.len() > 1 {
            output::note(format_args!(
                "# as a {}, since nodes disagreed on the kind:",
                show::kind(value)
            ));
        }
        let siblings = siblings(value);
        if args.siblings && !siblings.is_empty() {
            siblings
                .iter()
                .try_for_each(|sibling| output::value(&show::bytes(sibling)?))?;
            continue;
        }
        show::print(value)?;
        if siblings.len() > 1 {
            output::note(format_args!(
                "# the latest of {} concurrent values; --siblings shows all, the next put settles it",
                siblings.len()
            ));
        }
    }
    Ok(())
}

/// How old the answer to a read without the group may be.
fn age(answer: &Json) -> String {
    let number = |field| answer.get(field).and_then(Json::as_u64);
    let revision = number("state_revision").unwrap_or_default();
    match number("age_ms") {
        Some(age) => {
            let age = humantime::format_duration(Duration::from_millis(age));
            format!("as of revision {revision}, which was the last one {age} ago")
        }
        None => format!(
            "as of revision {revision}; how old that is is not known: whoever answered has heard of no leader yet"
        ),
    }
}

pub(crate) fn delete(folder: &Path, args: &DelArgs) -> Result<(), Failure> {
    let door = Door::open(folder)?;
    let delete = |path: &str| door.send(Method::DELETE, path, b"", args.reach.timeout);
    let answer = weak_or_strong(&args.key, &args.reach, delete)?;
    args.answer.print(&answer)
}

pub(crate) fn increment(folder: &Path, args: &IncrArgs) -> Result<(), Failure> {
    let op = json!({"op": "add", "amount": args.amount});
    let answer = apply(&Door::open(folder)?, &args.key, &args.reach, &op)?;
    args.answer.print(&answer)
}

/// Asks for a key where most are, and among those of the strong group if it is one of them.
pub(crate) fn weak_or_strong(
    key: &Key,
    reach: &Reach,
    ask: impl Fn(&str) -> Result<Json, Failure>,
) -> Result<Json, Failure> {
    match ask(&reach.path("keys", key)) {
        Err(failure) if is_strong(&failure) => ask(&reach.strong_path(key)),
        answer => answer,
    }
}

/// Whether something was asked for among the keys that merge, and is a strong one.
pub(crate) fn is_strong(failure: &Failure) -> bool {
    failure.code.as_deref() == Some("strong_namespace")
}

/// Reads a key; [`Exit::NotFound`] when there is nothing.
pub(crate) fn read(door: &Door, key: &Key, reach: &Reach) -> Result<Json, Failure> {
    door.get(&reach.path("keys", key), reach.timeout)
}

/// Carries an operation out on a key.
pub(crate) fn apply(door: &Door, key: &Key, reach: &Reach, op: &Json) -> Result<Json, Failure> {
    door.post(&reach.path("keys", key), op, reach.timeout)
}

/// Reads a key that should hold one kind of value: that value.
pub(crate) fn read_kind(
    door: &Door,
    key: &Key,
    reach: &Reach,
    kind: &str,
) -> Result<Json, Failure> {
    let answer = read(door, key, reach)?;
    let values = entries(&answer);
    if let Some(value) = values.iter().find(|value| show::kind(value) == kind) {
        return Ok(value.clone());
    }
    let found = values.first().map_or("nothing", show::kind);
    Err(Failure::new(
        Exit::Refused,
        format!("{key} holds a {found}, not a {kind}"),
    )
    .hint(format!("`meshwork get {key}` shows it")))
}

/// The values of a key by kind.
pub(crate) fn entries(answer: &Json) -> &[Json] {
    answer
        .get("values")
        .and_then(Json::as_array)
        .map_or(&[], Vec::as_slice)
}

/// What a write prints: nothing, or the door's answer.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Answer {
    /// Print how many replicas are known to hold it, as JSON
    #[arg(long)]
    json: bool,
}

impl Answer {
    pub(crate) fn print(self, answer: &Json) -> Result<(), Failure> {
        if self.json {
            output::json(answer)
        } else {
            Ok(())
        }
    }
}

/// Everything that standard input gives.
pub(crate) fn read_stdin() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(VALUE_BYTES_MAX + 1);
    read_all(read, &mut bytes)?;
    Ok(bytes)
}

/// A file's bytes.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| {
        Failure::new(
            Exit::Failed,
            format!("{} cannot be read: {error}", path.display()),
        )
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    read_all(file.take(VALUE_BYTES_MAX + 1), &mut bytes)?;
    Ok(bytes)
}

fn read_all(mut from: impl Read, bytes: &mut Vec<u8>) -> Result<(), Failure> {
    from.read_to_end(bytes)
        .map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    if bytes.len() as u64 > VALUE_BYTES_MAX {
        return Err(Failure::new(
            Exit::Refused,
            format!("a value has at most {} MiB", VALUE_BYTES_MAX >> 20),
        ));
    }
    Ok(())
}

fn siblings(value: &Json) -> &[Json] {
    value
        .get("siblings")
        .and_then(Json::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Far more than a node takes, which says its own limit; this one is for streams that do not end.
const VALUE_BYTES_MAX: u64 = 16 << 20;
