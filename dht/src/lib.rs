//! Positions, partitions, replica sets and move plans for the Meshwork data mesh.
//!
//! A key has a [`Position`], a position lies in one of 4,096 [`Partition`]s, and a [`Placement`] says which nodes of a
//! [`View`] hold each partition. All of it is a pure function of its inputs: nodes with equal views agree without a
//! message. When the view changes, a [`MovePlan`] says what has to be copied where.
//!
//! ```
//! use meshwork_dht::{MovePlan, Placement, Position, Seat, View};
//! use meshwork_membership::NodeId;
//!
//! let mut view = View::default();
//! for i in 1..=4 {
//!     view.nodes.insert(NodeId::from_bytes([i; 32]), Seat::new(format!("rack-{i}"), 1));
//! }
//! let before = Placement::new(&view, 3);
//! let partition = Position::of("notes", b"shopping list").partition();
//! let gone = before.replicas(partition)[0];
//!
//! view.nodes.remove(&gone);
//! let after = Placement::new(&view, 3);
//! let plan = MovePlan::between(&before, &after);
//! assert_eq!(plan.losses(gone).count(), before.partitions_of(gone).len());
//! ```

mod distance;
mod moves;
mod partition;
mod placement;
mod position;
mod view;

pub use moves::{MovePlan, Step};
pub use partition::{ParsePartition, Partition};
pub use placement::Placement;
pub use position::{ParsePosition, Position};
pub use view::{Seat, View};
