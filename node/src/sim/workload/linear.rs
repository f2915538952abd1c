//! Whether what the clients of a register saw can have come from one that does one thing at a time.
//!
//! Source: Wing and Gong, "Testing and verifying concurrent objects" (1993), the search; Lowe, "Testing for linearizability" (2017),
//! section 3, the configurations that are remembered. Linearizability is local (Herlihy and Wing, 1990): each key is checked alone.
//!
//! Where we differ:
//!
//! * What was never answered stays open for ever: it may come at any later time, or never.
//! * What fits and only looks is put in its place at once, and no other order is tried: it can be moved to the front of every order.
//!
//! ```
//! use meshwork::sim::workload::linear::{Entry, Op, Saw, check};
//!
//! let wrote = Entry { invoked: 1, returned: Some((2, Saw::Written)), op: Op::Write(7) };
//! let read = |value| Entry { invoked: 3, returned: Some((4, Saw::Value(value))), op: Op::Read };
//! assert!(check(&[wrote, read(Some(7))]).is_ok());
//! assert!(check(&[wrote, read(None)]).is_err(), "a stale read");
//! ```

use std::collections::HashSet;
use std::fmt;

/// What a client asked of a register. Every value is written by one operation only, so that a value tells who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// What is its value?
    Read,
    /// This is its value from now on.
    Write(u64),
    /// It has no value from now on.
    Delete,
    /// This is its value from now on, and what was it before?
    Swap(u64),
    /// If it is as expected it is the new one from now on.
    Cas {
        /// The value that it has to have; `None`: it has to have none.
        expect: Option<u64>,
        /// The new value.
        new: u64,
    },
}

/// What a client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saw {
    /// A write or delete was done.
    Written,
    /// The value that was read, or the one before a swap.
    Value(Option<u64>),
    /// A compare-and-set was done.
    Changed,
    /// A compare-and-set found another value than was expected.
    Kept,
}

/// One operation of one client, by a clock that all of them share and that never stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was asked for.
    pub invoked: u64,
    /// When the answer came, and what it was; `None`: there was none, or one that does not say whether it was done.
    pub returned: Option<(u64, Saw)>,
    /// What was asked for.
    pub op: Op,
}

/// A history that no order explains, or none that could be checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckHistory {
    /// It is not linearizable: the register's fault.
    #[error(
        "after {placed} operations, which end with the value {}, none of these can be the next: {}",
        shown(*value),
        listed(open)
    )]
    NotLinearizable {
        /// So many were put in order at best.
        placed: u32,
        /// The value at the end of those.
        value: Option<u64>,
        /// What was open there.
        open: Vec<Entry>,
    },
    /// It has more operations than are looked at: the caller's fault, who has to ask less of one key.
    #[error("it has {entries} operations; at most {ENTRIES_MAX} are looked at")]
    TooLong {
        /// How many it has.
        entries: usize,
    },
    /// So many configurations were tried, and it is not known: too much was open at one time.
    #[error("it is not known after {tried} tries")]
    TooHard {
        /// How many.
        tried: usize,
    },
}

/// Operations of one key that are looked at.
pub const ENTRIES_MAX: usize = 256;

/// Configurations that are tried: some seconds, and some hundred MB.
const TRIED_MAX: usize = 2_000_000;

/// Which operations were put in their places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Placed([u64; ENTRIES_MAX / 64]);

/// Those that were put in their places, and the value then.
type Configuration = (Placed, Option<u64>);

/// Whether one order of the operations explains what their clients saw, with a register that has no value at first.
///
/// Takes microseconds for each operation where few are open at a time, and is exponential in how many are.
///
/// # Errors
/// [`CheckHistory`].
pub fn check(history: &[Entry]) -> Result<(), CheckHistory> {
    let mut entries = history.to_vec();
    // Nobody saw what such a read would have found.
    entries.retain(|entry| entry.returned.is_some() || entry.op != Op::Read);
    entries.sort_by_key(|entry| entry.invoked);
    if entries.len() > ENTRIES_MAX {
        let entries = entries.len();
        return Err(CheckHistory::TooLong { entries });
    }
    let mut tried = HashSet::new();
    let mut best = (Placed::default(), None);
    let mut left = vec![best];
    while let Some(configuration) = left.pop() {
        let configuration = place_what_looks(&entries, configuration);
        if !tried.insert(configuration) {
            continue;
        }
        if tried.len() > TRIED_MAX {
            let tried = tried.len();
            return Err(CheckHistory::TooHard { tried });
        }
        let (placed, value) = configuration;
        if placed.count() > best.0.count() {
            best = configuration;
        }
        // The last is tried first: those that were answered, and of them the one that was asked for first.
        let next = candidates(&entries, &placed).into_iter().rev();
        let (open, answered): (Vec<_>, Vec<_>) =
            next.partition(|(_, entry)| entry.returned.is_none());
        if answered.is_empty() {
            return Ok(());
        }
        for (n, entry) in open.into_iter().chain(answered) {
            // What was not answered and would change nothing can as well stay open.
            let counts = |after: &Option<u64>| *after != value || entry.returned.is_some();
            if let Some(after) = entry.after(value).filter(counts) {
                left.push((placed.with(n), after));
            }
        }
    }
    let (placed, value) = best;
    let open = candidates(&entries, &placed);
    Err(CheckHistory::NotLinearizable {
        placed: placed.count(),
        value,
        open: open.into_iter().map(|(_, entry)| *entry).collect(),
    })
}

/// The operations that can be the next: those that were asked for before any other that is left was answered.
fn candidates<'a>(entries: &'a [Entry], placed: &Placed) -> Vec<(usize, &'a Entry)> {
    let mut first_answer = u64::MAX;
    let mut found = Vec::new();
    for (n, entry) in entries.iter().enumerate() {
        if entry.invoked > first_answer {
            break;
        }
        if !placed.has(n) {
            found.push((n, entry));
            first_answer = first_answer.min(entry.returned_at());
        }
    }
    found
}

fn place_what_looks(entries: &[Entry], (mut placed, value): Configuration) -> Configuration {
    loop {
        let before = placed;
        for (n, entry) in candidates(entries, &placed) {
            if entry.only_looked() && entry.after(value).is_some() {
                placed = placed.with(n);
            }
        }
        if placed == before {
            return (placed, value);
        }
    }
}

impl Entry {
    fn returned_at(&self) -> u64 {
        self.returned.map_or(u64::MAX, |(at, _)| at)
    }

    /// Whether its answer says that it changed nothing, wherever it stands.
    fn only_looked(&self) -> bool {
        let saw = self.returned.map(|(_, saw)| saw);
        saw == Some(Saw::Kept) || (saw.is_some() && self.op == Op::Read)
    }

    /// The value after it when it was this before; `None` if its client saw something else.
    fn after(&self, value: Option<u64>) -> Option<Option<u64>> {
        let (after, sees) = match self.op {
            Op::Read => (value, Saw::Value(value)),
            Op::Write(new) => (Some(new), Saw::Written),
            Op::Delete => (None, Saw::Written),
            Op::Swap(new) => (Some(new), Saw::Value(value)),
            Op::Cas { expect, new } if expect == value => (Some(new), Saw::Changed),
            Op::Cas { .. } => (value, Saw::Kept),
        };
        let fits = self.returned.is_none_or(|(_, saw)| saw == sees);
        fits.then_some(after)
    }
}

impl Placed {
    fn has(&self, n: usize) -> bool {
        let bits = self.0.get(n / 64);
        bits.is_some_and(|bits| bits & (1 << (n % 64)) != 0)
    }

    fn with(mut self, n: usize) -> Self {
        if let Some(bits) = self.0.get_mut(n / 64) {
            *bits |= 1 << (n % 64);
        }
        self
    }

    fn count(&self) -> u32 {
        self.0.iter().map(|bits| bits.count_ones()).sum()
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.op {
            Op::Read => f.write_str("read"),
            Op::Write(new) => write!(f, "write {new}"),
            Op::Delete => f.write_str("delete"),
            Op::Swap(new) => write!(f, "swap for {new}"),
            Op::Cas { expect, new } => write!(f, "change {} to {new}", shown(expect)),
        }?;
        match self.returned {
            None => write!(f, " asked at {}, never answered", self.invoked),
            Some((at, saw)) => {
                write!(f, " asked at {}, answered at {at}: ", self.invoked)?;
                match saw {
                    Saw::Written => f.write_str("done"),
                    Saw::Value(value) => f.write_str(&shown(value)),
                    Saw::Changed => f.write_str("changed"),
                    Saw::Kept => f.write_str("it was another"),
                }
            }
        }
    }
}

fn shown(value: Option<u64>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

fn listed(entries: &[Entry]) -> String {
    let entries: Vec<String> = entries.iter().map(Entry::to_string).collect();
    entries.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(invoked: u64, returned: u64, op: Op, saw: Saw) -> Entry {
        Entry {
            invoked,
            returned: Some((returned, saw)),
            op,
        }
    }

    fn write(invoked: u64, returned: u64, value: u64) -> Entry {
        done(invoked, returned, Op::Write(value), Saw::Written)
    }

    fn read(invoked: u64, returned: u64, value: Option<u64>) -> Entry {
        done(invoked, returned, Op::Read, Saw::Value(value))
    }

    fn cas(invoked: u64, returned: u64, expect: Option<u64>, new: u64, saw: Saw) -> Entry {
        done(invoked, returned, Op::Cas { expect, new }, saw)
    }

    const fn open(invoked: u64, op: Op) -> Entry {
        Entry {
            invoked,
            returned: None,
            op,
        }
    }

    fn is_refused(history: &[Entry]) -> bool {
        matches!(check(history), Err(CheckHistory::NotLinearizable { .. }))
    }

    #[test]
    fn one_after_the_other_is_accepted() {
        let history = [
            read(1, 2, None),
            write(3, 4, 1),
            read(5, 6, Some(1)),
            cas(7, 8, Some(1), 2, Saw::Changed),
            cas(9, 10, Some(1), 3, Saw::Kept),
            done(11, 12, Op::Swap(4), Saw::Value(Some(2))),
            read(13, 14, Some(4)),
        ];
        assert_eq!(check(&history), Ok(()));
        assert_eq!(check(&[]), Ok(()));
    }

    #[test]
    fn what_overlaps_may_come_in_any_order_and_what_does_not_may_not() {
        // Both writes overlap both reads: the second write came first.
        let history = [
            write(1, 10, 1),
            write(2, 9, 2),
            read(3, 4, Some(2)),
            read(5, 6, Some(1)),
            read(11, 12, Some(1)),
        ];
        assert_eq!(check(&history), Ok(()));
        // Nobody goes back to a value that was overwritten while he looked on.
        let back = [
            write(1, 10, 1),
            write(2, 9, 2),
            read(3, 4, Some(2)),
            read(5, 6, Some(1)),
            read(11, 12, Some(2)),
        ];
        assert!(is_refused(&back));
    }

    #[test]
    fn a_stale_read_is_refused_and_says_where() {
        let history = [write(1, 2, 1), write(3, 4, 2), read(5, 6, Some(1))];
        let refused = CheckHistory::NotLinearizable {
            placed: 2,
            value: Some(2),
            open: vec![read(5, 6, Some(1))],
        };
        assert_eq!(check(&history), Err(refused));
        // While the second write is under way both are right, but only in one order.
        let under_way = [
            write(1, 2, 1),
            write(3, 9, 2),
            read(5, 6, Some(1)),
            read(7, 8, Some(2)),
        ];
        assert_eq!(check(&under_way), Ok(()));
        let back = [
            write(1, 2, 1),
            write(3, 9, 2),
            read(5, 6, Some(2)),
            read(7, 8, Some(1)),
        ];
        assert!(is_refused(&back));
    }

    #[test]
    fn a_lost_write_is_refused() {
        assert!(is_refused(&[write(1, 2, 1), read(3, 4, None)]));
        let never_written = [read(1, 2, Some(7))];
        assert!(is_refused(&never_written));
    }

    #[test]
    fn what_was_applied_twice_is_refused() {
        // 1 comes back after it was overwritten.
        let write_again = [
            write(1, 2, 1),
            write(3, 4, 2),
            read(5, 6, Some(2)),
            read(7, 8, Some(1)),
        ];
        assert!(is_refused(&write_again));
        // It was done, and its second time found what the first had made.
        let cas_again = [cas(1, 2, None, 1, Saw::Kept), read(3, 4, Some(1))];
        assert!(is_refused(&cas_again));
        // The same of a swap.
        let swap = done(1, 2, Op::Swap(1), Saw::Value(Some(1)));
        assert!(is_refused(&[swap, read(3, 4, Some(1))]));
        // Two that both took the same value for theirs: an increment is lost.
        let both = [
            write(1, 2, 1),
            cas(3, 6, Some(1), 2, Saw::Changed),
            cas(4, 5, Some(1), 3, Saw::Changed),
        ];
        assert!(is_refused(&both));
    }

    #[test]
    fn what_was_not_answered_may_come_late_or_never_and_not_twice() {
        let unknown = open(3, Op::Write(2));
        for seen in [[Some(1), Some(1)], [Some(1), Some(2)], [Some(2), Some(2)]] {
            let reads = [read(5, 6, seen[0]), read(70, 80, seen[1])];
            let history = [write(1, 2, 1), unknown, reads[0], reads[1]];
            assert_eq!(check(&history), Ok(()), "{seen:?}");
        }
        let back = [
            write(1, 2, 1),
            unknown,
            read(5, 6, Some(2)),
            read(7, 8, Some(1)),
        ];
        assert!(is_refused(&back));
        let too_soon = [write(1, 2, 1), read(5, 6, Some(2)), open(7, Op::Write(2))];
        assert!(is_refused(&too_soon));
        let twice = [
            unknown,
            read(5, 6, Some(2)),
            write(7, 8, 3),
            read(9, 10, Some(3)),
            read(11, 12, Some(2)),
        ];
        assert!(is_refused(&twice));
    }

    #[test]
    fn a_compare_and_set_that_was_not_answered_counts_only_where_it_fits() {
        let unknown = open(
            3,
            Op::Cas {
                expect: Some(1),
                new: 2,
            },
        );
        let history = [write(1, 2, 1), unknown, read(5, 6, Some(2))];
        assert_eq!(check(&history), Ok(()));
        let no_match = [write(1, 2, 7), unknown, read(5, 6, Some(2))];
        assert!(is_refused(&no_match));
        let nothing = [write(1, 2, 1), unknown, write(5, 6, 3), read(7, 8, Some(3))];
        assert_eq!(check(&nothing), Ok(()));
    }

    #[test]
    fn a_write_that_nobody_saw_may_be_why_a_compare_and_set_was_not_done() {
        let kept = cas(5, 6, Some(1), 3, Saw::Kept);
        let history = [write(1, 2, 1), open(3, Op::Write(2)), kept, write(7, 8, 4)];
        assert_eq!(check(&history), Ok(()));
        assert!(is_refused(&[write(1, 2, 1), kept, write(7, 8, 4)]));
    }

    #[test]
    fn a_deleted_value_is_gone_and_nothing_else() {
        let delete = |invoked, returned| done(invoked, returned, Op::Delete, Saw::Written);
        let history = [
            delete(1, 2),
            write(3, 4, 1),
            delete(5, 6),
            read(7, 8, None),
            cas(9, 10, None, 2, Saw::Changed),
        ];
        assert_eq!(check(&history), Ok(()));
        assert!(is_refused(&[
            write(1, 2, 1),
            delete(3, 4),
            read(5, 6, Some(1))
        ]));
        // It could have come first, when there was nothing to delete, and came last.
        let late = [delete(1, 9), write(2, 3, 1), read(10, 11, None)];
        assert_eq!(check(&late), Ok(()));
        // What was never answered may be why there is nothing.
        let lost = [write(1, 2, 1), open(3, Op::Delete), read(4, 5, None)];
        assert_eq!(check(&lost), Ok(()));
        let back = [
            write(1, 2, 1),
            open(3, Op::Delete),
            read(4, 5, None),
            read(6, 7, Some(1)),
        ];
        assert!(is_refused(&back));
    }

    #[test]
    fn many_that_were_not_answered_are_not_too_hard() {
        let mut history: Vec<Entry> = (0..40).map(|n| open(n, Op::Write(n))).collect();
        let reads = (0..20).map(|n| read(100 + 2 * n, 101 + 2 * n, Some(2 * n)));
        history.extend(reads);
        assert_eq!(check(&history), Ok(()));
        let too_long = vec![write(1, 2, 1); ENTRIES_MAX + 1];
        assert_eq!(
            check(&too_long),
            Err(CheckHistory::TooLong {
                entries: ENTRIES_MAX + 1
            })
        );
    }
}
