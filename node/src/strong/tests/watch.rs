//! Who watches sees every change once, in its place.

use std::collections::{BTreeMap, BTreeSet};

use meshwork_sync::{Key, Prefix, RequestId};
use rand::RngExt;

use super::group::group;
use super::net::{Net, ms};
use crate::strong::message::{Message, Reply};
use crate::strong::*;

fn put(keys: impl IntoIterator<Item = String>) -> StrongRequest {
    let put = |key: String| KeyOp::Put {
        key: Key::parse(&key).unwrap(),
        value: vec![],
        owner: Owner::Nobody,
    };
    StrongRequest::Do(Request::Transact(Transaction {
        then: keys.into_iter().map(put).collect(),
        ..Transaction::default()
    }))
}

fn watch(prefix: &str, after: Revision) -> StrongRequest {
    StrongRequest::Changes(Prefix::parse(prefix).unwrap(), after)
}

fn revision(done: &Result<StrongDone, StrongError>) -> Revision {
    let Ok(StrongDone::Done(Outcome::Done { revision, .. })) = done else {
        panic!("{done:?}");
    };
    *revision
}

fn changes(done: Result<StrongDone, StrongError>) -> Option<Changes> {
    let Ok(StrongDone::Changes(changes)) = done else {
        panic!("{done:?}");
    };
    changes
}

/// Watches on one node, as a handle there would.
struct Watcher {
    node: usize,
    /// Nothing while its node is down.
    asked: Option<RequestId>,
    upto: Revision,
    told: Vec<(Revision, Key)>,
}

impl Watcher {
    fn go_on(&mut self, net: &mut Net) {
        if net.hosts[self.node].strong.is_none() {
            self.asked = None;
            return;
        }
        if let Some(asked) = self.asked {
            let Some((_, done)) = net.done.remove(&asked) else {
                return;
            };
            if let Ok(StrongDone::Changes(changes)) = done {
                let Changes { keys, upto } = changes.unwrap();
                assert!(keys.iter().all(|(at, _)| *at > self.upto && *at <= upto));
                assert!(upto >= self.upto);
                self.told.extend(keys);
                self.upto = upto;
            }
        }
        let request = watch("a/w", self.upto);
        self.asked = Some(net.ask_for(self.node, request, ms(30_000)));
    }
}

/// Writes from all nodes at once, with keys beside the watched ones, and several in one step.
fn write(net: &mut Net, written: &mut BTreeMap<RequestId, Vec<String>>) {
    let node = net.rng.random_range(0..net.hosts.len());
    if net.hosts[node].strong.is_none() {
        return;
    }
    let names = ["a/w1", "a/w2", "a/other", "a/w3", "b/w1"];
    let begin = net.rng.random_range(0..names.len());
    let keys: Vec<String> = names[begin..]
        .iter()
        .take(3)
        .map(|key| (*key).to_owned())
        .collect();
    let id = net.ask(node, put(keys.clone()));
    written.insert(id, keys);
}

#[test]
fn no_change_is_missed_or_told_out_of_its_place_whoever_leads() {
    for seed in 0..8 {
        let mut net = group(100 + seed, 3);
        let create = Request::Create {
            namespace: "b".into(),
        };
        net.get(0, StrongRequest::Do(create)).unwrap();
        net.loss = 20;
        let begin = revision(&net.get(0, put(["a/w0".into()])));
        let watcher = |node| Watcher {
            node,
            asked: None,
            upto: begin,
            told: Vec::new(),
        };
        let mut watchers: Vec<Watcher> = (0..3).map(watcher).collect();
        let mut written = BTreeMap::new();
        let mut down = None;
        for round in 0..600 {
            write(&mut net, &mut written);
            match (round % 150, down) {
                (50, None) => {
                    down = net.leader();
                    down.into_iter().for_each(|leader| net.crash(leader));
                }
                (100, Some(n)) => {
                    net.start(n);
                    down = None;
                }
                _ => {}
            }
            let pause = net.rng.random_range(0..60);
            net.run_for(ms(pause));
            for watcher in &mut watchers {
                watcher.go_on(&mut net);
            }
        }
        net.loss = 0;
        for _ in 0..10 {
            net.run_for(ms(1_500));
            watchers
                .iter_mut()
                .for_each(|watcher| watcher.go_on(&mut net));
        }
        let told = &watchers[0].told;
        assert!(told.len() > 300, "seed {seed}: {}", told.len());
        assert!(told.is_sorted_by_key(|(at, _)| *at), "seed {seed}");
        for watcher in &watchers {
            assert_eq!(&watcher.told, told, "seed {seed}, node {}", watcher.node);
        }
        check_written(&net, &written, told);
        check_resumed(&mut net, told);
    }
}

/// What was acknowledged was told, all of one revision together, and once.
fn check_written(net: &Net, written: &BTreeMap<RequestId, Vec<String>>, told: &[(Revision, Key)]) {
    let mut by_revision: BTreeMap<Revision, BTreeSet<String>> = BTreeMap::new();
    for (at, key) in told {
        assert!(
            by_revision.entry(*at).or_default().insert(key.to_string()),
            "told twice"
        );
    }
    for (id, keys) in written {
        let Some((_, done @ Ok(_))) = net.done.get(id) else {
            continue;
        };
        let watched = keys
            .iter()
            .filter(|key| key.starts_with("a/w"))
            .cloned()
            .collect();
        let seen = by_revision.remove(&revision(done)).unwrap_or_default();
        assert_eq!(seen, watched);
    }
}

/// Whoever goes on from any revision is told the rest.
fn check_resumed(net: &mut Net, told: &[(Revision, Key)]) {
    for (from, _) in told.iter().step_by(37) {
        let after: Vec<_> = told.iter().filter(|(at, _)| at > from).cloned().collect();
        if !after.is_empty() {
            let rest = changes(net.get(1, watch("a/w", *from)));
            let rest = rest.map(|changes| changes.keys);
            assert_eq!(rest, Some(after), "from {from:?}");
        }
    }
}

#[test]
fn who_watches_where_nothing_happens_does_not_fall_behind() {
    let mut net = group(200, 1);
    let begin = revision(&net.get(0, put(["a/w".into()])));
    let quiet = net.ask_for(0, watch("a/q", begin), ms(30_000));
    for _ in 0..600 {
        let keys = (0..128).map(|n| format!("a/w{n}"));
        net.get(0, put(keys)).unwrap();
    }
    assert_eq!(
        changes(net.get(0, watch("a/w", begin))),
        None,
        "too long ago"
    );
    net.run_for(ms(11_000));
    let (_, done) = net.done.remove(&quiet).unwrap();
    let Changes { keys, upto } = changes(done).unwrap();
    assert_eq!(keys, []);
    let seen = revision(&net.get(0, put(["a/q".into()])));
    let next = changes(net.get(0, watch("a/q", upto))).unwrap();
    assert_eq!(next.keys, [(seen, Key::parse("a/q").unwrap())]);
}

#[test]
fn changes_that_do_not_fit_one_answer_come_in_several() {
    let mut net = group(201, 1);
    let begin = revision(&net.get(0, put(["a/w".into()])));
    let long = "n".repeat(1_000);
    let mut written = Vec::new();
    for round in 0..20 {
        let keys = (0..100).map(|n| format!("a/w{round}/{n}/{long}"));
        let at = revision(&net.get(0, put(keys.clone())));
        written.extend(keys.map(|key| (at, Key::parse(&key).unwrap())));
    }
    let (mut told, mut upto, mut answers) = (Vec::new(), begin, 0);
    while told.len() < written.len() {
        let part = changes(net.get(0, watch("a/w", upto))).unwrap();
        let reply = Reply::Changes(Some(part.clone()));
        let frame = Message::Reply { id: 1, reply }.encode();
        assert!(frame.len() < 1 << 20, "{} bytes", frame.len());
        told.extend(part.keys);
        upto = part.upto;
        answers += 1;
    }
    assert_eq!(told, written);
    assert!(answers > 1);
}

#[test]
fn a_session_that_ends_with_more_keys_than_fit_is_said_to_be_missed() {
    let mut net = group(202, 1);
    let opened = net.get(0, StrongRequest::Open { ttl: ms(600_000) });
    let Ok(StrongDone::Done(Outcome::Opened { session })) = opened else {
        panic!("{opened:?}");
    };
    let long = "n".repeat(1_000);
    for round in 0..10 {
        let leased = |n| KeyOp::Put {
            key: Key::parse(&format!("a/w{round}/{n}/{long}")).unwrap(),
            value: vec![],
            owner: Owner::Session,
        };
        let transaction = Transaction {
            then: (0..100).map(leased).collect(),
            ..Transaction::default()
        };
        let transact = Request::Transact(transaction);
        net.get(0, StrongRequest::In(session, transact)).unwrap();
    }
    let before = revision(&net.get(0, put(["a/x".into()])));
    net.get(0, StrongRequest::In(session, Request::Close))
        .unwrap();
    let after = revision(&net.get(0, put(["a/w".into()])));
    assert_eq!(changes(net.get(0, watch("a/w", before))), None);
    assert!(after > before);
}

fn holder(net: &mut Net, node: usize, seen: Seen) -> RequestId {
    let lock = Key::parse("l/l").unwrap();
    net.ask_for(node, StrongRequest::Holder(lock, seen), ms(4_000))
}

fn token_of(done: Result<StrongDone, StrongError>) -> Option<Token> {
    let Ok(StrongDone::Found(Finding::Lock { holders, .. })) = done else {
        panic!("{done:?}");
    };
    holders.first().map(|holder| holder.token)
}

#[test]
fn a_lock_is_told_of_when_it_is_not_as_it_was_seen() {
    let mut net = group(203, 3);
    let mut open = || {
        let opened = net.get(0, StrongRequest::Open { ttl: ms(600_000) });
        match opened {
            Ok(StrongDone::Done(Outcome::Opened { session })) => session,
            opened => panic!("{opened:?}"),
        }
    };
    let (first, second) = (open(), open());
    let acquire = || Request::Acquire {
        lock: Key::parse("l/l").unwrap(),
        mode: Mode::Exclusive,
        wait: Wait::Forever,
        note: vec![],
    };
    let waits = |net: &Net, id| !net.done.contains_key(&id);
    let asked = holder(&mut net, 1, Seen::Free(Token(0)));
    net.run_for(ms(500));
    assert!(waits(&net, asked));
    net.get(0, StrongRequest::In(first, acquire())).unwrap();
    net.run_for(ms(500));
    let one = token_of(net.done.remove(&asked).unwrap().1).unwrap();

    net.get(0, StrongRequest::In(second, acquire())).unwrap();
    let asked = holder(&mut net, 1, Seen::Held(one));
    // Whoever knows of a later grant than the leader is told nothing that was before it.
    let later = [Seen::Held(Token(one.0 + 1)), Seen::Free(one)];
    let later = later.map(|seen| holder(&mut net, 2, seen));
    net.run_for(ms(500));
    assert!(waits(&net, asked) && later.iter().all(|id| waits(&net, *id)));
    net.get(0, StrongRequest::In(first, Request::Close))
        .unwrap();
    net.run_for(ms(500));
    let two = token_of(net.done.remove(&asked).unwrap().1).unwrap();
    assert!(two > one);

    let asked = holder(&mut net, 1, Seen::Held(two));
    net.get(0, StrongRequest::In(second, Request::Close))
        .unwrap();
    net.run_for(ms(500));
    assert_eq!(token_of(net.done.remove(&asked).unwrap().1), None);
    let asked = holder(&mut net, 1, Seen::Free(two));
    net.run_for(ms(4_500));
    let (_, done) = net.done.remove(&asked).unwrap();
    assert_eq!(done, Err(StrongError::Unavailable));
}
