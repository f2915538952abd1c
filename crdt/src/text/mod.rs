//! Text editing on top of [`crate::Document`], with automerge (feature `document`).

mod chunk;
mod editor;
mod pack;
mod ready;
mod rich;

pub use editor::{ActorSeed, Text, UnknownHead};
pub use rich::EditText;
