//! Answering an initiator.

use core::ops::Range;

use super::flight::{differences_min, listing_is_shorter, symbols_for};
use super::{Reply, Request, Root, Sketch, limits};

/// What has to be done to answer a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Send this.
    Reply(Reply),
    /// Run an [`Encoder`](super::Encoder) for this range over all ids, and send its [`into_reply`](super::Encoder::into_reply).
    ///
    /// A scan of the set for a request of 30 bytes: do not answer many of these at once, nor one peer's in a row.
    Encode(Range<u32>),
    /// The request was [`Request::Want`] or [`Request::List`]: answer with objects, or by [`list`](super::list).
    Objects,
}

/// Answers a request about the set of this sketch; at most [`limits::FLIGHT_SYMBOLS_MAX`] symbols whatever it asks for.
///
/// When it takes time to add up sketches, answer a [`Request::Probe`] whose root is that of the set by [`Reply::Same`] first.
/// Nothing is remembered: every request says all that is needed to answer it.
#[must_use]
pub fn respond(request: &Request, sketch: &Sketch) -> Response {
    match request {
        Request::Probe { root, differences } => first_flight(root, *differences, sketch),
        Request::More {
            seen,
            from,
            symbols,
        } => {
            let symbols = (*symbols).min(limits::FLIGHT_SYMBOLS_MAX);
            // An initiator that has seen another set needs symbols of this one from the beginning.
            let from = if *seen == sketch.root() { *from } else { 0 };
            flight(from..from.saturating_add(symbols), sketch)
        }
        Request::Want { .. } | Request::List { .. } => Response::Objects,
    }
}

fn first_flight(root: &Root, hint: u32, sketch: &Sketch) -> Response {
    let own = sketch.root();
    if *root == own {
        return Response::Reply(Reply::Same);
    }
    let least = differences_min(root, &own);
    let most = root.len().saturating_add(own.len());
    let needed = symbols_for(least);
    if needed > u64::from(limits::SYMBOLS_MAX) || listing_is_shorter(needed, &own) {
        return Response::Reply(Reply::TooDifferent { root: own });
    }
    let likely = if hint == 0 {
        DIFFERENCES_UNKNOWN
    } else {
        u64::from(hint)
    };
    let symbols = symbols_for(likely.max(least).min(most));
    let symbols = u32::try_from(symbols).unwrap_or(limits::FLIGHT_SYMBOLS_MAX);
    flight(0..symbols.min(limits::FLIGHT_SYMBOLS_MAX), sketch)
}

fn flight(range: Range<u32>, sketch: &Sketch) -> Response {
    if range.end > limits::PREFIX {
        return Response::Encode(range);
    }
    let mut symbols = sketch.symbols();
    symbols.truncate(range.end as usize);
    symbols.drain(..(range.start as usize).min(symbols.len()));
    Response::Reply(Reply::Symbols {
        root: sketch.root(),
        from: range.start,
        symbols,
    })
}

/// A first guess that costs 430 bytes and lets the initiator estimate the rest.
const DIFFERENCES_UNKNOWN: u64 = 12;
