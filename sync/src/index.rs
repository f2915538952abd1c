//! What is held here, as the sums that comparisons are made of.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use meshwork_dht::{Partition, Position};
use meshwork_membership::Time;

use crate::engine::{Replication, Timer};
use crate::reconcile::{ShortId, Sketch};
use crate::{ReadStore, Record, Space, records};

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
        newest: Option<(Position, [u8; 32])>,
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
            newest: None,
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
            self.len -= 1;
        }
        if let Some(after) = after {
            sketch.insert(after);
            self.len += 1;
        }
        if sketch.is_empty() {
            self.sketches.remove(&partition);
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
    /// Takes in the next page of the store; damaged records are counted and left to the comparison with the replicas.
    pub(crate) fn index_more(&mut self) {
        let Build::Reached { key, .. } = &self.index.build else {
            return;
        };
        match self.store.scan(Space::Objects, &[], key.as_deref(), PAGE) {
            Ok(page) => self.index_page(&page),
            Err(error @ ReadStore::Damaged { .. }) => {
                if let (Build::Reached { key, .. }, ReadStore::Damaged { key: at, .. }) =
                    (&mut self.index.build, &error)
                {
                    *key = Some(at.clone());
                }
                self.store_broke(error);
            }
            Err(error @ ReadStore::Engine { .. }) => {
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

    /// Up to `versions_max` objects of a partition behind `after`, with their digests, in the order of their positions.
    pub(crate) fn versions_in(
        &mut self,
        partition: Partition,
        after: Option<Position>,
        versions_max: usize,
    ) -> Result<Vec<(Position, [u8; 32])>, ReadStore> {
        let from = after.filter(|after| *after >= partition.first());
        let mut found: BTreeMap<Position, [u8; 32]> = self
            .objects
            .in_memory(from, Some(partition.last()))
            .filter(|(position, _)| position.partition() == partition)
            .collect();
        let in_memory: BTreeSet<Position> = found.keys().copied().collect();
        let first = partition.first();
        let prefix: Vec<u8> = first.as_bytes().iter().take(1).copied().collect();
        // The last record of `after` itself is passed over, and so is everything before the partition.
        let mut key = from.map_or_else(
            || first.as_bytes().iter().take(2).copied().collect(),
            |after| records::object_key(&after, u64::MAX),
        );
        let (mut scanned, mut newest) = (0, None);
        'pages: loop {
            let page = match self.store.scan(Space::Objects, &prefix, Some(&key), PAGE) {
                Ok(page) => page,
                Err(ReadStore::Damaged { key: at, .. }) => {
                    key = at;
                    continue;
                }
                Err(error @ ReadStore::Engine { .. }) => return Err(error),
            };
            let Some((last, _)) = page.last() else { break };
            key = last.clone();
            for (record_key, bytes) in &page {
                let Some((position, seq)) = records::parse_object_key(record_key) else {
                    continue;
                };
                // A position is in only when its last record has been seen.
                scanned += usize::from(newest.replace(position) != Some(position));
                if position > partition.last() || scanned > versions_max {
                    break 'pages;
                }
                if let Ok(mark) = records::decode_mark(seq, bytes)
                    && !in_memory.contains(&position)
                {
                    found.insert(position, mark.digest);
                }
            }
        }
        Ok(found.into_iter().take(versions_max).collect())
    }

    fn index_page(&mut self, page: &[Record]) {
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
        for (record_key, bytes) in page {
            let parsed = records::parse_object_key(record_key);
            let mark = parsed.and_then(|(_, seq)| records::decode_mark(seq, bytes).ok());
            if let (Some((position, _)), Some(mark)) = (parsed, mark)
                && let Some((before, digest)) = newest.replace((position, mark.digest))
                && before != position
            {
                found.insert(before, digest);
            }
            *key = Some(record_key.clone());
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
