//! postcard with the version of the format in front.

use serde::{Deserialize, Serialize};

/// The version and then the value, after `bytes`.
pub(super) fn append<T: Serialize>(mut bytes: Vec<u8>, version: u8, value: &T) -> Vec<u8> {
    bytes.push(version);
    postcard::to_extend(value, bytes).expect("a vector takes any number of bytes")
}

/// The value, when the bytes are of this version and nothing follows.
pub(super) fn whole<'a, T: Deserialize<'a>>(version: u8, bytes: &'a [u8]) -> Option<T> {
    let (found, rest) = bytes.split_first()?;
    match postcard::take_from_bytes(rest) {
        Ok((value, [])) if *found == version => Some(value),
        Ok(_) | Err(_) => None,
    }
}
