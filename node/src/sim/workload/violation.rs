//! What was not as it should be.

use std::fmt;
use std::time::Duration;

use meshwork_crdt::Dot;
use meshwork_sync::Key;

use super::{Request, Seen, Slot, Write};

/// A mesh broke a promise.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The key.
    pub key: Key,
    /// What is wrong.
    pub wrong: Wrong,
    /// Which read found it.
    pub look: Look,
    /// What that read showed.
    pub seen: Seen,
    /// The writes that it is about.
    pub writes: Vec<Write>,
}

/// Which read it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A client's.
    Live(Request, Duration),
    /// The last look at a node, when everything has come to rest.
    End {
        /// The node.
        node: u32,
    },
    /// None: an answer alone showed it.
    Answer,
}

impl Look {
    /// Whether what was taken away through a node, and known there, must be gone from what is shown.
    ///
    /// A node that has heard of a removal need not know yet that something is gone: what the remover had found gone already, by a
    /// removal before its own, is told with that one alone.
    pub(super) const fn tells_removals_of(&self, node: u32) -> bool {
        match self {
            Self::Live(request, _) => request.node == node,
            Self::End { .. } => true,
            Self::Answer => false,
        }
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Wrong {
    /// Something is shown that nobody tried to write.
    NeverWritten {
        /// Where, and what.
        shown: String,
    },
    /// A write is shown that its client was told was refused.
    Refused,
    /// A write that must be there is not, and nothing can have taken it away.
    Lost,
    /// Something is shown that was taken away.
    Back,
    /// Something is there more than once.
    Doubled,
    /// A counter is not the sum of what was added.
    Sum {
        /// Where.
        slot: Slot,
        /// What it shows.
        shown: i128,
        /// The least that it may show.
        least: i128,
        /// The most that it may show.
        most: i128,
    },
    /// The text of a replayed history is none that it should have been, or one before what was acknowledged.
    History {
        /// The commit that it is the text of, if any.
        shown: Option<usize>,
        /// The commit that must be there.
        least: usize,
    },
    /// A read lacks what an earlier one of the same node has shown.
    WentBack,
    /// A state that was shown has not come together with the others in the end.
    Forgotten,
    /// One dot names two writes.
    DotReused(Dot),
    /// Two nodes show different things in the end.
    Differ {
        /// The other node.
        other: u32,
        /// What it shows.
        shows: Seen,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.key, self.wrong)?;
        writeln!(f, "  {} showed {}", self.look, self.seen)?;
        if let Some(version) = &self.seen.version {
            write!(f, "  of version")?;
            for (replica, run) in version.runs() {
                write!(f, " {replica}:{}-{}", run.start(), run.end())?;
            }
            writeln!(f)?;
        }
        for write in &self.writes {
            writeln!(f, "  {write}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live(request, end) => {
                write!(f, "{request}, answered at {:.6}s,", end.as_secs_f64())
            }
            Self::End { node } => write!(f, "in the end node {node}"),
            Self::Answer => f.write_str("an answer"),
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverWritten { shown } => write!(f, "{shown} was never written"),
            Self::Refused => f.write_str("a refused write is shown"),
            Self::Lost => f.write_str("a write is lost"),
            Self::Back => f.write_str("what was taken away is back"),
            Self::Doubled => f.write_str("something is there more than once"),
            Self::Sum {
                slot,
                shown,
                least,
                most,
            } => write!(f, "{slot} is {shown}, and should be {least} to {most}"),
            Self::History {
                shown: Some(shown),
                least,
            } => write!(
                f,
                "the text is that of commit {shown}, and should be of {least} or later"
            ),
            Self::History { shown: None, least } => {
                write!(
                    f,
                    "the text is of no commit, and should be of {least} or later"
                )
            }
            Self::WentBack => f.write_str("an earlier read of the same node had seen more"),
            Self::Forgotten => f.write_str("a state that was shown is not there in the end"),
            Self::DotReused(dot) => write!(f, "dot {dot} names two writes"),
            Self::Differ { other, shows } => write!(f, "node {other} shows {shows}"),
        }
    }
}
