//! Loss, splits, pauses.

use meshwork_membership::{Config, Event, State};

use crate::sim::{Sim, id, secs};

#[test]
fn loss_kills_nobody() {
    for (size, loss, minutes) in [(5, 0.05, 20), (5, 0.2, 20), (32, 0.05, 5), (32, 0.2, 5)] {
        let mut sim = Sim::settled(size as u64, size, Config::lan());
        sim.loss = loss;
        sim.run_for(secs(60 * minutes));
        let deaths = sim.events_of(|e| matches!(e, Event::Down(_)));
        assert_eq!(deaths, 0, "{size} members, loss {loss}");
        sim.loss = 0.0;
        sim.run_until(secs(60), |sim| sim.all_alive(0..size))
            .unwrap();
    }
}

#[test]
fn a_crash_is_known_to_all_under_loss() {
    let mut sim = Sim::settled(5, 32, Config::lan());
    sim.loss = 0.2;
    sim.crash(3);
    sim.run_until(secs(20), |sim| sim.all_hold(3, &[Some(State::Down)]))
        .unwrap();
}

fn split(sim: &mut Sim, size: usize) {
    for n in 0..size {
        sim.side.insert(id(n), u8::from(n >= size / 2));
    }
}

fn halves_are_apart(sim: &Sim, size: usize) -> bool {
    (0..size).all(|at| {
        (0..size).all(|of| {
            let same_side = (at >= size / 2) == (of >= size / 2);
            let wanted = if same_side { State::Alive } else { State::Down };
            of == at || sim.state(of, at) == Some(wanted)
        })
    })
}

#[test]
fn a_split_of_a_minute_heals_by_itself_within_ten_seconds() {
    for (size, seed) in [(4, 1), (5, 2), (32, 3), (64, 4)] {
        let mut sim = Sim::settled(seed, size, Config::lan());
        split(&mut sim, size);
        sim.run_for(secs(60));
        assert!(halves_are_apart(&sim, size));
        sim.side.clear();
        sim.run_until(secs(10), |sim| sim.all_alive(0..size))
            .unwrap();
        sim.events.clear();
        sim.run_for(secs(60));
        assert_eq!(sim.events, [], "and it stays healed");
    }
}

#[test]
fn a_split_of_a_day_heals_by_itself_within_ten_seconds() {
    // A slower probe makes a day of virtual time affordable; what heals is the probe of the dead.
    let config = Config {
        probe_period: secs(10),
        ..Config::lan()
    };
    let mut sim = Sim::settled(3, 6, config);
    split(&mut sim, 6);
    sim.run_for(secs(24 * 3_600));
    assert!(halves_are_apart(&sim, 6));
    sim.side.clear();
    sim.run_until(secs(10), |sim| sim.all_alive(0..6)).unwrap();
}

#[test]
fn a_node_cut_off_alone_comes_back_by_itself() {
    let mut sim = Sim::settled(3, 5, Config::lan());
    sim.side.insert(id(2), 1);
    sim.run_for(secs(60));
    assert!(sim.all_hold(2, &[Some(State::Down)]));
    sim.side.clear();
    sim.run_until(secs(10), |sim| sim.all_alive(0..5)).unwrap();
}

#[test]
fn a_paused_node_calls_nobody_dead_when_it_wakes() {
    let mut sim = Sim::settled(3, 5, Config::lan());
    let asleep = sim.nodes.remove(&id(2)).unwrap();
    sim.crash(2);
    sim.run_for(secs(60));
    sim.events.clear();
    sim.nodes.insert(id(2), asleep);
    sim.act(2, |core, now| core.handle_timeout(now));
    sim.run_until(secs(10), |sim| sim.all_alive(0..5)).unwrap();
    assert_eq!(sim.core(2).counters().pauses, 1);
    assert_eq!(
        sim.events_of(|e| matches!(e, Event::Suspected(_) | Event::Down(_))),
        0
    );
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed| {
        let mut sim = Sim::settled(seed, 12, Config::lan());
        sim.loss = 0.1;
        sim.crash(3);
        sim.run_for(secs(60));
        (sim.trace, sim.events)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}
