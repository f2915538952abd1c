//! Settling what two nodes lack of each other, at a cost that depends on the difference only.
//!
//! Source: Yang, Gilad, Alizadeh, "Practical Rateless Set Reconciliation", SIGCOMM 2024. A set of ids is turned into an
//! endless sequence of coded symbols, each the sum of the ids that are mapped to it. Symbols of two sets subtract to
//! symbols of their difference, and about 1.4 symbols for each differing id are enough to read all of them back.
//!
//! An id stands for one version of one object. Both nodes keep a [`Sketch`] of each partition; the sketch of what two of
//! them share is the sum of sketches. One side, the [`Initiator`], asks and decodes; the other only [responds](respond), and
//! keeps nothing between requests, so that nobody can fill it:
//!
//! ```text
//! initiator                                                     responder
//!   Probe { root, differences }          ─────────▶  roots equal: Same (the usual case)
//!                                        ◀─────────  Symbols { root, from: 0, symbols }
//!   decoded? else More { seen, from, .. } ─────────▶
//!                                        ◀─────────  Symbols { root, from, symbols }
//!   Want(ids only there), objects of ids only here ─▶ objects of ids wanted
//! ```
//!
//! The sets may change meanwhile: symbols come with the [`Root`] of the set that they were made of. If that differs from
//! the one that the initiator has `seen`, the responder starts over. When symbols cannot settle it, or a plain
//! list is shorter, [`Fallback`] says why, and [`Listing`] pages through the ids in the order of positions.
//!
//! Where we differ, and why:
//! * Ids are 64 bits of a keyed hash, checks are 32 bits and counts are kept modulo 2^16: a symbol is 14 bytes. A false
//!   reading (2^-32 for each symbol looked at) is caught by comparing the result with the other's root.
//! * Symbols are asked for in flights, not streamed until told to stop. The counts of the symbols that did not suffice say how
//!   large the difference is (see [`Initiator`]), so the second flight nearly always settles it.
//! * Each node keeps the first 256 symbols of every partition up to date, and computes later ones from a scan. The paper keeps
//!   a heap of all ids instead, in memory.

mod decoder;
mod encoder;
mod flight;
mod initiator;
mod listing;
mod message;
mod responder;
mod root;
mod short_id;
mod sketch;
mod symbol;

pub use decoder::{Decoder, Difference, Inconsistent};
pub use encoder::Encoder;
pub use initiator::{Fallback, Initiator, Outcome, Progress, RejectReply};
pub use listing::{Compared, Listing, list};
pub use message::{DecodeMessage, Reply, Request};
pub use responder::{Response, respond};
pub use root::Root;
pub use short_id::ShortId;
pub use sketch::Sketch;
pub use symbol::CodedSymbol;

/// Limits of the exchange. Part of the protocol: both sides hold each other to them.
pub mod limits {
    /// Coded symbols that a sketch keeps up to date: enough for 160 differences. Twice as many would make each partition
    /// larger (4 KiB) and each write slower by 15 %; half as many would need a scan for 100 differences.
    pub const PREFIX: u32 = 256;
    /// Coded symbols in one message at most: 224 KiB.
    pub const FLIGHT_SYMBOLS_MAX: u32 = 16_384;
    /// Coded symbols in one exchange at most: enough for about 90,000 differences, 2 MiB in memory.
    pub const SYMBOLS_MAX: u32 = 131_072;
    /// Flights in one exchange at most.
    pub const FLIGHTS_MAX: u32 = 12;
    /// Ids in one message at most: 256 KiB.
    pub const IDS_MAX: usize = 32_768;
}

#[cfg(test)]
mod tests;
