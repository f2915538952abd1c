//! What the benches share: interleaved timing, tables, and editing traces. See `README.md` for what is compared.
//!
//! Every figure is a median of runs that took turns with those of the rival, in one process, so that a busy moment of the machine hits
//! both. Ratios carry over to other machines; times do not.

pub mod editors;
pub mod table;
pub mod timing;
pub mod trace;
