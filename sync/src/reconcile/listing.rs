//! Comparing sets id by id, when coded symbols cannot.

use std::collections::BTreeSet;

use meshwork_dht::Position;

use super::{Outcome, RejectReply, Reply, Request, ShortId, limits};

/// A listing of all ids in the order of positions, from the side that wants it.
///
/// Costs 8 bytes for each of the responder's ids, a round trip for every 32,768 of the side that has more, and as much
/// memory as two pages. Ids that are written behind the cursor meanwhile are left to the next exchange.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    after: Option<Position>,
    until: Option<Position>,
    own: Vec<(Position, ShortId)>,
}

/// One page compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// There are more pages: call [`Listing::request`] again.
    More(Outcome),
    /// That was the last one.
    Done(Outcome),
}

impl Listing {
    /// Where to read on: own ids of greater positions are needed next; from the beginning if there is none.
    #[must_use]
    pub const fn after(&self) -> Option<Position> {
        self.after
    }

    /// The request for the next page.
    ///
    /// `own` are the next ids behind [`after`](Self::after), in the order of positions. If there are more of them than fit
    /// [`limits::IDS_MAX`], the rest is not looked at, and comes with the next page.
    pub fn request(&mut self, own: impl IntoIterator<Item = (Position, ShortId)>) -> Request {
        self.own = own.into_iter().take(limits::IDS_MAX).collect();
        self.until = match self.own.last() {
            Some((last, _)) if self.own.len() == limits::IDS_MAX => Some(*last),
            Some(_) | None => None,
        };
        Request::List {
            after: self.after,
            until: self.until,
        }
    }

    /// Compares a page with what [`request`](Self::request) was given.
    ///
    /// # Errors
    /// [`RejectReply`] when it is not an answer to that request; nothing has changed then.
    pub fn handle_reply(&mut self, reply: Reply) -> Result<Compared, RejectReply> {
        let Reply::Page { ids, last } = reply else {
            return Err(RejectReply::Unexpected);
        };
        if let Some(last) = last {
            let in_range = Some(last) > self.after && self.until.is_none_or(|until| last < until);
            // Only a full page may stop early, or the peer could make us ask for ever at no cost.
            if !in_range || ids.len() < limits::IDS_MAX {
                return Err(RejectReply::Unexpected);
            }
        }
        let end = last.or(self.until);
        let own = core::mem::take(&mut self.own);
        let compared = own
            .into_iter()
            .filter(|(position, _)| end.is_none_or(|end| *position <= end));
        let outcome = compare(
            compared.map(|(_, id)| id).collect(),
            ids.into_iter().collect(),
        );
        self.after = end;
        Ok(if end.is_some() {
            Compared::More(outcome)
        } else {
            Compared::Done(outcome)
        })
    }
}

/// The answer to [`Request::List`]: `ids` are those of positions greater than `after`, in their order, as far as `until` at least.
///
/// No more of them are looked at than fit one page.
pub fn list(until: Option<Position>, ids: impl IntoIterator<Item = (Position, ShortId)>) -> Reply {
    let in_range =
        |(position, _): &(Position, ShortId)| until.is_none_or(|until| *position <= until);
    let mut rest = ids.into_iter().take_while(in_range).peekable();
    let mut last = None;
    let mut page = Vec::new();
    while page.len() < limits::IDS_MAX
        && let Some((position, id)) = rest.next()
    {
        page.push(id);
        last = Some(position);
    }
    Reply::Page {
        ids: page,
        last: last.filter(|_| rest.peek().is_some()),
    }
}

fn compare(mine: BTreeSet<ShortId>, theirs: BTreeSet<ShortId>) -> Outcome {
    Outcome {
        mine: mine.difference(&theirs).copied().collect(),
        theirs: theirs.difference(&mine).copied().collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Store = BTreeMap<Position, ShortId>;

    fn position(number: u32) -> Position {
        let mut bytes = [0; Position::BYTES];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        Position::from_bytes(bytes)
    }

    /// A store with these positions, whose ids are the numbers of the positions plus `version`.
    fn store(numbers: impl IntoIterator<Item = u32>, version: u64) -> Store {
        let entry = |n: u32| {
            (
                position(n),
                ShortId::from_u64(u64::from(n) + (version << 32)),
            )
        };
        numbers.into_iter().map(entry).collect()
    }

    fn behind(store: &Store, after: Option<Position>) -> impl Iterator<Item = (Position, ShortId)> {
        let greater = move |(position, _): &(&Position, &ShortId)| Some(**position) > after;
        store
            .iter()
            .filter(greater)
            .map(|(position, id)| (*position, *id))
    }

    /// Lists to the end; gives the outcome and the number of pages.
    fn settle(mine: &Store, theirs: &Store) -> (Outcome, usize) {
        let mut listing = Listing::default();
        let mut total = Outcome::default();
        for pages in 1.. {
            let request = listing.request(behind(mine, listing.after()));
            let Request::List { after, until } = request else {
                panic!("{request:?}")
            };
            let compared = listing
                .handle_reply(list(until, behind(theirs, after)))
                .unwrap();
            let (Compared::More(outcome) | Compared::Done(outcome)) = compared.clone();
            total.mine.extend(outcome.mine);
            total.theirs.extend(outcome.theirs);
            if matches!(compared, Compared::Done(_)) {
                total.mine.sort_unstable();
                total.theirs.sort_unstable();
                return (total, pages);
            }
        }
        unreachable!()
    }

    fn truth(mine: &Store, theirs: &Store) -> Outcome {
        compare(
            mine.values().copied().collect(),
            theirs.values().copied().collect(),
        )
    }

    #[test]
    fn stores_of_several_pages_on_either_side_are_compared_to_the_end() {
        let page = u32::try_from(limits::IDS_MAX).unwrap();
        let large = store(0..2 * page + 10, 0);
        let small = store((0..page).map(|n| 3 * n), 0);
        for (mine, theirs) in [
            (&large, &small),
            (&small, &large),
            (&large, &large),
            (&Store::new(), &large),
        ] {
            let (outcome, pages) = settle(mine, theirs);
            assert_eq!(outcome, truth(mine, theirs));
            assert!(pages <= 4, "{pages}");
        }
    }

    #[test]
    fn page_that_stops_early_without_being_full_or_outside_the_range_is_rejected() {
        let full = || vec![ShortId::from_u64(1); limits::IDS_MAX];
        let mut listing = Listing {
            after: Some(position(5)),
            until: Some(position(9)),
            own: Vec::new(),
        };
        for (ids, last) in [(Vec::new(), 7), (full(), 5), (full(), 9), (full(), 10)] {
            let reply = Reply::Page {
                ids,
                last: Some(position(last)),
            };
            assert_eq!(listing.handle_reply(reply), Err(RejectReply::Unexpected));
        }
        assert_eq!(
            listing.handle_reply(Reply::Same),
            Err(RejectReply::Unexpected)
        );
        assert_eq!(listing.after(), Some(position(5)));
    }

    proptest! {
        #[test]
        fn listing_finds_the_symmetric_difference(
            mine in proptest::collection::btree_set(0u32..200, 0..100),
            theirs in proptest::collection::btree_set(0u32..200, 0..100),
            newer in proptest::collection::btree_set(0u32..200, 0..20),
        ) {
            let mine = store(mine, 0);
            let mut theirs = store(theirs, 0);
            theirs.append(&mut store(newer, 1));
            prop_assert_eq!(settle(&mine, &theirs).0, truth(&mine, &theirs));
        }
    }
}
