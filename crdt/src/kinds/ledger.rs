//! What the replicas of a counter counted.

use alloc::vec::Vec;
use core::fmt::Debug;

use crate::kinds::bounded::Row;
use crate::kinds::leaf::{Leaf, wire_of_leaf};
use crate::kinds::shape_of_store;
use crate::wire::{StoreReader, StoreWriter, Wire};
use crate::{CausalContext, DecodeObject, Dot, DotFun, Edit, ReplicaId, Stamp};

/// An entry for each replica, with all that it counted. Counting replaces the entry by one with more in it.
///
/// Of three entries that replace each other, the first and the third may arrive without the second, which alone says that the first
/// is gone. So an entry says how far back it reaches: it stands for all of its replica from there on, and they do not count beside it.
///
/// A replica that has not its own earlier entry, or may have written since, starts anew with one that reaches no further back than itself,
/// and both count. It replaces, and stands for, those alone between which and itself it has seen all that its replica wrote: what it has not
/// seen may stand for the others, and two sums with the same one in both would count it twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ledger<V>(DotFun<Entry<V>>);

shape_of_store!(Ledger<V>, V: Clone, Ord, Debug);

/// Sums that add up.
pub(crate) trait Tally: Default {
    /// Stays at the ends of its range.
    fn add(&mut self, other: &Self);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry<V> {
    /// The counter of its dot less that of the first that it stands for.
    span: u64,
    tally: V,
}

impl<V> Ledger<V> {
    /// What counts, by replica; more than one of those that started anew.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ReplicaId, &V)> + '_ {
        standing(self.0.iter())
    }
}

impl<V: Tally> Ledger<V> {
    /// What the writer's replica counted with a change, in place of what it was.
    #[inline]
    pub(crate) fn change(&self, by: &Stamp, change: impl FnOnce(&mut V)) -> Edit<Self> {
        let dot = by.dot;
        let claimed = |dot: Dot| by.claim_after.is_some_and(|after| after <= dot.counter);
        let own = || {
            let own = self.0.replica(dot.replica);
            own.filter(|(dot, _)| claimed(*dot))
        };
        let (mut start, mut replaces) = (dot.counter, CausalContext::new());
        for (seen, entry) in own() {
            start = start.min(entry.start(seen));
            replaces.insert(seen);
        }
        let mut tally = V::default();
        standing(own()).for_each(|(_, seen)| tally.add(seen));
        change(&mut tally);
        let span = dot.counter.saturating_sub(start);
        let store = Self(DotFun::of(dot, Entry { span, tally }));
        Edit { store, replaces }
    }
}

impl<V> Default for Ledger<V> {
    fn default() -> Self {
        Self(DotFun::default())
    }
}

impl<V> Entry<V> {
    /// The counter of the first that it stands for. A hostile one reaches into its own replica's only.
    const fn start(&self, dot: Dot) -> u64 {
        dot.counter.saturating_sub(self.span)
    }
}

/// The entries that no later one of their replica stands for, the last first.
#[inline]
fn standing<'a, V: 'a>(
    entries: impl DoubleEndedIterator<Item = (Dot, &'a Entry<V>)>,
) -> impl Iterator<Item = (ReplicaId, &'a V)> {
    let mut later: Option<(ReplicaId, u64)> = None;
    entries.rev().filter_map(move |(dot, entry)| {
        let reached = later.filter(|(replica, _)| *replica == dot.replica);
        let start = reached.map_or(u64::MAX, |(_, start)| start);
        later = Some((dot.replica, start.min(entry.start(dot))));
        let counts = reached.is_none() || dot.counter < start;
        counts.then_some((dot.replica, &entry.tally))
    })
}

impl Tally for i64 {
    #[inline]
    fn add(&mut self, other: &Self) {
        *self = self.saturating_add(*other);
    }
}

impl Tally for u64 {
    #[inline]
    fn add(&mut self, other: &Self) {
        *self = self.saturating_add(*other);
    }
}

impl<V> Wire for Ledger<V>
where
    Entry<V>: Wire,
{
    fn write(&self, writer: &mut StoreWriter) {
        self.0.write(writer);
    }

    fn read(reader: &mut StoreReader<'_>, depth: usize) -> Result<Self, DecodeObject> {
        let entries = DotFun::<Entry<V>>::read(reader, depth)?;
        let from_zero = entries.iter().any(|(dot, entry)| entry.start(dot) == 0);
        match from_zero {
            true => Err(DecodeObject::BadValue),
            false => Ok(Self(entries)),
        }
    }
}

impl Wire for Entry<i64> {
    fn write(&self, writer: &mut StoreWriter) {
        writer.writer.varint(self.span);
        self.tally.write(writer);
    }

    fn read(reader: &mut StoreReader<'_>, depth: usize) -> Result<Self, DecodeObject> {
        let span = reader.reader.varint()?;
        let tally = i64::read(reader, depth)?;
        Ok(Self { span, tally })
    }
}

/// How many bytes the span takes, those bytes, and the tally.
impl<V: Leaf> Leaf for Entry<V> {
    fn to_bytes(&self) -> Vec<u8> {
        let span = self.span.to_be_bytes();
        let zeros = self.span.leading_zeros() / 8;
        let [length, ..] = (u64::BITS / 8 - zeros).to_le_bytes();
        let digits = span.iter().skip_while(|digit| **digit == 0);
        let mut bytes = alloc::vec![length];
        bytes.extend(digits);
        self.tally.with_bytes(|tally| bytes.extend(tally));
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first()?;
        let (digits, rest) = rest.split_at_checked(usize::from(*length))?;
        if digits.len() > size_of::<u64>() || digits.first() == Some(&0) {
            return None;
        }
        let span = digits
            .iter()
            .fold(0, |span, digit| span << 8 | u64::from(*digit));
        let tally = V::from_bytes(rest)?;
        Some(Self { span, tally })
    }
}

wire_of_leaf!(Entry<u64>, Entry<Row>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn entries_have_one_form_in_their_order(
            a: (u64, u64),
            b: (u64, u64),
            shifts in (0..64_u32, 0..64_u32),
            bytes in prop::collection::vec(0_u8..3, 0..12),
        ) {
            let entry = |(span, tally), shift| Entry { span: span >> shift, tally };
            let (a, b): (Entry<u64>, _) = (entry(a, shifts.0), entry(b, shifts.1));
            prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
            prop_assert_eq!(Entry::from_bytes(&a.to_bytes()), Some(a));
            if let Some(entry) = Entry::<u64>::from_bytes(&bytes) {
                prop_assert_eq!(entry.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn an_entry_that_hides_others_does_not_count_them_back() {
        let replica = ReplicaId::from_bytes([1; 8]);
        let entry = |counter, span, tally| (Dot::new(replica, counter), Entry { span, tally });
        let entries: [(Dot, Entry<u64>); 5] = [
            entry(1, 0, 1),
            entry(5, u64::MAX, 10),
            entry(6, 2, 100),
            entry(9, 2, 1_000),
            entry(u64::MAX, 0, 10_000),
        ];
        let counted: Vec<u64> = standing(entries.iter().map(|(dot, entry)| (*dot, entry)))
            .map(|(_, tally)| *tally)
            .collect();
        assert_eq!(counted, [10_000, 1_000, 100]);
    }
}
