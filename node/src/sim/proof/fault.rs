//! The faults, and what they do to a world.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use meshwork_crdt::{Object, ReplicaId};
use meshwork_dht::Position;
use meshwork_membership::Time;
use meshwork_membership::planted::{Bug, planted};
use meshwork_sync::{Origin, Space, stored_object, stored_positions};
use rand::{Rng, RngExt};
use tokio::sync::oneshot;

use crate::driver::Leaving;
use crate::sim::custody::Claims;
use crate::sim::machine::{Machine, Process, WallClock};
use crate::sim::network::{Distance, Weather};
use crate::sim::queue::Event;
use crate::sim::queue::secs;
use crate::sim::world::Inner;
use crate::store::Memory;

/// Something that goes wrong, or that operators do, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A process is killed and started again.
    Kill {
        /// Where.
        machine: usize,
        /// Until it is started again.
        lasts: Duration,
    },
    /// A process is killed while its disk is at work, and started again.
    Crash {
        /// Where.
        machine: usize,
        /// Until it is started again.
        lasts: Duration,
    },
    /// A node is stopped in order and started again.
    Stop {
        /// Where.
        machine: usize,
        /// Until it is started again.
        lasts: Duration,
    },
    /// A process is frozen.
    Pause {
        /// Where.
        machine: usize,
        /// For how long.
        lasts: Duration,
    },
    /// All processes are killed, and started again one by one.
    Storm {
        /// Between two starts.
        pause: Duration,
    },
    /// Each node is stopped and started again, one after the other.
    Rolling {
        /// Between two stops.
        pause: Duration,
    },
    /// Machines on different sides do not reach each other.
    Split {
        /// The machines of one side.
        side: Vec<usize>,
        /// Until it heals.
        lasts: Duration,
    },
    /// Frames from some machines do not reach the others; those the other way do.
    OneWay {
        /// Who is not heard.
        from: Vec<usize>,
        /// Until it heals.
        lasts: Duration,
    },
    /// The path between two machines breaks and heals again and again.
    Flap {
        /// Which two.
        ends: [usize; 2],
        /// How often.
        times: u32,
        /// Between two changes.
        pause: Duration,
    },
    /// Frames are lost, repeated, overtaken; bytes without sense arrive.
    Weather {
        /// What happens to how many.
        weather: Weather,
        /// For how long.
        lasts: Duration,
    },
    /// A machine's network is slow.
    Far {
        /// Which.
        machine: usize,
        /// How far.
        distance: Distance,
        /// For how long.
        lasts: Duration,
    },
    /// A machine is at another address from now on.
    Move {
        /// Which.
        machine: usize,
    },
    /// A disk is slow.
    SlowDisk {
        /// Whose.
        machine: usize,
        /// How long a flush takes.
        flush: Duration,
        /// For how long.
        lasts: Duration,
    },
    /// A disk is full.
    FullDisk {
        /// Whose.
        machine: usize,
        /// For how long.
        lasts: Duration,
    },
    /// A flush fails once; the node takes no more writes and is started again after a while.
    FailedFlush {
        /// Whose disk.
        machine: usize,
        /// Until it is started again.
        lasts: Duration,
    },
    /// A bit of a stored object flips.
    BitFlip {
        /// On whose disk.
        machine: usize,
        /// Which object and bit, counted round.
        which: u64,
    },
    /// A disk goes back to what it was before.
    OldCopy {
        /// Whose.
        machine: usize,
        /// How long before.
        age: Duration,
    },
    /// A disk is lost; the node begins anew.
    LostDisk {
        /// Whose.
        machine: usize,
    },
    /// A new node begins with a copy of another's store.
    Clone {
        /// Whose.
        machine: usize,
    },
    /// A wall clock jumps.
    Jump {
        /// Whose.
        machine: usize,
        /// How far ahead of the true time it is then, in milliseconds.
        ahead_ms: i64,
    },
    /// A wall clock is too fast or too slow from now on.
    Drift {
        /// Whose.
        machine: usize,
        /// By how many millionths.
        ppm: i64,
    },
    /// A new node joins.
    Join,
    /// A node leaves for good.
    Leave {
        /// Which.
        machine: usize,
    },
}

impl Fault {
    /// Whether keys may lie elsewhere or a node may know less because of it.
    pub(crate) const fn moves_data(&self) -> bool {
        matches!(
            self,
            Self::BitFlip { .. }
                | Self::OldCopy { .. }
                | Self::LostDisk { .. }
                | Self::Clone { .. }
                | Self::Join
                | Self::Leave { .. }
        )
    }

    /// Whether what was on a disk may be gone.
    pub(crate) const fn loses_disk(&self) -> bool {
        matches!(self, Self::OldCopy { .. } | Self::LostDisk { .. })
    }
}

/// A fault begins or ends.
#[derive(Debug)]
pub(crate) enum Act {
    Begin(Fault),
    Start(usize),
    Stop(usize),
    Unblock(Vec<(usize, usize)>),
    Block(Vec<(usize, usize)>),
    Weather(Weather),
    Distance(usize, Distance),
    Flush(usize, std::ops::Range<u64>),
    Full(usize),
    Restore(usize, Arc<Memory>),
}

/// Longest time that a leaving node waits for others to take over.
const LEAVE_PATIENCE: Duration = secs(60);
/// Two disks lost at once are more than a quorum of three stands.
const LOSSES_APART_MIN: Duration = secs(60);
/// When all move at once nobody can know where anybody is.
const MOVES_APART_MIN: Duration = secs(60);
/// A mesh is made neither smaller nor larger than this.
const MEMBERS_MIN: usize = 3;
const MEMBERS_MAX: usize = 9;

impl Act {
    pub(crate) fn happen(self, inner: &mut Inner) {
        match self {
            Self::Begin(fault) => inner.begin(fault),
            Self::Start(machine) => inner.start(machine),
            Self::Stop(machine) => inner.stop(machine),
            Self::Block(pairs) => pairs.iter().for_each(|(a, b)| inner.block(*a, *b)),
            Self::Unblock(pairs) => pairs.iter().for_each(|(a, b)| inner.unblock(*a, *b)),
            Self::Weather(weather) => inner.network.weather = weather,
            Self::Distance(machine, distance) => inner.machines[machine].distance = distance,
            Self::Flush(machine, flush_us) => inner.machines[machine].disk.flush_us = flush_us,
            Self::Full(machine) => inner.machines[machine].disk.full = false,
            Self::Restore(machine, image) => inner.restore(machine, image),
        }
    }
}

impl Inner {
    fn later(&mut self, wait: Duration, act: Act) {
        self.queue.push(self.now + wait, Event::Act(Box::new(act)));
    }

    fn begin(&mut self, fault: Fault) {
        self.note(format_args!("fault: {fault}"));
        match fault {
            Fault::Kill { machine, lasts } => {
                self.kill(machine);
                self.later(lasts, Act::Start(machine));
            }
            Fault::Crash { machine, lasts } => self.machines[machine].crash = Some(lasts),
            Fault::Stop { machine, lasts } => {
                self.stop(machine);
                self.later(lasts, Act::Start(machine));
            }
            Fault::Pause { machine, lasts } => self.pause(machine, lasts),
            Fault::Storm { pause } => self.kill_all(pause),
            Fault::Rolling { pause } => self.restart_all(pause),
            Fault::Split { side, lasts } => {
                let mut pairs = self.across(&side);
                let back: Vec<_> = pairs.iter().map(|(a, b)| (*b, *a)).collect();
                pairs.extend(back);
                self.cut(pairs, lasts);
            }
            Fault::OneWay { from, lasts } => self.cut(self.across(&from), lasts),
            Fault::Flap { ends, times, pause } => self.flap(ends, times, pause),
            Fault::Weather { weather, lasts } => {
                let before = std::mem::replace(&mut self.network.weather, weather);
                self.later(lasts, Act::Weather(before));
            }
            Fault::Far {
                machine,
                distance,
                lasts,
            } => {
                let before = std::mem::replace(&mut self.machines[machine].distance, distance);
                self.later(lasts, Act::Distance(machine, before));
            }
            Fault::Move { machine } => self.move_away(machine),
            Fault::SlowDisk {
                machine,
                flush,
                lasts,
            } => self.slow_down(machine, flush, lasts),
            Fault::FullDisk { machine, lasts } => {
                self.machines[machine].disk.full = true;
                self.later(lasts, Act::Full(machine));
            }
            Fault::FailedFlush { machine, lasts } => {
                self.machines[machine].disk.fail_next_flush = true;
                self.later(lasts, Act::Stop(machine));
                self.later(lasts + secs(1), Act::Start(machine));
            }
            Fault::BitFlip { machine, which } => self.flip_bit(machine, which),
            Fault::OldCopy { machine, age } => {
                let image = self.image_of(machine);
                self.later(age, Act::Restore(machine, image));
            }
            Fault::LostDisk { machine } => {
                let empty = Arc::new(Memory::new(self.process_rng.next_u64()));
                self.restore(machine, empty);
            }
            Fault::Clone { machine } => self.clone_disk(machine),
            Fault::Jump { machine, ahead_ms } => self.machines[machine].clock.ahead_ms = ahead_ms,
            Fault::Drift { machine, ppm } => {
                let now = self.now;
                self.machines[machine].clock.set_drift(now, ppm);
            }
            Fault::Join => self.join(),
            Fault::Leave { machine } => self.leave(machine),
        }
    }

    /// A flush begins where a crash was planned: it comes before the flush has ended.
    pub(crate) fn crash_within(&mut self, machine: usize, takes: Duration) {
        if let Some(lasts) = self.machines[machine].crash.take() {
            let wait = takes.mul_f64(self.process_rng.random_range(0.0..1.0));
            self.later(wait, Act::Begin(Fault::Kill { machine, lasts }));
        }
    }

    fn kill_all(&mut self, pause: Duration) {
        let mut wait = Duration::ZERO;
        for machine in 0..self.machines.len() {
            self.kill(machine);
            self.later(wait, Act::Start(machine));
            wait += pause;
        }
    }

    fn restart_all(&mut self, pause: Duration) {
        let mut wait = Duration::ZERO;
        for machine in 0..self.machines.len() {
            self.later(wait, Act::Stop(machine));
            self.later(wait + secs(1), Act::Start(machine));
            wait += pause;
        }
    }

    /// The ways from some machines to the others.
    fn across(&self, side: &[usize]) -> Vec<(usize, usize)> {
        let all = 0..self.machines.len();
        let from = all.clone().filter(|machine| side.contains(machine));
        from.flat_map(|a| all.clone().map(move |b| (a, b)))
            .filter(|(_, b)| !side.contains(b))
            .collect()
    }

    fn cut(&mut self, ways: Vec<(usize, usize)>, lasts: Duration) {
        ways.iter().for_each(|(a, b)| self.block(*a, *b));
        self.later(lasts, Act::Unblock(ways));
    }

    fn flap(&mut self, [a, b]: [usize; 2], times: u32, pause: Duration) {
        let ways = vec![(a, b), (b, a)];
        for time in 0..times {
            self.later(pause * (2 * time), Act::Block(ways.clone()));
            self.later(pause * (2 * time + 1), Act::Unblock(ways.clone()));
        }
    }

    fn move_away(&mut self, machine: usize) {
        if self.moved_at + MOVES_APART_MIN > self.now {
            return self.note(format_args!(
                "n{machine} keeps its address: another has just moved"
            ));
        }
        self.moved_at = self.now;
        let number = self.process_rng.random_range(1..250);
        self.move_address(machine, format!("10.0.{number}.{machine}:4001"));
    }

    fn slow_down(&mut self, machine: usize, flush: Duration, lasts: Duration) {
        let us = u64::try_from(flush.as_micros()).unwrap_or(u64::MAX);
        let disk = &mut self.machines[machine].disk;
        let before = std::mem::replace(&mut disk.flush_us, us / 2..us + 1);
        self.later(lasts, Act::Flush(machine, before));
    }

    fn image_of(&mut self, machine: usize) -> Arc<Memory> {
        self.machines[machine]
            .disk
            .image(self.process_rng.next_u64())
    }

    /// A new machine begins with a copy of another's store, as when a virtual machine is copied and given a key of its own.
    fn clone_disk(&mut self, machine: usize) {
        if self.is_large() {
            return;
        }
        let distance = self.machines[machine].distance.clone();
        let clone = self.add_machine(distance);
        let image = self.image_of(machine);
        self.machines[clone].disk.restore(image);
        self.machines[clone].origin = Origin::Restored;
        self.start(clone);
    }

    fn join(&mut self) {
        if self.is_large() {
            return;
        }
        let like = self.machines.iter().next();
        let distance = like.map_or_else(Distance::lan, |machine| machine.distance.clone());
        let machine = self.add_machine(distance);
        self.start(machine);
    }

    fn is_large(&self) -> bool {
        self.machines.iter().filter(|m| !m.retired).count() >= MEMBERS_MAX
    }

    /// A node gives up its place, and goes once others have all that it had.
    fn leave(&mut self, machine: usize) {
        let stays = |machine: &&Machine| {
            let leaves = |process: &Process| process.leaving.is_some();
            !machine.retired && !machine.process.as_ref().is_some_and(leaves)
        };
        if self.machines.iter().filter(stays).count() <= MEMBERS_MIN {
            return self.note("no node can be spared");
        }
        let now = self.now;
        self.on(machine, |process| {
            if process.leaving.is_none() {
                let (answer, _) = oneshot::channel();
                let leaving = Leaving::begin(&mut process.node, now, LEAVE_PATIENCE, answer);
                process.leaving = Some(leaving);
            }
        });
    }

    /// A disk goes back to an older image, or an empty one; only where nothing acknowledged is lost with it, since no store can
    /// give back what was on one disk alone.
    fn restore(&mut self, machine: usize, image: Arc<Memory>) {
        let another = self.disk_lost > Time::ZERO && self.disk_lost + LOSSES_APART_MIN > self.now;
        if another || self.machines[machine].retired || !self.is_covered(machine) {
            return self.note(format_args!(
                "n{machine} keeps its disk: it has what no other has, or another was just lost"
            ));
        }
        self.kill(machine);
        self.disk_lost = self.now;
        let replica = ReplicaId::from_bytes(self.process_rng.random());
        let target = &mut self.machines[machine];
        target.disk.restore(image);
        target.claims = Claims::none(self.now);
        // Planted: dots that were drawn after the copy was made are drawn again.
        if !planted(Bug::ReplicaIdReused) {
            target.replica = replica;
        }
        target.origin = Origin::Restored;
        self.later(secs(1), Act::Start(machine));
    }

    /// Whether the disks of replicas hold all that is on this one. A copy elsewhere does not count: it may wait long until it is handed over.
    fn is_covered(&self, machine: usize) -> bool {
        let store = self.store(machine);
        let Ok(positions) = stored_positions(&*store) else {
            return false;
        };
        positions
            .iter()
            .all(|position| self.is_object_covered(machine, position))
    }

    fn is_object_covered(&self, machine: usize, position: &Position) -> bool {
        let Ok(Some((_, mine))) = stored_object(&*self.store(machine), position) else {
            return false;
        };
        let mut running = self.machines.iter().filter_map(|m| m.process.as_ref());
        let Some(placement) = running.next().map(|process| process.node.placement()) else {
            return false;
        };
        let mut others = Object::new();
        for (other, target) in self.machines.iter().enumerate() {
            if other == machine || !placement.holds(target.id, position.partition()) {
                continue;
            }
            if let Ok(Some((_, object))) = stored_object(&*self.store(other), position) {
                others.join(&object);
            }
        }
        let digest = others.digest();
        others.join(&mine);
        others.digest() == digest
    }

    fn flip_bit(&mut self, machine: usize, which: u64) {
        let Ok(positions) = stored_positions(&*self.store(machine)) else {
            return;
        };
        let which = usize::try_from(which % (1 << 31)).unwrap_or(0);
        let Some(position) = positions.get(which % positions.len().max(1)) else {
            return;
        };
        if !self.is_object_covered(machine, position) {
            return;
        }
        let prefix = position.as_bytes();
        let records = self.store(machine).scan(Space::Objects, prefix, None, 100);
        let Some((key, _)) = records.ok().and_then(|mut records| records.pop()) else {
            return;
        };
        self.machines[machine]
            .disk
            .flip_bit(Space::Objects, &key, which);
        self.machines[machine].damaged = true;
        self.disk_lost = self.now;
    }

    /// The end of all faults: everything that was broken works, everybody runs.
    pub(crate) fn calm_down(&mut self) {
        self.calm = true;
        self.note("all faults end");
        self.unblock_all();
        self.network.weather = Weather::default();
        for machine in 0..self.machines.len() {
            while self.machines[machine].paused > 0 {
                self.resume(machine);
            }
            let flush_us = self.flush_us.clone();
            let target = &mut self.machines[machine];
            target.clock = WallClock::default();
            target.disk.flush_us = flush_us;
            target.disk.full = false;
            target.disk.fail_next_flush = false;
            // Damage is found by reading, and a start reads everything; a store that failed is opened anew.
            let failed = target.disk.is_broken() || target.damaged;
            target.damaged = false;
            target.crash = None;
            if failed {
                self.kill(machine);
            }
            self.start(machine);
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { machine, lasts } => write!(f, "kill n{machine} for {lasts:?}"),
            Self::Crash { machine, lasts } => write!(f, "kill n{machine} in a flush for {lasts:?}"),
            Self::Stop { machine, lasts } => write!(f, "stop n{machine} for {lasts:?}"),
            Self::Pause { machine, lasts } => write!(f, "freeze n{machine} for {lasts:?}"),
            Self::Storm { pause } => write!(f, "kill all, start one each {pause:?}"),
            Self::Rolling { pause } => write!(f, "restart one each {pause:?}"),
            Self::Split { side, lasts } => write!(f, "cut off {side:?} for {lasts:?}"),
            Self::OneWay { from, lasts } => write!(f, "nobody hears {from:?} for {lasts:?}"),
            Self::Flap { ends, times, pause } => {
                let [a, b] = ends;
                write!(f, "cut n{a} and n{b} {times} times, each {pause:?}")
            }
            Self::Weather { weather, lasts } => {
                let Weather {
                    lost,
                    repeated,
                    overtaken,
                    garbage,
                } = weather;
                write!(
                    f,
                    "of 1,000 frames {lost} are lost, {repeated} repeated, {overtaken} overtaken, {garbage} garbage, for {lasts:?}"
                )
            }
            Self::Far { machine, lasts, .. } => write!(f, "n{machine} is far away for {lasts:?}"),
            Self::Move { machine } => write!(f, "n{machine} gets another address"),
            Self::SlowDisk {
                machine,
                flush,
                lasts,
            } => write!(f, "n{machine} needs {flush:?} a flush for {lasts:?}"),
            Self::FullDisk { machine, lasts } => {
                write!(f, "the disk of n{machine} is full for {lasts:?}")
            }
            Self::FailedFlush { machine, lasts } => {
                write!(f, "a flush of n{machine} fails, restart after {lasts:?}")
            }
            Self::BitFlip { machine, .. } => write!(f, "a bit flips on the disk of n{machine}"),
            Self::OldCopy { machine, age } => {
                write!(
                    f,
                    "n{machine} is copied, and restored from that after {age:?}"
                )
            }
            Self::LostDisk { machine } => write!(f, "n{machine} loses its disk"),
            Self::Clone { machine } => write!(f, "a new node begins with a copy of n{machine}"),
            Self::Jump { machine, ahead_ms } => {
                write!(f, "the clock of n{machine} is {ahead_ms} ms ahead")
            }
            Self::Drift { machine, ppm } => {
                write!(f, "the clock of n{machine} drifts by {ppm} ppm")
            }
            Self::Join => write!(f, "a node joins"),
            Self::Leave { machine } => write!(f, "n{machine} leaves"),
        }
    }
}
