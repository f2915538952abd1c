//! A dot store with what it has seen.

use alloc::vec::Vec;

use crate::{CausalContext, Contexts, Dot, DotStore, ReplicaId, Stamp};

/// A store and what is known of dots: a full state or a delta, there is no difference.
///
/// A dot is unknown, live, *removed* (something that replaced it has arrived, and it has not) or *dead* (both have). Joining takes
/// unknown to any, and live with removed to dead. The context is the live and the dead ones.
/// Invariant: every mutation, removals included, has its own dot in the context, and whatever a dot in
/// the context replaced is removed or dead. So equal versions (context and removed) mean equal states.
///
/// Where we differ from the paper (see [`DotStore`]): there, a delta's context has the new dot and the dots it replaced alike. Then
/// of three writes that replace each other, the third and the first without the second give the context of all three with the first
/// still live: contexts are equal and states are not, and nobody would notice the loss. So replaced dots are kept apart until they arrive.
///
/// # Examples
/// ```
/// use meshwork_crdt::{Causal, Dot, EwFlag, Hlc, ReplicaId, Stamp};
/// let stamp = |counter| Stamp {
///     dot: Dot::new(ReplicaId::from_bytes(*b"replicaA"), counter),
///     claim_after: Some(counter - 1),
///     hlc: Hlc::default(),
/// };
/// let mut mine = Causal::<EwFlag>::default();
/// mine.join(&mine.store().enable(stamp(1).dot).at(&stamp(1)));
/// let mut theirs = mine.clone();
/// theirs.join(&theirs.store().disable().at(&stamp(2)));
/// mine.join(&theirs);
/// assert!(!mine.store().is_enabled());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Causal<S> {
    store: S,
    context: CausalContext,
    removed: CausalContext,
}

impl<S: DotStore> Causal<S> {
    /// A state of these parts: live dots that the context lacks are added to it, and seen dots are taken out of the removed.
    #[must_use]
    pub fn new(store: S, mut context: CausalContext, mut removed: CausalContext) -> Self {
        store.visit(&mut |dot| context.insert(dot));
        removed.subtract(&context);
        Self {
            store,
            context,
            removed,
        }
    }

    /// What is live.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// What was seen: the dots that are live or dead.
    pub const fn context(&self) -> &CausalContext {
        &self.context
    }

    /// The dots that were replaced by what was seen, and have not been seen themselves; empty when nothing is on its way.
    pub const fn removed(&self) -> &CausalContext {
        &self.removed
    }

    /// Takes over all that `other` knows. Doing it twice, late or in another order makes no difference.
    ///
    /// Costs time in proportion to `other`, times the logarithm of this state, if `other` removes nothing or only what is at the places that
    /// it writes itself, as a delta does that overwrites; else in proportion to both, since dots do not say where they are live.
    pub fn join(&mut self, other: &Self) {
        let mine = [&self.context, &self.removed];
        let theirs = [&other.context, &other.removed];
        self.store.join(&other.store, &Contexts::new(mine, theirs));
        self.context.join(&other.context);
        if !self.context.is_superset(&other.removed) {
            self.removed.join(&other.removed);
        }
        if !self.removed.is_empty() {
            self.removed.subtract(&self.context);
        }
    }

    /// The part of this state that somebody who has `seen` lacks; `None` if nothing.
    #[must_use]
    pub fn delta_since(&self, seen: &CausalContext) -> Option<Self> {
        let behind = !seen.is_superset(&self.context) || !seen.is_superset(&self.removed);
        if !behind {
            return None;
        }
        let (store, left_out) = self.divide(&mut |dot| !seen.contains(dot));
        let mut context = self.context.clone();
        if left_out.len() as u64 == self.context.common_len(seen) {
            // All that was seen is live, so nothing need be sorted to tell the dead ones.
            context.subtract(seen);
        } else {
            context.subtract(&CausalContext::from_dots(left_out));
        }
        let removed = self.removed.clone();
        Some(Self {
            store,
            context,
            removed,
        })
    }

    /// The part with only those live dots for which `keep` says yes, for somebody who has the others.
    ///
    /// Live dots that are left out leave the context too, or they would be taken for dead.
    fn part(&self, keep: &mut dyn FnMut(Dot) -> bool) -> Self {
        let (store, left_out) = self.divide(keep);
        let mut context = self.context.clone();
        context.subtract(&CausalContext::from_dots(left_out));
        Self {
            store,
            context,
            removed: self.removed.clone(),
        }
    }

    /// What is live and for which `keep` says yes, and the live dots for which it says no.
    fn divide(&self, keep: &mut dyn FnMut(Dot) -> bool) -> (S, Vec<Dot>) {
        let mut left_out = Vec::new();
        let store = self.store.kept(&mut |dot| {
            let keeps = keep(dot);
            if !keeps {
                left_out.push(dot);
            }
            keeps
        });
        (store, left_out)
    }

    /// Cuts the state into parts that `fits` accepts, halving the live dots until it does; joined in any
    /// order they give the whole. A part with a single live dot is not cut further.
    ///
    /// All but the last have the dead dots among the removed, so whoever gets them in this order keeps the invariant all the way;
    /// only the last says that all was seen.
    #[must_use]
    pub fn split(&self, fits: &mut dyn FnMut(&Self) -> bool) -> Vec<Self> {
        let mut parts = Vec::new();
        let mut rest = alloc::vec![self.clone()];
        while let Some(part) = rest.pop() {
            let dots = part.live();
            match dots.get(dots.len() / 2) {
                Some(&middle) if dots.len() > 1 && !fits(&part) => {
                    rest.push(part.part(&mut |dot| dot >= middle));
                    rest.push(part.part(&mut |dot| dot < middle));
                }
                Some(_) | None => parts.push(part),
            }
        }
        if let Some((_, firsts)) = parts.split_last_mut() {
            firsts.iter_mut().for_each(Self::hold_back);
        }
        parts
    }

    /// Folds a retired replica away: forgets its dead dots, where that leaves the context with fewer runs. All of a replica of which
    /// nothing is live any more is forgotten.
    ///
    /// Only for when all of these hold, which whoever counts acknowledgements must know: the replica writes no more; every copy has
    /// seen all that it wrote and all that replaced it; and every copy folds. A copy that had not, or a delta still on its way, would
    /// bring back what was dead. Copies that have folded and copies that have not yet join to what is right, with unequal contexts.
    pub fn fold(&mut self, retired: ReplicaId) {
        let mut seen = CausalContext::new();
        let runs = self.context.runs().filter(|run| run.0 == retired);
        runs.for_each(|(replica, run)| seen.insert_run(replica, run));
        let mut live = Vec::new();
        self.store.visit(&mut |dot| {
            if dot.replica == retired {
                live.push(dot);
            }
        });
        let live = CausalContext::from_dots(live);
        if live.runs_len() < seen.runs_len() {
            self.context.subtract(&seen);
            self.context.join(&live);
        }
    }

    /// Makes the dead dots removed ones.
    fn hold_back(&mut self) {
        let live = CausalContext::from_dots(self.live());
        let mut dead = core::mem::replace(&mut self.context, live);
        dead.subtract(&self.context);
        self.removed.join(&dead);
    }

    /// The live dots, in order.
    fn live(&self) -> Vec<Dot> {
        let mut dots = Vec::new();
        self.store.visit(&mut |dot| dots.push(dot));
        dots.sort_unstable();
        dots
    }
}

/// What a mutation does: the new live part, and the live dots that it replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit<S> {
    /// The new live part; empty for a removal.
    pub store: S,
    /// The dots it saw live and replaces.
    pub replaces: CausalContext,
}

impl<S: DotStore> Edit<S> {
    /// An edit that replaces everything that is live in `seen`.
    pub(crate) fn over(store: S, seen: &impl DotStore) -> Self {
        // Most writes replace one.
        let (mut one, mut more) = (None, Vec::new());
        seen.visit(&mut |dot| match one {
            None => one = Some(dot),
            Some(_) => more.push(dot),
        });
        let mut replaces = CausalContext::from_dots(more);
        one.into_iter().for_each(|dot| replaces.insert(dot));
        Self { store, replaces }
    }

    /// An edit that replaces nothing.
    pub(crate) const fn nothing(store: S) -> Self {
        let replaces = CausalContext::new();
        Self { store, replaces }
    }

    pub(crate) fn map<T>(self, wrap: impl FnOnce(S) -> T) -> Edit<T> {
        Edit {
            store: wrap(self.store),
            replaces: self.replaces,
        }
    }

    /// The delta of this edit: what to join into the state, here and everywhere.
    #[must_use]
    pub fn at(self, stamp: &Stamp) -> Causal<S> {
        let last = stamp.dot.counter;
        let first = stamp
            .claim_after
            .map_or(last, |seen| seen.saturating_add(1));
        let mut context = CausalContext::new();
        // A claim from beyond the dot, which is a mistake, claims nothing but the dot.
        context.insert_run(stamp.dot.replica, first.min(last)..=last);
        Causal::new(self.store, context, self.replaces)
    }
}
