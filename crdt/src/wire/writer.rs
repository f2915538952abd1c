//! Writes numbers and byte strings.

use alloc::vec::Vec;

/// The format that this release writes; formats only ever gain versions.
pub(crate) const FORMAT_VERSION: u8 = 1;

/// Room for most objects, so that they are not moved while they are written.
const SMALL_BYTES: usize = 256;

/// Writes to memory. Numbers are little-endian base-128 varints, always in their shortest form.
#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn with_version() -> Self {
        let mut bytes = Vec::with_capacity(SMALL_BYTES);
        bytes.push(FORMAT_VERSION);
        Self(bytes)
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn varint(&mut self, mut number: u64) {
        loop {
            let [low, ..] = number.to_le_bytes();
            number >>= 7;
            if number == 0 {
                return self.byte(low & 0x7f);
            }
            self.byte(low | 0x80);
        }
    }

    pub(crate) fn signed(&mut self, number: i64) {
        // Zigzag: small numbers of either sign are short.
        self.varint((number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned());
    }

    pub(crate) fn length(&mut self, length: usize) {
        // No supported target has a `usize` beyond 64 bits.
        self.varint(length as u64);
    }

    pub(crate) fn string(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.bytes(bytes);
    }
}
