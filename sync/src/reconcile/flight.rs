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

/// How many ids two sets differ in at least, by their lengths.
pub(crate) const fn differences_min(a: &Root, b: &Root) -> u64 {
    a.len().abs_diff(b.len())
}

/// How many ids two sets differ in, judged by symbols of the difference that could not be decoded.
///
/// Index `i` holds each differing id with a probability of `p = 2 / (i + 2)`, so its count, plus for one side and minus
/// for the other, varies about `p * surplus` with a variance of `p (1 - p)` for each difference. `surplus` is how many more ids
/// the set has that was subtracted from. With 32 symbols the standard error is about 30 %.
pub(crate) fn estimate(symbols: &[CodedSymbol], surplus: i64) -> u64 {
    let mut squares = 0u64;
    let mut variance = 0u64;
    for (index, symbol) in (0i64..).zip(symbols) {
        let expected = surplus.saturating_mul(2) / (index + 2);
        let [low, high, ..] = expected.to_le_bytes();
        let deviation = symbol.count().wrapping_sub(i16::from_le_bytes([low, high]));
        squares += u64::from(deviation.unsigned_abs()).pow(2);
        variance += (2 * index.unsigned_abs() * UNIT) / (index.unsigned_abs() + 2).pow(2);
    }
    squares.saturating_mul(UNIT) / variance.max(1)
}

/// Fixed-point one.
const UNIT: u64 = 1 << 16;
