//! Text editing on top of [`crate::Document`], with automerge (feature `document`).

mod chunk;
mod editor;
mod ready;

pub use editor::{ActorSeed, SpliceText, Text, UnknownHead};
