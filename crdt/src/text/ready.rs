//! Changes that wait for others, and one change for each place in an actor's history.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use automerge::{ActorId, Change, ChangeHash};

/// The changes that were given to automerge, and those that wait for their dependencies.
///
/// They wait here and not in automerge's own queue, so that a bad change is found out when it is applied itself,
/// and not blamed on the good one that it waited for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ready {
    known: BTreeMap<(ActorId, u64), (Origin, ChangeHash)>,
    applied: BTreeSet<ChangeHash>,
    waiting: Vec<Change>,
    /// Own changes that are not among the known and applied yet: who only writes never asks for them.
    own: Vec<((ActorId, u64), ChangeHash)>,
}

/// Whether a change is by the store in whose dot it came. One that is wins over one that is not, so that
/// nobody can forge a change in another store's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// The actor is of the store that wrote the chunk.
    Own,
    /// The chunk has changes of others, such as those from automerge applications.
    Relayed,
}

/// Two different changes claim one place in an actor's history, and the one that was applied loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Equivocation;

impl Ready {
    pub(crate) fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn note_own(&mut self, change: &Change) {
        let place = (change.actor_id().clone(), change.seq());
        self.own.push((place, change.hash()));
    }

    fn settle_own(&mut self) {
        for (place, hash) in self.own.drain(..) {
            self.known.insert(place, (Origin::Own, hash));
            self.applied.insert(hash);
        }
    }

    /// Takes in changes. Of two for one place the store's own counts, and else the smaller hash: on every node
    /// the same, whichever came first.
    pub(crate) fn add(&mut self, changes: Vec<(Origin, Change)>) -> Result<(), Equivocation> {
        self.settle_own();
        for (origin, change) in changes {
            let (place, hash) = ((change.actor_id().clone(), change.seq()), change.hash());
            match self.known.get_mut(&place) {
                Some(known) if known.1 == hash => {
                    known.0 = known.0.min(origin);
                    continue;
                }
                Some(known) if *known < (origin, hash) => continue,
                Some(known) if self.applied.contains(&known.1) => return Err(Equivocation),
                Some(known) => {
                    let loser = known.1;
                    self.waiting.retain(|waiting| waiting.hash() != loser);
                }
                None => {}
            }
            self.known.insert(place, (origin, hash));
            self.waiting.push(change);
        }
        Ok(())
    }

    /// The changes whose dependencies are all applied, in an order in which they can be; they count as applied.
    pub(crate) fn take(&mut self) -> Vec<Change> {
        self.settle_own();
        let mut ready = Vec::new();
        let mut lacks: BTreeMap<ChangeHash, Vec<usize>> = BTreeMap::new();
        let mut missing: Vec<usize> = Vec::with_capacity(self.waiting.len());
        for (index, change) in self.waiting.iter().enumerate() {
            let open = change
                .deps()
                .iter()
                .filter(|dep| !self.applied.contains(dep));
            missing.push(
                open.map(|dep| lacks.entry(*dep).or_default().push(index))
                    .count(),
            );
            if missing.last() == Some(&0) {
                ready.push(index);
            }
        }
        let mut next = 0;
        while let Some(change) = ready.get(next).and_then(|index| self.waiting.get(*index)) {
            next += 1;
            self.applied.insert(change.hash());
            for index in lacks.remove(&change.hash()).unwrap_or_default() {
                if let Some(open) = missing.get_mut(index) {
                    *open -= 1;
                    if *open == 0 {
                        ready.push(index);
                    }
                }
            }
        }
        let mut waiting: Vec<Option<Change>> = self.waiting.drain(..).map(Some).collect();
        let taken = ready
            .iter()
            .filter_map(|index| waiting.get_mut(*index)?.take())
            .collect();
        self.waiting = waiting.into_iter().flatten().collect();
        taken
    }
}
