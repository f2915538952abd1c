//! How programs other than this one come in.
//!
//! Doors are thin: they parse, check permission, call the [`Mesh`](crate::Mesh) handle that an embedding application has,
//! and answer.

pub mod http;
