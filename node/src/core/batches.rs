//! Whose batches are under way: the parts of a node share one store.

use std::collections::VecDeque;

use crate::strong::Stored;

/// A batch by what its own part knows it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Replication(u64),
    Strong(Stored),
}

/// What a failure took with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Failed {
    /// The first batch of replication that was not stored.
    pub(super) replication: Option<u64>,
    /// Whether the strong part lost any.
    pub(super) strong: bool,
}

/// Batches handed to the store and not answered, in the order in which it takes them.
#[derive(Debug, Default)]
pub(super) struct Batches {
    last: u64,
    under_way: VecDeque<(u64, Whose)>,
}

impl Batches {
    /// Gives a batch its number in the store: numbers rise.
    pub(super) fn hand_over(&mut self, whose: Whose) -> u64 {
        self.last += 1;
        self.under_way.push_back((self.last, whose));
        self.last
    }

    pub(super) fn stored(&mut self, id: u64) -> Option<Whose> {
        let (_, whose) = self.under_way.pop_front_if(|(first, _)| *first == id)?;
        Some(whose)
    }

    /// A batch was not stored, and so none that was handed over after it.
    pub(super) fn failed(&mut self, id: u64) -> Failed {
        let mut failed = Failed::default();
        while let Some((_, whose)) = self.under_way.pop_back_if(|(last, _)| *last >= id) {
            match whose {
                Whose::Replication(id) => failed.replication = Some(id),
                Whose::Strong(_) => failed.strong = true,
            }
        }
        failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_takes_with_it_what_was_handed_over_after_it() {
        let mut batches = Batches::default();
        let first = batches.hand_over(Whose::Replication(7));
        let second = batches.hand_over(Whose::Strong(Stored::Roster));
        batches.hand_over(Whose::Replication(8));
        batches.hand_over(Whose::Replication(9));
        assert_eq!(batches.stored(first), Some(Whose::Replication(7)));
        let failed = Failed {
            replication: Some(8),
            strong: true,
        };
        assert_eq!(batches.failed(second), failed);
        assert_eq!(batches.failed(second), Failed::default(), "once");
    }
}
