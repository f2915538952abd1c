//! Merges that are wrong on purpose, each by a mistake that people make: to learn from, and to show that the kit finds them.

#![expect(
    clippy::too_many_lines,
    clippy::indexing_slicing,
    reason = "lists of mistakes, one of which is to slice"
)]

mod bytes;
mod counters;
mod lists;
mod maps;
mod registers;
mod sets;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::{Broken, Effort, Kept, Law, Subject, hunt};

type Hunt = dyn Fn(&[Law], &Effort) -> Result<Kept, Broken>;

/// A merge that is wrong.
pub struct Mistake {
    /// What the mistake is called.
    pub name: &'static str,
    /// What was done, and what it does to the data.
    pub what: &'static str,
    /// What to do in its place.
    pub instead: &'static str,
    hunt: Box<Hunt>,
}

impl Mistake {
    fn new<S: Subject + 'static>(
        name: &'static str,
        what: &'static str,
        instead: &'static str,
        subject: S,
    ) -> Self {
        let hunt = Box::new(move |laws: &[Law], effort: &Effort| hunt(&subject, laws, effort));
        Self {
            name,
            what,
            instead,
            hunt,
        }
    }

    /// Looks for a history in which the mistake breaks one of the laws.
    ///
    /// # Errors
    /// [`Broken`], which is what is wanted here.
    pub fn hunt(&self, laws: &[Law], effort: &Effort) -> Result<Kept, Broken> {
        (self.hunt)(laws, effort)
    }
}

impl fmt::Debug for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mistake")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// All of them.
#[must_use]
pub fn catalogue() -> Vec<Mistake> {
    let all = [
        registers::mistakes(),
        counters::mistakes(),
        sets::mistakes(),
        maps::mistakes(),
        lists::mistakes(),
        bytes::mistakes(),
    ];
    all.into_iter().flatten().collect()
}
