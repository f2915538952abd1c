//! Numbers that were drawn from a sequence.

use std::collections::BTreeMap;

use meshwork_sync::Key;

use super::StrongWrong;
use super::greatest::Greatest;

/// The draws from one sequence.
#[derive(Debug, Default)]
pub(super) struct Draws {
    /// The first number and the last of each draw that was answered.
    taken: BTreeMap<u64, u64>,
    greatest: Greatest,
    answered: u64,
    /// Numbers in draws that were never answered, or not yet.
    open: u64,
}

impl Draws {
    pub(super) fn begin(&mut self, count: u32) {
        self.open += u64::from(count);
    }

    /// A draw has not happened.
    pub(super) fn refused(&mut self, count: u32) {
        self.open = self.open.saturating_sub(count.into());
    }

    /// Numbers from `first` on were drawn.
    pub(super) fn drawn(
        &mut self,
        sequence: &Key,
        (invoked, returned): (u64, u64),
        (first, count): (u64, u32),
    ) -> Option<StrongWrong> {
        self.refused(count);
        self.answered += u64::from(count);
        let last = first.saturating_add(u64::from(count).saturating_sub(1));
        let below = self.taken.range(..=last).next_back();
        let is_new = below.is_none_or(|(_, other)| *other < first);
        self.taken.insert(first, last);
        let before = self.greatest.before(invoked);
        self.greatest.answered(returned, last);
        let sequence = sequence.clone();
        if !is_new {
            return Some(StrongWrong::DrawnTwice {
                sequence,
                first,
                count,
            });
        }
        (before >= first).then_some(StrongWrong::DrawnBack {
            sequence,
            first,
            before,
        })
    }

    /// Whether the sequence has come as far as it should, by a draw that was the only one under way.
    pub(super) fn check(&self, sequence: &Key) -> Option<StrongWrong> {
        let drawn = self.taken.last_key_value().map_or(0, |(_, last)| *last);
        let expected = self.answered..=self.answered.saturating_add(self.open);
        (!expected.contains(&drawn)).then(|| StrongWrong::DrawsLost {
            sequence: sequence.clone(),
            drawn,
            answered: self.answered,
            open: self.open,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence() -> Key {
        Key::parse("s/x").unwrap()
    }

    fn drawn(draws: &mut Draws, times: (u64, u64), numbers: (u64, u32)) -> Option<StrongWrong> {
        draws.begin(numbers.1);
        draws.drawn(&sequence(), times, numbers)
    }

    #[test]
    fn numbers_that_are_new_and_grow_are_accepted() {
        let mut draws = Draws::default();
        assert_eq!(drawn(&mut draws, (1, 2), (1, 3)), None);
        // It was under way at the same time as the next, and either may have been the first.
        assert_eq!(drawn(&mut draws, (3, 6), (6, 1)), None);
        assert_eq!(drawn(&mut draws, (4, 7), (4, 2)), None);
        assert_eq!(draws.check(&sequence()), None);
    }

    #[test]
    fn numbers_that_are_given_out_twice_are_refused() {
        for again in [(1, 1), (3, 1), (2, 5), (1, 9)] {
            let mut draws = Draws::default();
            assert_eq!(drawn(&mut draws, (1, 9), (1, 3)), None);
            let wrong = drawn(&mut draws, (2, 10), again);
            let twice = matches!(wrong, Some(StrongWrong::DrawnTwice { .. }));
            assert!(twice, "{again:?}: {wrong:?}");
        }
    }

    #[test]
    fn a_sequence_that_goes_back_is_refused() {
        let mut draws = Draws::default();
        assert_eq!(drawn(&mut draws, (1, 2), (10, 1)), None);
        let wrong = drawn(&mut draws, (3, 4), (5, 1));
        assert!(
            matches!(wrong, Some(StrongWrong::DrawnBack { .. })),
            "{wrong:?}"
        );
    }

    #[test]
    fn no_more_numbers_are_missing_than_were_never_answered() {
        let mut draws = Draws::default();
        draws.begin(2);
        assert_eq!(drawn(&mut draws, (3, 4), (1, 1)), None);
        assert_eq!(draws.check(&sequence()), None);
        assert_eq!(drawn(&mut draws, (5, 6), (4, 1)), None);
        assert_eq!(draws.check(&sequence()), None, "both of the open draw");
        assert_eq!(drawn(&mut draws, (7, 8), (6, 1)), None);
        let lost = draws.check(&sequence());
        assert!(
            matches!(lost, Some(StrongWrong::DrawsLost { .. })),
            "{lost:?}"
        );
        // One that has not happened explains nothing.
        let mut draws = Draws::default();
        draws.begin(1);
        draws.refused(1);
        assert_eq!(drawn(&mut draws, (3, 4), (2, 1)), None);
        assert!(draws.check(&sequence()).is_some());
    }
}
