//! A flag.

use crate::kinds::{shape_of_store, wire_of_store};
use crate::{Dot, DotSet, Edit};

/// A flag where enabling wins over concurrent disabling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EwFlag(DotSet);

shape_of_store!(EwFlag);
wire_of_store!(EwFlag);

impl EwFlag {
    /// Whether the flag is on.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.0.iter().next().is_some()
    }

    /// Turns the flag on.
    #[must_use]
    pub fn enable(&self, dot: Dot) -> Edit<Self> {
        Edit::over(Self(DotSet::of(dot)), self)
    }

    /// Turns the flag off, as far as it was seen on.
    #[must_use]
    pub fn disable(&self) -> Edit<Self> {
        Edit::over(Self::default(), self)
    }
}
