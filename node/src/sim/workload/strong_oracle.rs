//! Knows what was asked of strong keys, sequences and locks and what was answered, and whether that can be.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use meshwork_sync::Key;

use super::draws::Draws;
use super::greatest::Greatest;
use super::linear::{Entry, Op, Saw, check};
use super::{Failure, StrongWrong};
use crate::strong::Token;

/// Everything that clients asked of a strong group and were told.
///
/// What was answered with an error that leaves it open may come at any later time, or never; only what surely has not happened is left
/// out. Histories of keys are checked in the end by [`linear::check`](super::linear::check); sequences, tokens and guards at every answer.
///
/// It belongs to one thread: share it by reference or in an `Rc`.
#[derive(Debug, Default)]
pub struct StrongOracle {
    known: RefCell<Known>,
}

#[derive(Debug, Default)]
struct Known {
    clock: u64,
    /// The values that were written, counted from 1, and the token that each was written under.
    tokens: Vec<Option<Token>>,
    registers: BTreeMap<Key, Register>,
    draws: BTreeMap<Key, Draws>,
    granted: Greatest,
    grants: BTreeSet<Token>,
    wrongs: Vec<StrongWrong>,
    tally: StrongTally,
}

/// One key.
#[derive(Debug, Default)]
struct Register {
    /// What has surely not happened is taken out.
    entries: Vec<Option<Entry>>,
    /// What an answer showed last.
    seen: Option<u64>,
}

/// Names an operation on a key until it is answered.
#[derive(Clone, Debug)]
pub struct AskId {
    key: Key,
    index: usize,
}

/// Names a draw until it is answered.
#[derive(Clone, Debug)]
pub struct DrawId {
    sequence: Key,
    count: u32,
    invoked: u64,
}

/// How many strong requests there were, by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StrongTally {
    /// Operations on keys, and draws, that were answered.
    pub answered: u64,
    /// Those that may have happened.
    pub unknown: u64,
    /// Those that surely have not.
    pub refused: u64,
    /// Locks that were granted.
    pub granted: u64,
    /// Writes that were refused since the lock was not held any more.
    pub fenced: u64,
}

impl StrongOracle {
    /// Most wrongs that are kept: after the first ones the others tell little.
    pub const WRONGS_MAX: usize = 20;

    /// One that knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A value that is written once, and under this token if any.
    pub fn new_value(&self, token: Option<Token>) -> u64 {
        let mut known = self.known.borrow_mut();
        known.tokens.push(token);
        known.tokens.len().try_into().unwrap_or(u64::MAX)
    }

    /// What an answer showed last of a key.
    #[must_use]
    pub fn seen(&self, key: &Key) -> Option<u64> {
        self.known.borrow().registers.get(key)?.seen
    }

    /// How many operations on a key there were: more than [`linear::ENTRIES_MAX`](super::linear::ENTRIES_MAX) cannot be checked.
    #[must_use]
    pub fn asked(&self, key: &Key) -> usize {
        let known = self.known.borrow();
        known.registers.get(key).map_or(0, |key| key.entries.len())
    }

    /// Something is about to be asked of a key.
    pub fn begin(&self, key: &Key, now: Duration, op: Op) -> AskId {
        let mut known = self.known.borrow_mut();
        let invoked = known.tick(now);
        let register = known.registers.entry(key.clone()).or_default();
        let index = register.entries.len();
        let returned = None;
        register.entries.push(Some(Entry {
            invoked,
            returned,
            op,
        }));
        let key = key.clone();
        AskId { key, index }
    }

    /// It was answered. What never is stays open.
    pub fn end(&self, id: AskId, now: Duration, answer: Result<Saw, Failure>) {
        let mut known = self.known.borrow_mut();
        known.tally.count(&answer);
        let at = known.tick(now);
        let AskId { key, index } = id;
        let register = known.registers.entry(key.clone()).or_default();
        let Some(place) = register.entries.get_mut(index) else {
            return;
        };
        match answer {
            Ok(saw) => {
                if let Some(entry) = place {
                    entry.returned = Some((at, saw));
                    let op = entry.op;
                    register.seen = seen_after(op, saw, register.seen);
                    known.check_order(&key, op, saw);
                }
            }
            Err(Failure::Refused(_)) => *place = None,
            Err(Failure::Kept(_) | Failure::Unknown(_)) => {}
        }
    }

    /// Numbers are about to be drawn.
    pub fn begin_draw(&self, sequence: &Key, now: Duration, count: u32) -> DrawId {
        let mut known = self.known.borrow_mut();
        let invoked = known.tick(now);
        let sequence = sequence.clone();
        known
            .draws
            .entry(sequence.clone())
            .or_default()
            .begin(count);
        DrawId {
            sequence,
            count,
            invoked,
        }
    }

    /// Says the first number that was drawn.
    pub fn end_draw(&self, id: DrawId, now: Duration, answer: Result<u64, Failure>) {
        let mut known = self.known.borrow_mut();
        known.tally.count(&answer);
        let returned = known.tick(now);
        let DrawId {
            sequence,
            count,
            invoked,
        } = id;
        let draws = known.draws.entry(sequence.clone()).or_default();
        match answer {
            Ok(first) => {
                let wrong = draws.drawn(&sequence, (invoked, returned), (first, count));
                known.report(wrong);
            }
            Err(Failure::Refused(_)) => draws.refused(count),
            Err(Failure::Kept(_) | Failure::Unknown(_)) => {}
        }
    }

    /// A lock is about to be asked for. Returns the moment, for [`StrongOracle::granted`].
    pub fn begin_grant(&self, now: Duration) -> u64 {
        self.known.borrow_mut().tick(now)
    }

    /// A lock that was asked for at `invoked` is held.
    pub fn granted(&self, lock: &Key, (invoked, now): (u64, Duration), token: Token) {
        let mut known = self.known.borrow_mut();
        known.tally.granted += 1;
        let returned = known.tick(now);
        let before = Token(known.granted.before(invoked));
        known.granted.answered(returned, token.0);
        let is_new = known.grants.insert(token);
        if !is_new || before >= token {
            let lock = lock.clone();
            let before = before.max(token);
            known.report(Some(StrongWrong::TokenBack {
                lock,
                token,
                before,
            }));
        }
    }

    /// A write was refused since its lock is not held any more.
    pub fn fenced(&self) {
        self.known.borrow_mut().tally.fenced += 1;
    }

    /// Something is wrong that a client saw by itself.
    pub fn report(&self, wrong: StrongWrong) {
        self.known.borrow_mut().report(Some(wrong));
    }

    /// Every key that something was asked of.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        self.known.borrow().registers.keys().cloned().collect()
    }

    /// Every sequence that was drawn from.
    #[must_use]
    pub fn sequences(&self) -> Vec<Key> {
        self.known.borrow().draws.keys().cloned().collect()
    }

    /// Promises that were broken, the first ones first; at most [`StrongOracle::WRONGS_MAX`]. Histories are not among them.
    #[must_use]
    pub fn wrongs(&self) -> Vec<StrongWrong> {
        self.known.borrow().wrongs.clone()
    }

    /// What is wrong with the histories of keys.
    #[must_use]
    pub fn check_histories(&self) -> Vec<StrongWrong> {
        let known = self.known.borrow();
        let checked = known.registers.iter().filter_map(|(key, register)| {
            let history: Vec<Entry> = register.entries.iter().flatten().copied().collect();
            let history = check(&history).err()?;
            let key = key.clone();
            Some(StrongWrong::History { key, history })
        });
        checked.take(Self::WRONGS_MAX).collect()
    }

    /// Which sequences have not come as far as they should: call it when the last draw from each was the only one under way.
    #[must_use]
    pub fn check_sequences(&self) -> Vec<StrongWrong> {
        let known = self.known.borrow();
        let draws = known.draws.iter();
        draws
            .filter_map(|(sequence, draws)| draws.check(sequence))
            .collect()
    }

    /// How many requests there were.
    #[must_use]
    pub fn tally(&self) -> StrongTally {
        self.known.borrow().tally
    }
}

impl Known {
    /// Microseconds, and never the same twice.
    fn tick(&mut self, now: Duration) -> u64 {
        let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        self.clock = now.max(self.clock + 1);
        self.clock
    }

    /// Whoever holds a lock writes after all who held it before.
    fn check_order(&mut self, key: &Key, op: Op, saw: Saw) {
        let (Op::Swap(new), Saw::Value(Some(before))) = (op, saw) else {
            return;
        };
        let (token, before) = (self.token_of(new), self.token_of(before));
        if let (Some(token), Some(before)) = (token, before)
            && token < before
        {
            let key = key.clone();
            self.report(Some(StrongWrong::HeldByTwo { key, token, before }));
        }
    }

    fn token_of(&self, value: u64) -> Option<Token> {
        let index = usize::try_from(value).ok()?.checked_sub(1)?;
        self.tokens.get(index).copied().flatten()
    }

    fn report(&mut self, wrong: Option<StrongWrong>) {
        self.wrongs.extend(wrong);
        self.wrongs.truncate(StrongOracle::WRONGS_MAX);
    }
}

/// What there is once an answer was given, if nobody else has changed it.
const fn seen_after(op: Op, saw: Saw, before: Option<u64>) -> Option<u64> {
    match (op, saw) {
        (Op::Read, Saw::Value(value)) => value,
        (Op::Write(new) | Op::Swap(new), _) | (Op::Cas { new, .. }, Saw::Changed) => Some(new),
        (Op::Delete, _) => None,
        (Op::Read | Op::Cas { .. }, _) => before,
    }
}

impl StrongTally {
    const fn count<T>(&mut self, answer: &Result<T, Failure>) {
        *match answer {
            Ok(_) => &mut self.answered,
            Err(Failure::Kept(_) | Failure::Unknown(_)) => &mut self.unknown,
            Err(Failure::Refused(_)) => &mut self.refused,
        } += 1;
    }
}

impl fmt::Display for StrongTally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            answered,
            unknown,
            refused,
            granted,
            fenced,
        } = self;
        write!(
            f,
            "strong requests: {answered} answered, {unknown} unknown, {refused} refused; \
             locks: {granted} granted, {fenced} writes fenced off"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    fn key() -> Key {
        Key::parse("strong/x").unwrap()
    }

    fn unknown<T>() -> Result<T, Failure> {
        Err(Failure::Unknown("lost".into()))
    }

    fn refused<T>() -> Result<T, Failure> {
        Err(Failure::Refused("busy".into()))
    }

    #[test]
    fn what_was_refused_has_not_happened_and_what_is_unknown_may_have() {
        for (answer, may) in [(unknown(), true), (refused(), false)] {
            let oracle = StrongOracle::new();
            let value = oracle.new_value(None);
            let write = oracle.begin(&key(), at(1), Op::Write(value));
            oracle.end(write, at(2), answer);
            let read = oracle.begin(&key(), at(3), Op::Read);
            oracle.end(read, at(4), Ok(Saw::Value(Some(value))));
            assert_eq!(oracle.check_histories().is_empty(), may);
        }
    }

    #[test]
    fn what_happens_at_one_moment_has_an_order() {
        let oracle = StrongOracle::new();
        let value = oracle.new_value(None);
        let write = oracle.begin(&key(), at(1), Op::Write(value));
        oracle.end(write, at(1), Ok(Saw::Written));
        let read = oracle.begin(&key(), at(1), Op::Read);
        oracle.end(read, at(1), Ok(Saw::Value(None)));
        let wrong = oracle.check_histories();
        assert!(
            matches!(wrong[..], [StrongWrong::History { .. }]),
            "{wrong:?}"
        );
    }

    #[test]
    fn tokens_grow() {
        let oracle = StrongOracle::new();
        let lock = key();
        let first = oracle.begin_grant(at(1));
        let second = oracle.begin_grant(at(2));
        oracle.granted(&lock, (first, at(3)), Token(2));
        oracle.granted(&lock, (second, at(4)), Token(1));
        assert!(oracle.wrongs().is_empty(), "both were under way");
        let third = oracle.begin_grant(at(5));
        oracle.granted(&lock, (third, at(6)), Token(2));
        let wrong = oracle.wrongs();
        assert!(
            matches!(wrong[..], [StrongWrong::TokenBack { .. }]),
            "{wrong:?}"
        );
    }

    #[test]
    fn a_holder_that_comes_back_is_seen() {
        let oracle = StrongOracle::new();
        let [old, new, late] = [1, 2, 1].map(|token| oracle.new_value(Some(Token(token))));
        for (us, value, before) in [(1, old, None), (3, new, Some(old)), (5, late, Some(new))] {
            assert!(oracle.wrongs().is_empty());
            let swap = oracle.begin(&key(), at(us), Op::Swap(value));
            oracle.end(swap, at(us + 1), Ok(Saw::Value(before)));
        }
        let wrong = oracle.wrongs();
        assert!(
            matches!(wrong[..], [StrongWrong::HeldByTwo { .. }]),
            "{wrong:?}"
        );
        assert!(oracle.check_histories().is_empty(), "one order explains it");
    }
}
