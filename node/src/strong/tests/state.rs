use std::collections::{BTreeMap, BTreeSet};

use meshwork_sync::Key;
use proptest::prelude::*;

use crate::strong::*;

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

/// A group whose sessions count their requests.
pub(super) struct Group {
    pub(super) state: State,
    pub(super) sequences: BTreeMap<SessionId, u64>,
}

impl Default for Group {
    fn default() -> Self {
        let state = State::with_namespaces(["a", "bank", "jobs", "k"]);
        let sequences = BTreeMap::new();
        Self { state, sequences }
    }
}

type Answer = Result<Outcome, Refusal>;

impl Group {
    pub(super) fn open(&mut self) -> SessionId {
        match self.state.apply(Command::Open { ttl_ms: 1_000 }) {
            Some(Ok(Outcome::Opened { session })) => session,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn ask(&mut self, session: SessionId, request: Request) -> Answer {
        let sequence = self.sequences.entry(session).or_default();
        *sequence += 1;
        let command = Command::Request {
            session,
            sequence: *sequence,
            answered: *sequence - 1,
            request,
        };
        self.state.apply(command).unwrap()
    }

    pub(super) fn put(
        &mut self,
        session: SessionId,
        name: &str,
        value: &[u8],
        owner: Owner,
    ) -> Answer {
        let put = KeyOp::Put {
            key: key(name),
            value: value.to_vec(),
            owner,
        };
        self.transact(session, vec![], vec![put])
    }

    fn transact(
        &mut self,
        session: SessionId,
        conditions: Vec<Condition>,
        then: Vec<KeyOp>,
    ) -> Answer {
        let transaction = Transaction {
            conditions,
            then,
            otherwise: vec![],
        };
        self.ask(session, Request::Transact(transaction))
    }

    fn acquire(&mut self, session: SessionId, lock: &str, mode: Mode, wait: Wait) -> Answer {
        let request = Request::Acquire {
            lock: key(lock),
            mode,
            wait,
            note: vec![],
        };
        self.ask(session, request)
    }

    pub(super) fn alone(&mut self, session: SessionId, lock: &str) -> Answer {
        self.acquire(session, lock, Mode::Exclusive, Wait::Forever)
    }

    pub(super) fn release(&mut self, session: SessionId, lock: &str) {
        let lock = key(lock);
        let released = self.ask(session, Request::Release { lock });
        assert_eq!(released, Ok(Outcome::Released));
    }

    pub(super) fn holders(&self, lock: &str) -> Vec<(SessionId, Token)> {
        let lock = self.state.lock(&key(lock));
        let holders = lock.into_iter().flat_map(Lock::holders);
        holders
            .map(|(session, holder)| (session, holder.token))
            .collect()
    }

    fn changes_after(&self, revision: Revision) -> Vec<Change> {
        let changes = self.state.changes_after(revision).unwrap();
        changes.map(|(_, change)| change.clone()).collect()
    }
}

fn granted(token: u64) -> Answer {
    Ok(Outcome::Granted {
        token: Token(token),
    })
}

fn waits(ahead: u32) -> Answer {
    Ok(Outcome::Waits { ahead })
}

#[test]
fn a_transaction_does_all_of_one_branch_and_sees_what_it_did() {
    let mut group = Group::default();
    let me = group.open();
    group.put(me, "bank/alice", b"100", Owner::Nobody).unwrap();
    let spend = |expected: &[u8]| {
        let alice = key("bank/alice");
        Request::Transact(Transaction {
            conditions: vec![Condition::Value {
                key: alice.clone(),
                value: Some(expected.to_vec()),
            }],
            then: vec![
                KeyOp::Put {
                    key: alice.clone(),
                    value: b"70".to_vec(),
                    owner: Owner::Nobody,
                },
                KeyOp::Get { key: alice.clone() },
            ],
            otherwise: vec![KeyOp::Get { key: alice }],
        })
    };
    let found = |value: &[u8], revision| {
        Some(Found {
            value: value.to_vec(),
            revision: Revision(revision),
        })
    };
    let done = |revision, branch, found| {
        Ok(Outcome::Done {
            revision: Revision(revision),
            branch,
            found,
        })
    };
    let all = vec![found(b"100", 2), found(b"70", 3)];
    assert_eq!(group.ask(me, spend(b"100")), done(3, Branch::Then, all));
    let now = vec![found(b"70", 3)];
    assert_eq!(
        group.ask(me, spend(b"100")),
        done(4, Branch::Otherwise, now)
    );
}

#[test]
fn a_transaction_that_is_refused_changes_nothing() {
    let mut group = Group::default();
    let me = group.open();
    let put = |value: Vec<u8>| KeyOp::Put {
        key: key("a/b"),
        value,
        owner: Owner::Nobody,
    };
    let refused = group.transact(me, vec![], vec![put(vec![1]), put(vec![0; 300 << 10])]);
    assert!(matches!(refused, Err(Refusal::TooLarge { .. })));
    let refused = group.transact(me, vec![], vec![put(vec![1]); 200]);
    assert!(matches!(refused, Err(Refusal::TooLarge { .. })));
    assert_eq!(group.state.get(&key("a/b")), None);
}

#[test]
fn a_retry_is_answered_again_and_what_is_forgotten_or_expired_is_said_to_be() {
    let mut group = Group::default();
    let me = group.open();
    let draw = |sequence, answered| Command::Request {
        session: me,
        sequence,
        answered,
        request: Request::Draw {
            sequence: key("ids/a"),
            count: 10,
        },
    };
    let state = &mut group.state;
    let first = Some(Ok(Outcome::Drawn { first: 1 }));
    assert_eq!(state.apply(draw(1, 0)), first);
    assert_eq!(state.apply(draw(1, 0)), first);
    let second = Some(Ok(Outcome::Drawn { first: 11 }));
    assert_eq!(state.apply(draw(2, 1)), second);
    let forgotten = Some(Err(Refusal::Forgotten { sequence: 1 }));
    assert_eq!(state.apply(draw(1, 0)), forgotten);
    assert_eq!(state.apply(draw(2, 1)), second);
    state.apply(Command::Expire { session: me });
    let expired = Some(Err(Refusal::SessionExpired { session: me }));
    assert_eq!(state.apply(draw(2, 1)), expired);
}

#[test]
fn answers_that_nobody_takes_are_bounded() {
    let mut group = Group::default();
    let me = group.open();
    let ask = |sequence| Command::Request {
        session: me,
        sequence,
        answered: 0,
        request: Request::Draw {
            sequence: key("ids/a"),
            count: 1,
        },
    };
    for sequence in 1..=1_024 {
        assert!(group.state.apply(ask(sequence)).unwrap().is_ok());
    }
    let refused = Some(Err(Refusal::TooManyAnswers { max: 1_024 }));
    assert_eq!(group.state.apply(ask(1_025)), refused);
    let first = Some(Ok(Outcome::Drawn { first: 1 }));
    assert_eq!(group.state.apply(ask(1)), first, "retries still are");
}

/// Each session keeps what its last request found, so sessions alone could hold more than all keys may.
#[test]
fn what_answers_found_is_bounded_for_all_sessions_together() {
    let mut group = Group::default();
    let value = vec![7; 256 << 10];
    let all = [1, 2].map(|n| format!("a/{n}"));
    let write = |group: &mut Group, session| {
        let put = |name: &String| KeyOp::Put {
            key: key(name),
            value: value.clone(),
            owner: Owner::Nobody,
        };
        group.transact(session, vec![], all.iter().map(put).collect())
    };
    let first = group.open();
    write(&mut group, first).unwrap();
    let sessions: Vec<SessionId> = (0..512).map(|_| group.open()).collect();
    for session in &sessions {
        write(&mut group, *session).unwrap();
    }
    let last = group.open();
    let refused = Err(Refusal::Full(Full::Answers));
    assert_eq!(write(&mut group, last), refused);
    let again = State::from_snapshot(&group.state.snapshot()).unwrap();
    assert!(again == group.state, "and they are counted after a restart");
    // What finds nothing goes on, and answers that have arrived make room, as sessions do that end.
    assert_eq!(group.alone(last, "l/l"), granted(1));
    group.release(sessions[0], "l/l");
    write(&mut group, last).unwrap();
    assert_eq!(write(&mut group, first), refused);
    group.ask(sessions[1], Request::Close).unwrap();
    write(&mut group, first).unwrap();
}

#[test]
fn a_lock_goes_to_those_who_wait_in_the_order_in_which_they_came() {
    let mut group = Group::default();
    let [a, b, c] = [group.open(), group.open(), group.open()];
    assert_eq!(group.alone(a, "l/l"), granted(1));
    assert_eq!(group.alone(b, "l/l"), waits(0));
    assert_eq!(group.alone(c, "l/l"), waits(1));
    assert_eq!(group.alone(a, "l/l"), granted(1), "who holds it holds it");
    let other = group.open();
    let try_lock = group.acquire(other, "l/l", Mode::Exclusive, Wait::No);
    assert!(matches!(try_lock, Err(Refusal::Held { .. })));
    group.release(a, "l/l");
    assert_eq!(group.holders("l/l"), [(b, Token(2))]);
    group.state.apply(Command::Expire { session: b });
    assert_eq!(group.holders("l/l"), [(c, Token(3))]);
    group.release(c, "l/l");
    assert_eq!(group.state.lock(&key("l/l")), None);
    assert_eq!(group.alone(a, "l/l"), granted(4), "never the same again");
}

#[test]
fn those_who_share_a_lock_do_not_overtake_one_who_waits_to_be_alone() {
    let mut group = Group::default();
    let [a, b, c, d] = [(); 4].map(|()| group.open());
    let share = |group: &mut Group, who| group.acquire(who, "l/l", Mode::Shared, Wait::Forever);
    assert_eq!(share(&mut group, a), granted(1));
    assert_eq!(share(&mut group, b), granted(2));
    assert_eq!(group.alone(c, "l/l"), waits(0));
    assert_eq!(share(&mut group, d), waits(1));
    group.release(a, "l/l");
    assert_eq!(group.holders("l/l"), [(b, Token(2))]);
    // Who shares it and wants it alone goes first: those in line wait for him.
    assert_eq!(group.alone(b, "l/l"), granted(3));
    group.release(b, "l/l");
    assert_eq!(group.holders("l/l"), [(c, Token(4))]);
    group.release(c, "l/l");
    assert_eq!(group.holders("l/l"), [(d, Token(5))]);
}

#[test]
fn whoever_waits_for_himself_is_told_the_circle_and_the_youngest_gives_up() {
    let mut group = Group::default();
    let [a, b, c] = [(); 3].map(|()| group.open());
    for (who, lock) in [(a, "l/a"), (b, "l/b"), (c, "l/c")] {
        group.alone(who, lock).unwrap();
    }
    assert_eq!(group.alone(a, "l/b"), waits(0));
    assert_eq!(group.alone(b, "l/c"), waits(0));
    let cycle = match group.alone(c, "l/a") {
        Err(Refusal::Deadlock { cycle }) => cycle,
        other => panic!("{other:?}"),
    };
    let link = |session, lock| Link {
        session,
        lock: key(lock),
    };
    assert_eq!(cycle, [link(c, "l/a"), link(a, "l/b"), link(b, "l/c")]);
    group.release(c, "l/c");
    assert_eq!(group.holders("l/c").first().map(|(who, _)| *who), Some(b));
}

#[test]
fn two_who_share_a_lock_and_both_want_it_alone_are_a_circle() {
    let mut group = Group::default();
    let [a, b] = [group.open(), group.open()];
    for who in [a, b] {
        group.acquire(who, "l/l", Mode::Shared, Wait::No).unwrap();
    }
    assert_eq!(group.alone(a, "l/l"), waits(0));
    let circle = group.alone(b, "l/l");
    assert!(matches!(circle, Err(Refusal::Deadlock { .. })));
    assert_eq!(group.holders("l/l").len(), 2, "both still share it");
    group.release(b, "l/l");
    assert_eq!(group.holders("l/l"), [(a, Token(3))]);
}

#[test]
fn what_a_session_holds_ends_with_it_and_a_paused_holder_is_stopped_by_its_token() {
    let mut group = Group::default();
    let [a, b] = [group.open(), group.open()];
    assert_eq!(group.alone(a, "jobs/nightly"), granted(1));
    group.put(a, "jobs/owner", b"a", Owner::Session).unwrap();
    group.put(a, "jobs/last", b"a", Owner::Nobody).unwrap();
    group.alone(b, "jobs/nightly").unwrap();
    let before = group.state.revision();
    group.state.apply(Command::Expire { session: a });
    let owner = key("jobs/owner");
    assert_eq!(group.state.get(&owner), None);
    assert!(group.state.get(&key("jobs/last")).is_some());
    let lock = key("jobs/nightly");
    let changes = [
        Change::Key { key: owner },
        Change::Granted {
            lock: lock.clone(),
            session: b,
            token: Token(2),
        },
        Change::Ended { session: a },
    ];
    assert_eq!(group.changes_after(before), changes);
    // It goes on under another session, and with the token that it was granted before.
    let again = group.open();
    let held = |token| Condition::Held {
        lock: lock.clone(),
        token: Token(token),
    };
    let put = KeyOp::Put {
        key: key("jobs/last"),
        value: b"again".to_vec(),
        owner: Owner::Nobody,
    };
    let branch = |answer: Answer| match answer {
        Ok(Outcome::Done { branch, .. }) => branch,
        other => panic!("{other:?}"),
    };
    let late = group.transact(again, vec![held(1)], vec![put.clone()]);
    assert_eq!(branch(late), Branch::Otherwise);
    let good = group.transact(b, vec![held(2)], vec![put]);
    assert_eq!(branch(good), Branch::Then);
}

#[test]
fn who_waits_no_longer_lets_the_next_in() {
    let mut group = Group::default();
    let [a, b, c] = [(); 3].map(|()| group.open());
    let share = |group: &mut Group, who| group.acquire(who, "l/l", Mode::Shared, Wait::Forever);
    share(&mut group, a).unwrap();
    group.alone(b, "l/l").unwrap();
    assert_eq!(share(&mut group, c), waits(1));
    let give_up = Command::GiveUp {
        session: b,
        lock: key("l/l"),
    };
    group.state.apply(give_up.clone());
    assert_eq!(group.holders("l/l"), [(a, Token(1)), (c, Token(2))]);
    let revision = group.state.revision();
    group.state.apply(give_up.clone());
    assert_eq!(group.changes_after(revision), [], "late, it does nothing");
}

#[test]
fn changes_before_a_snapshot_are_said_to_be_forgotten() {
    let mut group = Group::default();
    let me = group.open();
    group.put(me, "a/b", b"1", Owner::Nobody).unwrap();
    let restored = State::from_snapshot(&group.state.snapshot()).unwrap();
    assert!(restored.changes_after(Revision(1)).is_none());
    assert_eq!(restored.changes_after(Revision(2)).unwrap().count(), 0);
}

#[test]
fn bytes_that_are_no_snapshot_are_refused() {
    assert_eq!(
        State::from_snapshot(&[]),
        Err(ReadSnapshot::Version { found: None })
    );
    assert_eq!(
        State::from_snapshot(&[9]),
        Err(ReadSnapshot::Version { found: Some(9) })
    );
    let mut bytes = State::new().snapshot();
    bytes.push(0);
    assert_eq!(State::from_snapshot(&bytes), Err(ReadSnapshot::Malformed));
}

fn any_request() -> impl Strategy<Value = Request> {
    let lock = || (0..3u8).prop_map(|n| key(&format!("l/{n}")));
    let mode = prop_oneof![Just(Mode::Shared), Just(Mode::Exclusive)];
    let wait = prop_oneof![Just(Wait::No), Just(Wait::Forever)];
    let acquire = (lock(), mode, wait).prop_map(|(lock, mode, wait)| Request::Acquire {
        lock,
        mode,
        wait,
        note: vec![],
    });
    let owner = prop_oneof![Just(Owner::Nobody), Just(Owner::Session)];
    let put = (lock(), any::<u8>(), owner).prop_map(|(key, value, owner)| {
        let value = vec![value];
        Request::Transact(Transaction {
            then: vec![KeyOp::Put { key, value, owner }],
            ..Transaction::default()
        })
    });
    prop_oneof![
        6 => acquire,
        3 => lock().prop_map(|lock| Request::Release { lock }),
        2 => put,
        1 => lock().prop_map(|sequence| Request::Draw { sequence, count: 1 }),
    ]
}

/// What one of four sessions does next; `None`: it ends, and another begins.
pub(super) fn any_steps() -> impl Strategy<Value = Vec<(usize, Option<Request>)>> {
    let step = (
        0..4usize,
        prop_oneof![9 => any_request().prop_map(Some), 1 => Just(None)],
    );
    proptest::collection::vec(step, 1..80)
}

#[test]
fn answers_that_a_client_says_it_has_are_no_ground_to_panic() {
    let mut group = Group::default();
    let me = group.open();
    let ask = |sequence, answered| Command::Request {
        session: me,
        sequence,
        answered,
        request: Request::Draw {
            sequence: key("ids/a"),
            count: u32::MAX,
        },
    };
    let first = Some(Ok(Outcome::Drawn { first: 1 }));
    assert_eq!(group.state.apply(ask(u64::MAX, 0)), first);
    assert_eq!(group.state.apply(ask(u64::MAX, u64::MAX)), first);
    let forgotten = Some(Err(Refusal::Forgotten { sequence: 7 }));
    assert_eq!(group.state.apply(ask(7, u64::MAX)), forgotten);
}

proptest! {
    #[test]
    fn a_damaged_snapshot_is_refused_or_one_that_goes_on(
        steps in any_steps(),
        after in any_steps(),
        at in any::<prop::sample::Index>(),
        byte: u8,
    ) {
        let mut group = Group::default();
        let sessions = [(); 4].map(|()| group.open());
        for (who, request) in steps {
            request.into_iter().for_each(|request| drop(group.ask(sessions[who], request)));
        }
        let mut bytes = group.state.snapshot();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(state) = State::from_snapshot(&bytes) {
            let again = State::from_snapshot(&state.snapshot());
            prop_assert_eq!(again.as_ref(), Ok(&state));
            group.state = state;
            for (who, request) in after {
                match request {
                    Some(request) => drop(group.ask(sessions[who], request)),
                    None => drop(group.state.apply(Command::Expire { session: sessions[who] })),
                }
            }
        }
    }

    #[test]
    fn no_lock_is_held_against_another_and_tokens_only_grow(steps in any_steps()) {
        let mut group = Group::default();
        let mut sessions = [(); 4].map(|()| group.open());
        let mut last = Token(0);
        for (who, request) in steps {
            let before = group.state.revision();
            match request {
                Some(request) => drop(group.ask(sessions[who], request)),
                None => {
                    group.state.apply(Command::Expire { session: sessions[who] });
                    sessions[who] = group.open();
                }
            }
            for change in group.changes_after(before) {
                if let Change::Granted { token, .. } = change {
                    prop_assert!(token > last);
                    last = token;
                }
            }
            let alive: BTreeSet<SessionId> = group.state.sessions().map(|(id, _)| id).collect();
            for n in 0..3 {
                let Some(lock) = group.state.lock(&key(&format!("l/{n}"))) else {
                    continue;
                };
                let holders: Vec<_> = lock.holders().collect();
                let alone = holders.iter().any(|(_, holder)| holder.mode == Mode::Exclusive);
                prop_assert!(!alone || holders.len() == 1);
                prop_assert!(!holders.is_empty(), "nobody waits for a lock that is free");
                prop_assert!(holders.iter().all(|(session, _)| alive.contains(session)));
                prop_assert!(lock.waiters().all(|waiter| alive.contains(&waiter.session)));
            }
        }
    }

    #[test]
    fn retries_and_snapshots_anywhere_change_nothing(
        steps in any_steps(),
        again in proptest::collection::vec(any::<bool>(), 80),
    ) {
        let new = || Group::default().state;
        let (mut once, mut twice) = (new(), new());
        let mut sequence = 0;
        for _ in 0..4 {
            once.apply(Command::Open { ttl_ms: 1 });
            twice.apply(Command::Open { ttl_ms: 1 });
        }
        for ((who, request), again) in steps.into_iter().zip(again) {
            let session = SessionId(who as u64 + 1);
            sequence += 1;
            let command = match request {
                Some(request) => Command::Request { session, sequence, answered: 0, request },
                None => Command::Expire { session },
            };
            let answer = once.apply(command.clone());
            prop_assert_eq!(&twice.apply(command.clone()), &answer);
            if again && matches!(command, Command::Request { .. }) {
                // The revision counts commands; all else is as it was.
                prop_assert_eq!(&twice.apply(command.clone()), &answer);
                prop_assert_eq!(&once.apply(Command::GiveUp { session, lock: key("no/no") }), &None);
            }
            twice = State::from_snapshot(&twice.snapshot()).unwrap();
            prop_assert_eq!(&once, &twice);
        }
    }
}
