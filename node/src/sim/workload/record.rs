//! What clients asked for, when, and what they were told.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use meshwork_crdt::{Dot, Kind, Op};
use meshwork_sync::Level;

use super::{Failure, Slot};

/// Who asked, through which node, at which level and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The client.
    pub client: u32,
    /// The node that it is a client of, over all lives of its process.
    pub node: u32,
    /// How far the request reaches.
    pub level: Level,
    /// When it was made.
    pub start: Duration,
}

/// A write, and what is known of it.
#[derive(Clone, Debug)]
pub struct Write {
    /// Who asked.
    pub request: Request,
    /// What it does.
    pub effect: Effect,
    /// What the client was told.
    pub outcome: Outcome,
    /// The latest moment at which it can have been carried out first; none while that may still come.
    pub end: Option<Duration>,
    /// Its dot, if that was told.
    pub dot: Option<Dot>,
    /// From when on each node is known to hold it, because it said so or showed it.
    pub(super) known: BTreeMap<u32, Duration>,
    /// Until when each node that keeps its copies is known to lack it.
    pub(super) lacked: BTreeMap<u32, Duration>,
}

/// What a write does, as far as an application can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Adds to a counter.
    Add(Slot, i64),
    /// Turns a flag on.
    Enable(Slot),
    /// Leaves a value that no other write leaves, and that supersedes all that its node could see: a register is written.
    Put(Slot, Vec<u8>),
    /// Leaves a value that no other write leaves: an element of a set, a token in a text.
    Insert(Slot, Vec<u8>),
    /// Takes such a value away.
    Take(Slot, Vec<u8>),
    /// Takes away all that its node could see at a place, and below it if it is a map: a field is removed, a flag turned off.
    Clear(Slot),
    /// Takes away all that its node could see under the key.
    Delete,
    /// Brings a document with one author up to so many commits, whose texts the oracle has been told.
    Commit(Slot, usize),
    /// Something that the oracle does not follow: its dot must be kept, and whatever it shows is right.
    Other,
}

/// What a client was told about a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing yet.
    Pending,
    /// It is kept, on as many replicas as its level says.
    Acknowledged,
    /// It was not carried out as asked.
    Failed(Failure),
}

impl Effect {
    /// What an operation does, where the operation alone tells that.
    #[must_use]
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "most operations are not followed"
    )]
    pub fn of(op: &Op) -> Self {
        let (mut path, mut op) = (Vec::new(), op);
        while let Op::Field {
            name, op: inner, ..
        } = op
        {
            path.push(name.clone());
            op = inner;
        }
        let slot = |kind| Slot {
            path: path.clone(),
            kind,
        };
        match op {
            Op::Add(amount) => Self::Add(slot(Kind::Counter), *amount),
            Op::Enable => Self::Enable(slot(Kind::Flag)),
            Op::Disable => Self::Clear(slot(Kind::Flag)),
            Op::Put(value) => Self::Put(slot(Kind::Register), value.clone()),
            Op::Insert(element) => Self::Insert(slot(Kind::Set), element.clone()),
            Op::Remove(element) => Self::Take(slot(Kind::Set), element.clone()),
            Op::RemoveField { name, kind } => {
                let mut slot = slot(*kind);
                slot.path.push(name.clone());
                Self::Clear(slot)
            }
            Op::Delete => Self::Delete,
            _ => Self::Other,
        }
    }

    /// Where it does something; none for a whole key.
    #[must_use]
    pub const fn slot(&self) -> Option<&Slot> {
        match self {
            Self::Add(slot, _)
            | Self::Enable(slot)
            | Self::Put(slot, _)
            | Self::Insert(slot, _)
            | Self::Take(slot, _)
            | Self::Clear(slot)
            | Self::Commit(slot, _) => Some(slot),
            Self::Delete | Self::Other => None,
        }
    }

    /// The value that it leaves.
    pub(super) fn value(&self) -> Option<&Vec<u8>> {
        if let Self::Put(_, value) | Self::Insert(_, value) = self {
            return Some(value);
        }
        None
    }

    /// Whether it can take away what `other` did.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let Some(place) = other.slot() else {
            return false;
        };
        match self {
            Self::Delete => true,
            Self::Put(slot, _) => slot == place,
            Self::Take(slot, value) => slot == place && other.value() == Some(value),
            Self::Clear(slot) => {
                let within = slot.kind == Kind::Map && place.path.starts_with(&slot.path);
                slot == place || within
            }
            Self::Add(..) | Self::Enable(_) | Self::Insert(..) | Self::Commit(..) | Self::Other => {
                false
            }
        }
    }
}

impl Write {
    pub(super) const fn new(request: Request, effect: Effect) -> Self {
        Self {
            request,
            effect,
            outcome: Outcome::Pending,
            end: None,
            dot: None,
            known: BTreeMap::new(),
            lacked: BTreeMap::new(),
        }
    }

    /// Whether nothing of it may ever be seen.
    pub(super) const fn is_refused(&self) -> bool {
        matches!(self.outcome, Outcome::Failed(Failure::Refused(_)))
    }

    /// Whether it was answered, and not refused.
    pub(super) fn may_have_happened(&self) -> bool {
        self.outcome != Outcome::Pending && !self.is_refused()
    }

    /// Whether it must be there in the end: somebody was told so, or has seen it.
    pub(super) fn is_kept(&self) -> bool {
        !self.known.is_empty()
    }

    /// Whether it can have been carried out where `other` was there to be seen.
    pub(super) fn may_follow(&self, other: &Self) -> bool {
        let shown = self.known.values().copied();
        let Some(done_by) = self.end.into_iter().chain(shown).min() else {
            return !self.is_refused();
        };
        let lacked = other.lacked.get(&self.request.node);
        let in_vain = lacked.is_some_and(|lacked| *lacked >= done_by);
        !self.is_refused() && done_by > other.request.start && !in_vain
    }

    /// Whether its node held `other` when it was carried out.
    pub(super) fn surely_follows(&self, other: &Self) -> bool {
        let known = other.known.get(&self.request.node);
        known.is_some_and(|known| *known <= self.request.start)
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            client,
            node,
            level,
            start,
        } = self;
        let start = start.as_secs_f64();
        write!(
            f,
            "{start:.6}s client {client} at node {node}, level {level}"
        )
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(slot, amount) => write!(f, "add {amount} to {slot}"),
            Self::Enable(slot) => write!(f, "turn {slot} on"),
            Self::Put(slot, value) => write!(f, "put {} in {slot}", value.escape_ascii()),
            Self::Insert(slot, value) => write!(f, "insert {} into {slot}", value.escape_ascii()),
            Self::Take(slot, value) => write!(f, "take {} from {slot}", value.escape_ascii()),
            Self::Clear(slot) => write!(f, "clear {slot}"),
            Self::Delete => f.write_str("delete"),
            Self::Commit(slot, number) => write!(f, "commit {number} to {slot}"),
            Self::Other => f.write_str("something else"),
        }
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.request, self.effect)?;
        match &self.outcome {
            Outcome::Pending => f.write_str(", not answered yet")?,
            Outcome::Acknowledged => f.write_str(", acknowledged")?,
            Outcome::Failed(failure) => write!(f, ", {failure}")?,
        }
        if let Some(end) = self.end {
            write!(f, " at {:.6}s", end.as_secs_f64())?;
        }
        if let Some(dot) = self.dot {
            write!(f, ", dot {dot}")?;
        }
        if !self.known.is_empty() {
            let known = self.known.iter();
            let known: Vec<String> = known
                .map(|(node, at)| format!("{node} ({:.6}s)", at.as_secs_f64()))
                .collect();
            write!(f, ", known at {}", known.join(", "))?;
        }
        Ok(())
    }
}
