//! Reads numbers and byte strings that nobody vouches for.

use crate::wire::limits::{Bound, DecodeObject, Limits};
use crate::wire::writer::FORMAT_VERSION;

/// Reads from memory, with every length checked against what is left and against the limits.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    left: &'a [u8],
    limits: &'a Limits,
    runs: usize,
    entries: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn with_version(bytes: &'a [u8], limits: &'a Limits) -> Result<Self, DecodeObject> {
        check(Bound::Bytes, bytes.len() as u64, limits.bytes_max)?;
        let mut reader = Self {
            left: bytes,
            limits,
            runs: 0,
            entries: 0,
        };
        match reader.byte()? {
            FORMAT_VERSION => Ok(reader),
            other => Err(DecodeObject::UnknownVersion(other)),
        }
    }

    pub(crate) fn finish(&self) -> Result<(), DecodeObject> {
        match self.left.len() {
            0 => Ok(()),
            bytes => Err(DecodeObject::Trailing { bytes }),
        }
    }

    pub(crate) fn depth(&self, depth: usize) -> Result<(), DecodeObject> {
        check(
            Bound::Depth,
            depth as u64,
            self.limits.depth_max.min(Limits::DEPTH_MAX),
        )
        .map(|_| ())
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeObject> {
        let truncated = DecodeObject::Truncated {
            needed: N as u64,
            left: self.left.len(),
        };
        let (array, left) = self.left.split_first_chunk().ok_or(truncated)?;
        self.left = left;
        Ok(*array)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeObject> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, DecodeObject> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if (shift == 63 && bits > 1) || (byte == 0 && shift > 0) {
                return Err(DecodeObject::BadVarint);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(DecodeObject::BadVarint)
    }

    pub(crate) fn signed(&mut self) -> Result<i64, DecodeObject> {
        let number = self.varint()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// A byte string of any length within the whole.
    pub(crate) fn payload(&mut self) -> Result<&'a [u8], DecodeObject> {
        self.string(Bound::Bytes, self.limits.bytes_max)
    }

    /// A field name or set element.
    pub(crate) fn key(&mut self) -> Result<&'a [u8], DecodeObject> {
        self.string(Bound::KeyBytes, self.limits.key_bytes_max)
    }

    pub(crate) fn replicas_len(&mut self) -> Result<usize, DecodeObject> {
        // Eight bytes of id, the number of runs, and at least one run.
        self.count(Bound::Replicas, self.limits.replicas_max, 11)
    }

    pub(crate) fn runs_len(&mut self) -> Result<usize, DecodeObject> {
        let count = self.count(Bound::Runs, self.limits.runs_max - self.runs, 2)?;
        self.runs += count;
        Ok(count)
    }

    pub(crate) fn entries_len(&mut self) -> Result<usize, DecodeObject> {
        let count = self.count(Bound::Entries, self.limits.entries_max - self.entries, 2)?;
        self.entries += count;
        Ok(count)
    }

    /// A number of things that take at least `bytes_each` bytes each.
    fn count(&mut self, bound: Bound, max: usize, bytes_each: u64) -> Result<usize, DecodeObject> {
        let count = self.varint()?;
        let checked = check(bound, count, max)?;
        let (needed, left) = (count.saturating_mul(bytes_each), self.left.len());
        if needed > left as u64 {
            return Err(DecodeObject::Truncated { needed, left });
        }
        Ok(checked)
    }

    fn string(&mut self, bound: Bound, max: usize) -> Result<&'a [u8], DecodeObject> {
        let length = self.count(bound, max, 1)?;
        let truncated = DecodeObject::Truncated {
            needed: length as u64,
            left: self.left.len(),
        };
        let (string, left) = self.left.split_at_checked(length).ok_or(truncated)?;
        self.left = left;
        Ok(string)
    }
}

/// `found` as a size, if it is within `max`.
fn check(bound: Bound, found: u64, max: usize) -> Result<usize, DecodeObject> {
    match usize::try_from(found) {
        Ok(size) if size <= max => Ok(size),
        Ok(_) | Err(_) => Err(DecodeObject::TooLarge { bound, found, max }),
    }
}
