//! What is going to happen, in the order of virtual time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::task::Waker;
use std::time::Duration;

use meshwork_membership::{NodeId, Time};

use super::network::Carried;
use super::proof::Act;

/// Something that is going to happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// To one process: nothing if it is gone by then.
    To {
        machine: usize,
        run: u64,
        local: Local,
    },
    /// A frame arrives, whichever process is there.
    Arrive(Carried),
    /// A dial has come through, between these runs on these machines.
    Connect { ends: [(usize, u64); 2] },
    /// A link that was silent for long counts as lost.
    LinkSilent {
        pair: (usize, usize),
        link: u64,
        silence: u64,
    },
    /// An application's sleep ends.
    Wake(Waker),
    /// A planned fault begins or ends.
    Act(Box<Act>),
}

/// What happens to one process.
#[derive(Debug)]
pub(crate) enum Local {
    /// Its timer; it counts only if the process still waits for this moment.
    Timer,
    /// Its disk has ended what it did.
    DiskDone,
    /// It tries to reach a peer.
    Dial { peer: NodeId, failures: u32 },
    /// It hears that a link is gone.
    LinkLost { peer: usize, link: u64 },
    /// A frame is there.
    Frame(Carried),
    /// It was frozen, and goes on.
    Resume,
}

impl Local {
    /// For the trace.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Timer => "timer",
            Self::DiskDone => "disk done",
            Self::Dial { .. } => "dial",
            Self::LinkLost { .. } => "link lost",
            Self::Frame(_) => "frame",
            Self::Resume => "resume",
        }
    }
}

/// The queue; what happens at the same time happens in the order in which it was planned.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Entry>,
    count: u64,
}

#[derive(Debug)]
struct Entry {
    at: Time,
    number: u64,
    event: Event,
}

impl Queue {
    pub(crate) fn push(&mut self, at: Time, event: Event) {
        self.count += 1;
        self.heap.push(Entry {
            at,
            number: self.count,
            event,
        });
    }

    pub(crate) fn pop(&mut self) -> Option<(Time, Event)> {
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }
}

impl Ord for Entry {
    /// The heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

/// Seconds, for schedules that are easy to read.
pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Milliseconds, likewise.
pub(crate) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
