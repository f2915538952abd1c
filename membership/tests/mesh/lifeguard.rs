//! Members that are slow or half deaf must not make others look dead.

use std::collections::BTreeSet;

use meshwork_membership::{Config, Event, State};

use crate::sim::{Sim, id, secs};

/// Deaths that were declared of these.
fn deaths(sim: &Sim, of: impl Fn(usize) -> bool, size: usize) -> usize {
    let of: BTreeSet<_> = (0..size).filter(|n| of(*n)).map(id).collect();
    sim.events_of(|e| matches!(e, Event::Down(n) if of.contains(n)))
}

#[test]
fn slow_members_declare_no_healthy_one_dead() {
    let size = 32;
    let mut sim = Sim::settled(5, size, Config::lan());
    for _ in 0..12 {
        // A quarter of all, one after another.
        for n in 0..8 {
            sim.freeze(n);
            sim.run_for(secs(1));
        }
        sim.run_for(secs(8));
        for n in 0..8 {
            sim.thaw(n);
            sim.run_for(secs(1));
        }
    }
    assert_eq!(deaths(&sim, |n| n >= 8, size), 0);
    sim.run_until(secs(60), |sim| sim.all_alive(0..size))
        .unwrap();
}

#[test]
fn a_member_that_reaches_a_few_only_makes_nobody_else_look_dead() {
    for seed in 1..4 {
        let size = 64;
        let mut sim = Sim::settled(seed, size, Config::lan());
        sim.half_deaf = Some((id(0), (1..5).map(id).collect()));
        sim.run_for(secs(300));
        let by_others =
            |(_, at, event): &&(_, _, Event)| *at != id(0) && matches!(event, Event::Down(_));
        assert_eq!(sim.events.iter().filter(by_others).count(), 0);
        // Its own mistakes are few, and it finds them.
        let by_itself = sim.events_of(|e| matches!(e, Event::Down(_)));
        assert!(by_itself <= 10, "{by_itself}");
    }
}

#[test]
fn a_node_that_nobody_answers_doubts_itself_and_gets_well() {
    let mut sim = Sim::settled(1, 16, Config::lan());
    assert_eq!(sim.core(3).strain(), 0);
    sim.side.insert(id(3), 1);
    sim.run_for(secs(20));
    assert_eq!(sim.core(3).strain(), Config::lan().strain_max);
    // It accuses far fewer than the twenty that it would have probed.
    let alive = sim.core(3).members().filter(|m| m.state == State::Alive);
    assert!(alive.count() >= 8);
    sim.side.clear();
    sim.run_until(secs(120), |sim| sim.core(3).strain() == 0)
        .unwrap();
}

#[test]
fn members_that_probe_the_dead_do_not_doubt_themselves() {
    let mut sim = Sim::settled(2, 16, Config::lan());
    (12..16).for_each(|n| sim.crash(n));
    let mut worst = 0;
    for _ in 0..20 {
        sim.run_for(secs(1));
        worst = worst.max((0..12).map(|n| sim.core(n).strain()).max().unwrap());
    }
    // A relay may be one of the dead itself; but most answer that they are well.
    assert!(worst <= 5, "{worst}");
    sim.run_for(secs(10));
    assert!((0..12).all(|n| sim.core(n).strain() == 0));
}
