//! Strong keys that are changed only if they are as expected.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use meshwork_sync::Key;
use serde_json::{Value as Json, json};

use super::client::Door;
use super::exit::{Exit, Failure};
use super::key::{self, to_json};
use super::output;
use super::show;
use super::status::number;
use super::values::{Answer, read_file, read_stdin};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  meshwork cas bank/alice --expect 100 70
  meshwork cas bank/alice --absent 100

Writes the value at the moment at which the key is as expected, and nobody else comes between. If
it is not, nothing is written, what was found is told, and the exit code is 6. The namespace must
be a strong one: `meshwork namespace create bank --strong`.")]
pub(crate) struct CasArgs {
    /// Where to write: namespace/name
    #[arg(value_parser = key::parse)]
    key: Key,
    /// The value that it must have
    #[arg(
        long,
        value_name = "VALUE",
        allow_hyphen_values = true,
        required_unless_present = "absent"
    )]
    expect: Option<String>,
    /// There must be no such key
    #[arg(long, conflicts_with = "expect")]
    absent: bool,
    /// The new value; `-` reads it from standard input
    #[arg(allow_hyphen_values = true)]
    value: String,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    answer: Answer,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  meshwork txn - <<'END'
  {\"if\":   [{\"key\": \"bank/alice\", \"value\": \"100\"}, {\"lock\": \"jobs/nightly\", \"token\": 7}],
   \"then\": [{\"put\": \"bank/alice\", \"value\": \"70\"}, {\"put\": \"bank/bob\", \"value\": \"30\"}],
   \"else\": [{\"get\": \"bank/alice\"}, {\"get\": \"bank/bob\"}]}
  END

if     all must hold: a key has this value (null: there is no such key), a key was not changed
       after this revision, a lock is held under this token
then   is done if they do, else if not: get, put with a value, delete
Values that are no UTF-8 are written {\"base64\": \"...\"}.

Prints which it was, the revision, and what each step found before it. The exit code is 0 for
both: whether the conditions held is `succeeded` in the answer.")]
pub(crate) struct TxnArgs {
    /// A file with the transaction in JSON; `-` reads it from standard input
    file: PathBuf,
    #[command(flatten)]
    patience: Patience,
}

/// How long a request to the group may take.
#[derive(Clone, Copy, Debug, Args)]
struct Patience {
    /// When to give up: up to 60s
    #[arg(long, default_value = "5s", value_parser = key::timeout, value_name = "TIME")]
    timeout: Duration,
}

impl Patience {
    fn transact(self, door: &Door, transaction: &Json) -> Result<Json, Failure> {
        let path = format!("strong/txn?timeout_ms={}", self.timeout.as_millis());
        door.post(&path, transaction, self.timeout)
    }
}

pub(crate) fn cas(folder: &Path, args: &CasArgs) -> Result<(), Failure> {
    let value = match args.value.as_str() {
        "-" => read_stdin()?,
        value => value.as_bytes().to_vec(),
    };
    let expected = args.expect.as_deref();
    let transaction = cas_transaction(&args.key, expected, &value);
    let answer = args.patience.transact(&Door::open(folder)?, &transaction)?;
    if answer.get("succeeded").and_then(Json::as_bool) == Some(true) {
        return args.answer.print(&answer);
    }
    let found = answer.pointer("/found/0").unwrap_or(&Json::Null);
    Err(Failure::new(Exit::Refused, mismatch(&args.key, found)))
}

fn cas_transaction(key: &Key, expected: Option<&str>, value: &[u8]) -> Json {
    let key = to_json(&[key.namespace().as_bytes(), b"/", key.name()].concat());
    json!({
        "if": [{"key": key, "value": expected}],
        "then": [{"put": key, "value": to_json(value)}],
        "else": [{"get": key}],
    })
}

/// What was there instead.
fn mismatch(key: &Key, found: &Json) -> String {
    match found.get("value") {
        Some(value) => format!(
            "nothing was written: {key} is {} (revision {})",
            show::scalar(value),
            number(found, "revision")
        ),
        None => format!("nothing was written: there is no {key}"),
    }
}

pub(crate) fn run(folder: &Path, args: &TxnArgs) -> Result<(), Failure> {
    let text = match args.file.to_str() {
        Some("-") => read_stdin()?,
        _ => read_file(&args.file)?,
    };
    let transaction: Json = serde_json::from_slice(&text).map_err(|error| {
        Failure::new(Exit::Usage, format!("the transaction is no JSON: {error}"))
            .hint("see `meshwork txn --help` for an example")
    })?;
    let answer = args.patience.transact(&Door::open(folder)?, &transaction)?;
    output::json(&answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absence_is_expected_as_null() {
        let key = Key::parse("bank/alice").unwrap();
        let absent = cas_transaction(&key, None, b"\xff");
        assert_eq!(
            absent,
            json!({
                "if": [{"key": "bank/alice", "value": null}],
                "then": [{"put": "bank/alice", "value": {"base64": "/w=="}}],
                "else": [{"get": "bank/alice"}],
            })
        );
        let empty = cas_transaction(&key, Some(""), b"x");
        assert_eq!(empty.pointer("/if/0/value"), Some(&json!("")));
    }

    #[test]
    fn what_was_found_is_told_without_its_control_characters() {
        let key = Key::parse("bank/alice").unwrap();
        let found = json!({"value": "9\u{1b}5", "revision": 3});
        assert!(mismatch(&key, &found).ends_with("bank/alice is 9\\u{1b}5 (revision 3)"));
        assert!(mismatch(&key, &Json::Null).ends_with("there is no bank/alice"));
    }
}
