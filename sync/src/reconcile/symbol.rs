//! Coded symbols, and which ids are mapped to which of them.

use serde::{Deserialize, Serialize};

use super::ShortId;

/// The sum of all ids of a set that are mapped to one index.
///
/// Symbols of two sets add up to that of both together, and subtract to that of their difference. 14 bytes on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u8; 14]", into = "[u8; 14]")]
pub struct CodedSymbol {
    /// Exclusive or of the ids.
    sum: u64,
    /// Exclusive or of a hash of each id.
    check: u32,
    /// How many ids, modulo 2^16.
    count: i16,
}

impl CodedSymbol {
    /// Length on the wire in bytes.
    pub const BYTES: usize = 14;

    /// Adds the ids of another symbol with the same index.
    pub fn add(&mut self, other: &Self) {
        self.sum ^= other.sum;
        self.check ^= other.check;
        self.count = self.count.wrapping_add(other.count);
    }

    /// Takes away the ids of another symbol with the same index.
    pub fn subtract(&mut self, other: &Self) {
        self.sum ^= other.sum;
        self.check ^= other.check;
        self.count = self.count.wrapping_sub(other.count);
    }

    /// The symbol of one id.
    pub(crate) fn of(id: ShortId) -> Self {
        Self {
            sum: id.as_u64(),
            check: check(id),
            count: 1,
        }
    }

    /// Whether no ids are left in it.
    pub(crate) fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Ids modulo 2^16.
    pub(crate) const fn count(&self) -> i16 {
        self.count
    }

    /// The only id left in it, and the side that it was on.
    pub(crate) fn only(&self) -> Option<(ShortId, Side)> {
        let side = match self.count {
            1 => Side::Plus,
            -1 => Side::Minus,
            _ => return None,
        };
        let id = ShortId::from_u64(self.sum);
        (check(id) == self.check).then_some((id, side))
    }
}

impl From<[u8; 14]> for CodedSymbol {
    fn from(bytes: [u8; 14]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = bytes;
        Self {
            sum: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            check: u32::from_le_bytes([i, j, k, l]),
            count: i16::from_le_bytes([m, n]),
        }
    }
}

impl From<CodedSymbol> for [u8; 14] {
    fn from(symbol: CodedSymbol) -> Self {
        let [a, b, c, d, e, f, g, h] = symbol.sum.to_le_bytes();
        let [i, j, k, l] = symbol.check.to_le_bytes();
        let [m, n] = symbol.count.to_le_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n]
    }
}

/// The set of a difference that an id belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The set that was subtracted from.
    Plus,
    /// The set that was subtracted.
    Minus,
}

/// The indices that an id is mapped to, from 0 upwards.
///
/// Section 4.2 of the paper, with α = 1/2: index `i` has a probability of about `1 / (1 + i / 2)`, and the gap to the next
/// index is drawn at once, so that reaching index `m` takes about `2 ln m` steps. The paper's formula for the gap is an
/// approximation; with it, the probability is `8 (i + 1) / (2 i + 3)²`, which is 4 % less at index 1 and the same in the end.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    /// Stays at `u32::MAX` once it gets there, far beyond all symbols that are ever made.
    next: u32,
    state: u64,
}

impl Mapping {
    pub(crate) fn of(id: ShortId) -> Self {
        Self {
            next: 0,
            state: mix(id.as_u64() ^ MAPPING),
        }
    }

    /// The next index below `end`; when there is none, a later call with a greater `end` goes on from here.
    pub(crate) fn next_below(&mut self, end: usize) -> Option<usize> {
        let index = usize::try_from(self.next)
            .ok()
            .filter(|index| *index < end)?;
        self.state = self.state.wrapping_mul(MULTIPLIER);
        self.next = self.next.saturating_add(gap(self.next, self.state));
        Some(index)
    }
}

/// The distance from an index to the next, drawn with 64 random bits.
///
/// Only operations that IEEE 754 defines to the last bit, so that all platforms draw alike.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value is at least 0, and saturating at u32::MAX is what is wanted"
)]
fn gap(index: u32, random: u64) -> u32 {
    // 63 bits, since a signed number converts to a float in one instruction.
    let random = (random >> 1).cast_signed() as f64;
    let stretch = SQRT_OF_2_POW_63 / (random + 1.0).sqrt() - 1.0;
    let whole = ((f64::from(index) + 1.5) * stretch) as u32;
    whole.saturating_add(1)
}

fn check(id: ShortId) -> u32 {
    let [a, b, c, d, ..] = mix(id.as_u64() ^ CHECK).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): every bit of the result depends on every bit of `x`.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Rounded; what matters is that it is the same everywhere.
const SQRT_OF_2_POW_63: f64 = 3_037_000_499.976_05;
/// Steps the generator of gaps: a multiplier with good spectral figures (Steele, Vigna, 2022).
const MULTIPLIER: u64 = 0xda94_2042_e4dd_58b5;
/// Keep the two uses of [`mix`] apart: fractional digits of the square roots of 2 and 3. Part of the protocol.
const MAPPING: u64 = 0x6a09_e667_f3bc_c908;
const CHECK: u64 = 0xbb67_ae85_84ca_a73b;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn indices(id: u64, end: usize) -> Vec<usize> {
        let mut mapping = Mapping::of(ShortId::from_u64(id));
        core::iter::from_fn(|| mapping.next_below(end)).collect()
    }

    #[test]
    fn mapping_of_known_ids_never_changes() {
        assert_eq!(
            indices(0, 600),
            [0, 1, 2, 3, 4, 23, 45, 54, 183, 291, 369, 463, 539]
        );
        assert_eq!(indices(42, 600), [0, 1, 5, 9, 11, 64, 153, 591]);
        assert_eq!(check(ShortId::from_u64(42)), 4_045_886_298);
    }

    #[test]
    fn index_is_drawn_with_the_probability_that_the_docs_say() {
        const IDS: u64 = 20_000;
        let mut drawn = [0u32; 64];
        for id in 0..IDS {
            for index in indices(id, drawn.len()) {
                drawn[index] += 1;
            }
        }
        for (index, drawn) in drawn.iter().enumerate() {
            let index = index as f64;
            let above_0 = 8.0 * (index + 1.0) / (2.0 * index + 3.0).powi(2);
            let expected = IDS as f64 * if index == 0.0 { 1.0 } else { above_0 };
            let tolerance = 5.0 * expected.sqrt();
            assert!(
                (f64::from(*drawn) - expected).abs() <= tolerance,
                "{index}: {drawn} {expected}"
            );
        }
    }

    proptest! {
        #[test]
        fn indices_rise_from_zero_and_do_not_depend_on_where_one_stopped(id: u64, stop in 0usize..5000) {
            let all = indices(id, 5000);
            prop_assert_eq!(all.first(), Some(&0));
            prop_assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
            let mut mapping = Mapping::of(ShortId::from_u64(id));
            let mut in_two: Vec<_> = core::iter::from_fn(|| mapping.next_below(stop)).collect();
            in_two.extend(core::iter::from_fn(|| mapping.next_below(5000)));
            prop_assert_eq!(in_two, all);
        }

        #[test]
        fn bytes_round_trip(bytes: [u8; 14]) {
            prop_assert_eq!(<[u8; 14]>::from(CodedSymbol::from(bytes)), bytes);
        }

        #[test]
        fn symbol_of_one_id_tells_id_and_side(id: u64) {
            let id = ShortId::from_u64(id);
            let symbol = CodedSymbol::of(id);
            prop_assert_eq!(symbol.only(), Some((id, Side::Plus)));
            let mut negative = CodedSymbol::default();
            negative.subtract(&symbol);
            prop_assert_eq!(negative.only(), Some((id, Side::Minus)));
            negative.add(&symbol);
            prop_assert!(negative.is_zero());
        }
    }
}
