//! Records in memory, with the faults of disks on demand: for tests and the simulator.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meshwork_sync::{Record, Space};

use super::engine::{CommitGroup, Engine, ReadEngine};
use super::group::Group;

/// An engine without a disk that can play a bad one. The same seed and the same calls give the same records.
///
/// Reads see what was committed. [`power_cut`](Self::power_cut) goes back to what a disk would have kept.
///
/// ```
/// use meshwork::store::{CommitGroup, Engine, Fault, Group, Memory};
///
/// let engine = Memory::new(1);
/// engine.inject(Fault::Full);
/// assert_eq!(engine.commit(&Group::default()), Err(CommitGroup::Full));
/// ```
#[derive(Debug)]
pub struct Memory {
    state: Mutex<State>,
}

/// A fault of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The next commit finds the disk full: nothing is written.
    Full,
    /// The flush of the next commit fails, after its bytes were handed to the system: the power cut decides about them.
    FailFlush,
    /// The next commit says yes but is not flushed: what a disk that lies does.
    LoseUnsynced,
    /// The next commit takes this long.
    Slow(Duration),
}

/// What a power cut leaves of a group that was not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survives {
    /// All of it or nothing, as the seed decides: what a sound engine leaves.
    Whole,
    /// A part that the seed decides: what an engine without atomic batches leaves. For proving that a checker sees it.
    Torn,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    /// What reads see.
    records: Records,
    /// What a power cut leaves for sure.
    durable: Records,
    unsynced: Vec<Group>,
    faults: VecDeque<Fault>,
    random: u64,
}

type Records = BTreeMap<(Space, Vec<u8>), Vec<u8>>;

impl Memory {
    /// An empty one. `seed` decides what survives power cuts.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            state: Mutex::new(State {
                random: seed,
                ..State::default()
            }),
        }
    }

    /// Queues a fault: each commit meets at most one that decides its end, first in, first out, and all `Slow` ones before it.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.push_back(fault);
    }

    /// Flips bit `bit` (counted round) of the stored value under `key`; says whether there is one.
    pub fn flip_bit(&self, space: Space, key: &[u8], bit: usize) -> bool {
        let mut state = self.state();
        let State {
            records, durable, ..
        } = &mut *state;
        let place = (space, key.to_vec());
        for value in [records.get_mut(&place), durable.get_mut(&place)]
            .into_iter()
            .flatten()
        {
            let bits = (value.len() * 8).max(1);
            if let Some(byte) = value.get_mut(bit % bits / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
        state.records.contains_key(&place)
    }

    /// Takes the power away and gives it back: what was flushed is there, of the rest what the seed decides. Open again afterwards.
    pub fn power_cut(&self, survives: Survives) {
        let mut state = self.state();
        for group in std::mem::take(&mut state.unsynced) {
            let length = group.changes().len();
            let kept = match survives {
                Survives::Whole => state.draw(2) * length,
                Survives::Torn => state.draw(length + 1),
            };
            apply(&mut state.durable, &group, kept);
        }
        state.records = state.durable.clone();
        state.faults.clear();
        state.closed = false;
    }

    /// Another one that holds what a power cut now would leave for sure: an image of the disk.
    #[must_use]
    pub fn image(&self, seed: u64) -> Self {
        let durable = self.state().durable.clone();
        Self {
            state: Mutex::new(State {
                records: durable.clone(),
                durable,
                random: seed,
                ..State::default()
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for Memory {
    fn commit(&self, group: &Group) -> Result<(), CommitGroup> {
        while let Some(pause) = self.state().next_pause() {
            std::thread::sleep(pause);
        }
        let mut state = self.state();
        if state.closed {
            return Err(CommitGroup::Fatal {
                reason: "the store is closed".into(),
            });
        }
        match state.faults.pop_front() {
            Some(Fault::Full) => return Err(CommitGroup::Full),
            Some(Fault::FailFlush) => {
                state.unsynced.push(group.clone());
                return Err(CommitGroup::Fatal {
                    reason: "injected: the flush failed".into(),
                });
            }
            Some(Fault::LoseUnsynced) => state.unsynced.push(group.clone()),
            Some(Fault::Slow(_)) | None => state.sync(group),
        }
        apply(&mut state.records, group, usize::MAX);
        Ok(())
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, ReadEngine> {
        let state = self.state();
        if state.closed {
            return Err(ReadEngine::closed());
        }
        Ok(state.records.get(&(space, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        records_max: usize,
    ) -> Result<Vec<Record>, ReadEngine> {
        let state = self.state();
        if state.closed {
            return Err(ReadEngine::closed());
        }
        let start = (space, after.unwrap_or(prefix).max(prefix).to_vec());
        let records = state
            .records
            .range(start..)
            .take_while(|((found, key), _)| *found == space && key.starts_with(prefix))
            .filter(|((_, key), _)| after.is_none_or(|after| key.as_slice() > after))
            .take(records_max)
            .map(|((_, key), value)| (key.clone(), value.clone()));
        Ok(records.collect())
    }

    fn recover(&self) -> Result<(), String> {
        Ok(())
    }

    fn close(&self) -> Result<(), String> {
        self.state().closed = true;
        Ok(())
    }
}

impl State {
    fn next_pause(&mut self) -> Option<Duration> {
        let Some(Fault::Slow(pause)) = self.faults.front().copied() else {
            return None;
        };
        self.faults.pop_front();
        Some(pause)
    }

    /// A flush makes everything before it durable too.
    fn sync(&mut self, group: &Group) {
        for earlier in std::mem::take(&mut self.unsynced) {
            apply(&mut self.durable, &earlier, usize::MAX);
        }
        apply(&mut self.durable, group, usize::MAX);
    }

    /// A number below `bound`: one step of SplitMix64 (Steele, Lea, Flood 2014).
    fn draw(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(mixed % bound).unwrap_or(0)
    }
}

fn apply(records: &mut Records, group: &Group, changes_max: usize) {
    for (space, key, value) in group.changes().take(changes_max) {
        match value {
            Some(value) => records.insert((space, key.to_vec()), value.to_vec()),
            None => records.remove(&(space, key.to_vec())),
        };
    }
}
