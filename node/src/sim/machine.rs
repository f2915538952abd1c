//! A machine: disk, clock, address, and the process on it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Index, IndexMut};
use std::time::Duration;

use meshwork_crdt::ReplicaId;
use meshwork_membership::{NodeId, Time};
use meshwork_sync::{Key, Level, Origin, RequestId};
use tokio::sync::{mpsc, watch};

use super::custody::{Claims, Decided};
use super::disk::Disk;
use super::network::Distance;
use super::queue::Local;
use crate::core::Node;
use crate::driver::{Command, Desk, Leaving};
use crate::mesh::{Ended, Mesh};
use crate::net::NetLimits;

/// One machine of a simulated mesh.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    pub(crate) replica: ReplicaId,
    pub(crate) origin: Origin,
    pub(crate) address: String,
    pub(crate) zone: String,
    pub(crate) distance: Distance,
    pub(crate) disk: Disk,
    pub(crate) clock: WallClock,
    /// How often a process was started here.
    pub(crate) run: u64,
    pub(crate) process: Option<Process>,
    /// It left the mesh for good.
    pub(crate) retired: bool,
    /// Something on its disk was damaged.
    pub(crate) damaged: bool,
    /// What its disk says that counts for quorums.
    pub(crate) claims: Claims,
    /// When its node last handed a batch to the disk: what it decides gathers in the next one.
    pub(crate) submitted: Time,
    /// What its node has decided since, and its disk has not taken.
    pub(crate) decided: Decided,
    /// To be killed in the middle of its next flush, for so long.
    pub(crate) crash: Option<Duration>,
    /// How often it was stopped and not yet gone on; what happens meanwhile waits.
    pub(crate) paused: u32,
    pub(crate) inbox: VecDeque<Local>,
}

/// A running node.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) node: Node,
    pub(crate) desk: Desk,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) mesh: Mesh,
    pub(crate) ended: watch::Sender<Option<Ended>>,
    pub(crate) leaving: Option<Leaving>,
    /// When its timer goes off.
    pub(crate) timer: Option<Time>,
    /// Peers to keep a connection to, and where they were last said to be.
    pub(crate) wanted: BTreeMap<NodeId, Vec<String>>,
    pub(crate) dialling: BTreeSet<NodeId>,
    /// Writes that are not answered yet.
    pub(crate) writes: BTreeMap<RequestId, Asked>,
    /// Reads that are not answered yet.
    pub(crate) reads: BTreeMap<RequestId, Key>,
}

/// A write that an application asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) key: Key,
    pub(crate) level: Level,
    pub(crate) since: Time,
    /// How many replicas its key had then: a mesh that is still small has fewer than it wants.
    pub(crate) replicas: usize,
    /// Whether the node was a replica of the key then, or has been since.
    pub(crate) at_replica: bool,
}

/// What a machine takes for the time of day.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WallClock {
    /// Milliseconds ahead of the true time, or behind it.
    pub(crate) ahead_ms: i64,
    /// Millionths by which it is too fast.
    pub(crate) drift_ppm: i64,
    pub(crate) drifts_since: Time,
}

/// The true time at which every run begins: 2026-09-21.
const EPOCH_MS: i64 = 1_790_000_000_000;

impl WallClock {
    pub(crate) fn now_ms(self, now: Time) -> u64 {
        let true_ms = EPOCH_MS + i64::try_from(now.0 / 1_000).unwrap_or(i64::MAX);
        u64::try_from(true_ms + self.ahead_ms + self.drifted_ms(now)).unwrap_or(0)
    }

    /// Goes on from what it shows now, faster or slower.
    pub(crate) fn set_drift(&mut self, now: Time, ppm: i64) {
        self.ahead_ms += self.drifted_ms(now);
        self.drift_ppm = ppm;
        self.drifts_since = now;
    }

    fn drifted_ms(self, now: Time) -> i64 {
        let since = now.since(self.drifts_since).as_millis();
        i64::try_from(since).unwrap_or(0) * self.drift_ppm / 1_000_000
    }
}

/// All machines, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Machines(Vec<Machine>);

impl Machines {
    pub(crate) fn push(&mut self, machine: Machine) {
        self.0.push(machine);
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Machine> {
        self.0.iter()
    }

    pub(crate) fn find(&self, number: usize) -> Option<&Machine> {
        self.0.get(number)
    }
}

impl Index<usize> for Machines {
    type Output = Machine;

    fn index(&self, number: usize) -> &Machine {
        self.0
            .get(number)
            .expect("there is a machine of that number")
    }
}

impl IndexMut<usize> for Machines {
    fn index_mut(&mut self, number: usize) -> &mut Machine {
        let machine = self.0.get_mut(number);
        machine.expect("there is a machine of that number")
    }
}

impl Machine {
    /// Whether an event has to wait until a frozen process goes on.
    pub(crate) const fn is_frozen(&self) -> bool {
        self.paused > 0
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// The run of the process, if one is there.
    pub(crate) fn running(&self) -> Option<u64> {
        self.process.as_ref().map(|_| self.run)
    }
}

impl Process {
    /// When something is due in it.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let leaving = self.leaving.as_ref().map(Leaving::poll_timeout);
        self.node.poll_timeout().into_iter().chain(leaving).min()
    }

    /// The wait before dialling again, doubled for each failure.
    pub(crate) fn backoff(failures: u32) -> Duration {
        let NetLimits {
            backoff_min,
            backoff_max,
            ..
        } = NetLimits::DEFAULT;
        backoff_min
            .saturating_mul(1 << failures.min(16))
            .min(backoff_max)
    }
}
