//! The simulator: what an application in it can rely on, and a few seeds of the proof. More of them run in `meshwork sim`.
#![cfg(feature = "sim")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[cfg(feature = "planted")]
mod planted;
mod seeds;
mod traces;
mod world;
