//! The state alone, and whole groups in virtual time.

mod checker;
mod group;
mod hostile;
mod linear;
mod net;
mod state;
