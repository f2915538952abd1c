//! How many coded symbols to send.

use super::{CodedSymbol, Root};

/// Symbols that settle `differences` differences in about 95 of 100 cases.
///
/// Measured (the example `reconcile_figures` prints it): 1 for 1, 15 for 5, 26 for 10, 60 for 30, 165 for 100, 1,428 for
/// 1,000, 13,788 for 10,000. This gives 8, 16, 26, 60, 171, 1,472 and 14,054.
pub(crate) fn symbols_for(differences: u64) -> u64 {
    let spread = 3 * differences.saturating_add(1).isqrt();
    differences
        .saturating_add(differences / 8 * 3 + differences % 8 * 3 / 8)
        .saturating_add(spread + 4)
}

/// How many symbols there should be after the next flight, if those received did not settle `likely` differences.
pub(crate) fn next_target(received: u64, likely: u64) -> u64 {
    // An estimate from many symbols is better, and room costs more there.
    let (room, step) = if received < 1024 {
        (likely / 8 * 3, received)
    } else {
        (likely / 8, received / 4)
    };
    let target = symbols_for(likely.saturating_add(room));
    if target > received + received / 8 {
        return target;
    }
    // As many should have been enough. About once in 2,000 exchanges with 100 differences, two ids are mapped to the
    // same indices so far, and part only much further on.
    received + step + 8
}

/// Whether all ids of the set with this root are shorter than so many symbols.
pub(crate) fn listing_is_shorter(symbols: u64, root: &Root) -> bool {
    let listed_bytes = root.len().saturating_mul(8).saturating_add(LISTING_BYTES);
    symbols.saturating_mul(CodedSymbol::BYTES as u64) > listed_bytes
}

/// How many ids two sets differ in at least, by their lengths.
pub(crate) const fn differences_min(a: &Root, b: &Root) -> u64 {
    a.len().abs_diff(b.len())
}

/// How many ids two sets differ in, judged by symbols of the difference that could not be decoded.
///
/// Index `i` holds each differing id with [probability](probability) `p`, so its count, plus for one side and minus for the
/// other, varies about `p * surplus` with a variance of `p (1 - p)` for each difference. `surplus` is how many more ids the set
/// has that was subtracted from. With 32 symbols the standard error is about 30 %.
pub(crate) fn estimate(symbols: &[CodedSymbol], surplus: i64) -> u64 {
    let mut squares = 0u64;
    let mut variance = 0u64;
    for (index, symbol) in (0u32..).zip(symbols).skip(1) {
        let p = probability(index);
        let expected = surplus.saturating_mul(p.cast_signed()) / UNIT.cast_signed();
        let [low, high, ..] = expected.to_le_bytes();
        let deviation = symbol.count().wrapping_sub(i16::from_le_bytes([low, high]));
        squares += u64::from(deviation.unsigned_abs()).pow(2);
        variance += p * (UNIT - p) / UNIT;
    }
    squares.saturating_mul(UNIT) / variance.max(1)
}

/// The probability that an id is mapped to an index above 0, as a fixed-point number.
///
/// `8 (i + 1) / (2 i + 3)²` is what [`Mapping`](super::symbol::Mapping) comes to.
fn probability(index: u32) -> u64 {
    let index = u64::from(index);
    8 * (index + 1) * UNIT / (2 * index + 3).pow(2)
}

/// What the round trips of a listing are taken to cost: with less at stake, symbols are fine.
const LISTING_BYTES: u64 = 1024;

/// Fixed-point one.
const UNIT: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::super::{Encoder, ShortId};
    use super::*;

    /// Symbols of a difference with so many ids on one side and on the other.
    fn difference(plus: u64, minus: u64) -> Vec<CodedSymbol> {
        let mut encoders = [Encoder::new(0..200), Encoder::new(0..200)];
        encoders[0].extend((0..plus).map(ShortId::from_u64));
        encoders[1].extend((1 << 40..(1 << 40) + minus).map(ShortId::from_u64));
        let mut symbols = encoders[0].symbols().to_vec();
        symbols
            .iter_mut()
            .zip(encoders[1].symbols())
            .for_each(|(a, b)| a.subtract(b));
        symbols
    }

    #[test]
    fn estimate_of_two_hundred_symbols_is_off_by_a_third_at_most() {
        for (plus, minus) in [
            (500, 500),
            (1000, 0),
            (0, 1000),
            (20_000, 10),
            (40_000, 40_000),
        ] {
            let surplus = i64::try_from(plus).unwrap() - i64::try_from(minus).unwrap();
            let estimated = estimate(&difference(plus, minus), surplus);
            let differences = plus + minus;
            assert!(
                estimated.abs_diff(differences) < differences / 3,
                "{plus} {minus}: {estimated}"
            );
        }
    }

    #[test]
    fn flight_that_should_have_sufficed_is_followed_by_a_larger_one() {
        for received in [1, 31, 171, 1024, 14_000] {
            for likely in [0, 1, received / 2, received, 10 * received] {
                let target = next_target(received, likely);
                assert!(
                    target > received + received / 8,
                    "{received} {likely}: {target}"
                );
                assert!(target >= symbols_for(likely));
            }
        }
    }

    #[test]
    fn extreme_surplus_and_counts_do_not_overflow() {
        for surplus in [i64::MIN, i64::MAX, 0] {
            estimate(&vec![CodedSymbol::from([0x80; 14]); 131_072], surplus);
        }
        assert!(symbols_for(u64::MAX) > u64::MAX / 2);
    }
}
