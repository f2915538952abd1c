//! A map of values.

use alloc::vec::Vec;

use crate::kinds::shape_of_store;
use crate::wire::{StoreReader, StoreWriter, Wire};
use crate::{ApplyOp, DecodeObject, DotMap, Edit, Hlc, Kind, Merges, Op, Stamp, Value};

/// A map from names to values of any kind, maps included. Writing below a field wins over removing it concurrently.
///
/// A field is named by kind and name, so that concurrent creation under two kinds keeps both.
/// Removing a field resets what the remover saw of it.
///
/// Reading and writing a field are `O(log fields)` beside what the field itself costs; the delta holds that field alone. A field adds its name
/// and two bytes.
///
/// Source: Almeida, Shoker, Baquero, "Delta state replicated data types" (2018), after the maps of Riak (Brown, Cribbs, Meiklejohn,
/// Elliott, "Riak DT map: a composable, convergent replicated dictionary", 2014).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrMap(DotMap<(Kind, Vec<u8>), Value>);

impl OrMap {
    /// The value of a field.
    #[must_use]
    pub fn get(&self, kind: Kind, name: &[u8]) -> Option<&Value> {
        self.0.get(&(kind, name.to_vec()))
    }

    /// The fields, by kind and then by name.
    pub fn fields(&self) -> impl Iterator<Item = (Kind, &[u8], &Value)> + '_ {
        self.0
            .iter()
            .map(|((kind, name), value)| (*kind, name.as_slice(), value))
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The greatest stamp in any field.
    #[must_use]
    pub fn hlc_max(&self) -> Option<Hlc> {
        self.0.iter().filter_map(|(_, value)| value.hlc_max()).max()
    }

    /// Changes the value of a field, which is created if it is not there.
    ///
    /// # Errors
    /// As [`Value::edit`].
    pub fn edit(
        &self,
        field: (Kind, &[u8]),
        stamp: &Stamp,
        op: &Op,
        merges: &Merges,
    ) -> Result<Edit<Self>, ApplyOp> {
        let key = (field.0, field.1.to_vec());
        let edit = match self.0.get(&key) {
            Some(value) => value.edit(stamp, op, merges)?,
            None => Value::new(field.0).edit(stamp, op, merges)?,
        };
        Ok(edit.map(|value| Self(DotMap::of(key, value))))
    }

    /// Removes a field, as far as it was seen.
    #[must_use]
    pub fn remove(&self, kind: Kind, name: &[u8]) -> Edit<Self> {
        match self.get(kind, name) {
            Some(seen) => Edit::over(Self::default(), seen),
            None => Edit::nothing(Self::default()),
        }
    }
}

shape_of_store!(OrMap);

impl Wire for OrMap {
    fn write(&self, writer: &mut StoreWriter) {
        writer.writer.length(self.0.len());
        for ((kind, name), value) in self.0.iter() {
            kind.write(&mut writer.writer);
            writer.writer.string(name);
            value.write(writer);
        }
    }

    fn read(reader: &mut StoreReader<'_>, depth: usize) -> Result<Self, DecodeObject> {
        let entries = reader.some_entries(|reader| {
            let kind = Kind::read(&mut reader.reader)?;
            let name = reader.reader.key()?.to_vec();
            Ok(((kind, name), Value::read(reader, kind, depth + 1)?))
        })?;
        Ok(Self(DotMap::from_entries(entries)))
    }
}
