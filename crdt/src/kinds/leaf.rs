//! How the values of dots are written: as bytes whose order is the order of the values.
//!
//! So a node that knows a kind and one that does not ([`crate::Opaque`]) agree on everything, also on which of two values counts
//! that a hostile replica gave to one dot.

use alloc::vec::Vec;

use crate::{Dot, ReplicaId};

/// A value that has exactly one form as bytes, in the order of the values.
pub(crate) trait Leaf: Sized {
    fn to_bytes(&self) -> Vec<u8>;
    /// Shows the bytes, without a copy where the value is bytes already.
    fn with_bytes(&self, show: impl FnOnce(&[u8])) {
        show(&self.to_bytes());
    }
    /// `None` if no value is written so.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

impl Leaf for Vec<u8> {
    fn to_bytes(&self) -> Vec<u8> {
        self.clone()
    }

    fn with_bytes(&self, show: impl FnOnce(&[u8])) {
        show(self);
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(bytes.to_vec())
    }
}

impl Leaf for Dot {
    fn to_bytes(&self) -> Vec<u8> {
        [self.replica.to_bytes(), self.counter.to_be_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (replica, counter) = bytes.split_first_chunk()?;
        let counter = u64::from_bytes(counter)?;
        Some(Self::new(ReplicaId::from_bytes(*replica), counter))
    }
}

impl Leaf for bool {
    fn to_bytes(&self) -> Vec<u8> {
        alloc::vec![u8::from(*self)]
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

impl Leaf for u64 {
    fn to_bytes(&self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }
}

/// A signed number; the sign bit is turned over, or the negative ones would come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Signed(pub(crate) i64);

impl Leaf for Signed {
    fn to_bytes(&self) -> Vec<u8> {
        (self.0.cast_unsigned() ^ (1 << 63)).to_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        u64::from_bytes(bytes).map(|bits| Self((bits ^ (1 << 63)).cast_signed()))
    }
}

/// A number, and bytes.
impl Leaf for (u64, Vec<u8>) {
    fn to_bytes(&self) -> Vec<u8> {
        [&self.0.to_be_bytes()[..], &self.1].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk()?;
        Some((u64::from_be_bytes(*number), rest.to_vec()))
    }
}

/// Gives values of dots their encoding.
macro_rules! wire_of_leaf {
    ($($leaf:ty),+) => {
        $(impl $crate::wire::Wire for $leaf {
            fn write(&self, writer: &mut $crate::wire::StoreWriter) {
                $crate::kinds::Leaf::with_bytes(self, |bytes| writer.writer.string(bytes));
            }

            fn read(
                reader: &mut $crate::wire::StoreReader<'_>,
                _: usize,
            ) -> Result<Self, $crate::DecodeObject> {
                let bytes = reader.reader.payload()?;
                $crate::kinds::Leaf::from_bytes(bytes).ok_or($crate::DecodeObject::BadValue)
            }
        })+
    };
}
pub(crate) use wire_of_leaf;

wire_of_leaf!(bool, u64, Signed, (u64, Vec<u8>));

#[cfg(test)]
mod tests {
    use core::fmt::Debug;

    use proptest::prelude::*;

    use super::*;

    fn check<T: Leaf + Ord + Debug>(a: T, b: T) {
        let bytes = (a.to_bytes(), b.to_bytes());
        assert_eq!(a.cmp(&b), bytes.0.cmp(&bytes.1));
        assert_eq!(T::from_bytes(&bytes.0), Some(a));
    }

    proptest! {
        #[test]
        fn bytes_are_in_the_order_of_values(
            flags: (bool, bool),
            numbers: (u64, u64),
            signed: (i64, i64),
            tokens: ((u64, Vec<u8>), (u64, Vec<u8>)),
            dots: (([u8; 8], u64), ([u8; 8], u64)),
        ) {
            let dot = |(replica, counter)| Dot::new(ReplicaId::from_bytes(replica), counter);
            check(dot(dots.0), dot(dots.1));
            check(flags.0, flags.1);
            check(numbers.0, numbers.1);
            check(Signed(signed.0), Signed(signed.1));
            check(tokens.0, tokens.1);
        }

        #[test]
        fn a_value_has_one_form(bytes: Vec<u8>) {
            if let Some(flag) = bool::from_bytes(&bytes) {
                prop_assert_eq!(flag.to_bytes(), &*bytes);
            }
            if let Some(number) = Signed::from_bytes(&bytes) {
                prop_assert_eq!(number.to_bytes(), &*bytes);
            }
            if let Some(token) = <(u64, Vec<u8>)>::from_bytes(&bytes) {
                prop_assert_eq!(token.to_bytes(), &*bytes);
            }
        }
    }
}
