//! A value of any kind.

use alloc::vec::Vec;

use crate::wire::{StoreReader, StoreWriter, Wire};
use crate::{
    ApplyOp, AwSet, BoundedCounter, Contexts, Custom, DecodeObject, Document, Dot, DotStore,
    DwFlag, Edit, EwFlag, Fenced, GCounter, GSet, Hlc, Kind, Max, Merges, Min, MvRegister, Op,
    Opaque, OrMap, PnCounter, RwSet, Sequence, Shape, Stamp,
};

/// Builds the enum of values and what is the same for all of them from one list of kinds.
macro_rules! values {
    ($($kind:ident($of:ty), $what:literal;)+) => {
        /// A value of any kind; stored under its [`Kind`], so two that meet are always of one kind.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Value {
            $(
                #[doc = concat!("A ", $what, ".")]
                $kind($of),
            )+
            /// A value of a kind of a later release, with its tag and shape.
            Unknown(u8, Shape, Opaque),
            /// A value of the application's own kind with this tag.
            Custom(u16, Custom),
        }

        impl Value {
            /// The empty value of a kind.
            #[must_use]
            pub fn new(kind: Kind) -> Self {
                match kind {
                    $(Kind::$kind => Self::$kind(Default::default()),)+
                    Kind::Unknown(tag, shape) => Self::Unknown(tag, shape, Opaque::new(shape)),
                    Kind::Custom(tag) => Self::Custom(tag, Custom::default()),
                }
            }

            /// What the value is.
            #[must_use]
            pub const fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)+
                    Self::Unknown(tag, shape, _) => Kind::Unknown(*tag, *shape),
                    Self::Custom(tag, _) => Kind::Custom(*tag),
                }
            }

            pub(crate) fn read(
                reader: &mut StoreReader<'_>,
                kind: Kind,
                depth: usize,
            ) -> Result<Self, DecodeObject> {
                reader.reader.depth(depth)?;
                Ok(match kind {
                    $(Kind::$kind => Self::$kind(Wire::read(reader, depth)?),)+
                    Kind::Unknown(tag, shape) => {
                        Self::Unknown(tag, shape, Opaque::read(reader, shape, depth)?)
                    }
                    Kind::Custom(tag) => Self::Custom(tag, Wire::read(reader, depth)?),
                })
            }

            pub(crate) fn write(&self, writer: &mut StoreWriter) {
                for_store!(self, store => store.write(writer));
            }
        }

        /// Does one thing for the store of whatever kind the value is.
        macro_rules! for_store {
            ($value:expr, $store:ident => $body:expr) => {
                match $value {
                    $(Value::$kind($store) => $body,)+
                    Value::Unknown(_, _, $store) => $body,
                    Value::Custom(_, $store) => $body,
                }
            };
        }
        use for_store;

        impl DotStore for Value {
            fn join(&mut self, other: &Self, contexts: &Contexts<'_>) {
                match (self, other) {
                    $((Self::$kind(mine), Self::$kind(theirs)) => mine.join(theirs, contexts),)+
                    (Self::Unknown(_, _, mine), Self::Unknown(_, _, theirs)) => {
                        mine.join(theirs, contexts);
                    }
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
                    $(Self::$kind(store) => Self::$kind(store.kept(keep)),)+
                    Self::Unknown(tag, shape, store) => {
                        Self::Unknown(*tag, *shape, store.kept(keep))
                    }
                    Self::Custom(tag, store) => Self::Custom(*tag, store.kept(keep)),
                }
            }

            fn is_empty(&self) -> bool {
                for_store!(self, store => DotStore::is_empty(store))
            }
        }
    };
}

values! {
    Flag(EwFlag), "flag";
    Counter(PnCounter), "counter";
    Register(MvRegister<Vec<u8>>), "register";
    Set(AwSet<Vec<u8>>), "set";
    Map(OrMap), "map";
    Document(Document), "document";
    DwFlag(DwFlag), "disable-wins flag";
    GCounter(GCounter), "grow-only counter";
    Max(Max), "greatest number";
    Min(Min), "least number";
    GSet(GSet<Vec<u8>>), "grow-only set";
    RwSet(RwSet<Vec<u8>>), "remove-wins set";
    Fenced(Fenced<Vec<u8>>), "fenced value";
    BoundedCounter(BoundedCounter), "bounded counter";
    Sequence(Sequence), "sequence";
}

impl Value {
    /// The greatest stamp inside.
    #[must_use]
    pub fn hlc_max(&self) -> Option<Hlc> {
        match self {
            Self::Register(register) => register.hlc_max(),
            Self::Map(map) => map.hlc_max(),
            Self::Sequence(sequence) => sequence.hlc_max(),
            Self::Flag(_) | Self::DwFlag(_) => None,
            Self::Counter(_) | Self::GCounter(_) | Self::BoundedCounter(_) => None,
            Self::Max(_) | Self::Min(_) | Self::Fenced(_) => None,
            Self::Set(_) | Self::GSet(_) | Self::RwSet(_) => None,
            Self::Document(_) | Self::Custom(..) | Self::Unknown(..) => None,
        }
    }

    /// What `op` does to this value; the value itself is unchanged.
    ///
    /// [`Stamp::claim_after`] may say more here than in a delta: that the value has seen all that its writer's replica wrote after that.
    ///
    /// # Errors
    /// The operation is for another kind, or the kind refuses it: see [`ApplyOp`]. [`Op::check`] must have passed.
    pub fn edit(&self, stamp: &Stamp, op: &Op, merges: &Merges) -> Result<Edit<Self>, ApplyOp> {
        let dot = stamp.dot;
        Ok(match (self, op) {
            (_, Op::Delete) => Edit::over(Self::new(self.kind()), self),
            (Self::Flag(flag), Op::Enable) => flag.enable(dot).map(Self::Flag),
            (Self::Flag(flag), Op::Disable) => flag.disable().map(Self::Flag),
            (Self::Counter(counter), Op::Add(amount)) => {
                counter.add(stamp, *amount).map(Self::Counter)
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
            (Self::Document(document), Op::Pack { chunk, replaces }) => document
                .pack(dot, chunk.clone(), replaces)
                .map(Self::Document),
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
            (_, _) => return self.edit_later_kind(stamp, op),
        })
    }

    /// The kinds that came after the first six.
    fn edit_later_kind(&self, stamp: &Stamp, op: &Op) -> Result<Edit<Self>, ApplyOp> {
        let dot = stamp.dot;
        Ok(match (self, op) {
            (Self::DwFlag(flag), Op::Switch(true)) => flag.enable(dot).map(Self::DwFlag),
            (Self::DwFlag(flag), Op::Switch(false)) => flag.disable(dot).map(Self::DwFlag),
            (Self::GCounter(counter), Op::Increase(amount)) => {
                counter.add(stamp, *amount).map(Self::GCounter)
            }
            (Self::Max(max), Op::Max(number)) => max.put(dot, *number).map(Self::Max),
            (Self::Min(min), Op::Min(number)) => min.put(dot, *number).map(Self::Min),
            (Self::GSet(set), Op::Gather(element)) => {
                set.insert(dot, element.clone()).map(Self::GSet)
            }
            (Self::RwSet(set), Op::Admit(element)) => {
                set.insert(dot, element.clone()).map(Self::RwSet)
            }
            (Self::RwSet(set), Op::Ban(element)) => {
                set.remove(dot, element.clone()).map(Self::RwSet)
            }
            (Self::Fenced(fenced), Op::PutFenced { token, value }) => {
                fenced.put(dot, *token, value.clone())?.map(Self::Fenced)
            }
            (Self::BoundedCounter(counter), Op::Deposit(amount)) => {
                counter.add(stamp, *amount).map(Self::BoundedCounter)
            }
            (Self::BoundedCounter(counter), Op::Withdraw(amount)) => {
                counter.take(stamp, *amount)?.map(Self::BoundedCounter)
            }
            (Self::BoundedCounter(counter), Op::GiveRights { to, amount }) => {
                counter.give(stamp, *to, *amount)?.map(Self::BoundedCounter)
            }
            (Self::Sequence(sequence), op) => {
                edit_sequence(sequence, stamp, op)?.map(Self::Sequence)
            }
            (_, _) => return Err(ApplyOp::wrong_kind(self.kind(), op)),
        })
    }
}

fn edit_sequence(sequence: &Sequence, stamp: &Stamp, op: &Op) -> Result<Edit<Sequence>, ApplyOp> {
    let by = (stamp.dot, stamp.hlc);
    Ok(match (op, ()) {
        (Op::InsertAfter { after, value }, ()) => sequence.insert(by, *after, value.clone())?,
        (Op::MoveAfter { element, after }, ()) => sequence.move_to(by, *element, *after)?,
        (Op::WriteElement { element, value }, ()) => sequence.put(by, *element, value.clone())?,
        (Op::RemoveElement(element), ()) => sequence.remove(*element),
        (op, ()) => return Err(ApplyOp::wrong_kind(Kind::Sequence, op)),
    })
}
