//! Which views a namespace and a map open.

use super::{
    BoundedCounter, Counter, CustomValue, DwFlag, Entry, Fenced, Flag, GCounter, GSet, Map, Max,
    Min, Register, RwSet, Sequence, Set, TextDocument,
};
use crate::namespace::Namespace;

/// A method for each view; keys and fields are opened alike.
macro_rules! open {
    ($($(#[$docs:meta])+ $name:ident: $view:ident;)+) => {
        open! { @of Namespace, $($(#[$docs])+ $name: $view;)+ }
        open! { @of Map, $($(#[$docs])+ $name: $view;)+ }
    };
    (@of $of:ty, $($(#[$docs:meta])+ $name:ident: $view:ident;)+) => {
        impl $of {
            $(
                $(#[$docs])+
                #[must_use]
                pub fn $name(&self, name: &str) -> $view {
                    $view::new(self.entry(name))
                }
            )+

            /// A value of the application's own kind; its merge function is registered with
            /// [`Builder::merges`](crate::Builder::merges) under `tag`.
            #[must_use]
            pub fn custom(&self, name: &str, tag: u16) -> CustomValue {
                CustomValue::new(self.entry(name), tag)
            }
        }
    };
}

open! {
    /// A register: one value, or the concurrent ones until somebody settles it.
    register: Register;
    /// A value that the holder of the greatest fencing token writes.
    fenced: Fenced;
    /// A counter: up and down from everywhere at once.
    counter: Counter;
    /// A counter that only goes up.
    g_counter: GCounter;
    /// A counter that never falls below zero, on any node at any moment.
    bounded_counter: BoundedCounter;
    /// The greatest of all numbers that anybody writes.
    max: Max;
    /// The least of all numbers that anybody writes.
    min: Min;
    /// A set in which a concurrent add wins over a remove.
    set: Set;
    /// A set in which a concurrent remove wins over an add.
    rw_set: RwSet;
    /// A set that only grows.
    g_set: GSet;
    /// A flag in which a concurrent enable wins over a disable.
    flag: Flag;
    /// A flag in which a concurrent disable wins over an enable.
    dw_flag: DwFlag;
    /// A list whose elements can be moved.
    sequence: Sequence;
    /// A map whose fields hold values of any kind, maps included.
    map: Map;
    /// A text that everybody may edit at once.
    document: TextDocument;
}

impl Map {
    fn entry(&self, name: &str) -> Entry {
        self.at().field(name)
    }
}
