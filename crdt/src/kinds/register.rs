//! A register.

use alloc::vec::Vec;
use core::fmt::Debug;

use crate::kinds::{shape_of_store, wire_of_store};
use crate::wire::{StoreReader, StoreWriter, Wire};
use crate::{DecodeObject, Dot, DotFun, Edit, Hlc};

/// A register that keeps all concurrent values until a write that saw them.
///
/// A clock decides which is shown first, never which is kept. One live dot, with eight bytes beside the value, and one more for each
/// concurrent value; every operation is `O(concurrent values)`, and the delta is the new value.
///
/// Source: DeCandia et al., "Dynamo: Amazon's highly available key-value store" (2007), section 4.4; as a dot store, Almeida et al. (2018).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MvRegister<V>(DotFun<(Hlc, V)>);

shape_of_store!(MvRegister<V>, V: Clone, Ord, Debug);
wire_of_store!(MvRegister<Vec<u8>>);

impl<V: Clone + Ord + Debug> MvRegister<V> {
    /// The value with the greatest stamp; of equal stamps the greater dot.
    #[must_use]
    pub fn latest(&self) -> Option<&V> {
        let latest = self.0.iter().max_by_key(|(dot, (hlc, _))| (*hlc, *dot));
        latest.map(|(_, (_, value))| value)
    }

    /// All values that no write has seen yet, with their stamps, by dot.
    pub fn siblings(&self) -> impl Iterator<Item = (Dot, Hlc, &V)> + '_ {
        self.0.iter().map(|(dot, (hlc, value))| (dot, *hlc, value))
    }

    /// The greatest stamp.
    #[must_use]
    pub fn hlc_max(&self) -> Option<Hlc> {
        self.0.iter().map(|(_, (hlc, _))| *hlc).max()
    }

    /// Writes a value in place of all that are there.
    #[must_use]
    pub fn put(&self, dot: Dot, hlc: Hlc, value: V) -> Edit<Self> {
        Edit::over(Self(DotFun::of(dot, (hlc, value))), self)
    }
}

impl<V> Default for MvRegister<V> {
    fn default() -> Self {
        Self(DotFun::default())
    }
}

impl Wire for (Hlc, Vec<u8>) {
    fn write(&self, writer: &mut StoreWriter) {
        writer.writer.bytes(&self.0.to_bits().to_be_bytes());
        self.1.write(writer);
    }

    fn read(reader: &mut StoreReader<'_>, depth: usize) -> Result<Self, DecodeObject> {
        let hlc = Hlc::from_bits(u64::from_be_bytes(reader.reader.array()?));
        Ok((hlc, Vec::read(reader, depth)?))
    }
}
