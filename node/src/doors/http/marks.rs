//! Marks on texts, in JSON.

use meshwork_crdt::Text;
use meshwork_crdt::automerge::ScalarValue;
use meshwork_crdt::automerge::marks::ExpandMark;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::failure::Failure;

/// A mark as a client sees it; positions count code points.
#[derive(Serialize)]
pub(super) struct Shown {
    start: usize,
    end: usize,
    name: String,
    value: Json,
}

/// The marks on a text.
pub(super) fn shown(text: &Text) -> Vec<Shown> {
    let marks = text.marks().into_iter();
    let shown = marks.map(|mark| Shown {
        start: mark.start,
        end: mark.end,
        name: mark.name.to_string(),
        value: value(&mark.value),
    });
    shown.collect()
}

fn value(value: &ScalarValue) -> Json {
    match value {
        ScalarValue::Boolean(on) => Json::from(*on),
        ScalarValue::Int(number) | ScalarValue::Timestamp(number) => Json::from(*number),
        ScalarValue::Uint(number) => Json::from(*number),
        ScalarValue::F64(number) => Json::from(*number),
        ScalarValue::Str(text) => Json::from(text.as_str()),
        ScalarValue::Counter(_) | ScalarValue::Bytes(_) => Json::Null,
        ScalarValue::Unknown { .. } | ScalarValue::Null => Json::Null,
    }
}

/// What a client wants marked: `{"start":2,"end":6,"name":"bold","value":true}`; a value of `null` takes the mark off.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Marking {
    start: usize,
    end: usize,
    name: String,
    value: Mark,
    #[serde(default)]
    expand: Expand,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a mark is true or false, a number, a string, or null"
)]
enum Mark {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Off,
}

/// At which ends text that is typed there is marked, too.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expand {
    #[default]
    After,
    Before,
    Both,
    None,
}

impl From<Expand> for ExpandMark {
    fn from(expand: Expand) -> Self {
        match expand {
            Expand::After => Self::After,
            Expand::Before => Self::Before,
            Expand::Both => Self::Both,
            Expand::None => Self::None,
        }
    }
}

impl Marking {
    pub(super) fn carry_out(&self, text: &mut Text) -> Result<(), Failure> {
        let (range, name) = (self.start..self.end.max(self.start), self.name.as_str());
        let expand = self.expand.into();
        let done = match &self.value {
            Mark::Bool(on) => text.mark(range, name, *on, expand),
            Mark::Int(number) => text.mark(range, name, *number, expand),
            Mark::Float(number) => text.mark(range, name, *number, expand),
            Mark::Text(value) => text.mark(range, name, value.as_str(), expand),
            Mark::Off => text.unmark(range, name, expand),
        };
        done.map_err(|error| Failure::bad("out_of_range", error.to_string()))
    }
}
