//! What is measured: each function runs one world and gives its samples.

use crate::protocol::{Node, Protocol};
use crate::world::{SECOND, Tally, World};

const HOUR: f64 = 3_600.0;

fn seconds(micros: u64) -> f64 {
    micros as f64 / SECOND as f64
}

/// Crashes or goodbyes in one world: not so many that another mesh is left, and fewer where each takes long.
fn repeats(size: usize) -> usize {
    if size > 512 {
        4
    } else {
        (size / 8).clamp(2, 16)
    }
}

/// Crashes, one after another: until the first holds it for dead, and until all do.
pub fn crashes<P: Protocol>(config: P::Config, size: usize, seed: u64, loss: f64) -> [Vec<f64>; 2] {
    let mut world = World::<P>::settled(config, size, seed);
    world.loss = loss;
    let (mut first, mut all) = (Vec::new(), Vec::new());
    for _ in 0..repeats(size) {
        let wait = 15 * SECOND + world.below(SECOND);
        world.run_for(wait);
        let victim = world.pick();
        world.first_death[victim as usize] = None;
        world.crash(victim);
        let crashed = world.now;
        let known = world.run_until(300 * SECOND, |world| world.is_gone_for_all(victim));
        // Who is not known to be gone within five minutes counts with five minutes.
        all.push(known.map_or(300.0, seconds));
        let found = world.first_death[victim as usize];
        first.push(found.map_or(300.0, |at| seconds(at - crashed)));
    }
    [first, all]
}

/// Goodbyes, one after another: until nobody holds it for alive.
pub fn leaves<P: Protocol>(config: P::Config, size: usize, seed: u64) -> Vec<f64> {
    let mut world = World::<P>::settled(config, size, seed);
    let mut all = Vec::new();
    for _ in 0..repeats(size) {
        let wait = 5 * SECOND + world.below(SECOND);
        world.run_for(wait);
        let leaver = world.pick();
        world.leave(leaver);
        let start = world.now;
        let mut known = world.run_until(SECOND, |world| world.is_gone_for_all(leaver));
        world.run_for((start + SECOND).saturating_sub(world.now));
        world.crash(leaver);
        if known.is_none() {
            let rest = world.run_until(300 * SECOND, |world| world.is_gone_for_all(leaver));
            known = rest.map(|rest| rest + SECOND);
        }
        all.push(known.map_or(300.0, seconds));
    }
    all
}

/// What a member costs, and what it says wrongly.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub false_deaths_per_hour: f64,
    pub bytes: f64,
    pub messages: f64,
    pub suspicions: f64,
    pub cpu_us: f64,
}

impl Load {
    /// What was counted in so many seconds: deaths for each member that could be declared dead wrongly, the rest for each of all.
    fn of(tally: Tally, deaths: u64, [wronged, members]: [usize; 2], time: f64) -> Self {
        let member_seconds = members as f64 * time;
        Self {
            false_deaths_per_hour: deaths as f64 * HOUR / (wronged as f64 * time),
            bytes: tally.bytes as f64 / member_seconds,
            messages: tally.messages as f64 / member_seconds,
            suspicions: tally.suspicions as f64 / member_seconds,
            cpu_us: tally.cpu_ns as f64 / 1e3 / member_seconds,
        }
    }
}

fn load<P: Protocol>(world: &mut World<P>, wait: u64) -> Load {
    world.tally = Default::default();
    world.run_for(wait);
    let (tally, size) = (world.tally, world.size());
    let deaths = tally.false_deaths_of_healthy;
    Load::of(tally, deaths, [size; 2], seconds(wait))
}

/// Nothing happens but loss.
pub fn loss<P: Protocol>(config: P::Config, size: usize, seed: u64, loss: f64, wait: u64) -> Load {
    let mut world = World::<P>::settled(config, size, seed);
    world.loss = loss;
    load(&mut world, wait * SECOND)
}

/// The load of some members of a mesh that is too great to be simulated whole; see [`crate::crowd`].
pub fn crowd<P: Protocol>(config: P::Config, size: usize, seed: u64, counted: usize) -> Load {
    let mut world = World::<P>::settled(config, size, seed);
    world.counted = counted;
    world.tally = Default::default();
    world.run_for(120 * SECOND);
    let tally = world.tally;
    Load::of(tally, tally.false_deaths, [counted; 2], 120.0)
}

/// Some members stop for 16 s again and again, and run for 8 to 24 s in between.
pub fn slow<P: Protocol>(config: P::Config, size: usize, seed: u64, slow: usize) -> Load {
    let mut world = World::<P>::settled(config, size, seed);
    let mut next: Vec<(u64, Node)> = Vec::new();
    for n in 0..slow {
        world.slow[n] = true;
        next.push((world.now + world.below(24 * SECOND), n as Node));
    }
    let end = world.now + 900 * SECOND;
    world.tally = Default::default();
    while let Some(at) = next.iter().map(|(at, _)| *at).min().filter(|at| *at < end) {
        let wait = at.saturating_sub(world.now);
        world.run_for(wait);
        for turn in &mut next {
            if turn.0 <= at {
                world.pause(turn.1, 16 * SECOND);
                turn.0 = at + 24 * SECOND + world.below(16 * SECOND);
            }
        }
    }
    let tally = world.tally;
    let deaths = tally.false_deaths_of_healthy;
    Load::of(tally, deaths, [size - slow, size], 900.0)
}

/// Each 5 s a member crashes, and the one that crashed half a minute ago starts again, whatever the size of the mesh.
pub fn churn<P: Protocol>(config: P::Config, size: usize, seed: u64) -> Load {
    let mut world = World::<P>::settled(config, size, seed);
    world.tally = Default::default();
    let mut down = std::collections::VecDeque::new();
    let rounds = if size > 512 { 24 } else { 60 };
    for _ in 0..rounds {
        let victim = world.pick();
        let memory = world.crash(victim);
        down.push_back((world.now, victim, memory));
        while let Some((at, _, _)) = down.front()
            && *at + 30 * SECOND <= world.now
        {
            if let Some((_, n, memory)) = down.pop_front() {
                world.start(n, memory);
            }
        }
        world.run_for(5 * SECOND);
    }
    let tally = world.tally;
    let time = 5.0 * rounds as f64;
    Load::of(tally, tally.false_deaths, [size; 2], time)
}

/// All join at once through the first: until 99 % of the pairs know each other, and until all do; bytes per member.
pub fn join<P: Protocol>(config: P::Config, size: usize, seed: u64) -> [f64; 3] {
    let mut world = World::<P>::new(config, size, seed);
    for n in 0..size as Node {
        world.start(n, None);
    }
    world.run_for(SECOND);
    for n in 1..size as Node {
        world.join(n, 0);
    }
    let start = world.now;
    let most = world.pairs_wanted() * 99 / 100;
    let part = world.run_until(400 * SECOND, |world| world.pairs_known() >= most);
    let rest = world.run_until(400 * SECOND, World::all_know_all);
    let bytes = world.tally.bytes as f64 / size as f64;
    let part = part.map_or(400.0, seconds);
    let all = rest.map_or(400.0, |_| seconds(world.now - start));
    [part, all, bytes]
}

/// Two halves, apart for a while: from the return of the link until all know all.
pub fn split<P: Protocol>(config: P::Config, size: usize, seed: u64, apart: u64) -> f64 {
    let mut world = World::<P>::settled(config, size, seed);
    for n in 0..size {
        world.side[n] = (n % 2) as u8;
    }
    let odd = world.below(SECOND);
    world.run_for(apart * SECOND + odd);
    world.side.fill(0);
    world
        .run_until(400 * SECOND, World::all_know_all)
        .map_or(400.0, seconds)
}

/// Everyone is stopped and started with what its disk holds: until all know all anew; deaths declared meanwhile and a minute on.
pub fn restart<P: Protocol>(config: P::Config, size: usize, seed: u64) -> [f64; 2] {
    let mut world = World::<P>::settled(config, size, seed);
    let disks: Vec<_> = (0..size as Node).map(|n| world.crash(n)).collect();
    world.run_for(5 * SECOND);
    world.tally = Default::default();
    for (n, memory) in disks.into_iter().enumerate() {
        world.start(n as Node, memory);
    }
    let settled = world.run_until(400 * SECOND, World::all_know_all);
    world.run_for(60 * SECOND);
    [
        settled.map_or(400.0, seconds),
        world.tally.false_deaths as f64,
    ]
}

/// A member that reaches a sixteenth of the others, for ten minutes: deaths declared of anybody, and the load.
pub fn semi_detached<P: Protocol>(config: P::Config, size: usize, seed: u64) -> (f64, Load) {
    let mut world = World::<P>::settled(config, size, seed);
    let reached = (0..size).map(|n| n >= 1 && n <= size / 16).collect();
    world.semi_detached = Some((0, reached));
    let load = load(&mut world, 600 * SECOND);
    (world.tally.false_deaths as f64, load)
}
