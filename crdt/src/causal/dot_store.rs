//! What all dot stores can do.

use core::cell::Cell;
use core::fmt::Debug;

use crate::{CausalContext, Dot};

/// A container whose content hangs on dots, and which joins by one rule:
/// a dot stays live if both sides have it live, or if the other side has never seen it.
///
/// Source: Almeida, Shoker, Baquero, "Delta state replicated data types" (2018), section 7.
/// Where we differ: an absent entry is joined by [`DotStore::retain`] instead of with an empty store,
/// so a store needs no default and one map can hold stores of several kinds.
pub trait DotStore: Clone + PartialEq + Debug {
    /// Takes over from `other`; `contexts` are what both sides have seen.
    ///
    /// Total, also for hostile states in which one dot means two things: the outcome is the same for every order of joins.
    fn join(&mut self, other: &Self, contexts: &Contexts<'_>);

    /// Shows every live dot, in no promised order.
    fn visit(&self, visitor: &mut dyn FnMut(Dot));

    /// Drops every live dot for which `keep` says no, and whatever is then empty. Asks once for each live dot.
    fn retain(&mut self, keep: &mut dyn FnMut(Dot) -> bool);

    /// A copy with only the live dots for which `keep` says yes. Asks once for each live dot; copies only what is kept.
    #[must_use]
    fn kept(&self, keep: &mut dyn FnMut(Dot) -> bool) -> Self;

    /// Whether no dot is live.
    fn is_empty(&self) -> bool;
}

/// What the two sides of a join know: which dots are there or are gone.
#[derive(Debug)]
pub struct Contexts<'a> {
    mine: [&'a CausalContext; 2],
    theirs: [&'a CausalContext; 2],
    /// Neither knows anything of the other: nothing can be removed, and only what they bring need be looked at.
    /// That makes a join with a small delta cheap, however large the state.
    pub(crate) disjoint: bool,
    /// How many dots at the most are live here, known there, and not yet met. When all are met, nothing else here can be removed:
    /// a dot is live in one place only. So a delta that replaces what was at its own place is as cheap as one that replaces nothing.
    unmet: Cell<u64>,
}

impl<'a> Contexts<'a> {
    /// For each side what it has seen, and what it knows to be removed without having seen it.
    #[must_use]
    #[inline]
    pub fn new(mine: [&'a CausalContext; 2], theirs: [&'a CausalContext; 2]) -> Self {
        let ([seen, removed], [their_seen, their_removed]) = (mine, theirs);
        // What is live was seen.
        let unmet = seen.common_len(their_seen);
        let unmet = unmet.saturating_add(seen.common_len(their_removed));
        Self {
            mine,
            theirs,
            disjoint: unmet == 0
                && removed.is_disjoint(their_seen)
                && removed.is_disjoint(their_removed),
            unmet: Cell::new(unmet),
        }
    }

    /// Whether a dot that is live only here stays live.
    #[must_use]
    #[inline]
    pub fn keeps_mine(&self, dot: Dot) -> bool {
        let [seen, removed] = self.theirs;
        self.disjoint || !(seen.contains(dot) || removed.contains(dot))
    }

    /// Whether a dot that is live only there becomes live here.
    #[must_use]
    #[inline]
    pub fn takes_theirs(&self, dot: Dot) -> bool {
        let [seen, removed] = self.mine;
        self.disjoint || !(seen.contains(dot) || removed.contains(dot))
    }

    /// [`Contexts::keeps_mine`], to be asked once for each dot that is live only here.
    #[inline]
    pub(crate) fn meet_mine(&self, dot: Dot) -> bool {
        let keeps = self.keeps_mine(dot);
        if !keeps {
            self.meet_both();
        }
        keeps
    }

    /// Notes that a dot is live on both sides; to be called once for each.
    #[inline]
    pub(crate) fn meet_both(&self) {
        self.unmet.set(self.unmet.get().saturating_sub(1));
    }

    /// Whether nothing that was not met can be removed.
    #[inline]
    pub(crate) fn all_met(&self) -> bool {
        self.unmet.get() == 0
    }
}
