//! The state of the strong group: any history of commands, any snapshot and any backup.

// Its own files are compiled here, as those of admission are.
#[path = "../../../node/src/strong/backup.rs"]
mod backup;
#[path = "../../../node/src/strong/command.rs"]
mod command;
#[path = "../../../node/src/strong/history.rs"]
mod history;
#[path = "../../../node/src/strong/keys.rs"]
mod keys;
#[path = "../../../node/src/strong/locks.rs"]
mod locks;
#[path = "../../../node/src/strong/records.rs"]
mod records;
#[path = "../../../node/src/strong/sessions.rs"]
mod sessions;
#[path = "../../../node/src/strong/staging.rs"]
mod staging;
#[path = "../../../node/src/strong/state.rs"]
mod state;
#[path = "../../../node/src/strong/table.rs"]
mod table;

mod steps;

use std::collections::BTreeSet;

use meshwork_sync::Key;

use self::backup::Backup;
use self::command::{Command, Mode, Outcome, Request, SessionId, Token};
use self::history::Change;
use self::locks::Lock;
use self::records::GroupId;
use self::state::State;
pub use self::steps::Step;
use self::steps::{LOCKS, Story};

/// A voter that begins from a snapshot, as often as one is made, is the same as one that saw all; and no history breaks what locks promise.
pub fn strong_commands(steps: Vec<Step>) {
    let (mut whole, mut resumed) = (State::new(), State::new());
    let mut story = Story::default();
    let mut granted = Token(0);
    for step in steps {
        let Some(command) = story.next(step) else {
            resumed = State::from_snapshot(&resumed.snapshot()).expect("what was written is read");
            continue;
        };
        let seen = whole.revision();
        let answer = whole.apply(command.clone());
        assert_eq!(resumed.apply(command.clone()), answer);
        assert_eq!(whole, resumed);
        if let Some(changes) = whole.changes_after(seen) {
            for (_, change) in changes {
                if let Change::Granted { token, .. } = change {
                    assert!(*token > granted, "tokens rise");
                    granted = *token;
                }
            }
        }
        check_locks(&whole);
        story.answered(&command, answer);
    }
    if let Ok(backup) = Backup::decode(&whole.backup(GroupId([7; 16]))) {
        assert!(backup.token >= granted && backup.revision == whole.revision());
    } else {
        panic!("what was written is read");
    }
}

/// Held by one alone or by several that share it; nobody who holds it waits, and nobody in line could have it.
fn check_locks(state: &State) {
    let sessions: BTreeSet<SessionId> = state.sessions().map(|(session, _)| session).collect();
    for lock in LOCKS
        .iter()
        .filter_map(|name| state.lock(&Key::parse(name).expect("a key")))
    {
        let alone = lock
            .holders()
            .any(|(_, holder)| holder.mode == Mode::Exclusive);
        assert!(!alone || lock.holders().count() == 1);
        let mut named = lock
            .holders()
            .map(|(session, _)| session)
            .chain(lock.waiters().map(|waiter| waiter.session));
        assert!(named.all(|session| sessions.contains(&session)));
        assert!(lock.holders().next().is_some() || lock.waiters().next().is_none());
        check_line(lock);
    }
}

fn check_line(lock: &Lock) {
    let Some(first) = lock.waiters().next() else {
        return;
    };
    let mut others = lock
        .holders()
        .filter(|(session, _)| *session != first.session);
    let free = others.all(|(_, holder)| (holder.mode, first.mode) == (Mode::Shared, Mode::Shared));
    assert!(!free, "the first in line waits for nobody");
}

/// Bytes that are a snapshot are one of a state that goes on.
pub fn strong_snapshot(bytes: &[u8]) {
    let Ok(mut state) = State::from_snapshot(bytes) else {
        return;
    };
    let again = State::from_snapshot(&state.snapshot()).expect("what was written is read");
    assert_eq!(again, state);
    state.apply(Command::Open { ttl_ms: 1_000 });
    let all: Vec<SessionId> = state.sessions().map(|(session, _)| session).collect();
    for session in all {
        state.apply(Command::Expire { session });
    }
    assert_eq!(state.sessions().count(), 0);
}

/// A backup that somebody made up, with its seal, is refused or restored as it is.
pub fn strong_backup(body: &[u8]) {
    let unsealed = [BACKUP_HEAD, body].concat();
    let bytes = [&unsealed, blake3::hash(&unsealed).as_bytes().as_slice()].concat();
    let Ok(backup) = Backup::decode(&bytes) else {
        return;
    };
    let mut state = State::new();
    let opened = state.apply(Command::Open { ttl_ms: 1_000 });
    let Some(Ok(Outcome::Opened { session })) = opened else {
        panic!("the first session is opened");
    };
    let mut sequence = 0;
    let mut ask = |request| {
        sequence += 1;
        let answered = sequence - 1;
        let answer = state.apply(Command::Request {
            session,
            sequence,
            answered,
            request,
        });
        assert!(matches!(answer, Some(Ok(_))), "{answer:?}");
    };
    for (part, bytes) in bytes.chunks(keys::VALUE_BYTES_MAX).enumerate() {
        let offset = (part * keys::VALUE_BYTES_MAX) as u64;
        ask(Request::Stage {
            offset,
            bytes: bytes.to_vec(),
        });
    }
    ask(Request::Restore);
    let mut again = Backup::decode(&state.backup(backup.group)).expect("what was written is read");
    assert!(again.revision > backup.revision);
    again.revision = backup.revision;
    assert_eq!(again, backup);
}

/// How a backup begins, with its version.
const BACKUP_HEAD: &[u8] = b"meshwork strong backup\n\x01";

/// A snapshot, and what of a backup stands between its head and its seal, of a group that holds something.
pub fn seeds() -> [Vec<u8>; 2] {
    let mut state = State::new();
    let mut story = Story::default();
    for step in steps::some() {
        if let Some(command) = story.next(step) {
            let answer = state.apply(command.clone());
            story.answered(&command, answer);
        }
    }
    let backup = state.backup(GroupId([7; 16]));
    let body = BACKUP_HEAD.len()..backup.len() - blake3::OUT_LEN;
    [state.snapshot(), backup[body].to_vec()]
}
