//! What clients do to a mesh, and what they may expect of it: the same for simulated meshes and for real processes.
//!
//! A [`Workload`] says what its clients do; each runs as a plain future on a [`Client`], its way into the mesh, and tells an
//! [`Oracle`] what it asked for and what came back. The oracle checks every answer as it comes. Once the faults have stopped,
//! [`settle`] waits for the nodes to agree and checks what they show in the end.
//!
//! What may be expected depends on where the keys are: see [`Placement`].
//!
//! Strong keys, sequences and locks have a [`StrongWorkload`] and a [`StrongOracle`] of their own, and [`settle_strong`]: what clients saw
//! of them must be explained by one order, which [`linear`] looks for.
//!
//! ```
//! use std::rc::Rc;
//! use std::time::{Duration, Instant};
//!
//! use meshwork::{Mesh, Options};
//! use meshwork::sim::workload::{Client, Host, MeshClient, Mix, Oracle, Placement, Workload, settle};
//! use meshwork_sync::Level;
//!
//! struct Here(Mesh, Instant);
//!
//! impl Host for Here {
//!     fn mesh(&self) -> Option<Mesh> {
//!         Some(self.0.clone())
//!     }
//!
//!     async fn sleep(&self, time: Duration) {
//!         tokio::time::sleep(time).await;
//!     }
//!
//!     fn now(&self) -> Duration {
//!         self.1.elapsed()
//!     }
//! }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # let folder = tempfile::tempdir()?;
//! # meshwork::setup::found(folder.path(), "home", &meshwork::setup::SetupOptions::default())?;
//! # let any = "127.0.0.1:0".parse()?;
//! # let mesh = meshwork::Mesh::builder(folder.path()).listen(any).start().await?;
//!
//! let client = MeshClient::new(Here(mesh.clone(), Instant::now()));
//! let oracle = Rc::new(Oracle::new(Placement::Everywhere { nodes: 1 }));
//! let workload = Workload::new(7, Mix::default(), Rc::clone(&oracle));
//! let mut session = workload.session(0, 0);
//! let end = async {
//!     client.sleep(Duration::from_millis(500)).await;
//!     workload.stop();
//! };
//! futures::join!(session.run(&client), end);
//! let options = Options::level(Level::Local);
//! settle(&oracle, &[(0, &client)], options, Duration::from_secs(5)).await?;
//! assert!(oracle.violations().is_empty() && oracle.tally().acknowledged > 0);
//! # mesh.stop().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod book;
mod check;
mod claims;
mod client;
mod dice;
mod draws;
mod greatest;
mod history;
mod json;
pub mod linear;
mod mix;
mod oracle;
mod over_mesh;
mod record;
mod seen;
mod session;
mod settle;
mod strong_ask;
mod strong_oracle;
mod strong_session;
mod strong_settle;
mod strong_wrong;
mod token;
mod typing;
mod violation;

pub use claims::Placement;
pub use client::{Client, Failure};
pub use json::ReadSeen;
pub use mix::{Kinds, Mix};
pub use oracle::{Oracle, Shows, Tally, WriteId};
pub use over_mesh::{Host, MeshClient};
pub use record::{Effect, Outcome, Request, Write};
pub use seen::{Seen, Shown, Slot};
pub use session::{Session, Workload};
pub use settle::{Unsettled, settle};
pub use strong_oracle::{AskId, DrawId, StrongOracle, StrongTally};
pub use strong_session::{StrongSession, StrongWorkload};
pub use strong_settle::settle_strong;
pub use strong_wrong::StrongWrong;
pub use violation::{Look, Violation, Wrong};
