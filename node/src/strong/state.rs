//! The state that every voter and learner builds from the log: the same commands give the same state and the same answers.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use meshwork_sync::Key;
use serde::{Deserialize, Serialize};

use super::backup::{BACKUP_BYTES_MAX, Backup, Writer};
use super::command::{
    Command, Found, Full, Mode, Outcome, Refusal, Request, Revision, SessionId, Token, Transaction,
    Wait,
};
use super::history::{Change, History};
use super::keys::{Keys, check_value};
use super::locks::{Acquired, Lock, Locks, Turn};
use super::records::GroupId;
use super::sessions::{Admission, Answer, Sessions};
use super::staging::Staging;

/// Keys, locks and sessions of the strong group, as of one revision.
///
/// Pure: no clock and no chance. What depends on time is a command that the leader proposes.
///
/// ```
/// use meshwork::strong::{Command, Mode, Outcome, Request, SessionId, State, Token, Wait};
/// use meshwork_sync::Key;
///
/// let mut state = State::new();
/// let opened = state.apply(Command::Open { ttl_ms: 10_000 });
/// assert_eq!(opened, Some(Ok(Outcome::Opened { session: SessionId(1) })));
/// let acquire = Request::Acquire {
///     lock: Key::parse("jobs/nightly")?,
///     mode: Mode::Exclusive,
///     wait: Wait::No,
///     note: vec![],
/// };
/// let acquire = Command::Request { session: SessionId(1), sequence: 1, answered: 0, request: acquire };
/// let granted = Some(Ok(Outcome::Granted { token: Token(1) }));
/// assert_eq!(state.apply(acquire.clone()), granted);
/// assert_eq!(state.apply(acquire), granted, "a retry is the same request");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct State {
    kept: Kept,
    history: History,
}

/// What a snapshot holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    revision: Revision,
    keys: Keys,
    locks: Locks,
    sessions: Sessions,
    /// The last number that was drawn from each.
    sequences: BTreeMap<Key, u64>,
    /// Namespaces whose keys are the group's.
    namespaces: BTreeSet<String>,
    /// A backup that is being restored.
    staging: Option<Staging>,
}

/// No group has agreed on so much: a snapshot that says so is not one of ours.
pub(super) const COUNT_MAX: u64 = 1 << 62;

/// The first byte of a snapshot.
const SNAPSHOT_VERSION: u8 = 1;

/// Sequences that numbers may be drawn from.
pub(super) const SEQUENCES_MAX: usize = 100_000;

/// Strong namespaces: every node of the mesh knows all of them.
pub(super) const NAMESPACES_MAX: usize = 1_024;

/// Bytes are no snapshot of ours: damaged, or of a later release. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadSnapshot {
    /// Another version wrote it.
    #[error("snapshot version {found:?} is not read here (this release reads {SNAPSHOT_VERSION})")]
    Version {
        /// Its first byte, if it has one.
        found: Option<u8>,
    },
    /// It does not decode.
    #[error("the snapshot is damaged")]
    Malformed,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

/// Two states are equal if they hold the same, however much of the way there they remember.
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.kept == other.kept
    }
}

impl State {
    /// That of a group that has agreed on nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            kept: Kept::default(),
            history: History::from(Revision(0)),
        }
    }

    #[cfg(test)]
    pub(super) fn with_namespaces<const N: usize>(namespaces: [&str; N]) -> Self {
        let mut state = Self::new();
        state.kept.namespaces = namespaces.map(String::from).into();
        state
    }

    /// Applies the next command of the log. Answers those of clients; what others wait for is in [`State::changes_after`].
    pub fn apply(&mut self, command: Command) -> Option<Answer> {
        self.kept.revision.0 += 1;
        match command {
            Command::Open { ttl_ms } => Some(self.open(ttl_ms)),
            Command::Request {
                session,
                sequence,
                answered,
                request,
            } => Some(
                match self.kept.sessions.admit(session, sequence, answered) {
                    Admission::Answered(answer) => answer,
                    Admission::New => {
                        let answer = self.request(session, request);
                        let kept = answer.clone();
                        self.kept.sessions.answer(session, sequence, kept);
                        answer
                    }
                },
            ),
            Command::Expire { session } => {
                self.end(session);
                None
            }
            Command::GiveUp { session, lock } => {
                if let Some(turns) = self.kept.locks.give_up(session, &lock) {
                    let key = lock.clone();
                    self.note(Change::GaveUp { lock: key, session });
                    self.note_turns(turns.into_iter().map(|turn| (lock.clone(), turn)));
                }
                None
            }
            Command::Skip { count } => {
                let count = count.min(COUNT_MAX);
                self.skip_to(Revision(count), Token(count));
                None
            }
        }
    }

    /// How many commands were applied, and what was skipped.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.kept.revision
    }

    /// The namespaces whose keys are the group's.
    #[must_use]
    pub const fn namespaces(&self) -> &BTreeSet<String> {
        &self.kept.namespaces
    }

    /// A key's value.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Found> {
        self.kept.keys.get(key)
    }

    /// Keys from behind `after` on, in order.
    pub fn keys_after<'a>(
        &'a self,
        after: Bound<&'a Key>,
    ) -> impl Iterator<Item = (&'a Key, &'a Found)> {
        self.kept.keys.after(after)
    }

    /// Who holds a lock and who waits for it; `None` when nobody does.
    #[must_use]
    pub fn lock(&self, lock: &Key) -> Option<&Lock> {
        self.kept.locks.get(lock)
    }

    /// All sessions, and how long each lives without being heard of, in milliseconds.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, u32)> + '_ {
        self.kept.sessions.iter()
    }

    /// How long a session lives without being heard of; `None` when there is no such session.
    #[must_use]
    pub fn session_ttl(&self, session: SessionId) -> Option<Duration> {
        let ttl_ms = self.kept.sessions.ttl_ms(session)?;
        Some(Duration::from_millis(ttl_ms.into()))
    }

    /// Who waits for which lock, and for how long.
    pub fn waiters(&self) -> impl Iterator<Item = (&Key, SessionId, Wait)> {
        let locks = self.kept.locks.iter();
        locks.flat_map(|(key, lock)| {
            let waiters = lock.waiters();
            waiters.map(move |waiter| (key, waiter.session, waiter.wait))
        })
    }

    /// The greatest token of all grants.
    pub(super) const fn last_token(&self) -> Token {
        self.kept.locks.last_token()
    }

    fn holds(&self, session: SessionId, lock: &Key) -> bool {
        let mut holders = self.lock(lock).into_iter().flat_map(Lock::holders);
        holders.any(|(holder, _)| holder == session)
    }

    /// Whether a session waits for a lock.
    #[must_use]
    pub fn waits(&self, session: SessionId, lock: &Key) -> bool {
        self.wait_of(session, lock).is_some()
    }

    /// For how long a session is willing to wait for a lock; `None` when it does not stand in line.
    pub(crate) fn wait_of(&self, session: SessionId, lock: &Key) -> Option<Wait> {
        let mut waiters = self.lock(lock).into_iter().flat_map(Lock::waiters);
        let waiter = waiters.find(|waiter| waiter.session == session)?;
        Some(waiter.wait)
    }

    /// The latest changes, in order.
    pub fn changes(&self) -> impl DoubleEndedIterator<Item = &(Revision, Change)> {
        self.history.iter()
    }

    /// What changed after a revision, in order and without gaps. `None` when that is too long ago, or before the snapshot that this
    /// node began with: whoever watches reads anew what it watches, and goes on from [`State::revision`].
    #[must_use]
    pub fn changes_after(
        &self,
        revision: Revision,
    ) -> Option<impl Iterator<Item = &(Revision, Change)>> {
        self.history.after(revision)
    }

    /// All of it, for a node that has to begin there.
    ///
    /// # Panics
    /// Never: memory grows as needed.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        postcard::to_extend(&self.kept, vec![SNAPSHOT_VERSION])
            .expect("encoding into a growing vector cannot fail")
    }

    /// What is to outlive the group, as a file: see [`Backup`].
    pub(crate) fn backup(&self, group: GroupId) -> Vec<u8> {
        Writer::new(group)
            .put(&self.kept.revision)
            .put(&self.last_token())
            .list(self.kept.namespaces.iter())
            .list(self.kept.sequences.iter())
            .list(self.kept.keys.lasting())
            .finish()
    }

    /// Goes on from a snapshot.
    ///
    /// # Errors
    /// [`ReadSnapshot`] for what [`State::snapshot`] did not write.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, ReadSnapshot> {
        let body = match bytes.split_first() {
            Some((&SNAPSHOT_VERSION, body)) => body,
            other => {
                let found = other.map(|(version, _)| *version);
                return Err(ReadSnapshot::Version { found });
            }
        };
        let (mut kept, rest) = postcard::take_from_bytes::<Kept>(body)
            .ok()
            .ok_or(ReadSnapshot::Malformed)?;
        kept.keys.rebuild();
        kept.sessions.rebuild();
        let staged = kept.staging.as_ref().is_none_or(|staging| {
            kept.sessions.ttl_ms(staging.session).is_some()
                && staging.bytes.len() <= BACKUP_BYTES_MAX
        });
        let sound = kept.locks.rebuild() && kept.revision.0 <= COUNT_MAX && staged;
        if !sound || !rest.is_empty() {
            return Err(ReadSnapshot::Malformed);
        }
        let history = History::from(kept.revision);
        Ok(Self { kept, history })
    }

    fn open(&mut self, ttl_ms: u32) -> Answer {
        if self.kept.sessions.is_full() {
            return Err(Refusal::Full(Full::Sessions));
        }
        let session = SessionId(self.kept.revision.0);
        self.kept.sessions.open(session, ttl_ms);
        Ok(Outcome::Opened { session })
    }

    fn request(&mut self, session: SessionId, request: Request) -> Answer {
        match request {
            Request::Transact(transaction) => {
                self.check_namespaces(&transaction)?;
                if self.kept.sessions.keeps_too_much() {
                    return Err(Refusal::Full(Full::Answers));
                }
                let Self { kept, history } = self;
                let Kept { keys, locks, .. } = kept;
                let revision = kept.revision;
                keys.transact((session, revision), transaction, locks, |key| {
                    history.push(revision, Change::Key { key });
                })
            }
            Request::Acquire {
                lock,
                mode,
                wait,
                note,
            } => self.acquire(session, &lock, (mode, wait), &note),
            Request::Release { lock } => {
                let key = lock.clone();
                if self.waits(session, &lock) {
                    self.note(Change::GaveUp { lock: key, session });
                } else if self.holds(session, &lock) {
                    self.note(Change::Released { lock: key, session });
                }
                let turns = self.kept.locks.release(session, &lock);
                self.note_turns(turns.into_iter().map(|turn| (lock.clone(), turn)));
                Ok(Outcome::Released)
            }
            Request::Create { namespace } => self.create(namespace),
            Request::Draw { sequence, count } => self.draw(sequence, count),
            Request::Close => {
                self.end(session);
                Ok(Outcome::Closed)
            }
            Request::Stage { offset, bytes } => {
                self.check_blank()?;
                let staging = &mut self.kept.staging;
                let bytes = Staging::add(staging, session, (offset, &bytes))?;
                Ok(Outcome::Staged { bytes })
            }
            Request::Restore => self.restore(session),
        }
    }

    fn acquire(
        &mut self,
        session: SessionId,
        lock: &Key,
        how: (Mode, Wait),
        note: &[u8],
    ) -> Answer {
        check_value(note)?;
        let acquired = self.kept.locks.acquire(session, lock, how, note)?;
        let ahead = match acquired {
            Acquired::Granted(token) => {
                let key = lock.clone();
                self.note_turns([(key, Turn::Granted(session, token))]);
                return Ok(Outcome::Granted { token });
            }
            Acquired::Holds(token) => return Ok(Outcome::Granted { token }),
            Acquired::Waits { ahead } => ahead,
        };
        let queued = lock.clone();
        self.note(Change::Queued {
            lock: queued,
            session,
        });
        let mut answer = Ok(Outcome::Waits { ahead });
        let turns = self.kept.locks.break_cycles(session, lock);
        for (key, turn) in &turns {
            match turn {
                Turn::Deadlocked(victim, cycle) if *victim == session && key == lock => {
                    let cycle = cycle.clone();
                    answer = Err(Refusal::Deadlock { cycle });
                }
                Turn::Granted(granted, token) if *granted == session && key == lock => {
                    answer = Ok(Outcome::Granted { token: *token });
                }
                Turn::Deadlocked(..) | Turn::Granted(..) => {}
            }
        }
        self.note_turns(turns);
        answer
    }

    fn create(&mut self, namespace: String) -> Answer {
        // The rules for the names of namespaces are those of keys.
        if Key::new(&namespace, b"*").is_err() {
            let namespace = namespace.chars().take(Key::NAMESPACE_BYTES_MAX).collect();
            return Err(Refusal::NoNamespace { namespace });
        }
        let namespaces = &mut self.kept.namespaces;
        if !namespaces.contains(&namespace) && namespaces.len() >= NAMESPACES_MAX {
            return Err(Refusal::Full(Full::Namespaces));
        }
        let new = namespaces.insert(namespace);
        Ok(Outcome::Created { new })
    }

    /// What is no strong namespace's is not the group's: it may be written elsewhere without asking anybody.
    fn check_namespaces(&self, transaction: &Transaction) -> Result<(), Refusal> {
        let known = |key: &&Key| !self.kept.namespaces.contains(key.namespace());
        match transaction.keys().find(known) {
            None => Ok(()),
            Some(key) => Err(Refusal::NoNamespace {
                namespace: key.namespace().to_owned(),
            }),
        }
    }

    fn draw(&mut self, sequence: Key, count: u32) -> Answer {
        let sequences = &mut self.kept.sequences;
        if !sequences.contains_key(&sequence) && sequences.len() >= SEQUENCES_MAX {
            return Err(Refusal::Full(Full::Sequences));
        }
        let last = sequences.entry(sequence).or_default();
        let Some(end) = last.checked_add(count.into()) else {
            return Err(Refusal::Full(Full::Sequences));
        };
        let first = *last + 1;
        *last = end;
        Ok(Outcome::Drawn { first })
    }

    /// A backup takes the place of nothing.
    fn check_blank(&self) -> Result<(), Refusal> {
        self.is_blank().then_some(()).ok_or(Refusal::NotBlank)
    }

    /// Whether there is nothing in it that would be missed: no namespace, no key, no sequence, no lock.
    pub(super) fn is_blank(&self) -> bool {
        let Kept {
            keys,
            locks,
            sequences,
            namespaces,
            ..
        } = &self.kept;
        keys.is_empty()
            && locks.iter().next().is_none()
            && sequences.is_empty()
            && namespaces.is_empty()
    }

    fn restore(&mut self, session: SessionId) -> Answer {
        let staging = &mut self.kept.staging;
        let staged = staging.take_if(|staging| staging.session == session);
        self.check_blank()?;
        let bytes = staged.map_or_else(Vec::new, |staging| staging.bytes);
        let backup = Backup::decode(&bytes)?;
        self.kept.keys.restore(backup.keys);
        self.kept.sequences = backup.sequences;
        self.kept.namespaces = backup.namespaces;
        let revision = self.skip_to(Revision(backup.revision.0 + 1), backup.token);
        Ok(Outcome::Restored { revision })
    }

    /// Lets no revision and no token up to these be given to anybody. Whoever watches reads anew what it watches.
    fn skip_to(&mut self, revision: Revision, token: Token) -> Revision {
        self.kept.locks.skip_to(token);
        let revision = revision.max(self.kept.revision);
        self.kept.revision = revision;
        self.history = History::from(revision);
        revision
    }

    fn end(&mut self, session: SessionId) {
        if self.kept.sessions.close(session) {
            self.kept
                .staging
                .take_if(|staging| staging.session == session);
            let keys = self.kept.keys.end_session(session);
            self.note_keys(keys);
            let turns = self.kept.locks.release_all(session);
            self.note_turns(turns);
            self.note(Change::Ended { session });
        }
    }

    fn note(&mut self, change: Change) {
        self.history.push(self.kept.revision, change);
    }

    fn note_keys(&mut self, keys: Vec<Key>) {
        for key in keys {
            self.note(Change::Key { key });
        }
    }

    fn note_turns(&mut self, turns: impl IntoIterator<Item = (Key, Turn)>) {
        for (lock, turn) in turns {
            self.note(match turn {
                Turn::Granted(session, token) => Change::Granted {
                    lock,
                    session,
                    token,
                },
                Turn::Deadlocked(session, cycle) => Change::Deadlocked {
                    lock,
                    session,
                    cycle,
                },
            });
        }
    }
}
