//! Any operation on a value of any kind.

use std::path::Path;

use clap::Args;
use meshwork_sync::Key;
use ureq::http::Method;

use super::client::Door;
use super::exit::{Exit, Failure};
use super::key::{self, Reach};
use super::values::{Answer, read_stdin};

#[derive(Debug, Args)]
#[command(after_help = "\
The first operation on a key makes a value of its kind; `meshwork get` shows it. By kind:
  register         {\"op\":\"put\",\"value\":\"tea\"}
  fenced           {\"op\":\"put_fenced\",\"token\":7,\"value\":\"tea\"}
  counter          {\"op\":\"add\",\"amount\":-2}
  g-counter        {\"op\":\"increase\",\"amount\":2}
  bounded-counter  {\"op\":\"deposit\",\"amount\":100}
                   {\"op\":\"withdraw\",\"amount\":1}
                   {\"op\":\"give_rights\",\"to\":\"REPLICA\",\"amount\":10}
  max              {\"op\":\"max\",\"number\":3}
  min              {\"op\":\"min\",\"number\":-3}
  set              {\"op\":\"insert\",\"element\":\"red\"}
                   {\"op\":\"remove\",\"element\":\"red\"}
  g-set            {\"op\":\"gather\",\"element\":\"red\"}
  rw-set           {\"op\":\"admit\",\"element\":\"ann\"}
                   {\"op\":\"ban\",\"element\":\"bob\"}
  flag             {\"op\":\"enable\"}
                   {\"op\":\"disable\"}
  dw-flag          {\"op\":\"switch\",\"on\":true}
  sequence         {\"op\":\"insert_after\",\"value\":\"buy tea\"}
                   {\"op\":\"insert_after\",\"after\":\"ELEMENT\",\"value\":\"drink it\"}
                   {\"op\":\"move_after\",\"element\":\"ELEMENT\"}
                   {\"op\":\"write_element\",\"element\":\"ELEMENT\",\"value\":\"buy milk\"}
                   {\"op\":\"remove_element\",\"element\":\"ELEMENT\"}
  map              {\"op\":\"field\",\"name\":\"n\",\"kind\":\"max\",\"then\":{\"op\":\"max\",\"number\":3}}
                   {\"op\":\"remove_field\",\"name\":\"n\",\"kind\":\"max\"}
  custom:7         {\"op\":\"merge\",\"tag\":7,\"payload\":{\"base64\":\"AQI=\"}}
  any              {\"op\":\"delete\"}

Values, elements and names that are no text are written as {\"base64\":\"/w==\"}. What goes in
front of all has no \"after\". `meshwork list show --names` prints the ELEMENTs of a list, and
`meshwork status --json` the REPLICA of each member. Documents have `meshwork doc`.

Examples:
  meshwork op seats/hall-1 '{\"op\":\"deposit\",\"amount\":100}'
  meshwork op seats/hall-1 '{\"op\":\"withdraw\",\"amount\":2}' --level local")]
pub(crate) struct OpArgs {
    /// What to change: namespace/name
    #[arg(value_parser = key::parse)]
    key: Key,
    /// The operation in JSON, see below; `-` reads it from standard input
    #[arg(value_name = "OPERATION")]
    op: String,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    answer: Answer,
}

pub(crate) fn run(folder: &Path, args: &OpArgs) -> Result<(), Failure> {
    let op = match args.op.as_str() {
        "-" => read_stdin()?,
        typed => typed.into(),
    };
    // The node reads it again, as it was typed: what is parsed here would have lost digits.
    serde_json::from_slice::<serde::de::IgnoredAny>(&op).map_err(|error| {
        Failure::new(Exit::Usage, format!("the operation is no JSON: {error}"))
            .hint("put it into single quotes; `meshwork op --help` lists all operations")
    })?;
    let path = args.reach.path("keys", &args.key);
    let answer = Door::open(folder)?.send(Method::POST, &path, &op, args.reach.timeout)?;
    args.answer.print(&answer)
}
