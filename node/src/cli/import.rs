//! Writing a recorded editing history as a document.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use meshwork::traces::{ReadTrace, Trace};
use meshwork_sync::Key;
use serde_json::json;
use ureq::http::Method;

use super::client::Door;
use super::document::Document;
use super::exit::{Exit, Failure};
use super::key::{self, Reach};
use super::output;

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  meshwork doc import notes/paper friendsforever.json.gz

Takes the formats of https://github.com/josephg/editing-traces, packed with gzip or not:
sequential histories of one author, and concurrent ones, in which each author's edits are made
on exactly the text that the author saw. The document must not be there yet. At the end its
text is compared with the one that the history ends with.")]
pub(crate) struct ImportArgs {
    /// The new document: namespace/name
    #[arg(value_parser = key::parse)]
    key: Key,
    /// The history: .json or .json.gz, up to 64 MiB unpacked
    file: PathBuf,
    #[command(flatten)]
    reach: Reach,
    /// Print what was written, as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(door: &Door, args: &ImportArgs) -> Result<(), Failure> {
    let key = &args.key;
    if Document::read(door, key, &args.reach)?.is_some() {
        return Err(Failure::new(
            Exit::Refused,
            format!("there is a document at {key} already"),
        )
        .hint(format!(
            "choose another name, or delete it: `meshwork del {key}`"
        )));
    }
    let trace = Trace::open(&args.file).map_err(|error| unreadable(args, &error))?;
    let progress = progress(trace.transactions.len() as u64);
    let (mut chunks, mut bytes) = (0_u64, 0);
    let failed = |error| Failure::from_error(Exit::Refused, &error);
    let path = args.reach.path_below("docs", key, "chunks");
    for chunk in trace.replay(origin()?).map_err(failed)? {
        let chunk = chunk.map_err(|error| failed(error).hint(half_way(key)))?;
        door.send(Method::POST, &path, &chunk.bytes, args.reach.timeout)
            .map_err(|failure| failure.hint(half_way(key)))?;
        chunks += 1;
        bytes += chunk.bytes.len();
        progress.set_position(chunk.transactions as u64);
    }
    progress.finish_and_clear();
    verify(door, args, &trace)?;
    let (edits, characters) = (trace.patches_len(), trace.end.chars().count());
    if args.json {
        return output::json(&json!({
            "key": key.to_string(), "authors": trace.agents, "edits": edits,
            "characters": characters, "chunks": chunks, "bytes": bytes,
        }));
    }
    output::line(format_args!(
        "Imported {edits} edits by {} as {key}: {characters} characters, as recorded.",
        match trace.agents {
            1 => "1 author".to_owned(),
            many => format!("{many} authors"),
        }
    ))
}

/// The mesh must show what the history says.
fn verify(door: &Door, args: &ImportArgs, trace: &Trace) -> Result<(), Failure> {
    let text = Document::read(door, &args.key, &args.reach)?
        .unwrap_or_default()
        .text;
    // A history may end with no text, and then there may be no document.
    if text == trace.end {
        return Ok(());
    }
    let message = format!("{} is not the text that the history ends with", args.key);
    Err(Failure::new(Exit::Failed, message).hint("did somebody else edit it meanwhile?"))
}

fn unreadable(args: &ImportArgs, error: &ReadTrace) -> Failure {
    let failure = Failure::from_error(Exit::Failed, error);
    Failure {
        message: format!("{}: {}", args.file.display(), failure.message),
        ..failure
    }
}

fn half_way(key: &Key) -> String {
    format!("what was written so far is at {key}; `meshwork del {key}` before trying again")
}

/// Two imports of one history are two documents, and must not share their changes.
fn origin() -> Result<[u8; 4], Failure> {
    let mut origin = [0; 4];
    getrandom::fill(&mut origin).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    Ok(origin)
}

fn progress(transactions: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} transactions, {eta} left");
    let bar = ProgressBar::new(transactions);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
