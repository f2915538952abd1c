//! The simulated world: machines, what is between them, and time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use meshwork_crdt::{Merges, ReplicaId};
use meshwork_membership::{NodeId, Time};
use meshwork_sync::{Origin, Store};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::custody::{Claims, Decided, Promised};
use super::disk::Disk;
use super::machine::{Machine, Machines, WallClock};
use super::network::{Distance, Network};
use super::queue::{Event, Queue};
use super::tasks::Tasks;
use super::trace::{Line, Trace};
use super::violation::Violation;
use crate::core::NodeConfig;
use crate::mesh::Mesh;

/// What a simulated mesh is made from.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Settings of every node.
    pub config: NodeConfig,
    /// Merge functions of the application's own kinds.
    pub merges: Merges,
    /// Where each machine stands; there are as many machines as entries.
    pub machines: Vec<Distance>,
    /// How long a disk takes to make something durable, in microseconds.
    pub flush_us: std::ops::Range<u64>,
}

impl Setup {
    /// So many machines on one network, with the settings of real nodes and fast disks.
    #[must_use]
    pub fn lan(seed: u64, machines: usize) -> Self {
        Self {
            seed,
            config: NodeConfig::default(),
            merges: Merges::default(),
            machines: vec![Distance::lan(); machines],
            flush_us: 100..2_000,
        }
    }
}

/// A handle on a simulated mesh, for the application in it. Cheap to clone; all clones are the same world.
///
/// Machines are counted from 0. Machine 0 founds the mesh.
#[derive(Debug, Clone)]
pub struct World {
    pub(crate) inner: Rc<RefCell<Inner>>,
    pub(crate) tasks: Rc<Tasks>,
}

/// Everything there is.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) now: Time,
    pub(crate) queue: Queue,
    pub(crate) config: NodeConfig,
    pub(crate) merges: Merges,
    pub(crate) machines: Machines,
    pub(crate) network: Network,
    pub(crate) trace: Trace,
    pub(crate) dots: BTreeMap<meshwork_crdt::Dot, meshwork_sync::Key>,
    pub(crate) promised: Promised,
    pub(crate) violation: Option<Violation>,
    /// Faults that were planned and not begun, or begun and not ended, do nothing more.
    pub(crate) calm: bool,
    /// When a machine last got another address.
    pub(crate) moved_at: Time,
    /// When a disk last forgot something.
    pub(crate) disk_lost: Time,
    /// When a node last heard something new about a member.
    pub(crate) members_changed: Time,
    pub(crate) flush_us: std::ops::Range<u64>,
    /// Chance of the network, of disks, of processes and of the application, apart from each other so that more of one
    /// changes the others less.
    pub(crate) network_rng: ChaCha8Rng,
    pub(crate) disk_rng: ChaCha8Rng,
    pub(crate) process_rng: ChaCha8Rng,
    application_rng: ChaCha8Rng,
}

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
        let chance = |stream: u64| {
            let mut rng = ChaCha8Rng::seed_from_u64(setup.seed);
            rng.set_stream(stream);
            rng
        };
        let mut inner = Inner {
            now: Time::ZERO,
            queue: Queue::default(),
            config: setup.config,
            merges: setup.merges,
            machines: Machines::default(),
            network: Network::default(),
            trace: Trace::default(),
            dots: BTreeMap::new(),
            promised: Promised::default(),
            violation: None,
            calm: false,
            moved_at: Time::ZERO,
            disk_lost: Time::ZERO,
            members_changed: Time::ZERO,
            flush_us: setup.flush_us,
            network_rng: chance(1),
            disk_rng: chance(2),
            process_rng: chance(3),
            application_rng: chance(4),
        };
        for distance in setup.machines {
            inner.add_machine(distance);
        }
        Self {
            inner: Rc::new(RefCell::new(inner)),
            tasks: Rc::default(),
        }
    }

    /// How many machines there are, running or not.
    #[must_use]
    pub fn machines(&self) -> usize {
        self.inner.borrow().machines.len()
    }

    /// A new machine, not started yet; says its number.
    pub fn add_machine(&self, distance: Distance) -> usize {
        self.inner.borrow_mut().add_machine(distance)
    }

    /// The handle of the node that runs on a machine: the same that an application has on a real node. `None` while it is down.
    #[must_use]
    pub fn mesh(&self, machine: usize) -> Option<Mesh> {
        let inner = self.inner.borrow();
        let process = inner.machines.find(machine)?.process.as_ref()?;
        Some(process.mesh.clone())
    }

    /// Virtual time since the beginning.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.inner.borrow().now.since(Time::ZERO)
    }

    /// Waits for virtual time to pass.
    pub async fn sleep(&self, time: Duration) {
        let until = self.inner.borrow().now + time;
        let mut planned = false;
        std::future::poll_fn(|context| {
            let mut inner = self.inner.borrow_mut();
            if inner.now >= until {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut planned, true) {
                let wake = Event::Wake(context.waker().clone());
                inner.queue.push(until, wake);
            }
            Poll::Pending
        })
        .await;
    }

    /// Runs something beside what runs already.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.tasks.spawn(task);
    }

    /// A random number that the seed decides.
    #[must_use]
    pub fn random(&self) -> u64 {
        self.inner.borrow_mut().application_rng.next_u64()
    }

    /// Starts a node on a machine, with what is on its disk; does nothing where one runs.
    ///
    /// # Panics
    /// When there is no such machine.
    pub fn start(&self, machine: usize) {
        self.inner.borrow_mut().start(machine);
    }

    /// Ends a process at once, as `kill -9` does. What its disk was still doing may be done or not.
    ///
    /// # Panics
    /// When there is no such machine.
    pub fn kill(&self, machine: usize) {
        self.inner.borrow_mut().kill(machine);
    }

    /// Stops a node in order, as Ctrl-C does.
    ///
    /// # Panics
    /// When there is no such machine.
    pub fn stop(&self, machine: usize) {
        self.inner.borrow_mut().stop(machine);
    }

    /// Freezes a process for a while, as `SIGSTOP` or the lid of a laptop does.
    ///
    /// # Panics
    /// When there is no such machine.
    pub fn pause(&self, machine: usize, time: Duration) {
        self.inner.borrow_mut().pause(machine, time);
    }

    /// Cuts everything between machines that are not in the same group; machines in no group are cut off from all.
    pub fn split(&self, groups: &[&[usize]]) {
        let mut inner = self.inner.borrow_mut();
        let count = inner.machines.len();
        let group_of = |machine| groups.iter().position(|group| group.contains(&machine));
        for a in 0..count {
            for b in 0..count {
                if a != b && (group_of(a).is_none() || group_of(a) != group_of(b)) {
                    inner.block(a, b);
                }
            }
        }
    }

    /// Undoes every split.
    pub fn heal(&self) {
        self.inner.borrow_mut().unblock_all();
    }

    /// What happened so far, as a reader wants to know it.
    #[must_use]
    pub fn timeline(&self) -> Vec<Line> {
        self.inner.borrow().trace.timeline().to_vec()
    }

    /// Adds a line to the timeline.
    pub fn note(&self, what: impl std::fmt::Display) {
        self.inner.borrow_mut().note(what);
    }
}

impl Inner {
    pub(crate) fn add_machine(&mut self, distance: Distance) -> usize {
        let machine = self.machines.len();
        let mut id = [0; NodeId::BYTES];
        self.process_rng.fill_bytes(&mut id);
        let disk = Disk::new(self.process_rng.next_u64(), self.flush_us.clone());
        self.machines.push(Machine {
            id: NodeId::from_bytes(id),
            name: format!("n{machine}"),
            replica: ReplicaId::from_bytes(self.process_rng.random()),
            origin: if machine == 0 {
                Origin::Founder
            } else {
                Origin::Joiner
            },
            address: format!("10.0.0.{machine}:4001"),
            zone: format!("zone-{}", machine % 3),
            distance,
            disk,
            clock: WallClock::default(),
            run: 0,
            process: None,
            retired: false,
            damaged: false,
            claims: Claims::none(self.now),
            submitted: Time::ZERO,
            decided: Decided::default(),
            crash: None,
            paused: 0,
            inbox: std::collections::VecDeque::new(),
        });
        machine
    }

    /// What is durable on a machine.
    pub(crate) fn store(&self, machine: usize) -> Arc<dyn Store + Send + Sync> {
        self.machines[machine].disk.records()
    }

    pub(crate) fn note(&mut self, what: impl std::fmt::Display) {
        self.trace.note(self.now, what);
    }

    /// The first violation is the one that counts.
    pub(crate) fn violate(&mut self, violation: Violation) {
        self.trace.note(self.now, &violation);
        self.violation.get_or_insert(violation);
    }
}
