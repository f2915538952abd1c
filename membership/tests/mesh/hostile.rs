//! Members that lie, and bytes that are none.

use core::time::Duration;

use meshwork_membership::{
    Claim, Config, Coordinate, DecodeMessage, Event, INCARNATION_MAX, MESSAGE_BYTES_MAX,
    Membership, Message, Meta, NodeId, Purpose, RejectMessage, State, Time,
};
use proptest::prelude::*;

use crate::sim::{Sim, id, meta, secs};

fn claim(about: NodeId, incarnation: u64, state: State) -> Claim {
    Claim {
        id: about,
        incarnation,
        state,
        gone_secs: 0,
        accusers: vec![],
        described: 0,
        meta: Some(meta(0, 7)),
    }
}

fn gossip(claims: Vec<Claim>) -> Vec<u8> {
    Message {
        purpose: Purpose::Gossip,
        claims,
    }
    .encode()
}

fn lone() -> Membership {
    Membership::new(id(0), meta(0, 1), 0, Config::lan(), 1, Time::ZERO).unwrap()
}

/// One liar, who is a working member too, accuses everybody again and again for ten minutes.
fn ten_minutes_of_lies(
    size: usize,
    every_s: u64,
    via: Purpose,
    lie: impl Fn(u64, NodeId) -> Claim,
) -> Sim {
    let mut sim = Sim::settled(11, size, Config::lan());
    for _ in 0..600 / every_s {
        for to in 1..size {
            let claims = (1..size)
                .map(|about| {
                    let incarnation = sim.core(about).me().incarnation;
                    lie(incarnation, id(about))
                })
                .collect();
            sim.inject(
                id(0),
                id(to),
                Message {
                    purpose: via.clone(),
                    claims,
                }
                .encode(),
            );
        }
        sim.run_for(secs(every_s));
    }
    sim
}

fn nobody_was_lost(sim: &Sim) {
    let lost = sim.events_of(|e| matches!(e, Event::Down(_) | Event::Left(_) | Event::Expired(_)));
    assert_eq!(lost, 0);
}

#[test]
fn one_liar_in_five_evicts_nobody_in_ten_minutes() {
    for state in [State::Suspect, State::Down, State::Left] {
        for ahead in [0, 1_000] {
            let sim = ten_minutes_of_lies(5, 1, Purpose::Gossip, |incarnation, about| Claim {
                meta: None,
                ..claim(about, incarnation + ahead, state)
            });
            nobody_was_lost(&sim);
            let strain = (1..5).map(|n| sim.core(n).strain()).max();
            assert!(strain <= Some(2), "nor slows the others down: {strain:?}");
        }
    }
}

#[test]
fn one_liar_in_twenty_evicts_nobody_in_ten_minutes() {
    for via in [Purpose::Gossip, Purpose::ExchangePart] {
        let sim = ten_minutes_of_lies(20, 10, via, |i, about| claim(about, i, State::Down));
        nobody_was_lost(&sim);
    }
}

#[test]
fn forged_metadata_is_outbid_by_its_owner() {
    let mut sim = Sim::settled(1, 8, Config::lan());
    let forged = Meta {
        zone: "forged".into(),
        ..sim.core(3).me().meta.clone()
    };
    let claim = Claim {
        meta: Some(forged),
        ..claim(id(3), 1_000, State::Alive)
    };
    for to in [1, 2, 4] {
        sim.inject(id(0), id(to), gossip(vec![claim.clone()]));
    }
    sim.run_for(Duration::from_millis(100));
    let honest = |sim: &Sim| {
        (0..8).all(|at| {
            let me = sim.core(3).me();
            at == 3 || sim.core(at).member(id(3)).unwrap().meta == me.meta
        })
    };
    sim.run_until(secs(2), honest).unwrap();
    assert!(sim.core(3).me().incarnation > 1_000);
}

#[test]
fn the_greatest_incarnation_evicts_nobody() {
    for incarnation in [
        u64::MAX,
        INCARNATION_MAX,
        INCARNATION_MAX - 1,
        1 << 40,
        1 << 20,
    ] {
        let mut sim = Sim::settled(1, 5, Config::lan());
        for state in [State::Alive, State::Suspect, State::Down, State::Left] {
            for to in 1..5 {
                let lie = gossip(vec![claim(id(3), incarnation, state)]);
                sim.inject(id(0), id(to), lie);
            }
            sim.run_for(secs(10));
        }
        nobody_was_lost(&sim);
        assert!(sim.all_alive(0..5));
        let changed = meta(3, 77);
        sim.act(3, |core, now| core.set_meta(now, changed.clone()))
            .unwrap();
        sim.run_for(secs(10));
        assert_eq!(
            sim.core(1).member(id(3)).unwrap().meta,
            changed,
            "it is still believed"
        );
    }
}

#[test]
fn a_newcomer_that_was_lied_to_believes_the_member_itself() {
    let mut sim = Sim::settled(1, 5, Config::lan());
    sim.start(9, 0);
    let lie = gossip(vec![claim(id(3), INCARNATION_MAX - 1, State::Alive)]);
    sim.inject(id(0), id(9), lie);
    sim.run_for(secs(1));
    sim.act(9, |core, now| core.join(now, id(0)));
    let honest = |sim: &Sim| sim.core(9).member(id(3)).unwrap().meta == sim.core(3).me().meta;
    sim.run_until(secs(10), honest).unwrap();
    sim.run_for(secs(60));
    assert!(honest(&sim) && sim.core(3).me().incarnation < 100);
}

#[test]
fn a_million_made_up_members_stay_within_the_bound_and_keep_nobody_out() {
    let config = Config {
        members_max: 1_000,
        dead_remembered_max: 100,
        ..Config::lan()
    };
    let mut core = Membership::new(id(0), meta(0, 1), 0, config, 1, Time::ZERO).unwrap();
    let mut now = Time(1_000);
    core.handle_message(now, id(1), &gossip(vec![claim(id(1), 0, State::Alive)]))
        .unwrap();
    for batch in 0..100 {
        now = now + Duration::from_millis(100);
        let state = [State::Alive, State::Down, State::Suspect, State::Left][batch % 4];
        let fakes = (0..10_000).map(|n| Claim {
            meta: Some(Meta {
                weight: 1,
                ..Meta::default()
            }),
            ..claim(id(2 + batch * 10_000 + n), 0, state)
        });
        let message = gossip(fakes.collect());
        core.handle_message(now, id(1), &message).unwrap();
        core.handle_timeout(now);
        while core.poll_output().is_some() {}
        assert!(core.members().count() <= 1_100);
    }
    assert!(core.counters().members_refused > 0 && core.counters().gone_forgotten > 0);
    let honest = id(usize::MAX);
    core.handle_message(now, honest, &gossip(vec![claim(honest, 0, State::Alive)]))
        .unwrap();
    assert_eq!(core.member(honest).unwrap().state, State::Alive);
    assert_eq!(
        core.member(id(1)).unwrap().state,
        State::Alive,
        "who spoke to us keeps its place"
    );
}

#[test]
fn oversize_metadata_unknown_versions_and_long_messages_are_refused() {
    let mut core = lone();
    let mut refuse = |bytes: &[u8]| core.handle_message(Time(1), id(1), bytes).unwrap_err();
    let mut large = claim(id(1), 0, State::Alive);
    large.meta.as_mut().unwrap().name = "n".repeat(65);
    assert_eq!(
        refuse(&gossip(vec![large])),
        RejectMessage::Decode(DecodeMessage::Malformed)
    );
    let good = gossip(vec![claim(id(1), 0, State::Alive)]);
    let newer = [&[9], &good[1..]].concat();
    let version = RejectMessage::Decode(DecodeMessage::Version { version: 9 });
    assert_eq!(refuse(&newer), version);
    let trailing = [&good[..], &[0]].concat();
    assert_eq!(
        refuse(&trailing),
        RejectMessage::Decode(DecodeMessage::Malformed)
    );
    let long = vec![1; MESSAGE_BYTES_MAX + 1];
    let too_large = DecodeMessage::TooLarge {
        bytes: MESSAGE_BYTES_MAX + 1,
    };
    assert_eq!(refuse(&long), RejectMessage::Decode(too_large));
    assert!(core.members().next().is_none());
}

#[test]
fn a_message_in_this_nodes_name_is_refused() {
    let refused = lone().handle_message(Time(1), id(0), &gossip(vec![]));
    assert_eq!(refused, Err(RejectMessage::FromMyself));
}

fn any_state() -> impl Strategy<Value = State> {
    prop::sample::select(vec![State::Alive, State::Suspect, State::Down, State::Left])
}

fn any_claim() -> impl Strategy<Value = Claim> {
    let incarnation = prop_oneof![0..4u64, Just(1 << 20), Just(INCARNATION_MAX), any::<u64>()];
    (
        0..6usize,
        incarnation,
        any_state(),
        any::<u32>(),
        any::<bool>(),
    )
        .prop_map(|(n, incarnation, state, gone_secs, described)| Claim {
            gone_secs,
            accusers: (0..gone_secs % 9).collect(),
            described: u32::from(!described) * (gone_secs % 2),
            meta: described.then(|| meta(n, incarnation % 3)),
            ..claim(id(n), incarnation, state)
        })
}

fn any_purpose() -> impl Strategy<Value = Purpose> {
    let hashes = prop::collection::vec(any::<u32>(), 0..5);
    (0..13, any::<u64>(), 0..6usize, hashes, any_coordinate()).prop_map(
        |(kind, sequence, target, hashes, coordinate)| match kind {
            0 => Purpose::Ping { sequence },
            1 => Purpose::Ack {
                sequence,
                coordinate: Some(coordinate),
            },
            2 => Purpose::PingReq {
                sequence,
                target: id(target),
            },
            3 => Purpose::PingReqAck { sequence },
            4 => Purpose::Gossip,
            5 => Purpose::Digest { sum: sequence },
            6 => Purpose::ExchangePart,
            7 => Purpose::ExchangeAsk {
                sum: sequence,
                known: 0,
            },
            8 => Purpose::PingReqNack { sequence },
            9 => Purpose::Sums {
                sums: [0; Purpose::BUCKETS],
            },
            10 => Purpose::Have {
                buckets: u32::MAX,
                hashes,
            },
            11 => Purpose::Want { hashes },
            _ => Purpose::ExchangeAnswer,
        },
    )
}

fn any_coordinate() -> impl Strategy<Value = Coordinate> {
    let micros = prop_oneof![-2_000..2_000i32, any::<i32>()];
    (prop::array::uniform3(micros), any::<u32>(), any::<u16>()).prop_map(
        |(position, height, error)| Coordinate {
            position,
            height,
            error,
        },
    )
}

fn any_message() -> impl Strategy<Value = Message> {
    (any_purpose(), prop::collection::vec(any_claim(), 0..5))
        .prop_map(|(purpose, claims)| Message { purpose, claims })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn garbage_is_refused_without_a_trace(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut core = lone();
        if Message::decode(&bytes).is_err() {
            prop_assert!(core.handle_message(Time(1), id(1), &bytes).is_err());
            prop_assert!(core.members().next().is_none());
        }
    }

    #[test]
    fn messages_round_trip_and_their_damaged_forms_do_not_panic(
        message in any_message(), at in any::<prop::sample::Index>(), byte: u8,
    ) {
        let mut bytes = message.encode();
        if let Ok(decoded) = Message::decode(&bytes) {
            prop_assert_eq!(decoded, message);
        }
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(decoded) = Message::decode(&bytes) {
            prop_assert_eq!(Message::decode(&decoded.encode()), Ok(decoded));
        }
    }

    #[test]
    fn any_valid_messages_at_any_time_never_panic_nor_lower_an_incarnation(
        steps in prop::collection::vec((0..6usize, any_message(), 0..3_000u64), 1..40),
    ) {
        let mut core = lone();
        let mut now = Time(1);
        for (from, message, wait_ms) in steps {
            now = now + Duration::from_millis(wait_ms);
            let before = core.me().incarnation;
            let held: Vec<_> = core.members().map(|m| (m.id, m.incarnation)).collect();
            core.handle_timeout(now);
            let _refused = core.handle_message(now, id(from), &message.encode());
            prop_assert!(core.me().incarnation >= before && core.me().state == State::Alive);
            for (about, incarnation) in held {
                let lower = core.member(about).unwrap().incarnation < incarnation;
                prop_assert!(!lower || about == id(from), "only its owner knows better");
            }
            while core.poll_output().is_some() {}
            prop_assert!(core.poll_timeout().is_some());
        }
    }
}
