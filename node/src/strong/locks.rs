//! Locks: who holds which, who waits in line, and who waits for himself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meshwork_membership::planted::{Bug, planted};
use meshwork_sync::Key;
use serde::{Deserialize, Serialize};

use super::command::{Full, Link, Mode, Refusal, SessionId, Token, Wait};
use super::state::COUNT_MAX;

/// All locks that somebody holds or waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Locks {
    locks: BTreeMap<Key, Lock>,
    /// What a session holds or waits for.
    #[serde(skip)]
    of_session: BTreeMap<SessionId, BTreeSet<Key>>,
    last: Token,
    /// How many requests have queued, to tell the youngest.
    queued: u64,
}

/// One lock, as others see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    holders: BTreeMap<SessionId, Holder>,
    waiters: VecDeque<Waiter>,
}

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Alone, or beside others.
    pub mode: Mode,
    /// Under which token.
    pub token: Token,
    /// What it lets others read.
    pub note: Vec<u8>,
}

/// Who waits for a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiter {
    /// Who.
    pub session: SessionId,
    /// How it wants to hold it.
    pub mode: Mode,
    /// For how long.
    pub wait: Wait,
    queued: u64,
    note: Vec<u8>,
}

/// What became of somebody who waited or held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Granted(SessionId, Token),
    Deadlocked(SessionId, Vec<Link>),
}

/// What [`Locks::acquire`] comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acquired {
    Granted(Token),
    /// It was before.
    Holds(Token),
    Waits {
        ahead: u32,
    },
}

/// Sessions that may wait for one lock.
pub(crate) const WAITERS_MAX: usize = 1_024;

/// Locks that may be held or waited for at one time.
pub(crate) const LOCKS_MAX: usize = 100_000;

impl Lock {
    /// Who holds it: one alone, or several that share it.
    pub fn holders(&self) -> impl Iterator<Item = (SessionId, &Holder)> + '_ {
        self.holders
            .iter()
            .map(|(session, holder)| (*session, holder))
    }

    /// Who waits, in the order in which they get it.
    pub fn waiters(&self) -> impl Iterator<Item = &Waiter> + '_ {
        self.waiters.iter()
    }

    fn is_idle(&self) -> bool {
        self.holders.is_empty() && self.waiters.is_empty()
    }

    /// Whether nobody else's hold stands against it.
    fn is_free_for(&self, session: SessionId, mode: Mode) -> bool {
        let mut others = self.holders().filter(|(holder, _)| *holder != session);
        others.all(|(_, holder)| mode == Mode::Shared && holder.mode == Mode::Shared)
    }

    /// Those whom a waiter waits for: who holds the lock, and who comes before and does not share it with him.
    fn blockers(&self, waiter: &Waiter) -> BTreeSet<SessionId> {
        let conflict = |mode| mode == Mode::Exclusive || waiter.mode == Mode::Exclusive;
        let holders = self
            .holders()
            .map(|(session, holder)| (session, holder.mode));
        let before = self.waiters().take_while(|other| *other != waiter);
        let before = before.map(|other| (other.session, other.mode));
        let blockers = holders.chain(before).filter(|(_, mode)| conflict(*mode));
        let others = blockers.filter(|(session, _)| *session != waiter.session);
        others.map(|(session, _)| session).collect()
    }

    fn remove_waiter(&mut self, session: SessionId) -> bool {
        let before = self.waiters.len();
        self.waiters.retain(|waiter| waiter.session != session);
        self.waiters.len() < before
    }
}

impl Locks {
    /// Works out what a snapshot leaves out. `false`: a token in it was granted twice, or will be.
    pub(crate) fn rebuild(&mut self) -> bool {
        let mut tokens = BTreeSet::new();
        for (key, lock) in &self.locks {
            let holders = lock.holders().map(|(session, _)| session);
            let waiters = lock.waiters().map(|waiter| waiter.session);
            for session in holders.chain(waiters) {
                let keys = self.of_session.entry(session).or_default();
                keys.insert(key.clone());
            }
            let new = |(_, holder): (_, &Holder)| tokens.insert(holder.token);
            if !lock.holders().all(new) {
                return false;
            }
        }
        let last = tokens.last().is_none_or(|last| *last <= self.last);
        last && self.last.0.max(self.queued) <= COUNT_MAX
    }

    /// Nothing up to this token is granted any more.
    pub(crate) fn skip_to(&mut self, token: Token) {
        self.last = self.last.max(token);
    }

    pub(crate) fn get(&self, lock: &Key) -> Option<&Lock> {
        self.locks.get(lock)
    }

    /// The last token that was granted.
    pub(crate) const fn last_token(&self) -> Token {
        self.last
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &Lock)> {
        self.locks.iter()
    }

    pub(crate) fn is_held_under(&self, lock: &Key, token: Token) -> bool {
        let lock = self.locks.get(lock);
        lock.is_some_and(|lock| lock.holders.values().any(|holder| holder.token == token))
    }

    /// Takes a lock or queues for it.
    pub(crate) fn acquire(
        &mut self,
        session: SessionId,
        key: &Key,
        (mode, wait): (Mode, Wait),
        note: &[u8],
    ) -> Result<Acquired, Refusal> {
        if !self.locks.contains_key(key) && self.locks.len() >= LOCKS_MAX {
            return Err(Refusal::Full(Full::Locks));
        }
        let lock = self.locks.entry(key.clone()).or_default();
        let held = lock.holders.get(&session);
        if let Some(holder) = held.filter(|holder| holder.mode >= mode) {
            return Ok(Acquired::Holds(holder.token));
        }
        let upgrades = held.is_some();
        if let Some(place) = lock.waiters().position(|waiter| waiter.session == session) {
            let ahead = u32::try_from(place).unwrap_or(u32::MAX);
            return Ok(Acquired::Waits { ahead });
        }
        // Who holds it already and wants it alone need not stand in line: those there wait for him.
        let in_line = !upgrades && !lock.waiters.is_empty();
        let by = lock.holders().map(|(holder, _)| holder);
        let by = by.chain(lock.waiters().map(|waiter| waiter.session));
        let by = by.filter(|other| *other != session).last();
        if !in_line && lock.is_free_for(session, mode) {
            self.last.0 += 1;
            let token = self.last;
            let note = note.to_vec();
            lock.holders.insert(session, Holder { mode, token, note });
            self.of_session
                .entry(session)
                .or_default()
                .insert(key.clone());
            return Ok(Acquired::Granted(token));
        }
        if let (Wait::No, Some(by)) = (wait, by) {
            return Err(Refusal::Held { by });
        }
        if lock.waiters.len() >= WAITERS_MAX {
            return Err(Refusal::Full(Full::Waiters));
        }
        self.queued += 1;
        let waiter = Waiter {
            session,
            mode,
            wait,
            queued: self.queued,
            note: note.to_vec(),
        };
        if upgrades {
            lock.waiters.push_front(waiter);
        } else {
            lock.waiters.push_back(waiter);
        }
        self.of_session
            .entry(session)
            .or_default()
            .insert(key.clone());
        let ahead = if upgrades { 0 } else { lock.waiters.len() - 1 };
        let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
        Ok(Acquired::Waits { ahead })
    }

    /// Gives a lock back, and takes the session out of the line. Says whose turn it is then.
    pub(crate) fn release(&mut self, session: SessionId, key: &Key) -> Vec<Turn> {
        let Some(lock) = self.locks.get_mut(key) else {
            return Vec::new();
        };
        lock.holders.remove(&session);
        lock.remove_waiter(session);
        self.forget(session, key);
        self.grant(key)
    }

    /// Gives back all that a session holds, and takes it out of all lines.
    pub(crate) fn release_all(&mut self, session: SessionId) -> Vec<(Key, Turn)> {
        let keys = self.of_session.get(&session).cloned().unwrap_or_default();
        let turns = keys.into_iter().flat_map(|key| {
            let turns = self.release(session, &key);
            turns.into_iter().map(move |turn| (key.clone(), turn))
        });
        turns.collect()
    }

    fn forget(&mut self, session: SessionId, key: &Key) {
        if let Some(keys) = self.of_session.get_mut(&session) {
            keys.remove(key);
            if keys.is_empty() {
                self.of_session.remove(&session);
            }
        }
    }

    /// Takes a session out of the line of a lock, if it stands there.
    pub(crate) fn give_up(&mut self, session: SessionId, key: &Key) -> Option<Vec<Turn>> {
        let lock = self.locks.get_mut(key)?;
        if !lock.remove_waiter(session) {
            return None;
        }
        // Who wanted more of what he shares goes on sharing it.
        if !lock.holders.contains_key(&session) {
            self.forget(session, key);
        }
        Some(self.grant(key))
    }

    /// Lets in who is first in line, and those after him that share it with him.
    fn grant(&mut self, key: &Key) -> Vec<Turn> {
        let mut turns = Vec::new();
        let Some(lock) = self.locks.get_mut(key) else {
            return turns;
        };
        while let Some(first) = lock.waiters.front()
            && lock.is_free_for(first.session, first.mode)
            && let Some(Waiter {
                session,
                mode,
                note,
                ..
            }) = lock.waiters.pop_front()
        {
            self.last.0 += 1;
            let token = self.last;
            lock.holders.insert(session, Holder { mode, token, note });
            turns.push(Turn::Granted(session, token));
        }
        if lock.is_idle() {
            self.locks.remove(key);
            if planted(Bug::TokenForgotten) && self.locks.is_empty() {
                self.last = Token(0);
            }
        }
        turns
    }

    /// Breaks the circles that a new waiter has closed: the youngest waiter of each gives up.
    pub(crate) fn break_cycles(&mut self, session: SessionId, key: &Key) -> Vec<(Key, Turn)> {
        let mut turns = Vec::new();
        while let Some(cycle) = self.cycle_of(session, key) {
            let queued = |link: &Link| self.waiter(link).map_or(0, |waiter| waiter.queued);
            let Some(youngest) = cycle.iter().max_by_key(|link| queued(link)).cloned() else {
                break;
            };
            let Link { session, lock } = youngest;
            let granted = self.give_up(session, &lock).unwrap_or_default();
            turns.push((lock.clone(), Turn::Deadlocked(session, cycle)));
            turns.extend(granted.into_iter().map(|turn| (lock.clone(), turn)));
        }
        turns
    }

    /// A way from a waiter over those it waits for, and what they wait for, back to itself.
    fn cycle_of(&self, session: SessionId, key: &Key) -> Option<Vec<Link>> {
        let lock = key.clone();
        let mut path = vec![(Link { session, lock }, None)];
        let mut seen = BTreeSet::new();
        while let Some((link, ways)) = path.last_mut() {
            let blockers = || self.blockers(link);
            if ways.is_none() && blockers().contains(&session) {
                return Some(path.into_iter().map(|(link, _)| link).collect());
            }
            let ways = ways.get_or_insert_with(|| self.waits_of(&blockers()));
            match ways.pop() {
                Some(next) if seen.insert(next.clone()) => path.push((next, None)),
                Some(_) => {}
                None => drop(path.pop()),
            }
        }
        None
    }

    fn waiter(&self, link: &Link) -> Option<&Waiter> {
        let mut waiters = self.locks.get(&link.lock)?.waiters();
        waiters.find(|waiter| waiter.session == link.session)
    }

    fn blockers(&self, link: &Link) -> BTreeSet<SessionId> {
        let lock = self.locks.get(&link.lock).zip(self.waiter(link));
        lock.map(|(lock, waiter)| lock.blockers(waiter))
            .unwrap_or_default()
    }

    /// All that these sessions wait for; each may wait for several locks at a time.
    fn waits_of(&self, sessions: &BTreeSet<SessionId>) -> Vec<Link> {
        let links = sessions.iter().flat_map(|session| {
            let locks = self.of_session.get(session).into_iter().flatten();
            locks.map(|lock| Link {
                session: *session,
                lock: lock.clone(),
            })
        });
        links.filter(|link| self.waiter(link).is_some()).collect()
    }
}
