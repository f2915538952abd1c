//! How dot stores are written next to their context.

use alloc::vec::Vec;

use crate::wire::{DecodeObject, Limits, Reader, Writer};
use crate::{CausalContext, Dot, ReplicaId};

/// What has a place in an encoded store.
///
/// Written forms are canonical: a value has exactly one, and `read` refuses all others.
pub(crate) trait Wire: Sized {
    fn write(&self, writer: &mut StoreWriter);
    /// `depth` is how deep the value nests in maps, the root being 1.
    fn read(reader: &mut StoreReader<'_>, depth: usize) -> Result<Self, DecodeObject>;
}

/// Writes a store; dots refer to replicas by their place in the context.
#[derive(Debug)]
pub(crate) struct StoreWriter {
    pub(crate) writer: Writer,
    replicas: Vec<ReplicaId>,
}

impl StoreWriter {
    pub(crate) fn new(context: &CausalContext, removed: &CausalContext) -> Self {
        let mut writer = Writer::with_version();
        context.write(&mut writer);
        removed.write(&mut writer);
        Self {
            writer,
            replicas: context.replicas().collect(),
        }
    }

    pub(crate) fn dot(&mut self, dot: Dot) {
        let index = self.replicas.binary_search(&dot.replica);
        self.writer
            .length(index.expect("a live dot is in the context"));
        self.writer.varint(dot.counter);
    }
}

/// Reads a store after its context.
#[derive(Debug)]
pub(crate) struct StoreReader<'a> {
    pub(crate) reader: Reader<'a>,
    context: CausalContext,
    removed: CausalContext,
    replicas: Vec<ReplicaId>,
    dots: Vec<Dot>,
}

impl<'a> StoreReader<'a> {
    pub(crate) fn new(bytes: &'a [u8], limits: &'a Limits) -> Result<Self, DecodeObject> {
        let mut reader = Reader::with_version(bytes, limits)?;
        let context = CausalContext::read(&mut reader)?;
        let removed = CausalContext::read(&mut reader)?;
        if !removed.is_disjoint(&context) {
            return Err(DecodeObject::RemovedIsSeen);
        }
        let replicas = context.replicas().collect();
        Ok(Self {
            reader,
            context,
            removed,
            replicas,
            dots: Vec::new(),
        })
    }

    /// A live dot, which must be in the context.
    pub(crate) fn dot(&mut self) -> Result<Dot, DecodeObject> {
        let index = self.reader.varint()?;
        let replica = usize::try_from(index)
            .ok()
            .and_then(|index| self.replicas.get(index));
        let replica = *replica.ok_or(DecodeObject::BadReplicaIndex(index))?;
        let dot = Dot::new(replica, self.reader.varint()?);
        if !self.context.contains(dot) {
            return Err(DecodeObject::DotOutsideContext(dot));
        }
        self.dots.push(dot);
        Ok(dot)
    }

    /// The entries of a store that is not the root: there is at least one, or the store would not have been written.
    pub(crate) fn some_entries<K: Ord, V>(
        &mut self,
        read: impl FnMut(&mut Self) -> Result<(K, V), DecodeObject>,
    ) -> Result<Vec<(K, V)>, DecodeObject> {
        let entries = self.entries(read)?;
        if entries.is_empty() {
            Err(DecodeObject::EmptyStore)
        } else {
            Ok(entries)
        }
    }

    /// The entries of a store, keys strictly rising.
    pub(crate) fn entries<K: Ord, V>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<(K, V), DecodeObject>,
    ) -> Result<Vec<(K, V)>, DecodeObject> {
        let mut entries: Vec<(K, V)> = Vec::new();
        for _ in 0..self.reader.entries_len()? {
            let entry = read(self)?;
            if entries.last().is_some_and(|last| last.0 >= entry.0) {
                return Err(DecodeObject::Unsorted);
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Ends the reading; a dot may be live in one place only, or removal would be ambiguous.
    pub(crate) fn finish(mut self) -> Result<(CausalContext, CausalContext), DecodeObject> {
        self.reader.finish()?;
        self.dots.sort_unstable();
        let twice = self.dots.windows(2).find_map(|pair| match pair {
            [a, b] if a == b => Some(*a),
            _ => None,
        });
        twice.map_or(Ok((self.context, self.removed)), |dot| {
            Err(DecodeObject::DotRepeated(dot))
        })
    }
}

impl Wire for Vec<u8> {
    fn write(&self, writer: &mut StoreWriter) {
        writer.writer.string(self);
    }

    fn read(reader: &mut StoreReader<'_>, _: usize) -> Result<Self, DecodeObject> {
        reader.reader.payload().map(<[u8]>::to_vec)
    }
}

impl Wire for i64 {
    fn write(&self, writer: &mut StoreWriter) {
        writer.writer.signed(*self);
    }

    fn read(reader: &mut StoreReader<'_>, _: usize) -> Result<Self, DecodeObject> {
        reader.reader.signed()
    }
}
