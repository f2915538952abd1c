//! What happened: a digest of everything, and a timeline of what a reader wants to know.

use std::fmt;
use std::fmt::Write as _;

use meshwork_membership::Time;
use xxhash_rust::xxh3::Xxh3;

use super::network::Carried;

/// Records a run as it goes.
#[derive(Default)]
pub(crate) struct Trace {
    digest: Xxh3,
    /// Everything, when asked for: a line for each event.
    full: Option<String>,
    timeline: Vec<Line>,
    pub(crate) events: u64,
}

/// One thing that a reader of a failure wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: Time,
    /// What.
    pub what: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.at.0 / 1_000_000, self.at.0 / 1_000 % 1_000);
        write!(f, "{seconds:>6}.{millis:03}  {}", self.what)
    }
}

/// Beyond this many lines the oldest half goes.
const LINES_MAX: usize = 20_000;

impl Trace {
    /// Keeps every event from now on.
    pub(crate) fn keep_all(&mut self) {
        self.full.get_or_insert_default();
    }

    pub(crate) fn take_full(&mut self) -> String {
        self.full.take().unwrap_or_default()
    }

    /// A digest of every event so far.
    pub(crate) fn digest(&self) -> u64 {
        self.digest.digest()
    }

    pub(crate) fn event(&mut self, at: Time, machine: usize, what: &'static str) {
        self.events += 1;
        self.digest.update(&at.0.to_le_bytes());
        self.digest.update(&machine.to_le_bytes());
        self.digest.update(what.as_bytes());
        if let Some(full) = &mut self.full {
            // Writing into a string cannot fail.
            writeln!(full, "{} n{machine} {what}", at.0).unwrap_or_default();
        }
    }

    pub(crate) fn frame(&mut self, carried: &Carried) {
        self.digest.update(&carried.frame);
        if let Some(full) = &mut self.full {
            let Carried {
                from, class, frame, ..
            } = carried;
            let digest = xxhash_rust::xxh3::xxh3_64(frame);
            let bytes = frame.len();
            writeln!(full, "  from n{from} {class:?} {bytes} bytes {digest:016x}")
                .unwrap_or_default();
        }
    }

    pub(crate) fn note(&mut self, at: Time, what: impl fmt::Display) {
        let what = what.to_string();
        self.digest.update(what.as_bytes());
        if let Some(full) = &mut self.full {
            writeln!(full, "{} {what}", at.0).unwrap_or_default();
        }
        if self.timeline.len() >= LINES_MAX {
            self.timeline.drain(..LINES_MAX / 2);
        }
        self.timeline.push(Line { at, what });
    }

    pub(crate) fn timeline(&self) -> &[Line] {
        &self.timeline
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace")
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}
