//! Joining, changing, leaving, crashing, coming back.

use meshwork_membership::{Config, Event, Meta, State};

use crate::sim::{Sim, id, meta, secs};

#[test]
fn all_learn_of_a_join_within_two_seconds() {
    for seed in 0..5 {
        let mut sim = Sim::settled(seed, 16, Config::lan());
        sim.start(16, 0);
        sim.act(16, |core, now| core.join(now, id(3)));
        sim.run_until(secs(2), |sim| sim.all_alive(0..17)).unwrap();
        assert_eq!(sim.events_of(|e| *e == Event::Joined(id(16))), 16);
    }
}

#[test]
fn a_join_through_a_seed_that_starts_later_succeeds() {
    let mut sim = Sim::new(1, Config::lan());
    sim.start(0, 0);
    sim.act(0, |core, now| core.join(now, id(1)));
    sim.run_for(secs(100));
    sim.start(1, 0);
    sim.run_until(secs(11), |sim| sim.all_alive(0..2)).unwrap();
}

#[test]
fn a_crash_is_known_to_all_five_within_seconds() {
    for seed in 0..10 {
        let mut sim = Sim::settled(seed, 5, Config::lan());
        sim.crash(2);
        // The worst case of round robin: first in one round, last in the next, for all four.
        sim.run_until(secs(8), |sim| sim.all_hold(2, &[Some(State::Down)]))
            .unwrap();
        sim.run_for(secs(60));
        assert_eq!(
            sim.events_of(|e| *e == Event::Down(id(2))),
            4,
            "told once each"
        );
        assert_eq!(
            sim.events_of(|e| matches!(e, Event::Suspected(n) if *n != id(2))),
            0
        );
    }
}

#[test]
fn a_hint_of_the_transport_hurries_the_probe_and_judges_nobody() {
    let mut sim = Sim::settled(1, 32, Config::lan());
    for n in 1..32 {
        sim.act(n, |core, now| core.handle_unreachable(now, id(0)));
    }
    sim.run_for(secs(30));
    assert_eq!(sim.events, [], "it lives");
    sim.crash(0);
    for n in 1..32 {
        sim.act(n, |core, now| core.handle_unreachable(now, id(0)));
    }
    sim.run_until(secs(8), |sim| sim.all_hold(0, &[Some(State::Down)]))
        .unwrap();
}

#[test]
fn a_graceful_leave_is_known_to_all_within_a_second_and_is_no_death() {
    for (size, loss) in [(5, 0.0), (64, 0.0), (64, 0.2)] {
        let mut sim = Sim::settled(7, size, Config::lan());
        sim.loss = loss;
        sim.act(1, |core, now| core.leave(now));
        sim.run_until(secs(1), |sim| sim.all_hold(1, &[Some(State::Left)]))
            .unwrap();
        sim.crash(1);
        sim.run_for(secs(60));
        assert!(sim.all_hold(1, &[Some(State::Left)]));
        assert_eq!(sim.events_of(|e| *e == Event::Down(id(1))), 0);
        assert_eq!(sim.events_of(|e| *e == Event::Left(id(1))), size - 1);
    }
}

#[test]
fn a_leaver_whom_not_all_heard_directly_is_known_to_have_left() {
    let config = Config {
        leave_direct_max: 3,
        ..Config::lan()
    };
    let mut sim = Sim::settled(7, 32, config);
    sim.act(1, |core, now| core.leave(now));
    sim.run_until(secs(3), |sim| sim.all_hold(1, &[Some(State::Left)]))
        .unwrap();
}

#[test]
fn who_left_comes_back_as_a_joiner() {
    let mut sim = Sim::settled(7, 5, Config::lan());
    sim.act(1, |core, now| core.leave(now));
    sim.run_for(secs(2));
    sim.crash(1);
    sim.run_for(secs(100));
    sim.events.clear();
    sim.start(1, 0);
    sim.run_until(secs(3), |sim| sim.all_alive(0..5)).unwrap();
    assert_eq!(sim.events_of(|e| *e == Event::Joined(id(1))), 4);
}

#[test]
fn a_restart_with_a_lower_incarnation_is_alive_for_all_at_once() {
    for away in [0, 1, 3, 600] {
        let mut sim = Sim::settled(away, 8, Config::lan());
        for weight in 1..9 {
            let changed = Meta {
                weight,
                ..sim.core(4).me().meta.clone()
            };
            sim.act(4, |core, now| core.set_meta(now, changed)).unwrap();
        }
        sim.run_for(secs(5));
        sim.crash(4);
        sim.run_for(secs(away));
        sim.start(4, 0);
        sim.run_until(secs(3), |sim| {
            let instance = sim.core(4).me().meta.instance;
            let knows = |at| sim.core(at).member(id(4)).unwrap().meta.instance == instance;
            sim.all_alive(0..8) && (0..8).filter(|n| *n != 4).all(knows)
        })
        .unwrap();
        assert!(sim.core(4).me().incarnation >= 9);
        assert_eq!(sim.events_of(|e| matches!(e, Event::Impostor { .. })), 0);
    }
}

#[test]
fn all_restart_at_once_and_nobody_is_called_dead() {
    let mut sim = Sim::settled(3, 32, Config::lan());
    (0..32).for_each(|n| sim.crash(n));
    sim.run_for(secs(60));
    sim.events.clear();
    (0..32).for_each(|n| sim.start(n, 0));
    let know = |sim: &Sim| {
        sim.nodes.values().all(|at| {
            at.members()
                .all(|m| sim.nodes[&m.id].me().meta == m.meta && m.state == State::Alive)
        })
    };
    sim.run_until(secs(5), know).unwrap();
    sim.run_for(secs(30));
    assert_eq!(
        sim.events_of(|e| matches!(e, Event::Down(_) | Event::Expired(_))),
        0
    );
}

#[test]
fn changed_metadata_reaches_all() {
    let mut sim = Sim::settled(3, 32, Config::lan());
    let changed = Meta {
        zone: "moved".into(),
        ..meta(9, 1)
    };
    sim.act(9, |core, now| core.set_meta(now, changed.clone()))
        .unwrap();
    sim.run_until(secs(2), |sim| {
        (0..32).all(|at| at == 9 || sim.core(at).member(id(9)).unwrap().meta == changed)
    })
    .unwrap();
    assert_eq!(sim.events_of(|e| *e == Event::Changed(id(9))), 31);
}

#[test]
fn the_dead_are_expired_after_their_time_and_forgotten_on_disk() {
    let config = Config {
        forget_after: secs(300),
        ..Config::lan()
    };
    let mut sim = Sim::settled(3, 5, config);
    sim.crash(2);
    sim.run_for(secs(290));
    assert!(sim.all_hold(2, &[Some(State::Down)]));
    assert!(sim.disks[&id(0)].contains_key(&id(2)));
    sim.run_for(secs(40));
    assert!(sim.all_hold(2, &[None]));
    assert!(!sim.disks[&id(0)].contains_key(&id(2)));
    assert_eq!(sim.events_of(|e| *e == Event::Expired(id(2))), 4);
}

#[test]
fn a_newcomer_learns_of_the_dead_and_their_age() {
    let config = Config {
        forget_after: secs(300),
        ..Config::lan()
    };
    let mut sim = Sim::settled(3, 5, config);
    sim.crash(2);
    sim.run_for(secs(200));
    sim.start(9, 0);
    sim.act(9, |core, now| core.join(now, id(0)));
    sim.run_for(secs(5));
    assert_eq!(sim.state(2, 9), Some(State::Down));
    sim.run_for(secs(120));
    assert_eq!(sim.state(2, 9), None);
}

#[test]
fn who_was_away_when_another_left_learns_that_it_has_left() {
    for seed in 0..5 {
        let mut sim = Sim::settled(seed, 5, Config::lan());
        sim.crash(4);
        sim.run_for(secs(60));
        sim.act(1, |core, now| core.leave(now));
        sim.run_for(secs(2));
        sim.crash(1);
        sim.run_for(secs(60));
        sim.start(4, 0);
        let left = |sim: &Sim| sim.state(1, 4) == Some(State::Left);
        sim.run_until(secs(60), left)
            .expect("told by those who know");
        sim.run_for(secs(60));
        assert!(left(&sim));
        assert!(
            sim.all_hold(1, &[Some(State::Left)]),
            "nobody else doubts it"
        );
    }
}

#[test]
fn a_member_that_missed_a_goodbye_learns_of_it_from_others() {
    let mut sim = Sim::settled(7, 32, Config::lan());
    // One hears nothing while another leaves and its news dies down.
    sim.freeze(9);
    sim.act(1, |core, now| core.leave(now));
    sim.run_for(secs(5));
    sim.crash(1);
    sim.frozen.insert(id(9), Vec::new());
    sim.thaw(9);
    sim.run_until(secs(20), |sim| sim.all_hold(1, &[Some(State::Left)]))
        .unwrap();
}

#[test]
fn who_held_a_member_for_dead_when_it_left_elsewhere_learns_that_it_has_left() {
    let mut sim = Sim::settled(3, 6, Config::lan());
    // Half of them holds the other for dead while one there leaves.
    for n in 0..6 {
        sim.side.insert(id(n), u8::from(n % 2 == 0));
    }
    sim.run_until(secs(120), |sim| sim.state(0, 1) == Some(State::Down))
        .unwrap();
    sim.act(1, |core, now| core.leave(now));
    sim.run_for(secs(2));
    sim.crash(1);
    sim.side.clear();
    sim.run_until(secs(60), |sim| sim.all_hold(1, &[Some(State::Left)]))
        .expect("told by those who know");
}
