//! Text documents.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use meshwork_sync::Key;
use serde_json::{Value as Json, json};
use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

use super::client::Door;
use super::exit::{Exit, Failure};
use super::import::{self, ImportArgs};
use super::key::{self, Reach};
use super::output;
use super::values::{Answer, read_stdin};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  meshwork doc edit notes/paper                      opens $EDITOR
  meshwork doc edit notes/paper --append 'The end.'
  meshwork doc cat notes/paper
  meshwork doc import notes/paper history.json.gz

Everybody may edit at the same time, also without a connection; edits are merged letter by
letter.")]
pub(crate) enum DocCommand {
    /// Edit a document in $VISUAL or $EDITOR, or from a script
    Edit(EditArgs),
    /// Print a document
    Cat(CatArgs),
    /// Write a recorded editing history as a new document
    Import(ImportArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
What you changed is merged with what others changed while you edited: only the difference is
sent, and it applies to the text that you were shown.")]
pub(crate) struct EditArgs {
    /// The document: namespace/name; it is made if it is not there
    #[arg(value_parser = key::parse)]
    key: Key,
    /// Add this text at the end instead of opening an editor
    #[arg(
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        conflicts_with = "stdin"
    )]
    append: Option<String>,
    /// Take the whole new text from standard input instead of opening an editor
    #[arg(long)]
    stdin: bool,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    answer: Answer,
}

#[derive(Debug, Args)]
pub(crate) struct CatArgs {
    /// The document: namespace/name
    #[arg(value_parser = key::parse)]
    key: Key,
    #[command(flatten)]
    reach: Reach,
    /// Print text and version, as JSON
    #[arg(long)]
    json: bool,
}

/// A document as the door shows it.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) text: String,
    heads: Json,
}

/// One edit; positions count code points.
#[derive(Debug, PartialEq, Eq)]
struct Splice {
    at: usize,
    delete: usize,
    insert: String,
}

pub(crate) fn run(folder: &Path, command: &DocCommand) -> Result<(), Failure> {
    let door = Door::open(folder)?;
    match command {
        DocCommand::Edit(args) => edit(&door, args),
        DocCommand::Cat(args) => cat(&door, args),
        DocCommand::Import(args) => import::run(&door, args),
    }
}

fn cat(door: &Door, args: &CatArgs) -> Result<(), Failure> {
    let answer = door.get(&args.reach.path("docs", &args.key), args.reach.timeout)?;
    if args.json {
        return output::json(&answer);
    }
    output::value(Document::from_answer(answer)?.text.as_bytes())
}

fn edit(door: &Door, args: &EditArgs) -> Result<(), Failure> {
    let old = Document::read(door, &args.key, &args.reach)?.unwrap_or_default();
    let new = match &args.append {
        Some(more) => format!("{}{more}", old.text),
        None if args.stdin => String::from_utf8(read_stdin()?)
            .map_err(|error| Failure::from_error(Exit::Refused, &error))?,
        None => in_editor(&args.key, &old.text)?,
    };
    let splices = splices(&old.text, &new);
    if splices.is_empty() {
        output::note("nothing was changed");
        return Ok(());
    }
    let splices: Vec<Json> = splices
        .iter()
        .map(|splice| json!({"at": splice.at, "delete": splice.delete, "insert": splice.insert}))
        .collect();
    let mut body = json!({"splices": splices});
    if let (Some(body), Json::Array(_)) = (body.as_object_mut(), &old.heads) {
        body.insert("heads".into(), old.heads);
    }
    let answer = door.post(
        &args.reach.path("docs", &args.key),
        &body,
        args.reach.timeout,
    );
    match answer {
        Ok(answer) => args.answer.print(&answer),
        Err(failure) if args.append.is_none() && !args.stdin => Err(rescue(&new, failure)),
        Err(failure) => Err(failure),
    }
}

impl Document {
    /// Reads a document; `None` when there is none.
    pub(crate) fn read(door: &Door, key: &Key, reach: &Reach) -> Result<Option<Self>, Failure> {
        match door.get(&reach.path("docs", key), reach.timeout) {
            Ok(answer) => Self::from_answer(answer).map(Some),
            Err(failure) if failure.exit == Exit::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn from_answer(mut answer: Json) -> Result<Self, Failure> {
        let text = answer.get("text").and_then(Json::as_str).map(str::to_owned);
        let text = text.ok_or_else(|| Failure::new(Exit::Failed, "the node gave no text"))?;
        let heads = answer.get_mut("heads").map(Json::take).unwrap_or_default();
        Ok(Self { text, heads })
    }
}

/// The edits that make one text out of another, the last first, so that none moves the place of the next.
fn splices(old: &str, new: &str) -> Vec<Splice> {
    let (old, new): (Vec<char>, Vec<char>) = (old.chars().collect(), new.chars().collect());
    let deadline = Instant::now() + DIFF_TIME_MAX;
    let ops = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, Some(deadline));
    let (mut old_at, mut new_at) = (0, 0);
    let mut splices = Vec::new();
    for op in ops {
        // Only the lengths are sure: after the crate has tidied a difference up, the places of insertions may be off.
        let (delete, insert) = (op.old_range().len(), op.new_range().len());
        if !matches!(op, DiffOp::Equal { .. }) {
            let insert = new.get(new_at..new_at + insert).unwrap_or_default();
            splices.push(Splice {
                at: old_at,
                delete,
                insert: insert.iter().collect(),
            });
        }
        (old_at, new_at) = (old_at + delete, new_at + insert);
    }
    splices.reverse();
    splices
}

/// Lets the user edit a text in an editor of their choice.
fn in_editor(key: &Key, text: &str) -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::from_error(Exit::Failed, &error);
    let mut file = tempfile::Builder::new()
        .prefix("meshwork-")
        .suffix(".txt")
        .tempfile()
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.flush().map_err(failed)?;
    let named = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let editor = named("VISUAL").or_else(|| named("EDITOR"));
    let editor = editor.unwrap_or_else(|| "vi".into());
    // Like git: through the shell, since the variable may hold arguments.
    let status = Command::new("sh")
        .args(["-c", &format!("{editor} \"$@\""), &editor])
        .arg(file.path())
        .status()
        .map_err(failed)?;
    if !status.success() {
        let message = format!("the editor `{editor}` failed; {key} is unchanged");
        return Err(Failure::new(Exit::Failed, message).hint("choose another with EDITOR=nano"));
    }
    std::fs::read_to_string(file.path()).map_err(failed)
}

/// Keeps what somebody typed when the mesh did not take it.
fn rescue(text: &str, failure: Failure) -> Failure {
    match save(text) {
        Ok(path) => {
            let hint = format!(
                "your text is in {}: try again with `meshwork doc edit --stdin KEY < FILE`",
                path.display()
            );
            failure.hint(hint)
        }
        Err(_) => failure,
    }
}

fn save(text: &str) -> io::Result<PathBuf> {
    let mut file = tempfile::Builder::new()
        .prefix("meshwork-")
        .suffix(".txt")
        .tempfile()?;
    file.write_all(text.as_bytes())?;
    let (_, path) = file.keep().map_err(|error| error.error)?;
    Ok(path)
}

/// After this a difference gets coarser instead of finer.
const DIFF_TIME_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn apply(text: &str, splices: &[Splice]) -> String {
        let mut chars: Vec<char> = text.chars().collect();
        for splice in splices {
            chars.splice(splice.at..splice.at + splice.delete, splice.insert.chars());
        }
        chars.into_iter().collect()
    }

    #[test]
    fn an_edit_is_as_small_as_what_was_changed() {
        let splices = splices("Größe: 3\nEnde", "Größe: 4\nEnde!");
        let edit = |at, delete, insert: &str| Splice {
            at,
            delete,
            insert: insert.into(),
        };
        assert_eq!(splices, [edit(13, 0, "!"), edit(7, 1, "4")]);
    }

    proptest! {
        #[test]
        fn edits_make_the_new_text(old in "[abé\n]{0,40}", new in "[abé\n]{0,40}") {
            let splices = splices(&old, &new);
            prop_assert_eq!(apply(&old, &splices), new);
        }
    }
}
