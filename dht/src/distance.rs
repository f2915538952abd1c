//! How far a node is from a partition.

use meshwork_membership::NodeId;

/// Hands out a node's distances to the partitions, in order.
///
/// The token of partition `i` is the `i`-th 64-bit word of BLAKE3's extendable output over the node's id: 4,096 words, 32 KiB.
pub(crate) struct Distances {
    tokens: blake3::OutputReader,
    weight: f64,
}

impl Distances {
    pub(crate) fn new(node: NodeId, weight: u16) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(node.as_bytes());
        Self {
            tokens: hasher.finalize_xof(),
            weight: f64::from(weight),
        }
    }

    /// Appends the distances to the next `PARTITIONS` partitions.
    pub(crate) fn next_into<const PARTITIONS: usize>(&mut self, distances: &mut Vec<u64>) {
        let mut words = [[0; 8]; PARTITIONS];
        self.tokens.fill(words.as_flattened_mut());
        distances.extend(words.map(|word| distance(u64::from_le_bytes(word), self.weight)));
    }
}

/// `-ln(1 - token / 2^64) / weight`: exponentially distributed with rate `weight`, so the least of several distances is
/// that of a node with a probability in proportion to its weight.
///
/// Given as the bits of a float that is never negative, which are in the same order.
fn distance(token: u64, weight: f64) -> u64 {
    let token = (token >> (64 - FRACTION_BITS)) as f64 / (1u64 << FRACTION_BITS) as f64;
    (minus_ln(1.0 - token) / weight).to_bits()
}

/// `-ln(x)` for `x` in (0, 1], from additions, multiplications and divisions only.
///
/// IEEE 754 defines these to the last bit; `f64::ln` differs from platform to platform, and nodes that differ in one
/// bit would place a partition differently. The relative error is below 1e-13.
fn minus_ln(x: f64) -> f64 {
    let exponent = (x.to_bits() >> 52) as f64 - 1022.0;
    let mantissa = f64::from_bits((x.to_bits() & ((1 << 52) - 1)) | (1022 << 52));
    // Now `x = mantissa * 2^exponent` with a mantissa in [1/2, 1); moved to [1/√2, √2), where the series converges fast.
    let (mantissa, exponent) = if mantissa < core::f64::consts::FRAC_1_SQRT_2 {
        (2.0 * mantissa, exponent - 1.0)
    } else {
        (mantissa, exponent)
    };
    // ln(m) = 2 artanh(s) = 2 (s + s³/3 + s⁵/5 + ...)
    let s = (1.0 - mantissa) / (1.0 + mantissa);
    let square = s * s;
    let series = ODD_RECIPROCALS
        .iter()
        .rev()
        .fold(0.0, |sum, reciprocal| sum * square + reciprocal);
    2.0 * s * series - exponent * core::f64::consts::LN_2
}

/// 1/1, 1/3, 1/5, ...
const ODD_RECIPROCALS: [f64; 9] = [
    1.0,
    1.0 / 3.0,
    1.0 / 5.0,
    1.0 / 7.0,
    1.0 / 9.0,
    1.0 / 11.0,
    1.0 / 13.0,
    1.0 / 15.0,
    1.0 / 17.0,
];

/// So many bits of a token are used: as many as a float holds, so that `1 - token` is exact and never 0.
const FRACTION_BITS: u32 = 53;

/// Separates this use of BLAKE3 from all others. Nodes of one mesh must agree on it.
const CONTEXT: &str = "meshwork 2026-11 tokens of a node v1";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn distances_of_the_ends_are_finite_and_ordered() {
        assert_eq!(distance(0, 1.0), 0);
        assert!(f64::from_bits(distance(u64::MAX, 1.0)) < 37.0);
        assert!(f64::from_bits(distance(u64::MAX, 65535.0)) > 0.0);
    }

    proptest! {
        #[test]
        fn own_logarithm_is_that_of_the_platform_to_thirteen_digits(token in 1u64.., shift in 0u32..64) {
            let token = (token >> shift).max(1 << 11);
            let x = 1.0 - (token >> 11) as f64 / (1u64 << 53) as f64;
            let (own, theirs) = (minus_ln(x), -x.ln());
            prop_assert!((own - theirs).abs() <= 1e-13 * theirs, "{} {}", own, theirs);
        }

        #[test]
        fn farther_tokens_and_lesser_weights_are_farther(a: u64, b: u64, weight in 1u16..) {
            let (near, far) = (a.min(b), a.max(b));
            let weight = f64::from(weight);
            prop_assert!(distance(near, weight) <= distance(far, weight));
            prop_assert!(distance(a, weight + 1.0) <= distance(a, weight));
        }
    }
}
