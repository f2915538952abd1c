//! The unit of placement, movement and repair.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Position;

/// One of the 4,096 partitions: the positions that share their first 12 bits.
///
/// Shown as three lower-case hexadecimal digits, which are also the first digits of its positions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Partition(u16);

impl Partition {
    /// How many there are.
    pub const COUNT: usize = 1 << 12;

    /// Every partition, in order.
    pub fn all() -> impl ExactSizeIterator<Item = Self> + DoubleEndedIterator + Clone {
        (0..LIMIT).map(Self)
    }

    /// The partition with this number; nothing for 4,096 and more.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number < LIMIT {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The partition of all positions that begin with these 16 bits; the last four do not matter.
    pub(crate) const fn from_prefix(bits: u16) -> Self {
        Self(bits >> 4)
    }

    /// Its number, 0 to 4,095.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Its number as an index.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The least position in it.
    #[must_use]
    pub const fn first(self) -> Position {
        self.filled_with(0)
    }

    /// The greatest position in it.
    #[must_use]
    pub const fn last(self) -> Position {
        self.filled_with(0xff)
    }

    const fn filled_with(self, rest: u8) -> Position {
        let mut bytes = [rest; Position::BYTES];
        let [high, low] = (self.0 << 4).to_be_bytes();
        let [first, second, ..] = &mut bytes;
        *first = high;
        *second = low | (rest & 0x0f);
        Position::from_bytes(bytes)
    }
}

impl From<Partition> for u16 {
    fn from(partition: Partition) -> Self {
        partition.0
    }
}

impl TryFrom<u16> for Partition {
    type Error = ParsePartition;

    fn try_from(number: u16) -> Result<Self, Self::Error> {
        Self::new(number).ok_or(ParsePartition)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03x}", self.0)
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partition({self})")
    }
}

/// Not a partition: the text is not three hexadecimal digits, or the number is 4,096 or more. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a partition is three hexadecimal digits, or a number below 4096")]
pub struct ParsePartition;

impl FromStr for Partition {
    type Err = ParsePartition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `from_str_radix` also takes a sign.
        if text.len() != 3 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParsePartition);
        }
        let number = u16::from_str_radix(text, 16).unwrap_or(LIMIT);
        Self::try_from(number)
    }
}

const LIMIT: u16 = 1 << 12;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_partition_round_trips_and_bounds_its_positions() {
        for partition in Partition::all() {
            assert_eq!(partition.to_string().parse(), Ok(partition));
            assert_eq!(partition.first().partition(), partition);
            assert_eq!(partition.last().partition(), partition);
        }
        assert_eq!(Partition::all().len(), Partition::COUNT);
    }

    #[test]
    fn other_text_and_greater_numbers_are_refused() {
        for text in ["", "1", "+12", "-12", "0000", "g00", "é1"] {
            assert_eq!(text.parse::<Partition>(), Err(ParsePartition));
        }
        assert_eq!(Partition::try_from(4096), Err(ParsePartition));
        assert_eq!(Partition::new(4095).map(Partition::number), Some(4095));
    }

    proptest! {
        #[test]
        fn a_position_lies_between_the_bounds_of_its_partition(bytes: [u8; 32]) {
            let position = Position::from_bytes(bytes);
            let partition = position.partition();
            prop_assert!(partition.first() <= position && position <= partition.last());
            prop_assert_eq!(&position.to_string()[..3], partition.to_string());
        }
    }
}
