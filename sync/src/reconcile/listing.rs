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
#[non_exhaustive]
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
