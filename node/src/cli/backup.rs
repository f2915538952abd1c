//! The state of the strong group as a file.

use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use meshwork::store::write_atomically;
use meshwork::strong::{BACKUP_BYTES_MAX, Backup};
use serde_json::{Value as Json, json};

use super::client::Door;
use super::exit::{Exit, Failure};
use super::output;

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  meshwork strong backup bank-today.strong

One state of the whole group, as it is at this moment: strong namespaces, their keys, sequences, and
the last fencing token. Locks, elections, and keys that end with a session are not in it. Any node
can ask; a majority of the voters must be reached. The file is there whole or not at all, and only
its owner may read it: nothing in it is encrypted.")]
pub(crate) struct BackupArgs {
    /// Where to write it
    file: PathBuf,
    /// Replace the file if there is one
    #[arg(long)]
    force: bool,
    /// Print what was written, as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example, in a new mesh:
  meshwork init --mesh home --voter && meshwork up
  meshwork strong restore bank-today.strong

The group must hold nothing: no namespace, no key, no lock. All of the backup is there at once, or
nothing of it. Revisions and fencing tokens go on behind those of the backup; locks that were held
then are free, and sequences go on. What was written to the old group after the backup is lost: see
that nobody uses the old one any more, or what was granted there and here may have the same token.")]
pub(crate) struct RestoreArgs {
    /// The backup
    file: PathBuf,
    /// Print what was restored, as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn backup(folder: &Path, args: &BackupArgs) -> Result<(), Failure> {
    let path = &args.file;
    if path.exists() && !args.force {
        let message = format!("there is a file {} already", path.display());
        return Err(Failure::new(Exit::Refused, message)
            .hint("choose another name, or say --force to replace it"));
    }
    let (bytes, from) = Door::open(folder)?.fetch("strong/backup")?;
    let mut read = Vec::new();
    let progress = progress(bytes.unwrap_or_default());
    let copied = progress
        .wrap_read(from.take(BACKUP_BYTES_MAX as u64 + 1))
        .read_to_end(&mut read);
    progress.finish_and_clear();
    copied.map_err(|error| broken_off(&error))?;
    let backup = check(&read, Exit::Failed)
        .map_err(|failure| failure.hint("the leader may have changed meanwhile: try again"))?;
    write_atomically(path, &read).map_err(|error| at(path, "cannot be written", &error))?;
    let revision = backup.revision.0;
    if args.json {
        return output::json(&shown(&backup, revision));
    }
    told("Wrote", path, &backup, revision)
}

pub(crate) fn restore(folder: &Path, args: &RestoreArgs) -> Result<(), Failure> {
    let path = &args.file;
    let unreadable = |error| at(path, "cannot be read", &error);
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    let read = file
        .take(BACKUP_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes);
    read.map_err(unreadable)?;
    let backup = check(&bytes, Exit::Refused)?;
    let progress = progress(bytes.len() as u64);
    let body = progress.wrap_read(&*bytes);
    let answer = Door::open(folder)?.upload("strong/restore", body, bytes.len() as u64);
    progress.finish_and_clear();
    let answer = answer?;
    let revision = answer.get("revision").and_then(Json::as_u64);
    let revision = revision.unwrap_or_default();
    if args.json {
        return output::json(&shown(&backup, revision));
    }
    told("Restored", path, &backup, revision)
}

fn check(bytes: &[u8], exit: Exit) -> Result<Backup, Failure> {
    Backup::decode(bytes).map_err(|error| Failure::from_error(exit, &error))
}

/// What is in a backup, for programs.
fn shown(backup: &Backup, revision: u64) -> Json {
    json!({
        "revision": revision, "keys": backup.keys.len(), "sequences": backup.sequences.len(),
        "namespaces": backup.namespaces, "token": backup.token.0,
    })
}

/// What was done with a backup, for people.
fn told(done: &str, path: &Path, backup: &Backup, revision: u64) -> Result<(), Failure> {
    let name = output::one_line(&path.display().to_string());
    let (keys, namespaces) = (&backup.keys, &backup.namespaces);
    let values: usize = keys.iter().map(|(_, found)| found.value.len()).sum();
    output::line(format_args!(
        "{done} {name}: {} keys with {} in {} namespaces, as of revision {revision}.",
        keys.len(),
        HumanBytes(values as u64),
        namespaces.len(),
    ))
}

fn broken_off(error: &io::Error) -> Failure {
    Failure::from_error(Exit::Unavailable, error)
        .hint("the leader may have changed meanwhile: try again")
}

fn at(path: &Path, what: &str, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("{} {what}: {error}", path.display()))
}

fn progress(bytes: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {bytes} of {total_bytes}, {eta} left");
    let bar = ProgressBar::new(bytes);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
