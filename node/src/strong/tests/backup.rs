//! Backup and restore: the state alone, then a group that loses its leader meanwhile.

use std::ops::Bound;

use proptest::prelude::*;

use super::group::{group, key, put, read};
use super::net::{Net, ms};
use super::state::{Group, any_steps};
use crate::strong::*;

const OF: GroupId = GroupId([7; 16]);

/// A group with a bit of everything.
fn full() -> Group {
    let mut group = Group::default();
    let [me, other] = [group.open(), group.open()];
    group.put(me, "bank/alice", b"100", Owner::Nobody).unwrap();
    group.put(me, "bank/me", b"here", Owner::Session).unwrap();
    for (session, lock) in [(me, "l/a"), (other, "l/a"), (other, "l/b")] {
        group.alone(session, lock).unwrap();
    }
    let sequence = key("ids/a");
    let draw = Request::Draw { sequence, count: 5 };
    group.ask(me, draw).unwrap();
    group
}

fn blank() -> Group {
    Group {
        state: State::new(),
        ..Group::default()
    }
}

fn stage(
    group: &mut Group,
    session: SessionId,
    offset: u64,
    bytes: &[u8],
) -> Result<Outcome, Refusal> {
    let bytes = bytes.to_vec();
    group.ask(session, Request::Stage { offset, bytes })
}

fn restore(group: &mut Group, session: SessionId, bytes: &[u8]) -> Result<Outcome, Refusal> {
    stage(group, session, 0, bytes)?;
    group.ask(session, Request::Restore)
}

fn keys(state: &State) -> Vec<(&meshwork_sync::Key, &Found)> {
    state.keys_after(Bound::Unbounded).collect()
}

fn tokens(state: &State) -> Token {
    let granted = state.changes().filter_map(|(_, change)| {
        let Change::Granted { token, .. } = change else {
            return None;
        };
        Some(*token)
    });
    granted.max().unwrap_or_default()
}

#[test]
fn what_outlives_its_sessions_is_there_again_and_nothing_falls() {
    let old = full();
    let mut new = blank();
    let me = new.open();
    let done = restore(&mut new, me, &old.state.backup(OF));
    let revision = Revision(old.state.revision().0 + 1);
    assert_eq!(done, Ok(Outcome::Restored { revision }));
    assert_eq!(new.state.revision(), revision);
    let alice = new.state.get(&key("bank/alice"));
    assert_eq!(
        alice,
        old.state.get(&key("bank/alice")),
        "with its revision"
    );
    assert_eq!(new.state.get(&key("bank/me")), None);
    assert_eq!(new.state.namespaces(), old.state.namespaces());
    assert!(new.holders("l/a").is_empty());
    let granted = new.alone(me, "l/b").unwrap();
    assert_eq!(granted, Outcome::Granted { token: Token(3) });
    let sequence = key("ids/a");
    let drawn = new.ask(me, Request::Draw { sequence, count: 1 });
    assert_eq!(drawn, Ok(Outcome::Drawn { first: 6 }));
    assert!(new.state.changes_after(Revision(3)).is_none(), "too old");
}

#[test]
fn a_group_that_is_further_on_goes_on_from_there() {
    let old = full();
    let mut new = blank();
    let me = new.open();
    for _ in 0..100 {
        new.alone(me, "l/l").unwrap();
        new.release(me, "l/l");
    }
    let before = new.state.revision();
    let done = restore(&mut new, me, &old.state.backup(OF));
    let revision = Revision(before.0 + 2);
    assert_eq!(done, Ok(Outcome::Restored { revision }));
    let granted = new.alone(me, "l/b");
    assert_eq!(granted, Ok(Outcome::Granted { token: Token(101) }));
}

#[test]
fn a_backup_goes_into_a_group_that_holds_nothing() {
    let backup = full().state.backup(OF);
    let namespace = |namespace: &str| Request::Create {
        namespace: namespace.into(),
    };
    let somethings = [
        namespace("a"),
        Request::Draw {
            sequence: key("ids/a"),
            count: 1,
        },
        Request::Acquire {
            lock: key("l/l"),
            mode: Mode::Shared,
            wait: Wait::No,
            note: vec![],
        },
    ];
    for something in somethings {
        let mut new = blank();
        let [me, other] = [new.open(), new.open()];
        new.ask(other, something.clone()).unwrap();
        assert_eq!(stage(&mut new, me, 0, &backup), Err(Refusal::NotBlank));
        // And when it comes about in between.
        let mut new = blank();
        let [me, other] = [new.open(), new.open()];
        stage(&mut new, me, 0, &backup).unwrap();
        new.ask(other, something).unwrap();
        let before = new.state.clone();
        assert_eq!(new.ask(me, Request::Restore), Err(Refusal::NotBlank));
        assert_eq!(keys(&new.state), keys(&before));
    }
}

#[test]
fn one_restores_at_a_time_and_in_order() {
    let backup = full().state.backup(OF);
    let mut new = blank();
    let [me, other] = [new.open(), new.open()];
    stage(&mut new, me, 0, &backup[..50]).unwrap();
    let refused = stage(&mut new, other, 0, &backup);
    assert_eq!(refused, Err(Refusal::Restoring { by: me }));
    let refused = stage(&mut new, me, 51, &backup[51..]);
    assert_eq!(refused, Err(Refusal::OutOfPlace { expected: 50 }));
    let none = new.ask(other, Request::Restore);
    assert_eq!(none, Err(Refusal::BadBackup(ReadBackup::NoBackup)));
    let long = stage(&mut new, me, 50, &vec![0; 300 << 10]);
    assert!(matches!(long, Err(Refusal::TooLarge { .. })));
    let staged = |bytes: usize| {
        Ok(Outcome::Staged {
            bytes: bytes as u64,
        })
    };
    assert_eq!(stage(&mut new, me, 50, &backup[50..60]), staged(60));
    assert_eq!(stage(&mut new, me, 0, &backup[..5]), staged(5), "anew");
    let half = new.ask(me, Request::Restore);
    assert_eq!(half, Err(Refusal::BadBackup(ReadBackup::NoBackup)));
    assert_eq!(stage(&mut new, other, 0, &backup), staged(backup.len()));
    // Whoever gives up, or is gone, lets the next one.
    new.state.apply(Command::Expire { session: other });
    assert!(restore(&mut new, me, &backup).is_ok());
    assert_eq!(restore(&mut new, me, &backup), Err(Refusal::NotBlank));
}

#[test]
fn what_is_cut_short_changed_or_of_a_later_release_is_refused() {
    let backup = full().state.backup(OF);
    assert!(Backup::decode(&backup).is_ok());
    for length in 0..backup.len() {
        assert!(Backup::decode(&backup[..length]).is_err(), "{length} bytes");
    }
    for at in 0..backup.len() {
        let mut changed = backup.clone();
        changed[at] ^= 1;
        assert!(Backup::decode(&changed).is_err(), "byte {at}");
    }
    let mut later = backup.clone();
    later[23] = 2;
    assert_eq!(
        Backup::decode(&later),
        Err(ReadBackup::Version { found: 2 })
    );
    let mut longer = backup;
    longer.push(0);
    assert_eq!(Backup::decode(&longer), Err(ReadBackup::Damaged));
    assert_eq!(Backup::decode(b"tea"), Err(ReadBackup::NoBackup));
}

proptest! {
    #[test]
    fn restoring_keeps_all_that_outlives_the_sessions(
        steps in any_steps(),
        part_bytes in 1..400_usize,
        again in proptest::collection::vec(any::<bool>(), 64),
    ) {
        let mut old = Group {
            state: State::with_namespaces(["k", "l"]),
            ..Group::default()
        };
        let mut sessions = [(); 4].map(|()| old.open());
        for (who, request) in steps {
            match request {
                Some(request) => drop(old.ask(sessions[who], request)),
                None => {
                    old.state.apply(Command::Expire { session: sessions[who] });
                    sessions[who] = old.open();
                }
            }
        }
        let backup = old.state.backup(OF);
        let last = tokens(&old.state);
        let mut new = blank();
        let me = new.open();
        let mut sequence = 0;
        let parts = backup.chunks(part_bytes).map(<[u8]>::to_vec);
        let offsets = (0..).step_by(part_bytes);
        let stages = offsets.zip(parts).map(|(offset, bytes)| Request::Stage { offset, bytes });
        let requests: Vec<Request> = stages.chain([Request::Restore]).collect();
        let mut again = again.into_iter().cycle();
        for request in requests {
            sequence += 1;
            let command = Command::Request { session: me, sequence, answered: sequence - 1, request };
            let answer = new.state.apply(command.clone());
            prop_assert!(matches!(answer, Some(Ok(_))), "{answer:?}");
            if again.next() == Some(true) {
                let before = new.state.clone();
                prop_assert_eq!(&new.state.apply(command.clone()), &answer, "a retry");
                prop_assert_eq!(keys(&new.state), keys(&before));
                new.state = State::from_snapshot(&new.state.snapshot()).unwrap();
            }
        }
        new.sequences.insert(me, sequence);
        // What is promised is what is left when all sessions have ended.
        let all: Vec<SessionId> = old.state.sessions().map(|(session, _)| session).collect();
        let before = old.state.revision();
        let mut ended = old.state.clone();
        for session in all {
            ended.apply(Command::Expire { session });
        }
        prop_assert_eq!(keys(&new.state), keys(&ended));
        prop_assert_eq!(new.state.namespaces(), ended.namespaces());
        prop_assert!(new.state.revision() > before);
        prop_assert_eq!(new.state.waiters().count(), 0);
        prop_assert!(new.state.sessions().map(|(session, _)| session).eq([me]));
        for n in 0..3 {
            let sequence = key(&format!("l/{n}"));
            let draw = Request::Draw { sequence, count: 1 };
            let drawer = old.open();
            prop_assert_eq!(new.ask(me, draw.clone()), old.ask(drawer, draw));
        }
        match new.alone(me, "l/0") {
            Ok(Outcome::Granted { token }) => prop_assert!(token > last),
            other => prop_assert!(false, "{other:?}"),
        }
    }

    /// Whoever can write a checksum can write what no group holds.
    #[test]
    fn a_backup_that_somebody_made_up_is_refused_or_one_that_goes_on(
        at in any::<prop::sample::Index>(),
        byte: u8,
        more in proptest::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut bytes = full().state.backup(OF);
        bytes.truncate(bytes.len() - 32);
        let at = 24 + at.index(bytes.len() - 24);
        bytes.splice(at..=at, [byte].into_iter().chain(more));
        let hash = blake3::hash(&bytes);
        bytes.extend(hash.as_bytes());
        let mut new = blank();
        let me = new.open();
        let said = restore(&mut new, me, &bytes);
        prop_assert_eq!(said.is_ok(), Backup::decode(&bytes).is_ok());
        let again = State::from_snapshot(&new.state.snapshot());
        prop_assert_eq!(again.as_ref(), Ok(&new.state));
        drop(new.put(me, "bank/alice", b"1", Owner::Session));
        new.state.apply(Command::Expire { session: me });
    }
}

fn fetch(net: &mut Net, n: usize) -> Vec<u8> {
    let begun = net.get(n, StrongRequest::Read(Query::Backup)).unwrap();
    let StrongDone::Found(Finding::Backup { backup, bytes }) = begun else {
        panic!("{begun:?}");
    };
    let mut fetched = Vec::new();
    for part in 0.. {
        let part = Query::BackupPart { backup, part };
        let done = net.get(n, StrongRequest::Read(part)).unwrap();
        let StrongDone::Found(Finding::BackupPart { bytes }) = done else {
            panic!("{done:?}");
        };
        if bytes.is_empty() {
            break;
        }
        fetched.extend(bytes);
        // It is of one moment, whatever happens meanwhile.
        net.get(n, put("a/late", b"late")).unwrap();
    }
    assert_eq!(fetched.len() as u64, bytes);
    fetched
}

fn open(net: &mut Net, n: usize) -> SessionId {
    match net.get(n, StrongRequest::Open { ttl: ms(30_000) }) {
        Ok(StrongDone::Done(Outcome::Opened { session })) => session,
        other => panic!("{other:?}"),
    }
}

pub(super) fn token(net: &mut Net, n: usize) -> Token {
    let session = open(net, n);
    let acquire = Request::Acquire {
        lock: key("l/l"),
        mode: Mode::Exclusive,
        wait: Wait::Forever,
        note: vec![],
    };
    match net.get(n, StrongRequest::In(session, acquire)) {
        Ok(StrongDone::Done(Outcome::Granted { token })) => token,
        other => panic!("{other:?}"),
    }
}

fn state(net: &Net, n: usize) -> &State {
    let strong = net.hosts[n].strong.as_ref().unwrap();
    strong.group().unwrap().state()
}

#[test]
fn a_restore_outlives_the_leader_that_it_began_with() {
    let mut old = group(41, 3);
    for n in 0..50_u8 {
        old.get(0, put(&format!("a/{n}"), &[n; 20_000])).unwrap();
    }
    let before = token(&mut old, 1);
    let away = (old.leader().unwrap() + 1) % 3;
    let backup = fetch(&mut old, away);
    let made = Backup::decode(&backup).unwrap();
    assert!(made.keys.iter().all(|(key, _)| key.name() != b"late"));

    let mut net = Net::new(42, 3);
    net.config.snapshot_after_bytes = 200_000;
    net.start_all();
    let grown = net.run_until(net.now + ms(30_000), |net| net.voters(0).len() == 3);
    assert!(grown);
    net.run_for(ms(1_000));
    let first = net.leader().unwrap();
    let n = (first + 1) % 3;
    let session = open(&mut net, n);
    let ask = |net: &mut Net, request| {
        let id = net.ask_for(n, StrongRequest::In(session, request), ms(20_000));
        net.run_until(net.now + ms(21_000), |net| net.done.contains_key(&id));
        net.done.remove(&id).unwrap().1.unwrap()
    };
    let mut offset = 0;
    for (number, part) in backup.chunks(50_000).enumerate() {
        if number == 7 {
            net.crash(first);
        }
        if number == 14 {
            net.start(first);
        }
        let bytes = part.to_vec();
        ask(&mut net, Request::Stage { offset, bytes });
        offset += part.len() as u64;
    }
    assert_eq!(
        read(&mut net, n, "a/1"),
        Ok(None),
        "nothing of it is seen yet"
    );
    let second = net.leader().unwrap();
    assert_ne!(first, second);
    // The next leader goes when it has taken the last word.
    let last = StrongRequest::In(session, Request::Restore);
    let last = net.ask_for(n, last, ms(20_000));
    if second != n {
        net.run_for(ms(3));
        net.crash(second);
        net.start(second);
    }
    net.run_until(net.now + ms(21_000), |net| net.done.contains_key(&last));
    let (_, done) = net.done.remove(&last).unwrap();
    assert!(
        matches!(done, Ok(StrongDone::Done(Outcome::Restored { revision })) if revision > made.revision),
        "{done:?}"
    );
    assert_eq!(read(&mut net, n, "a/49"), Ok(Some(vec![49; 20_000])));
    net.run_for(ms(5_000));
    for other in 0..3 {
        // They would be shown whole.
        assert!(state(&net, other) == state(&net, n), "node {other}");
        let strong = net.hosts[other].strong.as_ref().unwrap();
        assert!(strong.roster().unwrap().namespaces.contains("a"));
    }
    assert!(token(&mut net, n) > before);
}

#[test]
fn a_backup_that_nobody_fetches_makes_room_for_the_next() {
    let mut net = group(43, 3);
    let leader = net.leader().unwrap();
    let [a, b] = [(leader + 1) % 3, (leader + 2) % 3];
    let begin = StrongRequest::Read(Query::Backup);
    assert!(net.get(a, begin.clone()).is_ok());
    let refused = net.get(b, begin.clone());
    assert_eq!(refused, Err(StrongError::Unavailable), "one at a time");
    net.run_for(ms(6_000));
    assert!(net.get(b, begin).is_ok());
}
