//! A dot store with what it has seen.

use alloc::vec::Vec;

use crate::{CausalContext, Contexts, Dot, DotStore, Stamp};

/// A store and its context: a full state or a delta, there is no difference.
///
/// Invariants: every live dot is in the context; every mutation, removals included, has its own dot
/// in the context, and whoever has seen a dot has seen what it replaced. So equal contexts mean equal states.
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
}

impl<S: DotStore> Causal<S> {
    /// A state of these parts; live dots that the context lacks are added to it.
    #[must_use]
    pub fn new(store: S, mut context: CausalContext) -> Self {
        store.visit(&mut |dot| context.insert(dot));
        Self { store, context }
    }

    /// What is live.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// What was seen.
    pub const fn context(&self) -> &CausalContext {
        &self.context
    }

    /// Takes over all that `other` knows. Doing it twice, late or in another order makes no difference.
    ///
    /// Costs time in proportion to `other` if both have seen nothing in common (a delta that removes nothing), else to both.
    pub fn join(&mut self, other: &Self) {
        self.store
            .join(&other.store, &Contexts::new(&self.context, &other.context));
        self.context.join(&other.context);
    }

    /// The part of this state that somebody who has `seen` lacks; `None` if nothing.
    #[must_use]
    pub fn missing_from(&self, seen: &CausalContext) -> Option<Self> {
        let behind = !seen.is_superset(&self.context);
        behind.then(|| self.part(&mut |dot| !seen.contains(dot)))
    }

    /// The part with only those live dots for which `keep` says yes: a valid delta.
    ///
    /// Live dots that are left out leave the context too, or they would be taken for removed.
    #[must_use]
    pub fn part(&self, keep: &mut dyn FnMut(Dot) -> bool) -> Self {
        let mut left_out = Vec::new();
        let store = self.store.kept(&mut |dot| {
            let keeps = keep(dot);
            if !keeps {
                left_out.push(dot);
            }
            keeps
        });
        let mut context = self.context.clone();
        context.subtract(&CausalContext::from_dots(left_out));
        Self { store, context }
    }

    /// Cuts the state into parts that `fits` accepts, halving the live dots until it does; joined in any
    /// order they give the whole. A part with a single live dot is not cut further.
    ///
    /// Every part has the context of the removed, so each alone keeps the invariants.
    #[must_use]
    pub fn split(&self, fits: &mut dyn FnMut(&Self) -> bool) -> Vec<Self> {
        let mut parts = Vec::new();
        let mut rest = alloc::vec![self.clone()];
        while let Some(part) = rest.pop() {
            let mut dots = Vec::new();
            part.store.visit(&mut |dot| dots.push(dot));
            dots.sort_unstable();
            match dots.get(dots.len() / 2) {
                Some(&middle) if dots.len() > 1 && !fits(&part) => {
                    rest.push(part.part(&mut |dot| dot >= middle));
                    rest.push(part.part(&mut |dot| dot < middle));
                }
                Some(_) | None => parts.push(part),
            }
        }
        parts
    }
}

/// What a mutation does: the new live part, and the live dots that it replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit<S> {
    /// The new live part; empty for a removal.
    pub store: S,
    /// The dots it saw live and replaces.
    pub replaces: Vec<Dot>,
}

impl<S: DotStore> Edit<S> {
    /// An edit that replaces everything that is live in `seen`.
    pub(crate) fn over(store: S, seen: &impl DotStore) -> Self {
        let mut replaces = Vec::new();
        seen.visit(&mut |dot| replaces.push(dot));
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
        let mut context = CausalContext::from_dots(self.replaces);
        let first = stamp
            .claim_after
            .map_or(stamp.dot.counter, |last| last.saturating_add(1));
        context.insert_run(stamp.dot.replica, first..=stamp.dot.counter);
        context.insert(stamp.dot);
        Causal::new(self.store, context)
    }
}
