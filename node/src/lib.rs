//! A peer-to-peer gossip and CRDT data mesh: the node, its doors and its program.
//!
//! Set a folder up with [`setup`], start it with [`Mesh::builder`], and read and write through the [`Mesh`] handle.
//! The layers, in the order in which a write passes through them: [`Mesh`] → driver → [`core`] → [`store`] and [`net`].

pub mod admission;
mod builder;
pub mod core;
pub mod doors;
mod driver;
mod invites;
mod mesh;
mod namespace;
pub mod net;
mod settings;
pub mod setup;
#[cfg(feature = "sim")]
pub mod sim;
pub mod store;
pub mod strong;
pub mod traces;
mod views;
mod wall;
mod watch;

pub use builder::{Builder, StartMesh};
pub use driver::InviteError;
pub use mesh::{Ended, Mesh, Options, RequestError};
pub use namespace::Namespace;
pub use settings::{ReadSettings, Settings, StoreEngine};
pub use views::{
    BoundedCounter, Counter, CustomValue, DwFlag, Fenced, Flag, GCounter, GSet, Map, Max, Min,
    Register, RwSet, Sequence, Set, TextDocument, ValueError,
};
pub use watch::{Watch, WatchEvent};
