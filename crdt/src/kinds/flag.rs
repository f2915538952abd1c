//! Flags.

use crate::kinds::{shape_of_store, wire_of_store};
use crate::{Dot, DotFun, DotSet, Edit};

/// A flag where enabling wins over concurrent disabling. Takes one dot while it is on, none while it is off.
///
/// Source: Shapiro, Preguiça, Baquero, Zawirski, "A comprehensive study of CRDTs" (2011); as a dot store, Almeida et al. (2018), figure 4.
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

/// A flag where disabling wins over concurrent enabling. Takes one dot, on or off; off as long as nobody set it.
///
/// Source: as [`EwFlag`]. Where we differ: both settings are live, so that a flag that is on is there, as every other value is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DwFlag(DotFun<bool>);

shape_of_store!(DwFlag);
wire_of_store!(DwFlag);

impl DwFlag {
    /// Whether the flag is on: somebody turned it on, and nobody off who did not see that.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|(_, on)| *on)
    }

    /// Turns the flag on.
    #[must_use]
    pub fn enable(&self, dot: Dot) -> Edit<Self> {
        Edit::over(Self(DotFun::of(dot, true)), self)
    }

    /// Turns the flag off.
    #[must_use]
    pub fn disable(&self, dot: Dot) -> Edit<Self> {
        Edit::over(Self(DotFun::of(dot, false)), self)
    }
}
