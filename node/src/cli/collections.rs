//! Sets, maps and flags.

use std::path::Path;

use clap::{Args, Subcommand, ValueEnum};
use meshwork_sync::Key;
use serde_json::{Value as Json, json};

use super::client::Door;
use super::exit::{Exit, Failure};
use super::key::{self, Reach, to_json};
use super::values::{apply, read_kind};
use super::{output, show};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  meshwork set add tags/trip sea hills
  meshwork set rm tags/trip hills
  meshwork set show tags/trip

An element that one node adds while another removes it stays.")]
pub(crate) enum SetCommand {
    /// Add elements
    Add(SetChange),
    /// Remove elements
    Rm(SetChange),
    /// Show the elements, one a line
    Show(Show),
}

#[derive(Debug, Args)]
pub(crate) struct SetChange {
    /// The set: namespace/name
    #[arg(value_parser = key::parse)]
    key: Key,
    /// The elements; those that begin with a hyphen after `--`
    #[arg(required = true)]
    elements: Vec<String>,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// What to show: namespace/name
    #[arg(value_parser = key::parse)]
    key: Key,
    #[command(flatten)]
    reach: Reach,
    /// Print the value as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  meshwork map set profile/me city Lisbon
  meshwork map set profile/me visits 3 --kind counter    adds 3
  meshwork map get profile/me city
  meshwork map show profile/me
  meshwork map rm profile/me city")]
pub(crate) enum MapCommand {
    /// Write a field
    Set(MapSet),
    /// Show a field
    Get(MapGet),
    /// Remove a field
    Rm(MapRemove),
    /// Show all fields, one a line
    Show(Show),
}

#[derive(Debug, Args)]
pub(crate) struct MapSet {
    /// The map: namespace/name
    #[arg(value_parser = key::parse)]
    key: Key,
    /// The field's name
    field: String,
    /// The value; for a counter what to add, for a set what to insert, for a flag `on` or `off`
    #[arg(allow_hyphen_values = true)]
    value: String,
    /// What the field holds
    #[arg(long, value_enum, default_value_t = FieldKind::Register)]
    kind: FieldKind,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct MapGet {
    /// The map: namespace/name
    #[arg(value_parser = key::parse)]
    key: Key,
    /// The field's name
    field: String,
    #[command(flatten)]
    reach: Reach,
    /// Print the value as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MapRemove {
    /// The map: namespace/name
    #[arg(value_parser = key::parse)]
    key: Key,
    /// The field's name
    field: String,
    /// What the field holds; fields of one name and different kinds are different fields
    #[arg(long, value_enum, default_value_t = FieldKind::Register)]
    kind: FieldKind,
    #[command(flatten)]
    reach: Reach,
}

/// What a field of a map may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FieldKind {
    /// One value
    Register,
    /// A number that is added to
    Counter,
    /// A set of elements
    Set,
    /// On or off
    Flag,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  meshwork flag on lights/porch
  meshwork flag show lights/porch

Where one node turns a flag on while another turns it off, it is on.")]
pub(crate) enum FlagCommand {
    /// Turn it on
    On(FlagChange),
    /// Turn it off
    Off(FlagChange),
    /// Show it: `on` or `off`
    Show(Show),
}

#[derive(Debug, Args)]
pub(crate) struct FlagChange {
    /// The flag: namespace/name
    #[arg(value_parser = key::parse)]
    key: Key,
    #[command(flatten)]
    reach: Reach,
}

pub(crate) fn set(folder: &Path, command: &SetCommand) -> Result<(), Failure> {
    let door = Door::open(folder)?;
    let change = |args: &SetChange, op: &str| {
        args.elements.iter().try_for_each(|element| {
            let op = json!({"op": op, "element": to_json(element.as_bytes())});
            apply(&door, &args.key, &args.reach, &op).map(drop)
        })
    };
    match command {
        SetCommand::Add(args) => change(args, "insert"),
        SetCommand::Rm(args) => change(args, "remove"),
        SetCommand::Show(args) => show_kind(&door, args, "set"),
    }
}

pub(crate) fn map(folder: &Path, command: &MapCommand) -> Result<(), Failure> {
    let door = Door::open(folder)?;
    match command {
        MapCommand::Set(args) => {
            let op = json!({
                "op": "field",
                "name": to_json(args.field.as_bytes()),
                "kind": args.kind.name(),
                "then": args.kind.op(&args.value)?,
            });
            apply(&door, &args.key, &args.reach, &op).map(drop)
        }
        MapCommand::Get(args) => {
            let map = read_kind(&door, &args.key, &args.reach, "map")?;
            let field = map.get("value").and_then(|fields| fields.get(&args.field));
            let field = field.ok_or_else(|| {
                let (key, field) = (&args.key, &args.field);
                Failure::new(Exit::NotFound, format!("{key} has no field {field:?}"))
                    .hint(format!("`meshwork map show {key}` lists the fields"))
            })?;
            if args.json {
                output::json(field)
            } else {
                show::print(field)
            }
        }
        MapCommand::Rm(args) => {
            let op = json!({
                "op": "remove_field",
                "name": to_json(args.field.as_bytes()),
                "kind": args.kind.name(),
            });
            apply(&door, &args.key, &args.reach, &op).map(drop)
        }
        MapCommand::Show(args) => show_kind(&door, args, "map"),
    }
}

pub(crate) fn flag(folder: &Path, command: &FlagCommand) -> Result<(), Failure> {
    let door = Door::open(folder)?;
    let change = |args: &FlagChange, op: &str| {
        apply(&door, &args.key, &args.reach, &json!({"op": op})).map(drop)
    };
    match command {
        FlagCommand::On(args) => change(args, "enable"),
        FlagCommand::Off(args) => change(args, "disable"),
        FlagCommand::Show(args) => show_kind(&door, args, "flag"),
    }
}

fn show_kind(door: &Door, args: &Show, kind: &str) -> Result<(), Failure> {
    let value = read_kind(door, &args.key, &args.reach, kind)?;
    if args.json {
        output::json(&value)
    } else {
        show::print(&value)
    }
}

impl FieldKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Counter => "counter",
            Self::Set => "set",
            Self::Flag => "flag",
        }
    }

    /// What setting a field of this kind means.
    fn op(self, value: &str) -> Result<Json, Failure> {
        let wrong = |wanted: &str| {
            let name = self.name();
            Failure::new(
                Exit::Usage,
                format!("a field of kind {name} takes {wanted}, not {value:?}"),
            )
        };
        Ok(match self {
            Self::Register => json!({"op": "put", "value": to_json(value.as_bytes())}),
            Self::Set => json!({"op": "insert", "element": to_json(value.as_bytes())}),
            Self::Counter => {
                let amount: i64 = value.parse().ok().ok_or_else(|| wrong("a number"))?;
                json!({"op": "add", "amount": amount})
            }
            Self::Flag => match value {
                "on" => json!({"op": "enable"}),
                "off" => json!({"op": "disable"}),
                _ => return Err(wrong("`on` or `off`")),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_takes_what_its_kind_takes() {
        assert_eq!(
            FieldKind::Counter.op("-3").unwrap(),
            json!({"op": "add", "amount": -3})
        );
        assert_eq!(FieldKind::Flag.op("off").unwrap(), json!({"op": "disable"}));
        for (kind, value) in [(FieldKind::Counter, "three"), (FieldKind::Flag, "maybe")] {
            assert_eq!(kind.op(value).unwrap_err().exit, Exit::Usage);
        }
    }
}
