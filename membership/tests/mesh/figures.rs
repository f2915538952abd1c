//! Figures that users may count on, measured as in the design notes: LAN, no loss unless said.

use core::time::Duration;

use meshwork_membership::{Config, Event, State};

use crate::sim::{Sim, id, secs};

struct Figures {
    size: usize,
    first: Vec<Duration>,
    all: Vec<Duration>,
    join: Vec<Duration>,
    leave: Vec<Duration>,
    bytes_per_second: u64,
}

fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort();
    times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64()
}

fn measure(size: usize, runs: u64) -> Figures {
    let mut figures = Figures {
        size,
        first: vec![],
        all: vec![],
        join: vec![],
        leave: vec![],
        bytes_per_second: 0,
    };
    for seed in 0..runs {
        let mut sim = Sim::settled(seed, size, Config::lan());
        let bytes = sim.bytes;
        sim.run_for(secs(60));
        figures.bytes_per_second = (sim.bytes - bytes) / (60 * size as u64);
        sim.start(size, 0);
        sim.act(size, |core, now| core.join(now, id(1)));
        figures.join.push(
            sim.run_until(secs(9), |sim| sim.all_alive(0..size + 1))
                .unwrap(),
        );
        sim.run_for(Duration::from_millis(10_000 + 137 * seed));
        sim.act(size, |core, now| core.leave(now));
        let left = |sim: &Sim| sim.all_hold(size, &[Some(State::Left)]);
        figures.leave.push(sim.run_until(secs(9), left).unwrap());
        sim.crash(size);
        sim.run_for(secs(10));
        let crash = sim.now;
        sim.crash(2);
        let down = |sim: &Sim| sim.all_hold(2, &[Some(State::Down)]);
        figures.all.push(sim.run_until(secs(30), down).unwrap());
        let first = sim
            .events
            .iter()
            .find(|(_, _, e)| *e == Event::Down(id(2)))
            .unwrap();
        figures.first.push(first.0.since(crash));
    }
    figures
}

/// Checks the bounds; shown with `--nocapture`.
fn hold(figures: &mut Figures, down_by_all_s: f64, bytes_per_second: u64) {
    println!(
        "{} members: crash to first {:.2}/{:.2} s, to all {:.2}/{:.2} s, join {:.2}/{:.2} s, leave {:.3}/{:.3} s (median/max), at rest {} bytes per member and second",
        figures.size,
        percentile(&mut figures.first, 50),
        percentile(&mut figures.first, 100),
        percentile(&mut figures.all, 50),
        percentile(&mut figures.all, 100),
        percentile(&mut figures.join, 50),
        percentile(&mut figures.join, 100),
        percentile(&mut figures.leave, 50),
        percentile(&mut figures.leave, 100),
        figures.bytes_per_second,
    );
    assert!(percentile(&mut figures.all, 100) <= down_by_all_s);
    assert!(percentile(&mut figures.join, 100) <= 2.0);
    assert!(percentile(&mut figures.leave, 100) <= 0.7);
    assert!(figures.bytes_per_second <= bytes_per_second);
}

#[test]
fn five_members() {
    hold(&mut measure(5, 20), 8.0, 20);
}

#[test]
fn thirty_two_members() {
    hold(&mut measure(32, 6), 8.0, 20);
}

#[test]
fn a_hundred_and_twenty_eight_members() {
    hold(&mut measure(128, 1), 10.0, 20);
}
