//! The side that asks and decodes.

use core::ops::Range;

use super::flight::{differences_min, estimate, listing_is_shorter, next_target};
use super::limits;
use super::{CodedSymbol, Decoder, Difference, Encoder, Reply, Request, Root, ShortId, Sketch};

/// One exchange, from the side that began it.
///
/// ```
/// use meshwork_sync::reconcile::{Initiator, Progress, Response, ShortId, Sketch, respond};
///
/// let mine: Sketch = (0..1000).map(ShortId::from_u64).collect();
/// let theirs: Sketch = (3..1003).map(ShortId::from_u64).collect();
///
/// let (mut initiator, request) = Initiator::new(mine.root(), 0);
/// let Response::Reply(reply) = respond(&request, &theirs) else { panic!() };
/// let Ok(Progress::Done(outcome)) = initiator.handle_reply(reply, &mine) else { panic!() };
/// assert_eq!(outcome.mine, [0, 1, 2].map(ShortId::from_u64));
/// assert_eq!(outcome.theirs, [1000, 1001, 1002].map(ShortId::from_u64));
/// ```
///
/// Flights: the first is as large as the hint says; if it does not suffice, the size of the difference is estimated from it, and
/// the next flight is made to suffice for that with some room.
#[derive(Clone, Debug)]
pub struct Initiator {
    /// Of the set that `received` was made of.
    remote: Root,
    received: Vec<CodedSymbol>,
    flights: u32,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Send this to the responder.
    Send(Request),
    /// Run an [`Encoder`] for this range over all ids and call [`Initiator::handle_encoded`].
    Encode(Range<u32>),
    /// The exchange is over. Push `mine`, ask for `theirs` by [`Request::wants`], and keep the number of both as a hint.
    Done(Outcome),
    /// The exchange is over without a result: list the ids.
    Fallback(Fallback),
}

/// In which ids the two sets differ; both empty if they are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Only the initiator has them; sorted.
    pub mine: Vec<ShortId>,
    /// Only the responder has them; sorted.
    pub theirs: Vec<ShortId>,
}

/// Why symbols did not settle it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fallback {
    /// There is too much of a difference for symbols, or a listing costs less. Nobody's fault.
    #[error("the sets differ too much for coded symbols")]
    TooDifferent,
    /// The symbols contradict each other or the root: a hostile peer, ids that were made to collide, or sets that
    /// change faster than they are compared.
    #[error("the coded symbols are not those of a set with this root")]
    Inconsistent,
    /// [`limits::FLIGHTS_MAX`] flights did not suffice: as for `Inconsistent`.
    #[error("no result after {} flights", limits::FLIGHTS_MAX)]
    TooManyFlights,
}

/// The reply does not fit the request: the peer's fault. The exchange waits on as before; give it up, and count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RejectReply {
    /// Not an answer to what was asked.
    #[error("a reply of another kind was expected")]
    Unexpected,
    /// Symbols that leave a gap, repeat, or continue another set's.
    #[error("symbols from index {from} do not continue the {received} received")]
    Gap {
        /// Where they start.
        from: u32,
        /// How many there are already.
        received: usize,
    },
    /// More symbols than one exchange may have, or none.
    #[error("a flight of {symbols} symbols after {received}")]
    Size {
        /// How many came.
        symbols: usize,
        /// How many there are already.
        received: usize,
    },
}

impl Outcome {
    /// In how many ids the sets differ: the hint for the next exchange with this peer.
    #[must_use]
    pub fn differences(&self) -> u32 {
        u32::try_from(self.mine.len() + self.theirs.len()).unwrap_or(u32::MAX)
    }
}

impl Initiator {
    /// Begins an exchange, and gives the request to send.
    ///
    /// `local` is the root of what both nodes share; `differences` is what the last exchange with this peer found,
    /// or how many writes there were since; 0 if nothing is known. Too low costs a round trip, too high costs 20 bytes
    /// for each id too many.
    #[must_use]
    pub fn new(local: Root, differences: u32) -> (Self, Request) {
        let request = Request::Probe {
            root: local,
            differences,
        };
        let initiator = Self {
            remote: Root::default(),
            received: Vec::new(),
            flights: 0,
        };
        (initiator, request)
    }

    /// Takes the answer to the last request; `local` is the sketch of what both nodes share now.
    ///
    /// # Errors
    /// [`RejectReply`] when it is not one; nothing has changed then.
    pub fn handle_reply(&mut self, reply: Reply, local: &Sketch) -> Result<Progress, RejectReply> {
        match reply {
            Reply::Same if self.flights == 0 => Ok(Progress::Done(Outcome::default())),
            Reply::TooDifferent { .. } if self.flights == 0 => {
                Ok(Progress::Fallback(Fallback::TooDifferent))
            }
            Reply::Symbols {
                root,
                from,
                symbols,
            } => {
                self.receive(root, from, symbols)?;
                self.flights += 1;
                Ok(self.decode_or_encode(local))
            }
            Reply::Same | Reply::TooDifferent { .. } | Reply::Page { .. } => {
                Err(RejectReply::Unexpected)
            }
        }
    }

    /// Takes the symbols that [`Progress::Encode`] asked for.
    ///
    /// Those of another range are asked for again.
    #[must_use]
    pub fn handle_encoded(&self, encoder: &Encoder) -> Progress {
        let range = self.range();
        if encoder.range() != range {
            return Progress::Encode(range);
        }
        self.decode(encoder.root(), encoder.symbols())
    }

    /// How many round trips it has taken so far, the first included.
    #[must_use]
    pub const fn round_trips(&self) -> u32 {
        self.flights
    }

    fn receive(
        &mut self,
        root: Root,
        from: u32,
        mut symbols: Vec<CodedSymbol>,
    ) -> Result<(), RejectReply> {
        let received = self.received.len();
        let continues = from as usize == received && (root == self.remote || received == 0);
        if !continues && from != 0 {
            return Err(RejectReply::Gap { from, received });
        }
        let before = if continues { received } else { 0 };
        if symbols.is_empty() || before + symbols.len() > limits::SYMBOLS_MAX as usize {
            let symbols = symbols.len();
            return Err(RejectReply::Size { symbols, received });
        }
        self.remote = root;
        self.received.truncate(before);
        self.received.append(&mut symbols);
        Ok(())
    }

    fn range(&self) -> Range<u32> {
        0..u32::try_from(self.received.len()).unwrap_or(limits::SYMBOLS_MAX)
    }

    fn decode_or_encode(&self, local: &Sketch) -> Progress {
        let range = self.range();
        if range.end > limits::PREFIX {
            return Progress::Encode(range);
        }
        self.decode(local.root(), &local.symbols())
    }

    /// Decodes all that was received, against the symbols of a local set that has this root.
    fn decode(&self, local: Root, symbols: &[CodedSymbol]) -> Progress {
        let mut difference = self.received.clone();
        for (theirs, mine) in difference.iter_mut().zip(symbols) {
            theirs.subtract(mine);
        }
        let mut decoder = Decoder::default();
        let peeled = decoder.extend(difference.iter().copied());
        match peeled.and_then(|()| decoder.finish()) {
            Err(_) => Progress::Fallback(Fallback::Inconsistent),
            Ok(Some(found)) => self.conclude(local, found),
            Ok(None) => self.next_flight(local, &difference),
        }
    }

    /// Checks that the difference leads from the local root to the remote one.
    fn conclude(&self, mut root: Root, found: Difference) -> Progress {
        found.plus.iter().for_each(|id| root.insert(*id));
        found.minus.iter().for_each(|id| root.remove(*id));
        if root != self.remote {
            return Progress::Fallback(Fallback::Inconsistent);
        }
        Progress::Done(Outcome {
            mine: found.minus,
            theirs: found.plus,
        })
    }

    fn next_flight(&self, local: Root, difference: &[CodedSymbol]) -> Progress {
        if self.flights >= limits::FLIGHTS_MAX {
            return Progress::Fallback(Fallback::TooManyFlights);
        }
        let received = self.received.len() as u64;
        let surplus = self.remote.len().wrapping_sub(local.len()).cast_signed();
        let likely = estimate(difference, surplus).max(differences_min(&local, &self.remote));
        let target = next_target(received, likely);
        let more = target - received;
        if target > u64::from(limits::SYMBOLS_MAX) || listing_is_shorter(more, &self.remote) {
            return Progress::Fallback(Fallback::TooDifferent);
        }
        let more = u32::try_from(more).unwrap_or(limits::FLIGHT_SYMBOLS_MAX);
        Progress::Send(Request::More {
            seen: self.remote,
            from: self.range().end,
            symbols: more.min(limits::FLIGHT_SYMBOLS_MAX),
        })
    }
}
