//! Knows what was asked for and answered, and says what a mesh may show.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use meshwork_crdt::Dot;
use meshwork_sync::Key;

use super::book::{Book, Finding};
use super::{Effect, Failure, Look, Placement, Request, Seen, Violation, Write, Wrong};

/// Everything that clients asked a mesh for and were told, and what they may expect by that.
///
/// A write that failed or timed out may have happened, and one that was refused may not. Every answer is checked as
/// it comes, against what [`Placement`] lets it claim; [`Oracle::check_end`] checks what all nodes show in the end.
///
/// It belongs to one thread: share it by reference or in an `Rc`.
#[derive(Debug)]
pub struct Oracle {
    placement: Placement,
    known: RefCell<Known>,
}

#[derive(Debug, Default)]
struct Known {
    books: BTreeMap<Key, Book>,
    dots: BTreeMap<Dot, (Key, usize)>,
    violations: Vec<Violation>,
    tally: Tally,
}

/// Names a write until it is answered.
#[derive(Clone, Debug)]
pub struct WriteId {
    key: Key,
    index: usize,
}

/// How many requests there were, by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Writes that were kept by fewer replicas than asked for.
    pub kept: u64,
    /// Writes that may have happened.
    pub unknown: u64,
    /// Writes that were refused.
    pub refused: u64,
    /// Reads that were answered.
    pub read: u64,
    /// Reads that were not.
    pub unread: u64,
}

/// What every node shows of every key.
pub type Shows = BTreeMap<u32, BTreeMap<Key, Seen>>;

impl Oracle {
    /// Most violations that are kept: after the first ones the others tell little.
    pub const VIOLATIONS_MAX: usize = 20;

    /// One that knows nothing yet.
    #[must_use]
    pub fn new(placement: Placement) -> Self {
        let known = RefCell::default();
        Self { placement, known }
    }

    /// A write is about to be made.
    pub fn begin_write(&self, key: &Key, request: Request, effect: Effect) -> WriteId {
        let mut known = self.known.borrow_mut();
        let book = known.books.entry(key.clone()).or_default();
        let index = book.begin(Write::new(request, effect));
        let key = key.clone();
        WriteId { key, index }
    }

    /// A write was answered, or nobody waits for the answer any more.
    pub fn end_write(&self, id: WriteId, now: Duration, answer: Result<Option<Dot>, Failure>) {
        let mut known = self.known.borrow_mut();
        known.tally.count(&answer);
        let dot = answer.as_ref().ok().copied().flatten();
        let WriteId { key, index } = id;
        let book = known.books.entry(key.clone()).or_default();
        let found = book.end(index, now, answer);
        let seen = Seen::default();
        known.report(&key, &Look::Answer, &seen, found);
        let Some(dot) = dot else { return };
        let other = known.dots.insert(dot, (key.clone(), index));
        if let Some((other_key, other)) = other {
            known.report(
                &key,
                &Look::Answer,
                &seen,
                [(Wrong::DotReused(dot), vec![index])],
            );
            let again = (Wrong::DotReused(dot), vec![other]);
            known.report(&other_key, &Look::Answer, &seen, [again]);
        }
    }

    /// The next text of a history that one client alone replays into a key. Returns the number to write it as [`Effect::Commit`].
    pub fn add_commit(&self, key: &Key, text: &str) -> usize {
        let mut known = self.known.borrow_mut();
        known.books.entry(key.clone()).or_default().add_commit(text)
    }

    /// A read was answered at `end`.
    pub fn read(&self, key: &Key, request: Request, end: Duration, seen: &Seen) {
        let mut known = self.known.borrow_mut();
        known.tally.read += 1;
        known.look(self.placement, key, &Look::Live(request, end), seen);
    }

    /// A read was not answered.
    pub fn read_failed(&self) {
        self.known.borrow_mut().tally.unread += 1;
    }

    /// Every key that somebody wrote or tried to.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        self.known.borrow().books.keys().cloned().collect()
    }

    /// What is wrong with what all nodes show once the faults have stopped, nobody writes, and the mesh has had time to converge;
    /// these are not among [`Oracle::violations`].
    ///
    /// What a node does not show of [`Oracle::keys`] counts as nothing.
    #[must_use]
    pub fn check_end(&self, shows: &Shows) -> Vec<Violation> {
        let mut known = self.known.borrow_mut();
        let nothing = Seen::default();
        let mut violations = Vec::new();
        for (key, book) in &mut known.books {
            let mut first: Option<(u32, &Seen)> = None;
            for (node, keys) in shows {
                let (node, seen) = (*node, keys.get(key).unwrap_or(&nothing));
                let look = Look::End { node };
                let differs = first.filter(|(_, same)| *same != seen);
                let mut found = Vec::new();
                if first.is_none() || differs.is_some() {
                    found = book.look(self.placement, &look, seen);
                }
                found.extend(differs.map(|(other, shows)| {
                    let shows = shows.clone();
                    (Wrong::Differ { other, shows }, Vec::new())
                }));
                violations.extend(told(book, (key, &look, seen), found));
                first = first.or(Some((node, seen)));
            }
        }
        violations.truncate(Self::VIOLATIONS_MAX);
        violations
    }

    /// The promises that were broken, the first ones first; at most [`Oracle::VIOLATIONS_MAX`].
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.known.borrow().violations.clone()
    }

    /// How many requests there were.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.known.borrow().tally
    }
}

impl Known {
    fn look(&mut self, placement: Placement, key: &Key, look: &Look, seen: &Seen) {
        let book = self.books.entry(key.clone()).or_default();
        let found = book.look(placement, look, seen);
        self.report(key, look, seen, found);
    }

    fn report(
        &mut self,
        key: &Key,
        look: &Look,
        seen: &Seen,
        found: impl IntoIterator<Item = Finding>,
    ) {
        let Some(book) = self.books.get(key) else {
            return;
        };
        let found = told(book, (key, look, seen), found);
        self.violations.extend(found);
        self.violations.truncate(Oracle::VIOLATIONS_MAX);
    }
}

/// Findings with all that it takes to look into them.
fn told(
    book: &Book,
    (key, look, seen): (&Key, &Look, &Seen),
    found: impl IntoIterator<Item = Finding>,
) -> Vec<Violation> {
    let tell = |(wrong, writes): Finding| {
        let older = writes.len().saturating_sub(WRITES_SHOWN);
        let writes = writes.into_iter().skip(older);
        Violation {
            key: key.clone(),
            wrong,
            look: *look,
            seen: seen.clone(),
            writes: writes
                .filter_map(|index| book.write(index).cloned())
                .collect(),
        }
    };
    found.into_iter().map(tell).collect()
}

impl Tally {
    fn count(&mut self, answer: &Result<Option<Dot>, Failure>) {
        *match answer {
            Ok(_) => &mut self.acknowledged,
            Err(Failure::Kept(_)) => &mut self.kept,
            Err(Failure::Unknown(_)) => &mut self.unknown,
            Err(Failure::Refused(_)) => &mut self.refused,
        } += 1;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            acknowledged,
            kept,
            unknown,
            refused,
            read,
            unread,
        } = self;
        write!(
            f,
            "writes: {acknowledged} acknowledged, {kept} kept, {unknown} unknown, {refused} refused; \
             reads: {read} answered, {unread} not"
        )
    }
}

/// Writes told with one violation, the last ones.
const WRITES_SHOWN: usize = 40;
