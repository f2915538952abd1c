//! A value of any kind.

use alloc::vec::Vec;

use crate::wire::{StoreReader, StoreWriter, Wire};
use crate::{
    ApplyOp, AwSet, Contexts, Custom, DecodeObject, Document, Dot, DotStore, Edit, EwFlag, Hlc,
    Kind, Merges, MvRegister, Op, OrMap, PnCounter, Stamp,
};

/// A value of any kind; stored under its [`Kind`], so two that meet are always of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A flag.
    Flag(EwFlag),
    /// A counter.
    Counter(PnCounter),
    /// A register.
    Register(MvRegister<Vec<u8>>),
    /// A set.
    Set(AwSet<Vec<u8>>),
    /// A map.
    Map(OrMap),
    /// A document.
    Document(Document),
    /// A value of the application's own kind with this tag.
    Custom(u16, Custom),
}

/// Does one thing for the store of whatever kind the value is.
macro_rules! for_store {
    ($value:expr, $store:ident => $body:expr) => {
        match $value {
            Value::Flag($store) => $body,
            Value::Counter($store) => $body,
            Value::Register($store) => $body,
            Value::Set($store) => $body,
            Value::Map($store) => $body,
            Value::Document($store) => $body,
            Value::Custom(_, $store) => $body,
        }
    };
}

impl Value {
    /// The empty value of a kind.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::Flag => Self::Flag(EwFlag::default()),
            Kind::Counter => Self::Counter(PnCounter::default()),
            Kind::Register => Self::Register(MvRegister::default()),
            Kind::Set => Self::Set(AwSet::default()),
            Kind::Map => Self::Map(OrMap::default()),
            Kind::Document => Self::Document(Document::default()),
            Kind::Custom(tag) => Self::Custom(tag, Custom::default()),
        }
    }

    /// What the value is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Flag(_) => Kind::Flag,
            Self::Counter(_) => Kind::Counter,
            Self::Register(_) => Kind::Register,
            Self::Set(_) => Kind::Set,
            Self::Map(_) => Kind::Map,
            Self::Document(_) => Kind::Document,
            Self::Custom(tag, _) => Kind::Custom(*tag),
        }
    }

    /// The greatest stamp inside.
    #[must_use]
    pub fn hlc_max(&self) -> Option<Hlc> {
        match self {
            Self::Register(register) => register.hlc_max(),
            Self::Map(map) => map.hlc_max(),
            Self::Flag(_) | Self::Counter(_) | Self::Set(_) => None,
            Self::Document(_) | Self::Custom(..) => None,
        }
    }

    /// What `op` does to this value; the value itself is unchanged.
    ///
    /// # Errors
    /// The operation is for another kind, or a custom kind's merge refuses its payload. [`Op::check`] must have passed.
    pub fn edit(&self, stamp: &Stamp, op: &Op, merges: &Merges) -> Result<Edit<Self>, ApplyOp> {
        let dot = stamp.dot;
        Ok(match (self, op) {
            (_, Op::Delete) => Edit::over(Self::new(self.kind()), self),
            (Self::Flag(flag), Op::Enable) => flag.enable(dot).map(Self::Flag),
            (Self::Flag(flag), Op::Disable) => flag.disable().map(Self::Flag),
            (Self::Counter(counter), Op::Add(amount)) => {
                counter.add(dot, *amount).map(Self::Counter)
            }
            (Self::Register(register), Op::Put(value)) => register
                .put(dot, stamp.hlc, value.clone())
                .map(Self::Register),
            (Self::Set(set), Op::Insert(element)) => {
                set.insert(dot, element.clone()).map(Self::Set)
            }
            (Self::Set(set), Op::Remove(element)) => set.remove(element).map(Self::Set),
            (Self::Map(map), Op::Field { name, kind, op }) => {
                map.edit((*kind, name), stamp, op, merges)?.map(Self::Map)
            }
            (Self::Map(map), Op::RemoveField { name, kind }) => {
                map.remove(*kind, name).map(Self::Map)
            }
            (Self::Document(document), Op::Chunk(chunk)) => {
                document.commit(dot, chunk.clone()).map(Self::Document)
            }
            (
                Self::Custom(tag, custom),
                Op::Merge {
                    tag: wanted,
                    payload,
                },
            ) if tag == wanted => {
                let edit = custom.merge(dot, *tag, payload, merges)?;
                edit.map(|custom| Self::Custom(*tag, custom))
            }
            (_, _) => {
                let wanted = op.kind().unwrap_or(self.kind());
                return Err(ApplyOp::WrongKind {
                    found: self.kind(),
                    wanted,
                });
            }
        })
    }

    pub(crate) fn write(&self, writer: &mut StoreWriter) {
        for_store!(self, store => store.write(writer));
    }

    pub(crate) fn read(
        reader: &mut StoreReader<'_>,
        kind: Kind,
        depth: usize,
    ) -> Result<Self, DecodeObject> {
        reader.reader.depth(depth)?;
        let value = match kind {
            Kind::Flag => Self::Flag(Wire::read(reader, depth)?),
            Kind::Counter => Self::Counter(Wire::read(reader, depth)?),
            Kind::Register => Self::Register(Wire::read(reader, depth)?),
            Kind::Set => Self::Set(Wire::read(reader, depth)?),
            Kind::Map => Self::Map(Wire::read(reader, depth)?),
            Kind::Document => Self::Document(Wire::read(reader, depth)?),
            Kind::Custom(tag) => Self::Custom(tag, Wire::read(reader, depth)?),
        };
        Ok(value)
    }
}

impl DotStore for Value {
    fn join(&mut self, other: &Self, contexts: &Contexts<'_>) {
        match (self, other) {
            (Self::Flag(mine), Self::Flag(theirs)) => mine.join(theirs, contexts),
            (Self::Counter(mine), Self::Counter(theirs)) => mine.join(theirs, contexts),
            (Self::Register(mine), Self::Register(theirs)) => mine.join(theirs, contexts),
            (Self::Set(mine), Self::Set(theirs)) => mine.join(theirs, contexts),
            (Self::Map(mine), Self::Map(theirs)) => mine.join(theirs, contexts),
            (Self::Document(mine), Self::Document(theirs)) => mine.join(theirs, contexts),
            (Self::Custom(_, mine), Self::Custom(_, theirs)) => mine.join(theirs, contexts),
            (mine, theirs) => {
                debug_assert_eq!(mine.kind(), theirs.kind(), "values are stored by kind");
            }
        }
    }

    fn visit(&self, visitor: &mut dyn FnMut(Dot)) {
        for_store!(self, store => store.visit(visitor));
    }

    fn retain(&mut self, keep: &mut dyn FnMut(Dot) -> bool) {
        for_store!(self, store => store.retain(keep));
    }

    fn kept(&self, keep: &mut dyn FnMut(Dot) -> bool) -> Self {
        match self {
            Self::Flag(store) => Self::Flag(store.kept(keep)),
            Self::Counter(store) => Self::Counter(store.kept(keep)),
            Self::Register(store) => Self::Register(store.kept(keep)),
            Self::Set(store) => Self::Set(store.kept(keep)),
            Self::Map(store) => Self::Map(store.kept(keep)),
            Self::Document(store) => Self::Document(store.kept(keep)),
            Self::Custom(tag, store) => Self::Custom(*tag, store.kept(keep)),
        }
    }

    fn is_empty(&self) -> bool {
        for_store!(self, store => DotStore::is_empty(store))
    }
}
