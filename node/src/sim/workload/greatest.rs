//! Numbers that only grow.

/// The greatest number that had been answered at any moment.
#[derive(Debug, Default)]
pub(super) struct Greatest(Vec<(u64, u64)>);

impl Greatest {
    /// The greatest that was answered before then; 0 if none was.
    pub(super) fn before(&self, at: u64) -> u64 {
        let mut earlier = self.0.iter().rev().skip_while(|(end, _)| *end > at);
        earlier.next().map_or(0, |(_, greatest)| *greatest)
    }

    /// One more was answered, after all others.
    pub(super) fn answered(&mut self, at: u64, number: u64) {
        let greatest = self.0.last().map_or(0, |(_, greatest)| *greatest);
        self.0.push((at, greatest.max(number)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_answered_later_does_not_count() {
        let mut greatest = Greatest::default();
        greatest.answered(2, 7);
        greatest.answered(5, 3);
        greatest.answered(9, 8);
        for (at, number) in [(1, 0), (2, 7), (6, 7), (9, 8), (10, 8)] {
            assert_eq!(greatest.before(at), number, "{at}");
        }
    }
}
