//! The checksum that travels with every stored value, whatever the engine below does.
//!
//! Eight bytes of XXH3 over space, key and value. It guards against disks, controllers and engine bugs, not against people: who can
//! write the files can write a fitting checksum, with any hash that has no key. XXH3 costs tens of nanoseconds for a small record where
//! BLAKE3 costs hundreds, it is in the program already because `fjall` uses it, and 64 bits let one damaged record in 2^64 pass.
//! Space and key are part of it, so that a sound record in a wrong place is found too. An *old* sound record in its own place is not.

use meshwork_sync::Space;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What a seal adds to each value.
pub(super) const SEAL_BYTES: usize = 8;

/// The value with its checksum behind it.
pub(super) fn seal(space: Space, key: &[u8], value: &[u8]) -> Vec<u8> {
    let sum = checksum(space, key, value);
    [value, &sum.to_le_bytes()].concat()
}

/// The value in front of its checksum, or `None` when they do not fit.
pub(super) fn unseal(space: Space, key: &[u8], mut sealed: Vec<u8>) -> Option<Vec<u8>> {
    let (value, sum) = sealed.split_last_chunk::<SEAL_BYTES>()?;
    if checksum(space, key, value).to_le_bytes() != *sum {
        return None;
    }
    sealed.truncate(value.len());
    Some(sealed)
}

/// Chained by seeds, so that the border between key and value counts and nothing has to be copied together.
fn checksum(space: Space, key: &[u8], value: &[u8]) -> u64 {
    let place = xxh3_64_with_seed(key, SEED ^ u64::from(space_byte(space)));
    xxh3_64_with_seed(value, place)
}

/// The number of a space in stored bytes. It never changes.
pub(super) const fn space_byte(space: Space) -> u8 {
    match space {
        Space::Meta => 0,
        Space::Objects => 1,
        Space::Outbox => 2,
        Space::Members => 3,
        Space::Strong => 4,
    }
}

/// Part of the format: "meshwork" in ASCII. It keeps an all-zero record from looking sound.
const SEED: u64 = u64::from_le_bytes(*b"meshwork");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_where_it_was_sealed() {
        let sealed = seal(Space::Objects, b"key", b"value");
        assert_eq!(sealed.len(), 5 + SEAL_BYTES);
        let value = unseal(Space::Objects, b"key", sealed);
        assert_eq!(value, Some(b"value".to_vec()));
    }

    #[test]
    fn every_single_bit_flip_is_found() {
        let sealed = seal(Space::Meta, b"key", b"some value");
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(Space::Meta, b"key", damaged), None, "bit {bit}");
        }
    }

    #[test]
    fn a_record_in_a_wrong_place_is_found() {
        let sealed = seal(Space::Objects, b"key", b"value");
        assert_eq!(unseal(Space::Outbox, b"key", sealed.clone()), None);
        assert_eq!(unseal(Space::Objects, b"kez", sealed.clone()), None);
        assert_eq!(unseal(Space::Objects, b"ke", sealed), None);
    }

    #[test]
    fn what_is_too_short_for_a_seal_is_damaged() {
        for length in 0..=SEAL_BYTES {
            assert_eq!(unseal(Space::Meta, b"key", vec![0; length]), None);
        }
    }

    /// Pins the stored format.
    #[test]
    fn the_checksum_of_a_known_record_never_changes() {
        let sealed = seal(Space::Objects, b"key", b"value");
        assert_eq!(sealed[5..], GOLDEN);
    }

    const GOLDEN: [u8; SEAL_BYTES] = [211, 63, 72, 207, 124, 245, 33, 147];
}
