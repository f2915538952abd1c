//! What a read showed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use meshwork_crdt::{ActorSeed, CausalContext, Kind, Object, OrMap, ReplicaId, Text, Value};

/// The value of a key as an application sees it, whichever way it came.
///
/// Two are equal when they show the same and, where both tell it, are of the same version.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// What is there, by place; what is empty is left out.
    pub values: BTreeMap<Slot, Shown>,
    /// What the object had seen, where the way in tells it.
    pub version: Option<CausalContext>,
}

/// A place under a key: the fields on the way down, none for the key itself, and the kind of what is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// Names of the fields of maps.
    pub path: Vec<Vec<u8>>,
    /// Kind of the value, which is part of its name.
    pub kind: Kind,
}

/// What is shown at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A flag that is on.
    On,
    /// A counter; any number but zero.
    Number(i128),
    /// The concurrent values of a register, or the elements of a set; at least one.
    Values(BTreeSet<Vec<u8>>),
    /// A text that is not empty.
    Text(String),
}

impl Seen {
    /// What an object shows.
    #[must_use]
    pub fn of(object: &Object) -> Self {
        let mut seen = Self {
            values: BTreeMap::new(),
            version: Some(object.version().clone()),
        };
        for value in object.values() {
            seen.take_in(Vec::new(), value, object.version());
        }
        seen
    }

    /// Kinds that the workload does not write are left out.
    #[expect(clippy::wildcard_enum_match_arm, reason = "most kinds are not shown")]
    fn take_in(&mut self, path: Vec<Vec<u8>>, value: &Value, version: &CausalContext) {
        let kind = value.kind();
        let shown = match value {
            Value::Map(fields) => return self.take_in_fields(&path, fields, version),
            Value::Flag(flag) => flag.is_enabled().then_some(Shown::On),
            Value::Counter(counter) => Shown::number(counter.value()),
            Value::Register(register) => {
                let values = register.siblings().map(|(_, _, value)| value);
                Shown::values(values.cloned())
            }
            Value::Set(set) => Shown::values(set.iter().cloned()),
            Value::Document(document) => Shown::text(Text::open(document, version, READER).text()),
            _ => None,
        };
        self.insert(Slot { path, kind }, shown);
    }

    fn take_in_fields(&mut self, path: &[Vec<u8>], fields: &OrMap, version: &CausalContext) {
        for (_, name, value) in fields.fields() {
            let mut path = path.to_vec();
            path.push(name.to_vec());
            self.take_in(path, value, version);
        }
    }

    /// Notes what is shown at a place, if it is anything.
    pub(super) fn insert(&mut self, slot: Slot, shown: Option<Shown>) {
        if let Some(shown) = shown {
            self.values.insert(slot, shown);
        }
    }

    /// The values shown by the register or set at a place.
    #[must_use]
    pub fn values_at(&self, slot: &Slot) -> BTreeSet<Vec<u8>> {
        match self.values.get(slot) {
            Some(Shown::Values(values)) => values.clone(),
            Some(_) | None => BTreeSet::new(),
        }
    }

    /// The text shown at a place.
    #[must_use]
    pub fn text_at(&self, slot: &Slot) -> &str {
        match self.values.get(slot) {
            Some(Shown::Text(text)) => text,
            Some(_) | None => "",
        }
    }
}

impl PartialEq for Seen {
    fn eq(&self, other: &Self) -> bool {
        let versions = self.version.as_ref().zip(other.version.as_ref());
        self.values == other.values && versions.is_none_or(|(a, b)| a == b)
    }
}

impl Slot {
    /// The key itself.
    #[must_use]
    pub const fn key(kind: Kind) -> Self {
        Self {
            path: Vec::new(),
            kind,
        }
    }
}

impl Shown {
    pub(super) fn number(number: i128) -> Option<Self> {
        (number != 0).then_some(Self::Number(number))
    }

    pub(super) fn values(values: impl IntoIterator<Item = Vec<u8>>) -> Option<Self> {
        let values: BTreeSet<Vec<u8>> = values.into_iter().collect();
        (!values.is_empty()).then_some(Self::Values(values))
    }

    pub(super) fn text(text: String) -> Option<Self> {
        (!text.is_empty()).then_some(Self::Text(text))
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.path {
            write!(f, "{}.", name.escape_ascii())?;
        }
        self.kind.fmt(f)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On => f.write_str("on"),
            Self::Number(number) => number.fmt(f),
            Self::Values(values) => {
                let values: Vec<String> = values
                    .iter()
                    .map(|v| v.escape_ascii().to_string())
                    .collect();
                write!(f, "{{{}}}", values.join(", "))
            }
            Self::Text(text) if text.len() > TEXT_BYTES_SHOWN => {
                write!(f, "a text of {} characters", text.chars().count())
            }
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.values.is_empty() {
            return f.write_str("nothing");
        }
        let shown = self
            .values
            .iter()
            .map(|(slot, shown)| format!("{slot} = {shown}"));
        f.write_str(&shown.collect::<Vec<_>>().join("; "))
    }
}

const TEXT_BYTES_SHOWN: usize = 2_000;

/// Nothing is written with it.
const READER: ActorSeed = ActorSeed::new(ReplicaId::from_bytes([0; 8]), 0);
