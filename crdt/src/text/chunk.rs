//! Looks at chunks before automerge does.
//!
//! automerge 0.12 inflates compressed chunks without a bound, and unrolls run-length coded columns without one: a hundred
//! bytes can claim 2^60 operations. So only plain change chunks and our own packs of them pass, and only if what they unroll to is bounded.

use alloc::vec::Vec;
use std::panic::catch_unwind;

use automerge::Change;

use crate::text::pack;

/// Operations of one change, and predecessors of all its operations, at the most.
const OPS_MAX: u64 = 1 << 20;
pub(crate) const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
pub(crate) const CHANGE: u8 = 1;
/// Column specifications: column 4 (action), integers; column 7 (predecessors), group sizes.
const ACTION_COLUMN: u64 = 4 << 4 | 2;
const PRED_COLUMN: u64 = 7 << 4;

/// The changes of a chunk; `None` if any of it is not a plain, bounded, well-formed change.
pub(crate) fn parse(chunk: &[u8]) -> Option<Vec<Change>> {
    let unpacked = pack::unpack(chunk)?;
    let mut chunk = &*unpacked;
    let mut changes = Vec::new();
    while !chunk.is_empty() {
        let (change, rest) = split_change(chunk)?;
        // automerge checks every operation, and has panicked on hostile bytes before. It does not check the checksum,
        // which is the start of the hash.
        let parsed = catch_unwind(|| Change::try_from(change)).ok()?.ok()?;
        if change.get(MAGIC.len()..MAGIC.len() + 4)? != parsed.hash().0.get(..4)? {
            return None;
        }
        changes.push(parsed);
        chunk = rest;
    }
    Some(changes)
}

/// Cuts off the first change: magic, 4 bytes of checksum, type, length, content.
fn split_change(chunk: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut left = chunk
        .strip_prefix(&MAGIC)?
        .get(4..)?
        .strip_prefix(&[CHANGE])?;
    let length = usize::try_from(unsigned(&mut left)?).ok()?;
    let content = left.get(..length)?;
    is_bounded(content).then(|| chunk.split_at_checked(chunk.len() - left.len() + length))?
}

fn is_bounded(content: &[u8]) -> bool {
    columns(content).is_some_and(|columns| {
        columns.iter().all(|(column, data)| match *column {
            ACTION_COLUMN => unrolled(data, |_| 1).is_some(),
            PRED_COLUMN => unrolled(data, |size| size.max(1)).is_some(),
            _ => true,
        })
    })
}

/// The columns of a change by their specification.
fn columns(content: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut left = content;
    let dependencies = unsigned(&mut left)?;
    take(&mut left, dependencies.checked_mul(32)?)?;
    string(&mut left)?; // actor
    for _ in ["sequence number", "first operation", "time"] {
        unsigned(&mut left)?;
    }
    string(&mut left)?; // message
    for _ in 0..unsigned(&mut left)? {
        string(&mut left)?; // another actor
    }
    let count = unsigned(&mut left)?;
    let mut heads = Vec::new();
    for _ in 0..count {
        heads.push((unsigned(&mut left)?, unsigned(&mut left)?));
    }
    heads
        .into_iter()
        .map(|(column, length)| Some((column, take(&mut left, length)?)))
        .collect()
}

/// What the runs of a column weigh together, if within bounds. A run is a signed count, then: if positive one value,
/// if negative so many values, if 0 a number of nulls.
fn unrolled(mut data: &[u8], weigh: impl Fn(u64) -> u64) -> Option<u64> {
    let mut total = 0_u64;
    while !data.is_empty() {
        let count = signed(&mut data)?;
        let values = if count < 0 { count.unsigned_abs() } else { 1 };
        for _ in 0..values {
            let value = unsigned(&mut data)?;
            let weight = match count {
                0 => value,
                1.. => weigh(value).checked_mul(count.unsigned_abs())?,
                _ => weigh(value),
            };
            total = total
                .checked_add(weight)
                .filter(|total| *total <= OPS_MAX)?;
        }
    }
    Some(total)
}

fn take<'a>(left: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (taken, rest) = left.split_at_checked(usize::try_from(length).ok()?)?;
    *left = rest;
    Some(taken)
}

fn string<'a>(left: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = unsigned(left)?;
    take(left, length)
}

pub(crate) fn unsigned(left: &mut &[u8]) -> Option<u64> {
    leb128(left).map(|(number, _)| number)
}

fn signed(left: &mut &[u8]) -> Option<i64> {
    let (number, bits) = leb128(left)?;
    let unused = 64_u32.saturating_sub(bits);
    Some((number << unused).cast_signed() >> unused)
}

/// A number in base 128, and how many bits it was written with.
fn leb128(left: &mut &[u8]) -> Option<(u64, u32)> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = *take(left, 1)?.first_chunk()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((number, shift + 7));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change of an actor with a one-byte id, with one column.
    fn content(column: u8, data: &[u8]) -> Vec<u8> {
        let length = u8::try_from(data.len()).unwrap();
        let head = [0, 1, 9, 1, 1, 0, 0, 0, 1, column, length];
        [&head[..], data].concat()
    }

    #[test]
    fn columns_that_unroll_without_bound_are_refused() {
        // A run of 2^40 equal values; a run of 2 that are 2^40; 2^40 nulls.
        let huge = [0x80, 0x80, 0x80, 0x80, 0x80, 0x20];
        let run = [&huge[..], &[1]].concat();
        assert!(!is_bounded(&content(66, &run)));
        assert!(!is_bounded(&content(112, &run)));
        assert!(!is_bounded(&content(112, &[&[2][..], &huge].concat())));
        assert!(!is_bounded(&content(66, &[&[0][..], &huge].concat())));
        assert!(!is_bounded(&content(66, &[2])), "a value is missing");
        assert!(is_bounded(&content(66, &[50, 1, 0x7e, 1, 2, 0, 5])));
        assert!(is_bounded(&content(112, &[2, 3])));
        assert!(!is_bounded(&content(66, &[50, 1])[..12]), "cut short");
    }

    #[test]
    fn signed_numbers_are_read_as_automerge_writes_them() {
        for (bytes, number) in [
            (&[0x7f][..], -1),
            (&[0x40], -64),
            (&[0x3f], 63),
            (&[0x80, 0x7f], -128),
        ] {
            assert_eq!(signed(&mut &*bytes), Some(number));
        }
    }
}
