//! The parts together: sketches against plain sets, and pairs that settle by hand-carried bytes.

use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::*;

type Ids = BTreeSet<ShortId>;

/// What an exchange came to, and what it cost.
#[derive(Debug)]
struct Settled {
    last: Progress,
    bytes: usize,
    round_trips: usize,
}

impl Settled {
    fn outcome(&self) -> &Outcome {
        let Progress::Done(outcome) = &self.last else {
            panic!("{self:?}")
        };
        outcome
    }
}

fn ids(seed: u64, count: usize) -> Ids {
    let mut output = blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof();
    let mut bytes = [0; 8];
    let draw = || {
        output.fill(&mut bytes);
        ShortId::from(bytes)
    };
    core::iter::repeat_with(draw).take(count).collect()
}

fn sketch(ids: &Ids) -> Sketch {
    ids.iter().copied().collect()
}

fn truth(mine: &Ids, theirs: &Ids) -> Outcome {
    Outcome {
        mine: mine.difference(theirs).copied().collect(),
        theirs: theirs.difference(mine).copied().collect(),
    }
}

fn encoded(range: core::ops::Range<u32>, ids: &Ids) -> Encoder {
    let mut encoder = Encoder::new(range);
    encoder.extend(ids.iter().copied());
    encoder
}

fn reply(request: &Request, ids: &Ids) -> Reply {
    match respond(request, &sketch(ids)) {
        Response::Reply(reply) => reply,
        Response::Encode(range) => encoded(range, ids).into_reply(),
        Response::Objects => panic!("not for symbols: {request:?}"),
    }
}

/// Lets two sets settle; `disturb` may change them after each round trip.
fn settle_disturbed(
    mine: &mut Ids,
    theirs: &mut Ids,
    hint: u32,
    mut disturb: impl FnMut(usize, &mut Ids, &mut Ids),
) -> Settled {
    let (mut initiator, mut request) = Initiator::new(sketch(mine).root(), hint);
    let mut bytes = 0;
    for round_trips in 1.. {
        let (asked, answered) = (request.to_bytes(), reply(&request, theirs).to_bytes());
        bytes += asked.len() + answered.len();
        assert_eq!(Request::from_bytes(&asked), Ok(request.clone()));
        disturb(round_trips, mine, theirs);
        let answer = Reply::from_bytes(&answered).unwrap();
        let mut last = initiator.handle_reply(answer, &sketch(mine)).unwrap();
        if let Progress::Encode(range) = last {
            last = initiator.handle_encoded(&encoded(range, mine));
        }
        if let Progress::Send(next) = last {
            request = next;
        } else {
            return Settled {
                last,
                bytes,
                round_trips,
            };
        }
    }
    unreachable!()
}

fn settle(mine: &Ids, theirs: &Ids, hint: u32) -> Settled {
    settle_disturbed(&mut mine.clone(), &mut theirs.clone(), hint, |_, _, _| {})
}

/// Two sets with `shared` ids in common that differ in `differences`, half of them on each side.
fn pair(shared: usize, differences: usize) -> (Ids, Ids) {
    let (shared, extra) = (ids(1, shared), ids(2, differences));
    let (here, there): (Vec<_>, Vec<_>) = extra.iter().partition(|id| id.as_u64() % 2 == 0);
    let with = |extra: Vec<ShortId>| shared.iter().copied().chain(extra).collect();
    (with(here), with(there))
}

#[test]
fn equal_sets_cost_one_tiny_pair_of_messages() {
    let same = ids(1, 1000);
    let settled = settle(&same, &same, 50);
    assert_eq!(settled.outcome(), &Outcome::default());
    assert_eq!(settled.round_trips, 1);
    assert!(settled.bytes <= 24, "{}", settled.bytes);
}

#[test]
fn hundred_differences_cost_at_most_3_kb_and_one_trip_with_the_right_hint() {
    let (mine, theirs) = pair(20_000, 100);
    let settled = settle(&mine, &theirs, 100);
    assert_eq!(settled.outcome(), &truth(&mine, &theirs));
    assert_eq!(settled.round_trips, 1);
    assert!(settled.bytes <= 3_000, "{}", settled.bytes);
}

#[test]
fn cold_exchange_takes_at_most_three_trips_and_twice_the_symbols_needed() {
    for differences in [1, 10, 100, 1000, 5000] {
        let (mine, theirs) = pair(20_000, differences);
        let settled = settle(&mine, &theirs, 0);
        assert_eq!(settled.outcome(), &truth(&mine, &theirs));
        assert!(
            settled.round_trips <= 3,
            "{differences}: {}",
            settled.round_trips
        );
        assert!(
            settled.bytes <= 600 + differences * 39,
            "{differences}: {}",
            settled.bytes
        );
    }
}

#[test]
fn surplus_on_one_side_is_settled_in_one_trip_without_a_hint() {
    let (all, extra) = (ids(1, 5000), ids(2, 60));
    let more: Ids = all.union(&extra).copied().collect();
    for (mine, theirs) in [(&all, &more), (&more, &all)] {
        let settled = settle(mine, theirs, 0);
        assert_eq!(settled.outcome(), &truth(mine, theirs));
        assert_eq!(settled.round_trips, 1);
    }
}

#[test]
fn set_that_is_mostly_missing_falls_back_to_listing() {
    for (mine, theirs) in [(Ids::new(), ids(1, 3000)), (ids(1, 10_000), ids(2, 10_000))] {
        let settled = settle(&mine, &theirs, 0);
        assert_eq!(settled.last, Progress::Fallback(Fallback::TooDifferent));
        assert!(settled.bytes < 1000, "{}", settled.bytes);
    }
}

#[test]
fn writes_on_both_sides_during_an_exchange_do_not_spoil_it() {
    let (mut mine, mut theirs) = pair(3000, 600);
    let settled = settle_disturbed(&mut mine, &mut theirs, 0, |trip, mine, theirs| {
        if trip == 1 {
            mine.extend(ids(7, 3));
            theirs.extend(ids(8, 3));
            theirs.pop_first();
        }
    });
    assert_eq!(settled.outcome(), &truth(&mine, &theirs));
}

#[test]
fn peer_whose_symbols_belie_its_root_is_found_out() {
    let (mine, theirs) = pair(100, 4);
    let (mut initiator, request) = Initiator::new(sketch(&mine).root(), 0);
    let Reply::Symbols { symbols, from, .. } = reply(&request, &theirs) else {
        panic!()
    };
    let lie = Reply::Symbols {
        root: sketch(&ids(5, 102)).root(),
        from,
        symbols,
    };
    let progress = initiator.handle_reply(lie, &sketch(&mine));
    assert_eq!(progress, Ok(Progress::Fallback(Fallback::Inconsistent)));
}

#[test]
fn replies_that_fit_no_request_are_rejected_and_change_nothing() {
    let (mine, theirs) = pair(2000, 200);
    let local = sketch(&mine);
    let (mut initiator, request) = Initiator::new(local.root(), 1);
    let first = reply(&request, &theirs);
    let Reply::Symbols { root, symbols, .. } = first.clone() else {
        panic!()
    };
    let page = Reply::Page {
        ids: Vec::new(),
        last: None,
    };
    assert_eq!(
        initiator.handle_reply(page, &local),
        Err(RejectReply::Unexpected)
    );
    let gap = Reply::Symbols {
        root,
        from: 3,
        symbols,
    };
    let rejected = RejectReply::Gap {
        from: 3,
        received: 0,
    };
    assert_eq!(initiator.handle_reply(gap, &local), Err(rejected));
    let empty = Reply::Symbols {
        root,
        from: 0,
        symbols: Vec::new(),
    };
    let rejected = RejectReply::Size {
        symbols: 0,
        received: 0,
    };
    assert_eq!(initiator.handle_reply(empty, &local), Err(rejected));
    let progress = initiator.handle_reply(first, &local).unwrap();
    assert!(
        matches!(progress, Progress::Send(Request::More { .. })),
        "{progress:?}"
    );
    assert_eq!(
        initiator.handle_reply(Reply::Same, &local),
        Err(RejectReply::Unexpected)
    );
}

#[test]
fn responder_sends_no_more_than_a_flight_whatever_it_is_asked() {
    let set = sketch(&ids(1, 100_000));
    let requests = [
        Request::Probe {
            root: sketch(&ids(2, 100_000)).root(),
            differences: u32::MAX,
        },
        Request::More {
            seen: set.root(),
            from: 0,
            symbols: u32::MAX,
        },
        Request::More {
            seen: Root::default(),
            from: u32::MAX,
            symbols: u32::MAX,
        },
        Request::More {
            seen: set.root(),
            from: u32::MAX,
            symbols: u32::MAX,
        },
    ];
    for request in requests {
        let Response::Encode(range) = respond(&request, &set) else {
            panic!("{request:?}")
        };
        assert!(Encoder::new(range).symbols().len() <= limits::FLIGHT_SYMBOLS_MAX as usize);
    }
}

#[test]
fn coded_symbols_of_a_known_set_never_change() {
    let symbols = sketch(&ids(1, 1000)).symbols();
    let bytes: Vec<u8> = symbols.into_iter().flat_map(<[u8; 14]>::from).collect();
    assert_eq!(
        blake3::hash(&bytes).to_hex().as_str(),
        "9df203ba35e7c98a436a1331ed1c97db6e7819ecc53223a0a038e3477e8c61c8"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn outcome_is_the_symmetric_difference(
        seed: u64, shared in 0usize..400, here in 0usize..80, there in 0usize..80, hint in 0u32..300,
    ) {
        let part = |part: u64, count| ids(seed ^ part, count);
        let mine: Ids = part(0, shared).union(&part(1, here)).copied().collect();
        let theirs: Ids = part(0, shared).union(&part(2, there)).copied().collect();
        let settled = settle(&mine, &theirs, hint);
        if settled.last != Progress::Fallback(Fallback::TooDifferent) {
            prop_assert_eq!(settled.outcome(), &truth(&mine, &theirs));
        }
    }

    #[test]
    fn sketches_of_parts_add_up_to_that_of_the_whole(parts in vec((any::<u64>(), 0usize..150), 0..5)) {
        let parts: Vec<Ids> = parts.into_iter().map(|(seed, count)| ids(seed, count)).collect();
        let sum = |parts: &mut dyn Iterator<Item = &Ids>| {
            parts.fold(Sketch::default(), |mut sum, part| {
                sum.add(&sketch(part));
                sum
            })
        };
        let whole: Sketch = parts.iter().flatten().copied().collect();
        prop_assert_eq!(&sum(&mut parts.iter()), &whole);
        prop_assert_eq!(&sum(&mut parts.iter().rev()), &whole);
    }

    #[test]
    fn insert_and_remove_cancel_in_any_order(
        base in 0usize..200, steps in vec((0u64..40, any::<bool>()), 0..200),
    ) {
        let mut model = ids(1, base);
        let mut kept = sketch(&model);
        for (number, inserts) in steps {
            let id = ShortId::from_u64(number);
            if inserts && model.insert(id) {
                kept.insert(id);
            } else if !inserts && model.remove(&id) {
                kept.remove(id);
            }
        }
        prop_assert_eq!(kept.len(), model.len() as u64);
        prop_assert_eq!(kept, sketch(&model));
    }

    #[test]
    fn removal_before_insertion_leaves_nothing_behind(numbers in btree_set(any::<u64>(), 0..100)) {
        let mut kept = Sketch::default();
        numbers.iter().for_each(|number| kept.remove(ShortId::from_u64(*number)));
        numbers.iter().for_each(|number| kept.insert(ShortId::from_u64(*number)));
        prop_assert!(kept.is_empty());
        prop_assert_eq!(kept, Sketch::default());
    }

    #[test]
    fn encoder_continues_the_symbols_of_the_sketch(count in 0usize..300, cut in 0u32..600) {
        let set = ids(3, count);
        let whole = encoded(0..600, &set);
        let (head, tail) = (encoded(0..cut, &set), encoded(cut..600, &set));
        prop_assert_eq!(whole.symbols(), [head.symbols(), tail.symbols()].concat());
        let kept = sketch(&set);
        prop_assert_eq!(&whole.symbols()[..limits::PREFIX as usize], kept.symbols());
        prop_assert_eq!(whole.root(), kept.root());
    }

    #[test]
    fn decoder_fed_one_by_one_finds_what_it_finds_at_once(seed: u64, count in 0usize..100) {
        let set = ids(seed, count);
        let symbols = encoded(0..400, &set).symbols().to_vec();
        let mut at_once = Decoder::default();
        prop_assert_eq!(at_once.extend(symbols.iter().copied()), Ok(()));
        let mut one_by_one = Decoder::default();
        for symbol in symbols {
            prop_assert_eq!(one_by_one.extend([symbol]), Ok(()));
        }
        let plus = set.into_iter().collect();
        prop_assert_eq!(one_by_one.finish(), Ok(Some(Difference { plus, minus: Vec::new() })));
        prop_assert_eq!(at_once.finish(), one_by_one.finish());
    }

    #[test]
    fn hostile_symbols_end_in_a_typed_fallback_within_the_limits(
        seed: u64, size in 1usize..200, len in 0usize..5000, corrupt: bool,
    ) {
        let mine = ids(seed, 100);
        let (mut initiator, mut request) = Initiator::new(sketch(&mine).root(), 0);
        let claimed = sketch(&ids(seed ^ 1, len)).root();
        for flight in 0.. {
            let from = if let Request::More { from, .. } = &request { *from } else { 0 };
            let mut output = blake3::Hasher::new().update(&[flight]).finalize_xof();
            let symbols = core::iter::repeat_with(|| {
                let mut bytes = [0; 14];
                output.fill(&mut bytes);
                // Either noise, or lone ids that no other symbol knows of.
                if corrupt { CodedSymbol::from(bytes) } else { lone(bytes) }
            });
            let reply = Reply::Symbols { root: claimed, from, symbols: symbols.take(size).collect() };
            let mut progress = initiator.handle_reply(reply, &sketch(&mine)).unwrap();
            if let Progress::Encode(range) = progress {
                progress = initiator.handle_encoded(&encoded(range, &mine));
            }
            let Progress::Send(next) = progress else {
                prop_assert!(matches!(progress, Progress::Fallback(_)), "{:?}", progress);
                break;
            };
            request = next;
            prop_assert!(u32::from(flight) < limits::FLIGHTS_MAX);
        }
    }
}

fn lone(bytes: [u8; 14]) -> CodedSymbol {
    let [a, b, c, d, e, f, g, h, ..] = bytes;
    CodedSymbol::of(ShortId::from([a, b, c, d, e, f, g, h]))
}
