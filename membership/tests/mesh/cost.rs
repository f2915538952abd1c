//! What a member spends, and that it is not more in a greater mesh.

use core::time::Duration;

use meshwork_membership::{Config, Event, State};

use crate::sim::{Sim, id, secs};

/// Bytes per member and second.
fn spent(sim: &mut Sim, size: usize, wait_s: u64) -> u64 {
    let before = sim.bytes;
    sim.run_for(secs(wait_s));
    (sim.bytes - before) / (size as u64 * wait_s)
}

#[test]
fn a_mesh_at_rest_costs_a_member_the_same_at_any_size() {
    let at_rest = |size| spent(&mut Sim::settled(1, size, Config::lan()), size, 60);
    let (few, many) = (at_rest(8), at_rest(192));
    assert!(few <= 20 && many <= 20, "{few} {many}");
}

#[test]
fn loss_costs_little_and_kills_nobody() {
    for (loss, bytes_max) in [(0.05, 25), (0.2, 50)] {
        let mut sim = Sim::settled(2, 96, Config::lan());
        sim.loss = loss;
        let bytes = spent(&mut sim, 96, 120);
        assert!(bytes <= bytes_max, "{bytes} bytes at {loss}");
        assert_eq!(sim.events_of(|e| matches!(e, Event::Down(_))), 0);
    }
}

#[test]
fn what_differs_is_found_without_sending_lists() {
    let mut sim = Sim::settled(3, 64, Config::lan());
    // One half learns of a member while the other hears nothing, and gossip is over when they meet again.
    sim.side = (0..64).map(|n| (id(n), u8::from(n >= 63))).collect();
    sim.run_for(Duration::from_millis(200));
    sim.start(64, 0);
    sim.side.insert(id(64), 0);
    sim.act(64, |core, now| core.join(now, id(1)));
    sim.run_for(Duration::from_millis(900));
    sim.side.clear();
    let (bytes, messages) = (sim.bytes, sim.messages);
    sim.run_until(secs(35), |sim| sim.all_alive(0..65)).unwrap();
    let list = 64 * 100;
    let spent = (sim.bytes - bytes) / (sim.messages - messages);
    assert!(spent < list / 10, "{spent} bytes a message");
}

#[test]
fn two_hundred_join_through_one_seed_within_seconds() {
    let mut sim = Sim::new(4, Config::lan());
    (0..200).for_each(|n| sim.start(n, 0));
    sim.run_for(secs(1));
    (1..200).for_each(|n| sim.act(n, |core, now| core.join(now, id(0))));
    let took = sim.run_until(secs(3), |sim| sim.all_alive(0..200)).unwrap();
    assert!(took < secs(2), "{took:?}");
    assert_eq!(sim.events_of(|e| matches!(e, Event::Suspected(_))), 0);
}

#[test]
fn a_hundred_restart_at_once_and_settle_within_two_seconds() {
    let mut sim = Sim::settled(5, 100, Config::lan());
    (0..100).for_each(|n| sim.crash(n));
    sim.run_for(secs(5));
    sim.events.clear();
    (0..100).for_each(|n| sim.start(n, 0));
    let know = |sim: &Sim| {
        sim.nodes.values().all(|at| {
            at.members().count() == 99
                && at
                    .members()
                    .all(|m| sim.nodes[&m.id].me().meta == m.meta && m.state == State::Alive)
        })
    };
    sim.run_until(secs(2), know).unwrap();
    sim.run_for(secs(20));
    assert_eq!(sim.events_of(|e| matches!(e, Event::Down(_))), 0);
}
