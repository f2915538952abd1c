//! What is stored under a key of the mesh.

use alloc::vec::Vec;

use crate::wire::{StoreReader, StoreWriter};
use crate::{
    ApplyOp, AwSet, BoundedCounter, Causal, CausalContext, Custom, DecodeObject, Document, DotMap,
    DwFlag, Edit, EwFlag, Fenced, GCounter, GSet, Hlc, Kind, Limits, Max, Merges, Min, MvRegister,
    Op, OrMap, PnCounter, ReplicaId, RwSet, Sequence, Stamp, Value,
};

/// A value with what it has seen: a full state or a delta, there is no difference.
///
/// Concurrent creation under two kinds keeps both; the application sees both and may delete.
///
/// # Examples
/// ```
/// use meshwork_crdt::{Dot, Hlc, Merges, Object, Op, ReplicaId, Stamp};
/// let dot = Dot::new(ReplicaId::from_bytes(*b"replicaA"), 1);
/// let stamp = Stamp { dot, claim_after: None, hlc: Hlc::default() };
/// let mut mine = Object::new();
/// let delta = mine.apply(&stamp, &Op::Add(5), &Merges::default())?;
/// mine.join(&delta);
/// assert_eq!(mine.as_counter().map(|counter| counter.value()), Some(5));
/// assert!(mine.delta_since(delta.version()).is_none());
/// # Ok::<(), meshwork_crdt::ApplyOp>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object(Causal<DotMap<Kind, Value>>);

impl Object {
    /// The object that nobody ever wrote.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nobody ever wrote it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.version().is_empty() && self.0.removed().is_empty()
    }

    /// Whether it was written, and nothing is left of it.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.0.store().is_empty() && !self.is_empty()
    }

    /// What it has seen. Objects with equal versions are equal as soon as nothing is on its way ([`Object::removed`] is empty);
    /// objects with equal digests are equal always.
    #[must_use]
    pub const fn version(&self) -> &CausalContext {
        self.0.context()
    }

    /// The dots that were replaced by what was seen, and have not been seen themselves (see [`Causal`]).
    #[must_use]
    pub const fn removed(&self) -> &CausalContext {
        self.0.removed()
    }

    /// blake3 of the encoded [`Object::version`] and [`Object::removed`]: equal for equal objects only.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.version().encode());
        hasher.update(&self.removed().encode());
        hasher.finalize().into()
    }

    /// What `op` does: the delta to join here and everywhere. The object itself is unchanged.
    ///
    /// # Errors
    /// See [`ApplyOp`]: a value of another kind is there (and none of the wanted), more than
    /// [`Limits::DEFAULT`] lets in, or the dot is used.
    pub fn apply(&self, stamp: &Stamp, op: &Op, merges: &Merges) -> Result<Self, ApplyOp> {
        op.check(&Limits::DEFAULT)?;
        self.check_stamp(stamp)?;
        let store = self.0.store();
        let Some(wanted) = op.kind() else {
            return Ok(Self(Edit::over(DotMap::default(), store).at(stamp)));
        };
        let seen = stamp.with_seen(self.version());
        let edit = match (store.get(&wanted), self.kinds().next()) {
            (Some(value), _) => value.edit(&seen, op, merges)?,
            (None, None) => Value::new(wanted).edit(&seen, op, merges)?,
            (None, Some(found)) => return Err(ApplyOp::WrongKind { found, wanted }),
        };
        Ok(Self(edit.map(|value| DotMap::of(wanted, value)).at(stamp)))
    }

    /// Takes over all that `other` knows; doing it twice, late or in another order makes no difference.
    pub fn join(&mut self, other: &Self) {
        self.0.join(&other.0);
    }

    /// The part that somebody who has `seen` lacks; `None` if nothing.
    #[must_use]
    pub fn delta_since(&self, seen: &CausalContext) -> Option<Self> {
        self.0.delta_since(seen).map(Self)
    }

    /// Forgets what is dead of a replica that writes no more: see [`Causal::fold`] for when that may be done.
    pub fn fold(&mut self, retired: ReplicaId) {
        self.0.fold(retired);
    }

    /// Parts of at most about `bytes_max` encoded bytes each; joined in any order they give the whole.
    ///
    /// A single live dot with its content is never cut. When the context alone takes more than half of `bytes_max`,
    /// parts may be up to that much larger: smaller ones would only repeat it more often.
    #[must_use]
    pub fn split(&self, bytes_max: usize) -> Vec<Self> {
        let parts = self.0.split(&mut |part| {
            let context_bytes = part.context().encode().len() + part.removed().encode().len();
            let store_bytes = encode(part).len().saturating_sub(context_bytes);
            store_bytes <= bytes_max.saturating_sub(context_bytes).max(bytes_max / 2)
        });
        parts.into_iter().map(Self).collect()
    }

    /// The kinds of which something is there; more than one after concurrent creation.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + '_ {
        self.0.store().iter().map(|(kind, _)| *kind)
    }

    /// The values that are there, at most one of each kind.
    pub fn values(&self) -> impl Iterator<Item = &Value> + '_ {
        self.0.store().iter().map(|(_, value)| value)
    }

    /// The value of a kind, if it is there.
    #[must_use]
    pub fn value(&self, kind: Kind) -> Option<&Value> {
        self.0.store().get(&kind)
    }

    /// The greatest stamp inside, so that a node can refuse stamps too far ahead.
    #[must_use]
    pub fn hlc_max(&self) -> Option<Hlc> {
        self.values().filter_map(Value::hlc_max).max()
    }

    /// The canonical encoding: format version, context, removed dots, values.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(&self.0)
    }

    /// Reads what [`Object::encode`] wrote; for bytes from a peer with [`Limits::DEFAULT`] or less.
    ///
    /// # Errors
    /// The bytes are not a canonical encoding or exceed `limits`; whoever sent them is at fault.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, DecodeObject> {
        let mut reader = StoreReader::new(bytes, limits)?;
        let values = reader.entries(|reader| {
            let kind = Kind::read(&mut reader.reader)?;
            Ok((kind, Value::read(reader, kind, 1)?))
        })?;
        let (context, removed) = reader.finish()?;
        Ok(Self(Causal::new(
            DotMap::from_entries(values),
            context,
            removed,
        )))
    }

    fn check_stamp(&self, stamp: &Stamp) -> Result<(), ApplyOp> {
        let dot = stamp.dot;
        let after = stamp.claim_after.unwrap_or(dot.counter.saturating_sub(1));
        if dot.counter == 0 || after >= dot.counter {
            return Err(ApplyOp::BadStamp(dot));
        }
        match self
            .version()
            .overlaps(dot.replica, &(after + 1..=dot.counter))
        {
            true => Err(ApplyOp::DotUsed(dot)),
            false => Ok(()),
        }
    }
}

/// A getter for the value of one kind.
macro_rules! as_kind {
    ($($name:ident, $kind:ident, $of:ty, $what:literal;)+) => {
        impl Object {
            $(
                #[doc = concat!("The ", $what, ", if there is one.")]
                #[must_use]
                pub fn $name(&self) -> Option<&$of> {
                    match self.value(Kind::$kind) {
                        Some(Value::$kind(value)) => Some(value),
                        Some(_) | None => None,
                    }
                }
            )+
        }
    };
}

as_kind! {
    as_flag, Flag, EwFlag, "flag";
    as_counter, Counter, PnCounter, "counter";
    as_register, Register, MvRegister<Vec<u8>>, "register";
    as_set, Set, AwSet<Vec<u8>>, "set";
    as_map, Map, OrMap, "map";
    as_document, Document, Document, "document";
    as_dw_flag, DwFlag, DwFlag, "disable-wins flag";
    as_g_counter, GCounter, GCounter, "grow-only counter";
    as_max, Max, Max, "greatest number";
    as_min, Min, Min, "least number";
    as_g_set, GSet, GSet<Vec<u8>>, "grow-only set";
    as_rw_set, RwSet, RwSet<Vec<u8>>, "remove-wins set";
    as_fenced, Fenced, Fenced<Vec<u8>>, "fenced value";
    as_bounded_counter, BoundedCounter, BoundedCounter, "bounded counter";
    as_sequence, Sequence, Sequence, "sequence";
}

impl Object {
    /// The value of the application's own kind `tag`, if there is one.
    #[must_use]
    pub fn custom(&self, tag: u16) -> Option<&Custom> {
        match self.value(Kind::Custom(tag)) {
            Some(Value::Custom(_, value)) => Some(value),
            Some(_) | None => None,
        }
    }
}

fn encode(state: &Causal<DotMap<Kind, Value>>) -> Vec<u8> {
    let mut writer = StoreWriter::new(state.context(), state.removed());
    writer.writer.length(state.store().len());
    for (kind, value) in state.store().iter() {
        kind.write(&mut writer.writer);
        value.write(&mut writer);
    }
    writer.writer.into_bytes()
}
