//! One claim at a time, in small meshes without chance.

use std::time::Duration;

use meshwork_crdt::{Dot, Hlc, Kind, Limits, Merges, Object, Op, ReplicaId, Stamp};
use meshwork_sync::{
    Config, Item, Key, Level, Message, Output, Refusal, Refuser, Space, StoreFailure, Write,
    WriteError,
};

use crate::chaos::local;
use crate::sim::{Sim, id, secs, view};

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

fn put(sim: &mut Sim, n: usize, name: &str, value: &[u8]) {
    write(sim, n, name, Op::Put(value.to_vec()), Level::Local);
}

fn write(sim: &mut Sim, n: usize, name: &str, op: Op, level: Level) {
    let write = Write {
        key: key(name),
        op,
        level,
        timeout: secs(2),
    };
    sim.write(n, 1, write);
}

fn siblings(object: &Object) -> Vec<Vec<u8>> {
    let register = object.as_register();
    let values = register.into_iter().flat_map(|r| r.siblings());
    values.map(|(_, _, value)| value.clone()).collect()
}

/// Nodes that are connected and complete.
fn mesh(count: usize) -> Sim {
    let mut sim = Sim::new(1, count, Config::default());
    for n in 0..count {
        sim.start(n);
    }
    sim.connect_all();
    sim.run_for(secs(2));
    for n in 0..count {
        assert_eq!(sim.core(n).moving(), (0, 0));
    }
    sim
}

#[test]
fn a_removal_that_went_missing_is_found_although_all_that_is_live_is_there() {
    let mut sim = mesh(3);
    put(&mut sim, 1, "a/a", b"first");
    sim.run_for(secs(1));
    sim.disconnect(2, 0);
    put(&mut sim, 2, "a/a", b"second");
    sim.run_for(secs(1));
    put(&mut sim, 1, "a/a", b"third");
    sim.run_for(secs(1));
    let state = local(&mut sim, 0, &key("a/a"));
    assert_eq!(
        siblings(&state).len(),
        2,
        "what replaced the first has not come"
    );
    sim.run_for(secs(60));
    let state = local(&mut sim, 0, &key("a/a"));
    assert_eq!(siblings(&state), [b"third".to_vec()]);
    assert_eq!(state, local(&mut sim, 1, &key("a/a")));
}

#[test]
fn a_full_disk_holds_up_neither_reads_nor_answers() {
    let mut sim = mesh(2);
    put(&mut sim, 0, "a/a", b"kept");
    sim.run_for(secs(1));
    sim.nodes[0].full = true;
    sim.answers.clear();
    put(&mut sim, 0, "a/b", b"lost");
    // Node 1 pushes to node 0, which cannot take it.
    put(&mut sim, 1, "a/c", b"waits");
    sim.run_for(secs(1));
    let refused = Err(WriteError::Store(StoreFailure::Full));
    let refused = Output::Written {
        id: 1,
        result: refused,
    };
    assert!(sim.answers.contains(&(0, refused)));
    let state = local(&mut sim, 0, &key("a/a"));
    assert_eq!(siblings(&state), [b"kept".to_vec()]);
    sim.nodes[0].full = false;
    sim.run_for(secs(90));
    let state = local(&mut sim, 0, &key("a/c"));
    assert_eq!(siblings(&state), [b"waits".to_vec()]);
}

#[test]
fn a_clock_that_is_a_year_ahead_is_refused_told_on_both_sides_and_harms_nobody() {
    const YEAR: Duration = secs(365 * 24 * 3_600);
    let mut sim = mesh(3);
    sim.nodes[1].clock_ahead = YEAR;
    sim.answers.clear();
    put(&mut sim, 1, "a/a", b"from the future");
    sim.run_for(secs(30));
    assert!(sim.core(1).counts().clock_ahead_by_peers > 0);
    let told = |peer, by| {
        let reason = Refusal::ClockAhead;
        Output::Refused { peer, by, reason }
    };
    for n in [0, 2] {
        let there = sim.outputs_of(n, &told(id(1), Refuser::Us));
        let here = sim.outputs_of(1, &told(id(n), Refuser::Peer));
        assert_eq!((there, here), (1, 1), "once for each side");
        assert!(sim.core(n).counts().clock_ahead > 0);
    }
    for n in [0, 2] {
        assert!(siblings(&local(&mut sim, n, &key("a/a"))).is_empty());
    }

    // The others are not dragged along: the last write of an honest clock is the one that is kept.
    put(&mut sim, 0, "a/a", b"honest");
    sim.run_for(secs(5));
    assert_eq!(siblings(&local(&mut sim, 2, &key("a/a"))), [b"honest"]);

    // Nothing is lost where the clock was wrong. Once it is right, what is written over the refused value settles that, too.
    sim.nodes[1].clock_ahead = Duration::ZERO;
    sim.crash(1);
    sim.start(1);
    sim.connect_all();
    let kept = siblings(&local(&mut sim, 1, &key("a/a")));
    assert!(kept.contains(&b"from the future".to_vec()), "{kept:?}");
    put(&mut sim, 1, "a/a", b"right again");
    sim.run_for(secs(130));
    for n in 0..3 {
        let state = local(&mut sim, n, &key("a/a"));
        assert_eq!(siblings(&state), [b"right again"], "node {n}");
        assert_eq!(sim.core(n).outbox().entries, 0, "node {n}");
    }
}

#[test]
fn a_damaged_object_is_repaired_by_its_replicas_and_counted_once() {
    let mut sim = mesh(2);
    put(&mut sim, 0, "a/a", b"one");
    put(&mut sim, 0, "a/b", b"two");
    sim.run_for(secs(1));
    for nth in 0..2 {
        sim.nodes[1].disk.damage(Space::Objects, nth).unwrap();
    }
    sim.crash(1);
    sim.start(1);
    sim.connect_all();
    sim.run_for(secs(30));
    for (name, value) in [("a/a", b"one".to_vec()), ("a/b", b"two".to_vec())] {
        let state = local(&mut sim, 1, &key(name));
        assert_eq!(siblings(&state), [value]);
    }
    assert_eq!(sim.core(1).objects_len(), 2);
    assert_eq!(sim.core(1).moving(), (0, 0));
    let before = sim.core(0).counts().differences;
    sim.run_for(secs(120));
    assert_eq!(
        sim.core(0).counts().differences,
        before,
        "nothing differs for good"
    );
}

/// Gives each node those of `keys` objects that `has` says, without a connection that could even them out.
fn fill(sim: &mut Sim, keys: u64, has: impl Fn(usize, u64) -> bool) {
    sim.disconnect(0, 1);
    for to in 0..2 {
        let items: Vec<Item> = (0..keys).filter(|n| has(to, *n)).map(item).collect();
        for items in items.chunks(1_000) {
            let items = items.to_vec();
            let push = Message::Push { id: 1, items }.encode();
            let (now, wall_ms) = (sim.now, sim.wall_ms(to));
            sim.on(to, |core| {
                core.handle_message(now, wall_ms, id(1 - to), &push)
                    .unwrap();
            });
        }
        sim.run_for(secs(1));
    }
}

fn item(n: u64) -> Item {
    let stamp = Stamp {
        dot: Dot::new(ReplicaId::from_bytes([9; 8]), n + 1),
        claim_after: None,
        hlc: Hlc::default(),
    };
    let delta = Object::new().apply(&stamp, &Op::Add(1), &Merges::default());
    Item {
        key: key(&format!("a/{n}")),
        object: delta.unwrap().encode(),
    }
}

#[test]
fn a_difference_beyond_what_symbols_in_memory_show_is_settled_at_once() {
    let mut sim = mesh(2);
    fill(&mut sim, 8_000, |node, n| node == 0 || n % 8 != 0);
    sim.connect(0, 1);
    sim.run_for(secs(31));
    assert_eq!(sim.core(1).objects_len(), 8_000);
    // The hint of so large a difference does not stand in the way of the next one.
    fill(&mut sim, 8_010, |_, n| n >= 8_000);
    sim.connect(0, 1);
    sim.run_for(secs(31));
    assert_eq!(sim.core(0).objects_len(), 8_010);
    let settled = sim.core(0).counts().comparisons;
    sim.run_for(secs(31));
    assert_eq!(sim.core(0).counts().comparisons, settled + 1);
}

#[test]
fn two_replicas_of_twenty_thousand_keys_settle_a_hundred_in_few_bytes() {
    let mut sim = mesh(2);
    fill(&mut sim, 20_000, |node, n| {
        n % 200 != 0 || node == usize::from(n % 400 == 0)
    });
    assert_eq!(sim.core(0).objects_len(), 19_950);
    assert_eq!(sim.core(1).objects_len(), 19_950);
    let before = sim.sent;
    sim.connect(0, 1);
    sim.run_for(secs(31));
    let messages = sim.sent.reconcile_messages - before.reconcile_messages;
    let bytes = sim.sent.reconcile_bytes - before.reconcile_bytes;
    let items = sim.sent.pushed_items - before.pushed_items;
    assert_eq!(sim.core(0).objects_len(), 20_000);
    assert_eq!(sim.core(1).objects_len(), 20_000);
    assert_eq!(items, 100, "only what differs is pushed");
    // Two round trips of symbols, one question for what is wanted, and its end.
    assert!(messages <= 8, "{messages} messages");
    assert!(bytes <= 6_000, "{bytes} bytes");
    println!("{messages} messages, {bytes} bytes");
}

#[test]
fn what_a_newcomer_wrote_before_it_heard_of_anybody_reaches_the_replicas_at_once() {
    let mut sim = Sim::new(1, 5, Config::default());
    for n in 0..5 {
        sim.nodes[n].view = if n < 4 { view(0..4) } else { view([4]) };
        sim.start(n);
    }
    for (a, b) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
        sim.connect(a, b);
    }
    sim.run_for(secs(2));
    let names: Vec<String> = (0..20).map(|n| format!("a/{n}")).collect();
    for name in &names {
        write(&mut sim, 4, name, Op::Put(b"alone".to_vec()), Level::One);
    }
    sim.run_for(secs(1));
    sim.connect_all();
    for n in 0..5 {
        sim.set_view(n, view(0..5));
    }
    // Long before the sweep that looks for resting copies.
    sim.run_for(secs(5));
    for name in &names {
        let position = key(name).position();
        let replicas = sim
            .core(0)
            .placement()
            .replicas(position.partition())
            .to_vec();
        for n in (0..5).filter(|n| replicas.contains(&id(*n))) {
            let state = local(&mut sim, n, &key(name));
            assert_eq!(siblings(&state), [b"alone".to_vec()], "{name} at node {n}");
        }
    }
}

#[test]
fn a_newcomer_that_knows_nobody_is_no_quorum() {
    let mut sim = Sim::new(1, 2, Config::default());
    sim.nodes[1].view = view([1]);
    sim.start(1);
    write(&mut sim, 1, "a/a", Op::Put(b"x".to_vec()), Level::Quorum);
    let refused = WriteError::Unavailable {
        reachable: 0,
        needed: 2,
    };
    let refused = Output::Written {
        id: 1,
        result: Err(refused),
    };
    assert!(sim.answers.contains(&(1, refused)));
}

#[test]
fn a_node_that_begins_to_leave_refuses_also_the_write_that_it_fetches_for() {
    let mut sim = Sim::new(1, 2, Config::default());
    for n in 0..2 {
        sim.nodes[n].view = view([0]);
        sim.start(n);
    }
    sim.connect(0, 1);
    sim.run_for(secs(2));
    write(&mut sim, 1, "a/a", Op::Put(b"x".to_vec()), Level::One);
    sim.on(1, |core| core.take_no_more_writes());
    sim.run_for(secs(5));
    let refused = Output::Written {
        id: 1,
        result: Err(WriteError::Leaving),
    };
    assert!(sim.answers.contains(&(1, refused)));
    assert!(local(&mut sim, 0, &key("a/a")).version().is_empty());
}

#[test]
fn a_write_whose_last_replica_leaves_while_it_fetches_is_refused_and_changes_nothing() {
    let mut sim = Sim::new(1, 2, Config::default());
    for n in 0..2 {
        sim.nodes[n].view = view([0]);
        sim.start(n);
    }
    sim.connect(0, 1);
    sim.run_for(secs(2));
    write(&mut sim, 1, "a/a", Op::Put(b"x".to_vec()), Level::One);
    sim.set_view(1, view([]));
    sim.disconnect(0, 1);
    sim.run_for(secs(5));
    let refused = Err(WriteError::Unavailable {
        reachable: 0,
        needed: 1,
    });
    let refused = Output::Written {
        id: 1,
        result: refused,
    };
    assert!(sim.answers.contains(&(1, refused)));
    assert!(local(&mut sim, 1, &key("a/a")).version().is_empty());
}

#[test]
fn a_value_of_a_kind_that_nobody_here_knows_is_kept_and_passed_on() {
    let mut sim = mesh(3);
    // Node 0 will have a later release: what it writes is a flag with a tag that no kind has yet.
    sim.crash(0);
    let stamp = Stamp {
        dot: Dot::new(ReplicaId::from_bytes([9; 8]), 1),
        claim_after: None,
        hlc: Hlc::default(),
    };
    let delta = Object::new().apply(&stamp, &Op::Switch(true), &Merges::default());
    let mut object = delta.unwrap().encode();
    let tag = object.iter().rposition(|byte| *byte == 7).unwrap();
    object[tag] = 77;
    let later = Object::decode(&object, &Limits::DEFAULT).unwrap();
    assert!(matches!(later.kinds().next(), Some(Kind::Unknown(77, _))));
    let items = vec![Item {
        key: key("a/a"),
        object,
    }];
    let push = Message::Push { id: 1, items }.encode();
    let (now, wall_ms) = (sim.now, sim.wall_ms(1));
    sim.on(1, |core| {
        core.handle_message(now, wall_ms, id(0), &push).unwrap();
    });
    sim.run_for(secs(130));
    for n in 1..3 {
        assert_eq!(local(&mut sim, n, &key("a/a")), later, "node {n}");
    }
    sim.crash(2);
    sim.start(2);
    assert_eq!(local(&mut sim, 2, &key("a/a")), later, "from the disk");
    write(&mut sim, 2, "a/a", Op::Delete, Level::Local);
    sim.run_for(secs(1));
    assert!(local(&mut sim, 2, &key("a/a")).is_deleted());
}

#[test]
fn a_replica_that_acknowledges_twice_counts_once() {
    let mut sim = mesh(5);
    let key = (0..200)
        .map(|n| format!("a/{n}"))
        .find(|name| !replicas(&sim, name).contains(&0))
        .unwrap();
    let placed = replicas(&sim, &key);
    let outsider = (1..5).find(|n| !placed.contains(n)).unwrap();
    // Only the first of the replicas has room.
    for n in [placed[1], placed[2], outsider] {
        sim.nodes[n].full = true;
    }
    let patient = Write {
        key: Key::parse(&key).unwrap(),
        op: Op::Put(b"x".to_vec()),
        level: Level::Quorum,
        timeout: secs(200),
    };
    sim.write(0, 1, patient);
    sim.run_for(secs(1));
    // Another one takes the place of the last.
    sim.set_view(0, view((0..5).filter(|n| *n != placed[2])));
    sim.run_for(secs(1));
    let said = |sim: &Sim| {
        let ok = |(n, said): &(usize, Output)| {
            *n == 0 && matches!(said, Output::Written { result: Ok(_), .. })
        };
        sim.answers.iter().any(ok)
    };
    assert!(!said(&sim), "one replica is no quorum");
    sim.nodes[placed[1]].full = false;
    sim.run_for(secs(100));
    assert!(said(&sim), "two replicas are");
}

/// The nodes that a key is placed on.
fn replicas(sim: &Sim, name: &str) -> Vec<usize> {
    let partition = key(name).position().partition();
    let placed = sim.core(0).placement().replicas(partition).to_vec();
    (0..sim.nodes.len())
        .filter(|n| placed.contains(&id(*n)))
        .collect()
}

#[test]
fn two_that_hand_a_copy_over_to_each_other_do_not_both_let_go_of_it() {
    let mut sim = mesh(2);
    put(&mut sim, 0, "a/a", b"kept");
    sim.run_for(secs(1));
    // Each has heard that the other is the only replica: news of who comes and goes is not everywhere at once.
    sim.set_view(0, view([1]));
    sim.set_view(1, view([0]));
    sim.run_for(secs(3));
    sim.set_view(1, view([1]));
    sim.run_for(secs(3));
    let state = local(&mut sim, 1, &key("a/a"));
    assert_eq!(siblings(&state), [b"kept".to_vec()]);
    assert_eq!(sim.core(0).moving(), (0, 0), "and then it can go");
}
