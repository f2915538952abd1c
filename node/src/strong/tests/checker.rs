//! Whether what the clients of a register saw can have come from one that does one thing at a time.
//!
//! Source: Wing and Gong, "Testing and verifying concurrent objects" (1993), the search; Lowe, "Testing for linearizability" (2017),
//! section 3, the configurations that are remembered. Linearizability is local (Herlihy and Wing, 1990): each key is checked alone.
//!
//! Where we differ:
//!
//! * What was never answered stays open for ever: it may come at any later time, or never.
//! * What fits and changes nothing is put in its place at once, and no other order is tried: it can be moved to the front of every order.

use std::collections::HashSet;

/// What a client asked of a register. Every value is written by one operation only, so that a value tells who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// What is its value?
    Read,
    /// This is its value from now on.
    Write(u64),
    /// The same, and what was it before?
    Swap(u64),
    /// If it is as expected it is this from now on.
    Cas { expect: Option<u64>, new: u64 },
}

/// What a client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saw {
    /// A write was done.
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
pub(super) struct Entry {
    /// When it was asked for.
    pub(super) invoked: u64,
    /// When the answer came, and what it was; `None`: there was none, or one that does not say whether it was done.
    pub(super) returned: Option<(u64, Saw)>,
    /// What was asked for.
    pub(super) op: Op,
}

/// A history that no order explains, or none that could be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CheckHistory {
    /// It is not linearizable. These were put in order at best, with that value at their end; none of those that are open there can be the next.
    NotLinearizable {
        placed: usize,
        value: Option<u64>,
        open: Vec<Entry>,
    },
    /// It has more operations than are looked at.
    TooLong { entries: usize },
    /// So many configurations were tried, and it is not known.
    TooHard { tried: usize },
}

/// Operations of one key that are looked at.
pub(super) const ENTRIES_MAX: usize = 256;

/// Configurations that are tried: some seconds, and some hundred MB.
const TRIED_MAX: usize = 2_000_000;

/// Which operations were put in their places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Placed([u64; ENTRIES_MAX / 64]);

/// Those that were put in their places, and the value then.
type Configuration = (Placed, Option<u64>);

/// Whether one order of the operations explains what their clients saw, with a register that has no value at first.
pub(super) fn check(history: &[Entry]) -> Result<(), CheckHistory> {
    let mut entries = history.to_vec();
    // Nobody saw what such a read would have found.
    entries.retain(|entry| entry.returned.is_some() || entry.op != Op::Read);
    entries.sort_by_key(|entry| entry.invoked);
    if entries.len() > ENTRIES_MAX {
        let entries = entries.len();
        return Err(CheckHistory::TooLong { entries });
    }
    let mut tried = HashSet::new();
    let mut left = vec![(Placed::default(), None)];
    let mut best = left[0];
    while let Some(configuration) = left.pop() {
        let configuration = place_what_changes_nothing(&entries, configuration);
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
        let next = candidates(&entries, &placed);
        if next.iter().all(|n| entries[*n].returned.is_none()) {
            return Ok(());
        }
        // The last is tried first: those that were answered, and of them the one that was asked for first.
        let (open, answered): (Vec<_>, Vec<_>) = next
            .into_iter()
            .rev()
            .partition(|n| entries[*n].returned.is_none());
        for n in open.into_iter().chain(answered) {
            if let Some(after) = entries[n].after(value).filter(|after| *after != value) {
                left.push((placed.with(n), after));
            }
        }
    }
    let (placed, value) = best;
    let open = candidates(&entries, &placed);
    Err(CheckHistory::NotLinearizable {
        placed: placed.count(),
        value,
        open: open.into_iter().map(|n| entries[n]).collect(),
    })
}

/// The operations that can be the next: those that were asked for before any other that is left was answered.
fn candidates(entries: &[Entry], placed: &Placed) -> Vec<usize> {
    let mut first_answer = u64::MAX;
    let mut found = Vec::new();
    for (n, entry) in entries.iter().enumerate() {
        if entry.invoked > first_answer {
            break;
        }
        if !placed.has(n) {
            found.push(n);
            first_answer = first_answer.min(entry.returned_at());
        }
    }
    found
}

fn place_what_changes_nothing(
    entries: &[Entry],
    (mut placed, value): Configuration,
) -> Configuration {
    loop {
        let before = placed;
        for n in candidates(entries, &placed) {
            let answered = entries[n].returned.is_some();
            if answered && entries[n].after(value) == Some(value) {
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

    /// The value after it when it was this before; `None` if its client saw something else.
    fn after(&self, value: Option<u64>) -> Option<Option<u64>> {
        let (after, sees) = match self.op {
            Op::Read => (value, Saw::Value(value)),
            Op::Write(new) => (Some(new), Saw::Written),
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
        self.0[n / 64] & (1 << (n % 64)) != 0
    }

    fn with(mut self, n: usize) -> Self {
        self.0[n / 64] |= 1 << (n % 64);
        self
    }

    fn count(&self) -> usize {
        self.0
            .iter()
            .map(|bits| usize::try_from(bits.count_ones()).unwrap())
            .sum()
    }
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
