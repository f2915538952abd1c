//! One seed: a mesh under load and faults, then calm, then the reckoning.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::time::Duration;

use meshwork_sync::Level;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::fault::Act;
use super::schedule::{FaultKind, Planned, schedule};
use crate::Options;
use crate::sim::judge::CONVERGE_MAX;
use crate::sim::network::Distance;
use crate::sim::queue::Event;
use crate::sim::queue::secs;
use crate::sim::reach::Reach;
use crate::sim::simulation::Simulation;
use crate::sim::trace::Line;
use crate::sim::violation::Violation;
use crate::sim::workload::{
    Mix, Oracle, Placement, StrongOracle, StrongTally, StrongWorkload, StrongWrong, Tally,
    Workload, settle, settle_strong,
};
use crate::sim::world::{Setup, World};
use crate::traces::Trace as History;

/// A run that can be repeated: the same plan gives the same events, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Decides all that is left to chance.
    pub seed: u64,
    /// Machines at the beginning.
    pub nodes: usize,
    /// How long there is load, in virtual time.
    pub lasts: Duration,
    /// What goes wrong, and when.
    pub faults: Vec<Planned>,
    /// Clients of each node.
    pub clients: u32,
    /// Clients of strong keys, sequences and locks, one on each of the first nodes, and so on round.
    pub strong_clients: u32,
    /// A bug to be found.
    #[cfg(feature = "planted")]
    pub bug: Option<meshwork_membership::planted::Bug>,
}

/// What became of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was broken; nothing in a good run.
    pub violation: Option<Violation>,
    /// What happened.
    pub timeline: Vec<Line>,
    /// Requests, by how they ended.
    pub tally: Tally,
    /// Strong requests, by how they ended.
    pub strong: StrongTally,
    /// Whether the strong group served every node in the end. It does not have to once a majority of its voters has lost its disks.
    pub strong_served: bool,
    /// How long the mesh took to agree after the last fault.
    pub converged: Option<Duration>,
    /// Virtual time from the beginning to the end.
    pub lasted: Duration,
    /// Events handled.
    pub events: u64,
    /// A digest of all events in their order, to compare two runs of one plan.
    pub digest: u64,
    /// Every event, a line each; empty unless asked for.
    pub trace: String,
}

/// How much of a run is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The timeline.
    Timeline,
    /// The timeline, and a line for every event.
    Everything,
}

/// Who looks at the answers.
#[derive(Debug, Clone)]
struct Judges {
    oracle: Rc<Oracle>,
    strong: Rc<StrongOracle>,
}

/// What a good run came to.
#[derive(Debug, Clone, Copy)]
struct End {
    converged: Duration,
    strong_served: bool,
}

impl Plan {
    /// Clients of strong keys unless told otherwise: few, since each of their requests is several messages and flushes.
    pub const STRONG_CLIENTS: u32 = 3;

    /// The plan of a seed: its faults are some of those allowed.
    #[must_use]
    pub fn of_seed(seed: u64, nodes: usize, lasts: Duration, allowed: &[FaultKind]) -> Self {
        Self {
            seed,
            nodes,
            lasts,
            faults: schedule(seed, nodes, lasts, allowed),
            clients: 2,
            strong_clients: Self::STRONG_CLIENTS,
            #[cfg(feature = "planted")]
            bug: None,
        }
    }

    /// Carries it out. `history` is what some clients type; without one they type tokens only.
    #[must_use]
    pub fn run(&self, history: Option<&Rc<History>>, keep: Keep) -> Outcome {
        #[cfg(feature = "planted")]
        if let Some(bug) = self.bug {
            return meshwork_membership::planted::with(bug, || self.run_here(history, keep));
        }
        self.run_here(history, keep)
    }

    fn run_here(&self, history: Option<&Rc<History>>, keep: Keep) -> Outcome {
        let simulation = Simulation::new(self.setup());
        if keep == Keep::Everything {
            simulation.world().keep_trace();
        }
        let judges = Judges {
            oracle: Rc::new(Oracle::new(self.placement())),
            strong: Rc::default(),
        };
        let end = Rc::new(Cell::new(None));
        let (plan, at_work, ended) = (self.clone(), judges.clone(), Rc::clone(&end));
        let history = history.cloned();
        // Whatever panics in a node is a finding; the world is not used after it.
        let ran = panic::catch_unwind(AssertUnwindSafe(|| {
            simulation.run(|world| async move {
                let result = plan.carry_out(&world, at_work, history).await;
                ended.set(result.as_ref().ok().copied());
                result.map(drop)
            })
        }));
        let violation = match ran {
            Ok(Ok(Ok(()))) => None,
            Ok(Ok(Err(violation)) | Err(violation)) => Some(violation),
            Err(panic) => Some(Violation::Panicked(text_of(&*panic))),
        };
        simulation.world().outcome(violation, &judges, end.get())
    }

    /// Whether keys stay where they are decides what may be expected while they are used.
    fn placement(&self) -> Placement {
        let replicas = meshwork_sync::Config::default().replication_factor;
        let moves = |planned: &Planned| planned.fault.moves_data();
        if self.faults.iter().any(moves) {
            Placement::Moving
        } else if self.nodes <= replicas {
            Placement::Everywhere { nodes: self.nodes }
        } else {
            Placement::Fixed { replicas }
        }
    }

    fn setup(&self) -> Setup {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(101);
        let mut setup = Setup::lan(self.seed, self.nodes);
        if rng.random_bool(0.3) {
            for distance in &mut setup.machines {
                *distance = match rng.random_range(0..3) {
                    0 => Distance::lan(),
                    1 => Distance::wan(),
                    _ => Distance::mobile(),
                };
            }
        }
        if rng.random_bool(0.3) {
            // So that little fits, and what does not fit is used all the time.
            let replication = &mut setup.config.replication;
            replication.object_cache_bytes = 4_000;
            replication.outbox_cache_bytes = 1_000;
            replication.push_bytes_max = 8_000;
            replication.stray_idle = secs(20);
        }
        if rng.random_bool(0.2) {
            setup.flush_us = 5_000..60_000;
        }
        // A disk that is lost takes its outbox with it, for which there are only comparisons.
        let loses = |planned: &Planned| planned.fault.loses_disk();
        if rng.random_bool(0.7) && !self.faults.iter().any(loses) {
            // Comparisons that come by themselves repair what should never have been lost, before anybody sees it.
            setup.config.replication.anti_entropy_period = secs(100_000);
        }
        if rng.random_bool(0.5) {
            // So that there are snapshots, and logs that begin behind what others lack.
            setup.config.strong.snapshot_after_bytes = 8_000;
        }
        setup
    }

    async fn carry_out(
        &self,
        world: &World,
        judges: Judges,
        history: Option<Rc<History>>,
    ) -> Result<End, Violation> {
        world.start(0);
        world.sleep(secs(1)).await;
        (1..self.nodes).for_each(|machine| world.start(machine));
        world.settled(secs(60)).await?;
        world.note(format_args!("load and faults begin, for {:?}", self.lasts));
        world.plan(&self.faults);

        let workload = Workload::new(self.seed, self.mix(), Rc::clone(&judges.oracle));
        let strong = StrongWorkload::new(self.seed, self.mix(), Rc::clone(&judges.strong));
        let open = Rc::new(Cell::new(0));
        let sessions = (0..self.nodes).flat_map(|node| (0..self.clients).map(move |_| node));
        for (client, node) in sessions.enumerate() {
            let number = u32::try_from(client).unwrap_or(u32::MAX);
            let mut session = workload.session(number, number_of(node));
            if let Some(history) = history.as_ref().filter(|_| client == 0) {
                session = session.with_history(Rc::clone(history));
            }
            let client = Reach::client(world, node);
            open.set(open.get() + 1);
            let open = Rc::clone(&open);
            world.spawn(async move {
                session.run(&client).await;
                open.set(open.get() - 1);
            });
        }
        self.spawn_strong(world, &strong, &open);
        world.watched(self.lasts, &judges).await?;
        workload.stop();
        strong.stop();
        world.calm_down();
        let calm = world.now();
        for _ in 0..ANSWERS_MAX {
            if open.get() > 0 {
                world.watched(secs(1), &judges).await?;
            }
        }
        if open.get() > 0 {
            let what = format!("{} clients still wait", open.get());
            return Err(Violation::Unanswered { what });
        }
        world.settled(CONVERGE_MAX).await?;
        let converged = world.now() - calm;
        world.note(format_args!("all agree after {converged:?}"));
        self.reckon(world, &judges.oracle).await?;
        let strong_served = self.reckon_strong(world, &judges.strong).await?;
        Ok(End {
            converged,
            strong_served,
        })
    }

    fn spawn_strong(&self, world: &World, workload: &StrongWorkload, open: &Rc<Cell<u32>>) {
        for client in 0..self.strong_clients {
            let mut session = workload.session(client);
            let node = usize::try_from(client).unwrap_or(0) % self.nodes.max(1);
            let host = Reach::new(world, node);
            open.set(open.get() + 1);
            let open = Rc::clone(open);
            world.spawn(async move {
                session.run(&host).await;
                open.set(open.get() - 1);
            });
        }
    }

    fn mix(&self) -> Mix {
        let ms = Duration::from_millis;
        Mix {
            think: ms(20)..=ms(2_000),
            timeout: ms(200)..=ms(5_000),
            ..Mix::default()
        }
    }

    /// What every node shows in the end.
    async fn reckon(&self, world: &World, oracle: &Oracle) -> Result<(), Violation> {
        let members = world.members();
        let clients: Vec<_> = members
            .iter()
            .map(|machine| (number_of(*machine), Reach::client(world, *machine)))
            .collect();
        let nodes: Vec<_> = clients
            .iter()
            .map(|(node, client)| (*node, client))
            .collect();
        let options = Options {
            level: Level::One,
            timeout: secs(5),
        };
        let settled = settle(oracle, &nodes, options, Duration::ZERO).await;
        settled.map_err(|unsettled| Violation::Client(unsettled.to_string()))?;
        world.client_violation(oracle)
    }

    /// What the strong group answers in the end, if it owes answers, and whether one order explains all that it ever answered. Says whether
    /// it served.
    async fn reckon_strong(&self, world: &World, oracle: &StrongOracle) -> Result<bool, Violation> {
        if self.strong_clients == 0 {
            return Ok(false);
        }
        let hosts: Vec<_> = world
            .members()
            .iter()
            .map(|machine| (number_of(*machine), Reach::new(world, *machine)))
            .collect();
        let nodes: Vec<_> = hosts.iter().map(|(node, host)| (*node, host)).collect();
        let mut excuse = world.strong_excuse();
        if excuse.is_none() {
            let settled = settle_strong(oracle, &nodes, STRONG_ANSWERS_MAX).await;
            let unanswered = matches!(settled, Err(StrongWrong::Unanswered { .. }));
            excuse = world.strong_excuse().filter(|_| unanswered);
            if excuse.is_none() {
                settled?;
            }
        }
        let mut wrongs = oracle.wrongs();
        if let Some(excuse) = &excuse {
            world.note(excuse);
            wrongs.extend(oracle.check_histories());
        }
        match wrongs.into_iter().next() {
            Some(wrong) => Err(wrong.into()),
            None => Ok(excuse.is_none()),
        }
    }
}

impl World {
    /// Waits until nothing is as it should not be.
    async fn settled(&self, within: Duration) -> Result<Duration, Violation> {
        let begun = self.now();
        loop {
            let unrest = self.inner.borrow().unrest();
            let spent = self.now() - begun;
            match unrest {
                None => return Ok(spent),
                Some(what) if spent >= within => {
                    let seconds = spent.as_secs();
                    return Err(Violation::NotConverged { seconds, what });
                }
                Some(_) => self.sleep(secs(1)).await,
            }
        }
    }

    /// Waits, and looks now and then whether clients saw what they must not see.
    async fn watched(&self, time: Duration, judges: &Judges) -> Result<(), Violation> {
        let until = self.now() + time;
        while self.now() < until {
            self.sleep(secs(1).min(until - self.now())).await;
            self.client_violation(&judges.oracle)?;
            if let Some(wrong) = judges.strong.wrongs().into_iter().next() {
                return Err(wrong.into());
            }
        }
        Ok(())
    }

    fn strong_excuse(&self) -> Option<String> {
        self.inner.borrow().strong_excuse()
    }

    fn client_violation(&self, oracle: &Oracle) -> Result<(), Violation> {
        match oracle.violations().first() {
            Some(violation) => Err(Violation::Client(violation.to_string())),
            None => Ok(()),
        }
    }

    fn plan(&self, faults: &[Planned]) {
        let mut inner = self.inner.borrow_mut();
        let now = inner.now;
        for Planned { at, fault } in faults {
            let act = Act::Begin(fault.clone());
            inner.queue.push(now + *at, Event::Act(Box::new(act)));
        }
    }

    fn calm_down(&self) {
        self.inner.borrow_mut().calm_down();
    }

    /// Machines that have not left.
    fn members(&self) -> Vec<usize> {
        let inner = self.inner.borrow();
        let machines = inner.machines.iter().enumerate();
        machines
            .filter(|(_, machine)| !machine.retired)
            .map(|(number, _)| number)
            .collect()
    }

    fn keep_trace(&self) {
        self.inner.borrow_mut().trace.keep_all();
    }

    fn outcome(&self, violation: Option<Violation>, judges: &Judges, end: Option<End>) -> Outcome {
        let (tally, strong) = (judges.oracle.tally(), judges.strong.tally());
        let converged = end.map(|end| end.converged);
        let strong_served = end.is_some_and(|end| end.strong_served);
        // A panic may have left it borrowed.
        let Ok(mut inner) = self.inner.try_borrow_mut() else {
            return Outcome {
                violation,
                timeline: Vec::new(),
                tally,
                strong,
                strong_served,
                converged,
                lasted: Duration::ZERO,
                events: 0,
                digest: 0,
                trace: String::new(),
            };
        };
        Outcome {
            violation,
            timeline: inner.trace.timeline().to_vec(),
            tally,
            strong,
            strong_served,
            converged,
            lasted: inner.now.since(meshwork_membership::Time::ZERO),
            events: inner.trace.events,
            digest: inner.trace.digest(),
            trace: inner.trace.take_full(),
        }
    }
}

/// How long the strong group may take in the end to answer for all keys through all nodes, once the mesh has come to rest.
const STRONG_ANSWERS_MAX: Duration = secs(30);

/// Seconds that the last requests have to be answered: the longest patience of a client, and that of the disk.
const ANSWERS_MAX: u64 = 30;

fn number_of(machine: usize) -> u32 {
    u32::try_from(machine).unwrap_or(u32::MAX)
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").to_owned()
}
