//! What a state has seen.

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use crate::causal::few::Few;
use crate::causal::runs::Runs;
use crate::wire::{Reader, Writer};
use crate::{DecodeObject, Dot, Limits, ReplicaId};

/// The set of dots that a state has seen, live or removed, as runs of counters for every replica.
///
/// The version of an object: two states with equal contexts are equal. All operations cost time and
/// memory in proportion to runs, never to dots; a run of 2^63 dots costs 16 bytes.
///
/// Source: Almeida, Shoker, Baquero, "Delta state replicated data types" (2018), section 7.2.
/// Where we differ: instead of a version vector plus a cloud of dots we keep runs, since parts of
/// states ([`crate::Causal::split`]) have holes in the middle, and a set of runs has one form only.
///
/// # Examples
/// ```
/// use meshwork_crdt::{CausalContext, Causality, Dot, ReplicaId};
/// let a = ReplicaId::from_bytes(*b"replicaA");
/// let mut context = CausalContext::new();
/// context.insert_run(a, 1..=9);
/// context.insert(Dot::new(a, 10));
/// assert_eq!(context.runs_len(), 1);
/// assert_eq!(context.compare(&CausalContext::new()), Causality::After);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CausalContext(Few<ReplicaId, Runs>);

/// How one version stands to another, in the sense of vector clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Causality {
    /// Both have seen the same.
    Equal,
    /// The first has seen less: the second knows all of it and more.
    Before,
    /// The first has seen more.
    After,
    /// Each has seen something that the other has not.
    Concurrent,
}

impl CausalContext {
    /// The context that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(Few::new())
    }

    /// The context of these dots, in any order; `O(n log n)`.
    pub fn from_dots(dots: impl IntoIterator<Item = Dot>) -> Self {
        let mut dots: Vec<Dot> = dots.into_iter().collect();
        if dots.len() > 1 {
            dots.sort_unstable();
        }
        let mut context = Self::new();
        let follows =
            |a: &Dot, b: &Dot| a.replica == b.replica && b.counter <= a.counter.saturating_add(1);
        for run in dots.chunk_by(follows) {
            if let (Some(first), Some(last)) = (run.first(), run.last()) {
                context.insert_run(first.replica, first.counter..=last.counter);
            }
        }
        context
    }

    /// Whether nothing was seen.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `dot` was seen.
    #[must_use]
    #[inline]
    pub fn contains(&self, dot: Dot) -> bool {
        self.0
            .get(&dot.replica)
            .is_some_and(|runs| runs.contains(dot.counter))
    }

    /// The whole run of seen dots that `dot` is in.
    pub(crate) fn run_of(&self, dot: Dot) -> Option<RangeInclusive<u64>> {
        self.0.get(&dot.replica)?.run_of(dot.counter)
    }

    /// Whether any counter of the run was seen.
    #[must_use]
    pub fn overlaps(&self, replica: ReplicaId, run: &RangeInclusive<u64>) -> bool {
        self.0
            .get(&replica)
            .is_some_and(|runs| runs.overlaps(*run.start(), *run.end()))
    }

    /// Adds one dot; counter 0 is no dot and adds nothing.
    #[inline]
    pub fn insert(&mut self, dot: Dot) {
        self.insert_run(dot.replica, dot.counter..=dot.counter);
    }

    /// Adds a run of dots of one replica. An empty run adds nothing, and a run from 0 starts at 1.
    #[inline]
    pub fn insert_run(&mut self, replica: ReplicaId, run: RangeInclusive<u64>) {
        let first = (*run.start()).max(1);
        if first <= *run.end() {
            match self.0.get_mut(&replica) {
                Some(runs) => runs.insert(first, *run.end()),
                None => self.0.insert(replica, Runs::one(first, *run.end())),
            }
        }
    }

    /// Adds all that `other` has seen.
    #[inline]
    pub fn join(&mut self, other: &Self) {
        for (replica, theirs) in other.0.iter() {
            match self.0.get_mut(replica) {
                Some(runs) => runs.join(theirs),
                None => self.0.insert(*replica, theirs.clone()),
            }
        }
    }

    /// Takes out all dots of `other`.
    #[inline]
    pub fn subtract(&mut self, other: &Self) {
        for (replica, holes) in other.0.iter() {
            if let Some(runs) = self.0.get_mut(replica) {
                runs.subtract(holes);
                if runs.is_empty() {
                    self.0.remove(replica);
                }
            }
        }
    }

    /// Whether all that `other` has seen was seen here too.
    #[must_use]
    #[inline]
    pub fn is_superset(&self, other: &Self) -> bool {
        for (replica, theirs) in other.0.iter() {
            match self.0.get(replica) {
                Some(runs) if runs.is_superset(theirs) => {}
                Some(_) | None => return false,
            }
        }
        true
    }

    /// Whether no dot was seen by both.
    #[must_use]
    #[inline]
    pub fn is_disjoint(&self, other: &Self) -> bool {
        let (few, many) = if self.0.len() < other.0.len() {
            (self, other)
        } else {
            (other, self)
        };
        few.0.iter().all(|(replica, runs)| {
            many.0
                .get(replica)
                .is_none_or(|theirs| runs.is_disjoint(theirs))
        })
    }

    /// How many dots were seen by both; stays at `u64::MAX` when it would pass it.
    #[inline]
    pub(crate) fn common_len(&self, other: &Self) -> u64 {
        let (few, many) = if self.0.len() < other.0.len() {
            (self, other)
        } else {
            (other, self)
        };
        let mut all = 0_u64;
        for (replica, runs) in few.0.iter() {
            if let Some(theirs) = many.0.get(replica) {
                all = all.saturating_add(runs.common_len(theirs));
            }
        }
        all
    }

    /// How this version stands to `other`.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Causality {
        match (self.is_superset(other), other.is_superset(self)) {
            (true, true) => Causality::Equal,
            (true, false) => Causality::After,
            (false, true) => Causality::Before,
            (false, false) => Causality::Concurrent,
        }
    }

    /// The greatest counter seen of a replica; 0 if none.
    #[must_use]
    pub fn max_of(&self, replica: ReplicaId) -> u64 {
        self.0.get(&replica).map_or(0, Runs::max)
    }

    /// The replicas of which anything was seen, in order.
    pub fn replicas(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.0.iter().map(|(replica, _)| *replica)
    }

    /// All runs, by replica and then by counter.
    pub fn runs(&self) -> impl Iterator<Item = (ReplicaId, RangeInclusive<u64>)> + '_ {
        self.0
            .iter()
            .flat_map(|(replica, runs)| runs.iter().map(|run| (*replica, run)))
    }

    /// How many runs there are: what this context costs.
    #[must_use]
    pub fn runs_len(&self) -> usize {
        self.0.iter().map(|(_, runs)| runs.len()).sum()
    }

    /// blake3 of the canonical encoding; equal for equal contexts only.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        blake3::hash(&self.encode()).into()
    }

    /// The canonical encoding: a format version, then what [`CausalContext::decode`] reads.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_version();
        self.write(&mut writer);
        writer.into_bytes()
    }

    /// Reads what [`CausalContext::encode`] wrote.
    ///
    /// # Errors
    /// The bytes are not a canonical encoding or exceed `limits`; whoever sent them is at fault.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, DecodeObject> {
        let mut reader = Reader::with_version(bytes, limits)?;
        let context = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(context)
    }

    /// Replicas strictly ascending; for each its runs as (gap, length - 1), the gap counted so that 0 is the
    /// least that keeps runs apart: no two encodings mean the same.
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.length(self.0.len());
        for (replica, runs) in self.0.iter() {
            writer.bytes(&replica.to_bytes());
            writer.length(runs.len());
            let mut least = 1;
            for run in runs.iter() {
                writer.varint(run.start() - least);
                writer.varint(run.end() - run.start());
                least = run.end().saturating_add(2);
            }
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeObject> {
        let mut context = Vec::new();
        let mut previous = None;
        for _ in 0..reader.replicas_len()? {
            let replica = ReplicaId::from_bytes(reader.array()?);
            if previous.is_some_and(|previous| previous >= replica) {
                return Err(DecodeObject::Unsorted);
            }
            previous = Some(replica);
            context.push((replica, Self::read_runs(reader)?));
        }
        Ok(Self(context.into_iter().collect()))
    }

    fn read_runs(reader: &mut Reader<'_>) -> Result<Runs, DecodeObject> {
        let mut runs = Runs::default();
        let mut least = Some(1_u64);
        for _ in 0..reader.runs_len()? {
            let gap = reader.varint()?;
            let first = least.and_then(|least| least.checked_add(gap));
            let first = first.ok_or(DecodeObject::CounterOverflow)?;
            let last = first
                .checked_add(reader.varint()?)
                .ok_or(DecodeObject::CounterOverflow)?;
            runs.insert(first, last);
            least = last.checked_add(2);
        }
        if runs.is_empty() {
            Err(DecodeObject::EmptyStore)
        } else {
            Ok(runs)
        }
    }
}
