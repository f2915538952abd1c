//! What was acknowledged, to be compared with what is there in the end.
//!
//! A write that was answered with an error, or not at all, may have happened or not: it is allowed and not required.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The books of all writers but the authors.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    books: Mutex<Books>,
}

/// What may and must be there.
#[derive(Clone, Debug, Default)]
pub(super) struct Books {
    pub(super) counters: BTreeMap<String, Sum>,
    pub(super) sets: BTreeMap<String, Elements>,
    pub(super) registers: BTreeMap<String, Sequence>,
    pub(super) acknowledged: u64,
    pub(super) unknown: u64,
}

/// A counter that many add to; nobody subtracts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) acknowledged: i64,
    pub(super) unknown: i64,
}

/// A set that many insert into; nobody removes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Elements {
    pub(super) acknowledged: BTreeSet<String>,
    pub(super) unknown: BTreeSet<String>,
}

/// A register that one writer counts up in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sequence {
    pub(super) acknowledged: u64,
    pub(super) tried: u64,
}

/// One write, by key name.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Add { counter: String, amount: i64 },
    Insert { set: String, element: String },
    Put { register: String, value: u64 },
}

/// What the node said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Acknowledged,
    Unknown,
}

impl Ledger {
    /// Notes a write that was tried.
    pub(super) fn note(&self, entry: Entry, answer: Answer) {
        let mut books = self.lock();
        let known = answer == Answer::Acknowledged;
        match known {
            true => books.acknowledged += 1,
            false => books.unknown += 1,
        }
        match entry {
            Entry::Add { counter, amount } => {
                let sum = books.counters.entry(counter).or_default();
                *(if known {
                    &mut sum.acknowledged
                } else {
                    &mut sum.unknown
                }) += amount;
            }
            Entry::Insert { set, element } => {
                let elements = books.sets.entry(set).or_default();
                let noted = if known {
                    &mut elements.acknowledged
                } else {
                    &mut elements.unknown
                };
                noted.insert(element);
            }
            Entry::Put { register, value } => {
                let sequence = books.registers.entry(register).or_default();
                sequence.tried = sequence.tried.max(value);
                if known {
                    sequence.acknowledged = sequence.acknowledged.max(value);
                }
            }
        }
    }

    /// The books as of now.
    pub(super) fn books(&self) -> Books {
        self.lock().clone()
    }

    /// How many writes were acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.lock().acknowledged
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sum {
    /// How many acknowledged increments are missing from a value.
    pub(super) fn lost(&self, value: i64) -> u64 {
        u64::try_from(self.acknowledged.saturating_sub(value)).unwrap_or(0)
    }

    /// How much of a value nobody ever added.
    pub(super) fn invented(&self, value: i64) -> u64 {
        u64::try_from(value.saturating_sub(self.acknowledged.saturating_add(self.unknown)))
            .unwrap_or(0)
    }
}

impl Elements {
    /// How many acknowledged elements are missing.
    pub(super) fn lost(&self, present: &BTreeSet<String>) -> u64 {
        self.acknowledged.difference(present).count() as u64
    }

    /// How many elements nobody ever inserted.
    pub(super) fn invented(&self, present: &BTreeSet<String>) -> u64 {
        let tried = |element: &&String| {
            self.acknowledged.contains(*element) || self.unknown.contains(*element)
        };
        present.iter().filter(|element| !tried(element)).count() as u64
    }
}

impl Sequence {
    /// One if the last acknowledged value, or a later one, is not among the concurrent values.
    pub(super) fn lost(&self, siblings: &BTreeSet<u64>) -> u64 {
        let newest = siblings.last().copied().unwrap_or(0);
        u64::from(newest < self.acknowledged)
    }

    /// How many values nobody ever wrote.
    pub(super) fn invented(&self, siblings: &BTreeSet<u64>) -> u64 {
        siblings
            .iter()
            .filter(|value| **value == 0 || **value > self.tried)
            .count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_increment_is_allowed_and_not_required() {
        let ledger = Ledger::default();
        for (amount, answer) in [(3, Answer::Acknowledged), (2, Answer::Unknown)] {
            ledger.note(
                Entry::Add {
                    counter: "c".into(),
                    amount,
                },
                answer,
            );
        }
        let sum = ledger.books().counters["c"];
        assert_eq!(
            [2, 3, 4, 5, 6].map(|value| sum.lost(value)),
            [1, 0, 0, 0, 0]
        );
        assert_eq!([2, 3, 5, 6].map(|value| sum.invented(value)), [0, 0, 0, 1]);
    }

    #[test]
    fn a_missing_element_is_lost_and_a_strange_one_invented() {
        let ledger = Ledger::default();
        for (element, answer) in [
            ("a", Answer::Acknowledged),
            ("b", Answer::Acknowledged),
            ("c", Answer::Unknown),
        ] {
            let entry = Entry::Insert {
                set: "s".into(),
                element: element.into(),
            };
            ledger.note(entry, answer);
        }
        let elements = &ledger.books().sets["s"];
        let present = |names: &[&str]| -> BTreeSet<String> {
            names.iter().map(|n| (*n).to_owned()).collect()
        };
        assert_eq!(elements.lost(&present(&["a", "c"])), 1);
        assert_eq!(elements.invented(&present(&["a", "c", "x"])), 1);
        assert_eq!(elements.lost(&present(&["a", "b"])), 0);
    }

    #[test]
    fn a_register_may_hold_a_later_value_than_the_acknowledged_one_but_no_earlier() {
        let sequence = Sequence {
            acknowledged: 4,
            tried: 5,
        };
        let lost = |values: &[u64]| sequence.lost(&values.iter().copied().collect());
        assert_eq!(
            (lost(&[3]), lost(&[3, 4]), lost(&[5]), lost(&[])),
            (1, 0, 0, 1)
        );
        assert_eq!(sequence.invented(&BTreeSet::from([5, 6])), 1);
    }
}
