//! What is held here, as the sums that comparisons are made of.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use meshwork_dht::{Partition, Position};
use meshwork_membership::Time;

use crate::engine::{Replication, Timer};
use crate::reconcile::{ShortId, Sketch};
use crate::store::{Slot, scan_slots};
use crate::{ReadStore, Space, records};

/// One sketch for each partition that holds anything, kept up to date on every merge.
///
/// After a start it is built from the store page by page, while the node serves: a merge at a position that has not been
/// reached yet is left for the page that will reach it.
#[derive(Debug)]
pub(crate) struct Index {
    key: [u8; 32],
    sketches: BTreeMap<Partition, Sketch>,
    build: Build,
    touched: BTreeMap<Partition, Time>,
    len: usize,
}

/// How far the index has been built.
#[derive(Debug)]
enum Build {
    /// Positions up to `reached` are in; `newest` is the object whose records are just being read.
    Reached {
        key: Option<Vec<u8>>,
        reached: Option<Position>,
        newest: Newest,
    },
    /// Everything is in.
    Done,
}

/// Records taken in at one go.
const PAGE: usize = 512;

impl Index {
    /// `key` is known to the mesh alone, so that an outsider cannot make ids collide.
    pub(crate) const fn new(key: [u8; 32]) -> Self {
        let build = Build::Reached {
            key: None,
            reached: None,
            newest: Newest::NONE,
        };
        Self {
            key,
            sketches: BTreeMap::new(),
            build,
            touched: BTreeMap::new(),
            len: 0,
        }
    }

    /// The short id of a version of the object at `position`.
    pub(crate) fn id(&self, position: &Position, digest: &[u8; 32]) -> ShortId {
        ShortId::of(&self.key, position, digest)
    }

    pub(crate) const fn is_built(&self) -> bool {
        matches!(self.build, Build::Done)
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn sketch(&self, partition: Partition) -> Option<&Sketch> {
        self.sketches.get(&partition)
    }

    /// Partitions with data, as far as it has been counted.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = Partition> + '_ {
        self.sketches.keys().copied()
    }

    /// The object at `position` went from one version to another; none means that it was or is not there.
    pub(crate) fn replace(
        &mut self,
        position: &Position,
        before: Option<&[u8; 32]>,
        after: Option<&[u8; 32]>,
    ) {
        if let Build::Reached { reached, .. } = &self.build
            && reached.as_ref().is_none_or(|reached| reached < position)
        {
            return;
        }
        self.count(position, before, after);
    }

    fn count(&mut self, position: &Position, before: Option<&[u8; 32]>, after: Option<&[u8; 32]>) {
        let partition = position.partition();
        let [before, after] = [before, after].map(|digest| digest.map(|d| self.id(position, d)));
        let sketch = self.sketches.entry(partition).or_default();
        if let Some(before) = before {
            sketch.remove(before);
            self.len = self.len.saturating_sub(1);
        }
        if let Some(after) = after {
            sketch.insert(after);
            self.len += 1;
        }
        if sketch.is_empty() {
            self.sketches.remove(&partition);
        }
    }

    /// Replaces all that is counted of a partition.
    fn set(&mut self, partition: Partition, versions: &[(Position, [u8; 32])]) {
        if let Some(sketch) = self.sketches.remove(&partition) {
            let counted = usize::try_from(sketch.root().len()).unwrap_or(usize::MAX);
            self.len = self.len.saturating_sub(counted);
        }
        for (position, digest) in versions {
            self.count(position, None, Some(digest));
        }
    }

    /// A copy that is not placed here was written or read for a write.
    pub(crate) fn touch(&mut self, partition: Partition, now: Time) {
        self.touched.insert(partition, now);
    }

    /// Partitions with data that nobody touched for `idle`, to be handed over where they are not placed here.
    pub(crate) fn resting(&mut self, now: Time, idle: Duration) -> Vec<Partition> {
        self.touched.retain(|_, at| *at + idle > now);
        self.sketches
            .keys()
            .filter(|partition| !self.touched.contains_key(partition))
            .copied()
            .collect()
    }
}

impl Replication {
    /// Takes in the next page of the store; damaged objects are counted and left to the comparison with the replicas.
    pub(crate) fn index_more(&mut self) {
        let Build::Reached { key, .. } = &self.index.build else {
            return;
        };
        match scan_slots(&*self.store, Space::Objects, &[], key.as_deref(), PAGE) {
            Ok(page) => {
                for (key, _) in page.iter().filter(|(_, value)| value.is_none()) {
                    self.found_damaged(key);
                }
                self.index_page(&page);
            }
            Err(error) => {
                self.store_broke(error);
                return;
            }
        }
        if self.index.is_built() {
            self.compare_where_due();
        } else {
            self.timers.insert((self.now, Timer::Index));
        }
    }

    /// Counts a partition anew, since some of it turned out to be damaged: what is lost must show up as missing.
    pub(crate) fn recount(&mut self, partition: Partition) {
        if !self.index.is_built() {
            return;
        }
        match self.versions_in(partition, None, usize::MAX) {
            Ok(versions) => self.index.set(partition, &versions),
            Err(error) => drop(self.store_broke(error)),
        }
    }

    /// Up to `versions_max` sound objects of a partition behind `after`, with their digests, in the order of their positions.
    pub(crate) fn versions_in(
        &self,
        partition: Partition,
        after: Option<Position>,
        versions_max: usize,
    ) -> Result<Vec<(Position, [u8; 32])>, ReadStore> {
        let from = after.filter(|after| *after >= partition.first());
        let to = Some(partition.last());
        let in_memory = self.objects.in_memory(from.or(before(partition)), to);
        let mut found: BTreeMap<Position, [u8; 32]> = in_memory.collect();
        let mut stored = BTreeMap::new();
        let first = partition.first();
        let prefix: Vec<u8> = first.as_bytes().iter().take(1).copied().collect();
        // The last record of `after` itself is passed over, and so is everything before the partition.
        let mut key = from.map_or_else(
            || first.as_bytes().iter().take(2).copied().collect(),
            |after| records::object_key(&after, u64::MAX),
        );
        let mut newest = Newest::NONE;
        let past = |key: &[u8]| records::parse_object_key(key).is_some_and(|(p, _)| Some(p) > to);
        let is_here = |(position, _): &(Position, _)| !self.objects.is_removed(position);
        let ended = loop {
            if stored.len() > versions_max {
                break false;
            }
            let page = scan_slots(&*self.store, Space::Objects, &prefix, Some(&key), PAGE)?;
            let Some((last, _)) = page.last() else {
                break true;
            };
            key = last.clone();
            for slot in page.iter().take_while(|(key, _)| !past(key)) {
                stored.extend(newest.next(slot).filter(is_here));
            }
            if past(&key) {
                break true;
            }
        };
        if ended {
            stored.extend(newest.take().filter(is_here));
        } else if let Some((last, _)) = stored.last_key_value() {
            // Behind it the store was not read.
            found.retain(|position, _| position <= last);
        }
        stored.append(&mut found);
        Ok(stored.into_iter().take(versions_max).collect())
    }

    /// Every position of a partition with a record here, sound or damaged.
    pub(crate) fn positions_in(
        &self,
        partition: Partition,
    ) -> Result<BTreeSet<Position>, ReadStore> {
        let in_memory = self
            .objects
            .in_memory(before(partition), Some(partition.last()));
        let mut positions: BTreeSet<Position> = in_memory.map(|(position, _)| position).collect();
        let first = partition.first();
        let prefix: Vec<u8> = first.as_bytes().iter().take(1).copied().collect();
        let mut key: Vec<u8> = first.as_bytes().iter().take(2).copied().collect();
        loop {
            let page = scan_slots(&*self.store, Space::Objects, &prefix, Some(&key), PAGE)?;
            let Some((last, _)) = page.last() else {
                return Ok(positions);
            };
            key = last.clone();
            for (record_key, _) in &page {
                match records::parse_object_key(record_key) {
                    Some((position, _)) if position > partition.last() => return Ok(positions),
                    Some((position, _)) if !self.objects.is_removed(&position) => {
                        positions.insert(position);
                    }
                    Some(_) | None => {}
                }
            }
        }
    }

    fn index_page(&mut self, page: &[Slot]) {
        let Build::Reached {
            key,
            reached,
            newest,
        } = &mut self.index.build
        else {
            return;
        };
        let from = *reached;
        let mut found: BTreeMap<Position, [u8; 32]> = BTreeMap::new();
        for slot in page {
            found.extend(newest.next(slot));
            *key = Some(slot.0.clone());
        }
        let ended = page.is_empty();
        if ended {
            found.extend(newest.take());
        }
        let to = if ended {
            None
        } else {
            found.last_key_value().map(|(position, _)| *position)
        };
        if !ended && to.is_none() {
            return;
        }
        // Memory is ahead of the store, which does not show what is not durable yet.
        for (position, digest) in self.objects.in_memory(from, to) {
            found.insert(position, digest);
        }
        for (position, digest) in &found {
            self.index.count(position, None, Some(digest));
        }
        match (ended, &mut self.index.build) {
            (true, build) => *build = Build::Done,
            (false, Build::Reached { reached, .. }) => *reached = to,
            (false, Build::Done) => {}
        }
    }
}

/// The greatest position before a partition; none before the first one.
fn before(partition: Partition) -> Option<Position> {
    let number = partition.number().checked_sub(1)?;
    Partition::new(number).map(Partition::last)
}

/// The object whose records are just being read: only its last record says which version it has.
#[derive(Debug)]
struct Newest {
    position: Option<Position>,
    /// None when a record of it is damaged: what is left of it is no version.
    digest: Option<[u8; 32]>,
}

impl Newest {
    const NONE: Self = Self {
        position: None,
        digest: None,
    };

    /// Takes in the next record. Returns the object before, when this is the first record of another one.
    fn next(&mut self, (key, value): &Slot) -> Option<(Position, [u8; 32])> {
        let (position, seq) = records::parse_object_key(key)?;
        let mark = value
            .as_ref()
            .and_then(|value| records::decode_mark(seq, value).ok());
        let same = self.position == Some(position);
        let done = if same { None } else { self.take() };
        // The first record must be the base: without it the object is damaged, too.
        let sound = if same {
            self.digest.is_some()
        } else {
            seq == 0
        };
        self.position = Some(position);
        self.digest = mark.filter(|_| sound).map(|mark| mark.digest);
        done
    }

    fn take(&mut self) -> Option<(Position, [u8; 32])> {
        Some((self.position.take()?, self.digest.take()?))
    }
}
