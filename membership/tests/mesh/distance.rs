//! Measured and estimated round trips, and what follows from them.

use core::time::Duration;

use meshwork_membership::{Config, Coordinate, Event, Membership, Message, Purpose, Time};

use crate::sim::{Sim, id, meta, secs};

/// Two sites, the nodes with even and odd numbers, 60 ms apart one way.
fn two_sites(size: usize, apart: Duration) -> Sim {
    let mut sim = Sim::settled(1, size, Config::lan());
    for n in (1..size).step_by(2) {
        sim.site.insert(id(n), apart);
    }
    sim
}

#[test]
fn distances_are_known_before_they_are_measured() {
    let mut sim = two_sites(24, Duration::from_millis(60));
    sim.run_for(secs(600));
    // A newcomer, at the site of the odd ones, that has pinged a few only.
    sim.start(24, 0);
    sim.site.insert(id(24), Duration::from_millis(60));
    sim.act(24, |core, now| core.join(now, id(0)));
    sim.run_for(secs(30));
    for n in 0..24 {
        let estimate = sim.core(n).distance(id(24));
        let real = if n % 2 == 0 { 126 } else { 6 };
        if let Some(estimate) = estimate {
            let wrong = estimate.as_millis().abs_diff(real);
            assert!(wrong <= 40, "{n}: {estimate:?} instead of {real} ms");
        }
    }
    assert_eq!(sim.core(3).distance(id(99)), None);
}

#[test]
fn coordinates_alone_tell_the_near_from_the_far() {
    let mut sim = two_sites(24, Duration::from_millis(60));
    sim.run_for(secs(900));
    for a in 0..24 {
        for b in (0..24).filter(|b| *b != a) {
            let (at, to) = (sim.core(a).coordinate(), sim.core(b).coordinate());
            let estimate = at.distance(&to);
            let far = a % 2 != b % 2;
            assert_eq!(
                estimate > Duration::from_millis(60),
                far,
                "{a} {b} {estimate:?}"
            );
        }
    }
}

#[test]
fn a_mesh_with_slow_links_suspects_nobody() {
    // A round trip of 1.2 s: more than the whole probe period.
    let mut sim = two_sites(12, Duration::from_millis(600));
    sim.run_for(secs(120));
    sim.events.clear();
    sim.run_for(secs(600));
    assert_eq!(
        sim.events_of(|e| matches!(e, Event::Down(_))),
        0,
        "their refutations are in time"
    );
    assert!(sim.events_of(|e| matches!(e, Event::Suspected(_))) < 12 * 11 / 4);
}

#[test]
fn a_hostile_coordinate_is_refused_and_changes_nothing() {
    let mut core = Membership::new(id(0), meta(0, 1), 0, Config::lan(), 1, Time::ZERO).unwrap();
    let before = core.coordinate();
    for coordinate in [
        Coordinate {
            position: [i32::MAX, 0, 0],
            ..before
        },
        Coordinate {
            height: u32::MAX,
            ..before
        },
        Coordinate { error: 0, ..before },
    ] {
        let purpose = Purpose::Ack {
            sequence: 1,
            coordinate: Some(coordinate),
        };
        let claims = vec![];
        let bytes = Message { purpose, claims }.encode();
        assert!(Message::decode(&bytes).is_err());
        assert!(core.handle_message(Time(1), id(1), &bytes).is_err());
    }
    assert_eq!(core.coordinate(), before);
}
