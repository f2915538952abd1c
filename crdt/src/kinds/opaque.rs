//! Values of kinds that this release does not know.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::wire::{StoreReader, StoreWriter, Wire};
use crate::{Contexts, DecodeObject, Dot, DotFun, DotMap, DotSet, DotStore};

/// Which dot stores a kind is made of, from the outside in: up to three maps, then a set or values.
///
/// Written beside every kind that came after the first release, so that nodes which do not know it can store it, join it and relay
/// it: the three stores are all that a join needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shape {
    maps: u8,
    leaf: Leaf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Leaf {
    Set,
    Fun,
}

impl Shape {
    /// A [`DotSet`].
    pub const SET: Self = Self {
        maps: 0,
        leaf: Leaf::Set,
    };
    /// A [`DotFun`] of byte strings.
    pub const FUN: Self = Self {
        maps: 0,
        leaf: Leaf::Fun,
    };
    const MAPS_MAX: u8 = 3;

    /// A [`DotMap`] from byte strings to this; of more than three, three.
    #[must_use]
    pub const fn in_map(self) -> Self {
        let maps = if self.maps < Self::MAPS_MAX {
            self.maps + 1
        } else {
            self.maps
        };
        Self { maps, ..self }
    }

    /// What a map of this shape holds; `None` if it is no map.
    const fn inside(self) -> Option<Self> {
        match self.maps.checked_sub(1) {
            Some(maps) => Some(Self { maps, ..self }),
            None => None,
        }
    }

    pub(crate) const fn to_byte(self) -> u8 {
        let leaf = match self.leaf {
            Leaf::Set => 0,
            Leaf::Fun => 1,
        };
        self.maps << 1 | leaf
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        let leaf = match byte & 1 {
            0 => Leaf::Set,
            _ => Leaf::Fun,
        };
        match byte >> 1 {
            maps @ 0..=Self::MAPS_MAX => Some(Self { maps, leaf }),
            _ => None,
        }
    }
}

/// A value of a kind that this release does not know: its dot stores, with names and values as bytes.
///
/// It joins as it does where the kind is known, so it is not merged later but at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opaque {
    /// Live dots.
    Set(DotSet),
    /// Live dots with bytes.
    Fun(DotFun<Vec<u8>>),
    /// Names with what is below them.
    Map(DotMap<Vec<u8>, Opaque>),
}

impl Opaque {
    /// The empty value of a shape.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        match (shape.maps, shape.leaf) {
            (0, Leaf::Set) => Self::Set(DotSet::default()),
            (0, Leaf::Fun) => Self::Fun(DotFun::default()),
            (_, _) => Self::Map(DotMap::default()),
        }
    }

    pub(crate) fn write(&self, writer: &mut StoreWriter) {
        match self {
            Self::Set(store) => store.write(writer),
            Self::Fun(store) => store.write(writer),
            Self::Map(store) => {
                writer.writer.length(store.len());
                for (name, below) in store.iter() {
                    writer.writer.string(name);
                    below.write(writer);
                }
            }
        }
    }

    pub(crate) fn read(
        reader: &mut StoreReader<'_>,
        shape: Shape,
        depth: usize,
    ) -> Result<Self, DecodeObject> {
        if let Some(inside) = shape.inside() {
            let entries = reader.some_entries(|reader| {
                let name = reader.reader.key()?.to_vec();
                Ok((name, Self::read(reader, inside, depth)?))
            })?;
            return Ok(Self::Map(DotMap::from_entries(entries)));
        }
        match shape.leaf {
            Leaf::Set => DotSet::read(reader, depth).map(Self::Set),
            Leaf::Fun => DotFun::read(reader, depth).map(Self::Fun),
        }
    }
}

impl DotStore for Opaque {
    /// Two of one kind are of one shape, which is part of the kind.
    fn join(&mut self, other: &Self, contexts: &Contexts<'_>) {
        match (self, other) {
            (Self::Set(mine), Self::Set(theirs)) => mine.join(theirs, contexts),
            (Self::Fun(mine), Self::Fun(theirs)) => mine.join(theirs, contexts),
            (Self::Map(mine), Self::Map(theirs)) => mine.join(theirs, contexts),
            (Self::Set(_) | Self::Fun(_) | Self::Map(_), _) => {
                debug_assert!(false, "values are stored by kind, and a kind has one shape");
            }
        }
    }

    fn visit(&self, visitor: &mut dyn FnMut(Dot)) {
        match self {
            Self::Set(store) => store.visit(visitor),
            Self::Fun(store) => store.visit(visitor),
            Self::Map(store) => store.visit(visitor),
        }
    }

    fn retain(&mut self, keep: &mut dyn FnMut(Dot) -> bool) {
        match self {
            Self::Set(store) => store.retain(keep),
            Self::Fun(store) => store.retain(keep),
            Self::Map(store) => store.retain(keep),
        }
    }

    fn kept(&self, keep: &mut dyn FnMut(Dot) -> bool) -> Self {
        match self {
            Self::Set(store) => Self::Set(store.kept(keep)),
            Self::Fun(store) => Self::Fun(store.kept(keep)),
            Self::Map(store) => Self::Map(store.kept(keep)),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Set(store) => DotStore::is_empty(store),
            Self::Fun(store) => DotStore::is_empty(store),
            Self::Map(store) => DotStore::is_empty(store),
        }
    }
}
