//! Set reconciliation: what hostile peers send, and whether honest ones find the true difference.

use std::collections::BTreeSet;

use arbitrary::Arbitrary;
use meshwork_dht::Position;
use meshwork_sync::reconcile::{
    CodedSymbol, Compared, Decoder, Encoder, Fallback, Initiator, Listing, Outcome, Progress,
    Reply, Request, Response, ShortId, Sketch, limits, list, respond,
};

use crate::pieces;

/// Any bytes are requests and replies, or are refused; both sides get through any of them in bounded work.
pub fn reconcile_messages(bytes: &[u8]) {
    let sketch: Sketch = (0..9).map(short_id).collect();
    let (mut initiator, _) = Initiator::new(sketch.root(), 0);
    let mut listing = Listing::default();
    for piece in pieces::split(bytes).take(16) {
        if let Ok(request) = Request::from_bytes(piece) {
            assert_eq!(
                Request::from_bytes(&request.to_bytes()).as_ref(),
                Ok(&request)
            );
            answered(&request, &sketch);
        }
        let Ok(reply) = Reply::from_bytes(piece) else {
            continue;
        };
        assert_eq!(Reply::from_bytes(&reply.to_bytes()).as_ref(), Ok(&reply));
        taken(&mut initiator, reply.clone(), &sketch);
        listing.request((0..9).map(placed_id));
        if let Ok(Compared::Done(_)) = listing.handle_reply(reply) {
            listing = Listing::default();
        }
    }
}

fn answered(request: &Request, sketch: &Sketch) {
    match respond(request, sketch) {
        Response::Reply(Reply::Symbols { symbols, .. }) => {
            assert!(symbols.len() <= limits::PREFIX as usize)
        }
        Response::Encode(range) => {
            assert!(range.len() <= limits::FLIGHT_SYMBOLS_MAX as usize);
            let mut encoder = Encoder::new(range);
            encoder.extend((0..9).map(short_id));
            let reply = encoder.into_reply();
            assert_eq!(Reply::from_bytes(&reply.to_bytes()), Ok(reply));
        }
        _ => {}
    }
}

fn taken(initiator: &mut Initiator, reply: Reply, sketch: &Sketch) {
    let mut progress = initiator.handle_reply(reply, sketch);
    if let Ok(Progress::Encode(range)) = progress {
        let mut encoder = Encoder::new(range);
        encoder.extend((0..9).map(short_id));
        progress = Ok(initiator.handle_encoded(&encoder));
        assert!(
            !matches!(progress, Ok(Progress::Encode(_))),
            "it was encoded just now"
        );
    }
    match progress {
        Ok(Progress::Send(Request::More { from, symbols, .. })) => {
            assert!(symbols > 0 && symbols <= limits::FLIGHT_SYMBOLS_MAX);
            assert!(from.saturating_add(symbols) <= limits::SYMBOLS_MAX);
            assert!(initiator.round_trips() <= limits::FLIGHTS_MAX);
        }
        Ok(Progress::Done(_) | Progress::Fallback(_)) => {
            *initiator = Initiator::new(sketch.root(), 0).0
        }
        _ => {}
    }
}

/// Any symbols give a difference that they are the symbols of, or none.
pub fn reconcile_decoder(bytes: &[u8]) {
    let (chunks, _) = bytes.as_chunks::<{ CodedSymbol::BYTES }>();
    let symbols: Vec<CodedSymbol> = chunks
        .iter()
        .map(|chunk| CodedSymbol::from(*chunk))
        .collect();
    let half = symbols.len() / 2;
    let mut decoder = Decoder::default();
    let mut taken = 0;
    for flight in [&symbols[..half], &symbols[half..]] {
        if decoder.extend(flight.iter().copied()).is_err() {
            return;
        }
        taken += flight.len();
        assert_eq!(decoder.symbols_len(), taken);
    }
    let Ok(Some(difference)) = decoder.finish() else {
        return;
    };
    let end = u32::try_from(symbols.len()).expect("an input is short");
    let mut plus = Encoder::new(0..end);
    let mut minus = Encoder::new(0..end);
    plus.extend(difference.plus);
    minus.extend(difference.minus);
    for ((plus, minus), symbol) in plus.symbols().iter().zip(minus.symbols()).zip(&symbols) {
        let mut expected = *plus;
        expected.subtract(minus);
        assert_eq!(expected, *symbol, "the symbols are those of the difference");
    }
}

/// Two sets of ids that are compared.
#[derive(Arbitrary, Debug)]
pub struct Sets {
    common: u16,
    only_mine: u16,
    only_theirs: u16,
    hint: u32,
    /// An id that comes to the responder's set after its first answer.
    late: bool,
}

/// Two honest sides find the difference of their sets, or say why they list instead, which then finds it.
pub fn reconcile_sets(sets: Sets) {
    let common = u64::from(sets.common % 2_048);
    let (only_mine, only_theirs) = (
        u64::from(sets.only_mine % 512),
        u64::from(sets.only_theirs % 512),
    );
    let mine: BTreeSet<u64> = (0..common + only_mine).collect();
    let theirs: BTreeSet<u64> = (0..common).chain(10_000..10_000 + only_theirs).collect();
    let mut side = Responder {
        numbers: theirs.clone(),
        late: sets.late,
    };
    match exchange(&mine, &mut side, sets.hint) {
        Ok(outcome) => {
            let before = difference(&mine, &theirs);
            assert!(outcome == before || outcome == difference(&mine, &side.numbers));
        }
        Err(Fallback::TooDifferent) => assert_eq!(
            listed(&mine, &side.numbers),
            difference(&mine, &side.numbers)
        ),
        Err(why) => assert!(sets.late, "{why}"),
    }
}

struct Responder {
    numbers: BTreeSet<u64>,
    late: bool,
}

impl Responder {
    fn answer(&mut self, request: &Request) -> Reply {
        let sketch: Sketch = self.numbers.iter().copied().map(short_id).collect();
        let reply = match respond(request, &sketch) {
            Response::Reply(reply) => reply,
            Response::Encode(range) => {
                let mut encoder = Encoder::new(range);
                encoder.extend(self.numbers.iter().copied().map(short_id));
                encoder.into_reply()
            }
            other => panic!("no answer to a question about symbols: {other:?}"),
        };
        if std::mem::take(&mut self.late) {
            self.numbers.insert(99_999);
        }
        Reply::from_bytes(&reply.to_bytes()).expect("a reply reads as it was written")
    }
}

fn exchange(mine: &BTreeSet<u64>, side: &mut Responder, hint: u32) -> Result<Outcome, Fallback> {
    let sketch: Sketch = mine.iter().copied().map(short_id).collect();
    let (mut initiator, mut request) = Initiator::new(sketch.root(), hint);
    loop {
        let reply = side.answer(&request);
        let mut progress = initiator
            .handle_reply(reply, &sketch)
            .expect("an honest reply");
        if let Progress::Encode(range) = progress {
            let mut encoder = Encoder::new(range);
            encoder.extend(mine.iter().copied().map(short_id));
            progress = initiator.handle_encoded(&encoder);
        }
        assert!(initiator.round_trips() <= limits::FLIGHTS_MAX);
        match progress {
            Progress::Send(next) => request = next,
            Progress::Done(outcome) => return Ok(outcome),
            Progress::Fallback(why) => return Err(why),
            other => panic!("encoded symbols are asked for again: {other:?}"),
        }
    }
}

fn listed(mine: &BTreeSet<u64>, theirs: &BTreeSet<u64>) -> Outcome {
    let placed = |numbers: &BTreeSet<u64>| {
        let mut ids: Vec<_> = numbers.iter().copied().map(placed_id).collect();
        ids.sort_unstable();
        ids
    };
    let mut listing = Listing::default();
    let Request::List { until, .. } = listing.request(placed(mine)) else {
        panic!("a listing asks for a list");
    };
    match listing.handle_reply(list(until, placed(theirs))) {
        Ok(Compared::Done(outcome)) => outcome,
        other => panic!("one page holds it all: {other:?}"),
    }
}

fn difference(mine: &BTreeSet<u64>, theirs: &BTreeSet<u64>) -> Outcome {
    let sorted = |numbers: Vec<&u64>| {
        let mut ids: Vec<ShortId> = numbers.into_iter().copied().map(short_id).collect();
        ids.sort_unstable();
        ids
    };
    Outcome {
        mine: sorted(mine.difference(theirs).collect()),
        theirs: sorted(theirs.difference(mine).collect()),
    }
}

/// Ids are hashes in earnest: sets of small numbers that differ could have one root.
fn short_id(number: u64) -> ShortId {
    ShortId::of(&[7; 32], &position(number), &[1; 32])
}

fn placed_id(number: u64) -> (Position, ShortId) {
    (position(number), short_id(number))
}

fn position(number: u64) -> Position {
    Position::of("fuzz", &number.to_be_bytes())
}
