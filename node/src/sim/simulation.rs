//! Running a world: events one after the other, and the application between them.

use std::cell::RefCell;
use std::rc::Rc;

use meshwork_membership::Time;

use super::queue::{Event, Local};
use super::violation::Violation;
use super::world::{Inner, Setup, World};

/// A simulated mesh with an application in it.
///
/// ```
/// use std::time::Duration;
/// use meshwork::sim::{Setup, Simulation};
///
/// // Two nodes write while they do not reach each other; afterwards both have both.
/// let simulation = Simulation::new(Setup::lan(7, 3));
/// let total = simulation.run(|world| async move {
///     (0..3).for_each(|machine| world.start(machine));
///     world.sleep(Duration::from_secs(10)).await;
///     world.split(&[&[0], &[1, 2]]);
///     for machine in [0, 2] {
///         let stats = world.mesh(machine).expect("it runs").namespace("stats")?;
///         stats.counter("visits").add(1).await?;
///     }
///     world.heal();
///     world.sleep(Duration::from_secs(60)).await;
///     let stats = world.mesh(1).expect("it runs").namespace("stats")?;
///     Ok::<_, Box<dyn std::error::Error>>(stats.counter("visits").get().await?)
/// })?;
/// assert_eq!(total.map_err(|error| error.to_string())?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Simulation {
    world: World,
}

/// So many events at one moment mean that time no longer passes.
const EVENTS_AT_ONCE_MAX: u64 = 1_000_000;

impl Simulation {
    /// A world in which nothing runs yet.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self {
            world: World::new(setup),
        }
    }

    /// The handle on the world.
    #[must_use]
    pub const fn world(&self) -> &World {
        &self.world
    }

    /// Runs an application until it is done, and says what it returned. Virtual time passes only while nothing is ready.
    ///
    /// # Errors
    /// The first [`Violation`] of a promise of Meshwork; the application is left where it was.
    pub fn run<T, F>(&self, application: impl FnOnce(World) -> F) -> Result<T, Violation>
    where
        T: 'static,
        F: Future<Output = T> + 'static,
    {
        let done = Rc::new(RefCell::new(None));
        let (task, result) = (application(self.world.clone()), Rc::clone(&done));
        self.world.spawn(async move {
            let value = task.await;
            *result.borrow_mut() = Some(value);
        });
        let inner = &self.world.inner;
        let mut at_once = (Time::ZERO, 0);
        loop {
            while self.world.tasks.run() {
                inner.borrow_mut().take_all_commands();
            }
            if let Some(value) = done.borrow_mut().take() {
                return Ok(value);
            }
            let mut inner = inner.borrow_mut();
            if let Some(violation) = inner.violation.take() {
                return Err(violation);
            }
            let what = "the application waits, and nothing is going to happen";
            let Some(now) = inner.step() else {
                let what = what.into();
                return Err(Violation::Unanswered { what });
            };
            at_once = if at_once.0 == now {
                (now, at_once.1 + 1)
            } else {
                (now, 0)
            };
            if at_once.1 > EVENTS_AT_ONCE_MAX {
                let what = format!("at {now}");
                return Err(Violation::Spinning { what });
            }
        }
    }
}

impl Drop for Simulation {
    /// What still runs in the world holds handles of it.
    fn drop(&mut self) {
        self.world.tasks.clear();
    }
}

impl Inner {
    fn take_all_commands(&mut self) {
        for machine in 0..self.machines.len() {
            self.take_commands(machine);
        }
    }

    /// Does what is next; says when that is.
    fn step(&mut self) -> Option<Time> {
        let (at, event) = self.queue.pop()?;
        self.now = self.now.max(at);
        self.happen(event);
        Some(self.now)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::To {
                machine,
                run,
                local,
            } => {
                if self.machines[machine].running() == Some(run) {
                    self.happen_or_wait(machine, local);
                }
            }
            Event::Arrive(carried) => {
                if self.machines[carried.to].is_up() {
                    self.happen_or_wait(carried.to, Local::Frame(carried));
                }
            }
            Event::Connect { ends } => self.connect(ends),
            Event::LinkSilent {
                pair,
                link,
                silence,
            } => self.link_silent(pair, link, silence),
            Event::Wake(waker) => waker.wake(),
            Event::Act(act) if !self.calm => act.happen(self),
            Event::Act(_) => {}
        }
    }

    /// Disks and networks go on while a process is frozen; it hears of it later.
    fn happen_or_wait(&mut self, machine: usize, local: Local) {
        let target = &mut self.machines[machine];
        if target.is_frozen() && !matches!(local, Local::Resume) {
            target.inbox.push_back(local);
        } else {
            self.happen_to(machine, local);
        }
    }

    pub(crate) fn happen_to(&mut self, machine: usize, local: Local) {
        self.trace.event(self.now, machine, local.name());
        match local {
            Local::Timer => self.timer(machine),
            Local::DiskDone => self.disk_done(machine),
            Local::Dial { peer, failures } => self.dial(machine, peer, failures),
            Local::LinkLost { peer, link } => self.lose(machine, peer, link),
            Local::Frame(carried) => self.arrive(&carried),
            Local::Resume => {
                self.resume(machine);
                self.take_commands(machine);
            }
        }
    }
}
