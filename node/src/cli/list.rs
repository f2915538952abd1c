//! Lists.

use std::convert::Infallible;
use std::path::Path;
use std::str::FromStr;

use clap::{Args, Subcommand};
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
  meshwork list add tasks/today 'buy tea' 'call home'
  meshwork list add tasks/today 'get up' --at 1
  meshwork list move tasks/today 3 1                 the third becomes the first
  meshwork list set tasks/today 2 'get up early'
  meshwork list rm tasks/today 1
  meshwork list show tasks/today

An element is called by its position, from 1, or by its name, which `list show --names` prints.
Positions shift while others edit the list; a name means the same element wherever it goes.")]
pub(crate) enum ListCommand {
    /// Add elements
    Add(ListAdd),
    /// Move an element
    Move(ListMove),
    /// Write the value of an element
    Set(ListSet),
    /// Remove elements
    Rm(ListRemove),
    /// Show the elements, one a line
    Show(ListShow),
}

#[derive(Debug, Args)]
pub(crate) struct ListAdd {
    /// The list: namespace/name
    #[arg(value_parser = key::parse)]
    key: Key,
    /// The values; those that begin with a hyphen after `--`
    #[arg(required = true)]
    values: Vec<String>,
    /// The element that the first one takes the place of; without it they go to the end
    #[arg(long, value_name = "ELEMENT")]
    at: Option<Place>,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct ListMove {
    /// The list: namespace/name
    #[arg(value_parser = key::parse)]
    key: Key,
    /// The element to move
    element: Place,
    /// The element that it takes the place of; those in between move up
    to: Place,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct ListSet {
    /// The list: namespace/name
    #[arg(value_parser = key::parse)]
    key: Key,
    /// The element
    element: Place,
    /// The value
    #[arg(allow_hyphen_values = true)]
    value: String,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct ListRemove {
    /// The list: namespace/name
    #[arg(value_parser = key::parse)]
    key: Key,
    /// The elements, all counted before the first is removed
    #[arg(required = true, value_name = "ELEMENT")]
    elements: Vec<Place>,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct ListShow {
    /// The list: namespace/name
    #[arg(value_parser = key::parse)]
    key: Key,
    /// Print the name of each element in front of its value
    #[arg(long)]
    names: bool,
    #[command(flatten)]
    reach: Reach,
    /// Print the list as JSON
    #[arg(long, conflicts_with = "names")]
    json: bool,
}

/// How an element is called: by its position, from 1, or by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Position(usize),
    Name(String),
}

impl FromStr for Place {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let position = text.parse().map(Self::Position);
        Ok(position.unwrap_or_else(|_| Self::Name(text.to_owned())))
    }
}

pub(crate) fn run(folder: &Path, command: &ListCommand) -> Result<(), Failure> {
    let door = Door::open(folder)?;
    match command {
        ListCommand::Add(args) => add(&door, args),
        ListCommand::Move(args) => {
            let list = List::read(&door, &args.key, &args.reach)?;
            let after = list.after_move(list.find(&args.element)?, list.find(&args.to)?);
            let element = list.name(&args.element)?;
            let op = json!({"op": "move_after", "element": element, "after": after});
            apply(&door, &args.key, &args.reach, &op).map(drop)
        }
        ListCommand::Set(args) => {
            let list = List::read(&door, &args.key, &args.reach)?;
            let (element, value) = (list.name(&args.element)?, to_json(args.value.as_bytes()));
            let op = json!({"op": "write_element", "element": element, "value": value});
            apply(&door, &args.key, &args.reach, &op).map(drop)
        }
        ListCommand::Rm(args) => {
            let list = List::read(&door, &args.key, &args.reach)?;
            let names = args.elements.iter().map(|element| list.name(element));
            let names: Vec<&str> = names.collect::<Result<_, _>>()?;
            names.into_iter().try_for_each(|element| {
                let op = json!({"op": "remove_element", "element": element});
                apply(&door, &args.key, &args.reach, &op).map(drop)
            })
        }
        ListCommand::Show(args) => show(&door, args),
    }
}

fn add(door: &Door, args: &ListAdd) -> Result<(), Failure> {
    let list = match List::read(door, &args.key, &args.reach) {
        Err(failure) if failure.exit == Exit::NotFound => List::empty(&args.key),
        read => read?,
    };
    let at = match &args.at {
        Some(place) => list.find(place)?,
        None => list.elements.len(),
    };
    let mut after = list.before(at).map(str::to_owned);
    for value in &args.values {
        let value = to_json(value.as_bytes());
        let op = json!({"op": "insert_after", "after": after, "value": value});
        let answer = apply(door, &args.key, &args.reach, &op)?;
        after = Some(text(&answer, "element").to_owned());
    }
    Ok(())
}

fn show(door: &Door, args: &ListShow) -> Result<(), Failure> {
    let value = read_kind(door, &args.key, &args.reach, "sequence")?;
    if args.json {
        return output::json(&value);
    }
    if !args.names {
        return show::print(&value);
    }
    show::elements(&value).iter().try_for_each(|element| {
        let name = output::one_line(text(element, "element"));
        output::line(format_args!("{name}  {}", show::element(element)))
    })
}

/// A list as it was when the command began. Operations name elements, so it does no harm if somebody edits it meanwhile.
struct List<'a> {
    key: &'a Key,
    elements: Vec<String>,
}

impl<'a> List<'a> {
    fn read(door: &Door, key: &'a Key, reach: &Reach) -> Result<Self, Failure> {
        let value = read_kind(door, key, reach, "sequence")?;
        let names = show::elements(&value).iter().map(|e| text(e, "element"));
        Ok(Self {
            key,
            elements: names.map(str::to_owned).collect(),
        })
    }

    const fn empty(key: &'a Key) -> Self {
        Self {
            key,
            elements: Vec::new(),
        }
    }

    /// Where an element is, from 0.
    fn find(&self, place: &Place) -> Result<usize, Failure> {
        let (found, called) = match place {
            Place::Position(position) => {
                let at = position.checked_sub(1);
                (
                    at.filter(|at| *at < self.elements.len()),
                    format!("{position}"),
                )
            }
            Place::Name(name) => {
                let at = self.elements.iter().position(|element| element == name);
                (at, format!("{name:?}"))
            }
        };
        found.ok_or_else(|| {
            let (key, len) = (self.key, self.elements.len());
            let message = format!("{key} has {len} elements, and none is called {called}");
            Failure::new(Exit::NotFound, message).hint(format!(
                "`meshwork list show --names {key}` prints them with their names"
            ))
        })
    }

    fn name(&self, place: &Place) -> Result<&str, Failure> {
        let at = self.find(place)?;
        Ok(self.elements.get(at).map_or("", String::as_str))
    }

    /// The element in front of a position.
    fn before(&self, at: usize) -> Option<&str> {
        let before = at.checked_sub(1)?;
        self.elements.get(before).map(String::as_str)
    }

    /// The element in front of one that has moved from a position to another.
    fn after_move(&self, from: usize, to: usize) -> Option<&str> {
        match from < to {
            true => self.before(to + 1),
            false => self.before(to),
        }
    }
}

fn text<'a>(json: &'a Json, field: &str) -> &'a str {
    json.get(field).and_then(Json::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_called_by_position_or_name() {
        let key = Key::parse("tasks/today").unwrap();
        let elements = ["r:1", "r:2"].map(str::to_owned).into();
        let list = List {
            key: &key,
            elements,
        };
        for (called, at) in [("1", 0), ("2", 1), ("r:1", 0), ("r:2", 1)] {
            assert_eq!(list.find(&called.parse().unwrap()).unwrap(), at, "{called}");
        }
        for called in ["0", "3", "r:3", "-1", ""] {
            let failure = list.find(&called.parse().unwrap()).unwrap_err();
            assert_eq!(failure.exit, Exit::NotFound, "{called}");
        }
    }

    #[test]
    fn what_is_moved_takes_the_place_of_the_other() {
        let key = Key::parse("tasks/today").unwrap();
        let names = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        let list = List {
            key: &key,
            elements: names.clone(),
        };
        for from in 0..4 {
            for to in (0..4).filter(|to| *to != from) {
                let mut moved = names.clone();
                let element = moved.remove(from);
                let after = list.after_move(from, to);
                let at = after.map_or(0, |after| {
                    1 + moved.iter().position(|e| e == after).unwrap()
                });
                moved.insert(at, element);
                assert_eq!(moved[to], names[from], "{from} to {to}");
            }
        }
    }
}
