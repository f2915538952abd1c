//! SWIM membership for the Meshwork data mesh, as a pure state machine.
//!
//! Every node probes one other in each period, tells its findings by gossip, and gives whoever does not answer some
//! time to refute before it is held for dead. Nobody is in charge, the traffic of a node does not grow with the mesh,
//! and a crash is known to all within seconds.
//!
//! Source: Das, Gupta, Motivala, "SWIM: Scalable Weakly-consistent Infection-style Process Group Membership Protocol",
//! DSN 2002, with suspicion (section 4.2). Where we differ, and why:
//!
//! * News has its own rounds of gossip while there is any, besides riding on pings: the last to hear hears soon. At rest there are none.
//! * A digest is compared with a random member now and then, and lists are exchanged only if it differs: lost news is
//!   found, and a mesh at rest stays quiet.
//! * The dead are probed slowly, so that the halves of a split mesh find each other; the first contact exchanges lists.
//! * What others say about a member is an accusation, not a verdict (the rules are in `claims.rs`), since a member of the mesh
//!   may lie. Claims are not signed: a liar can make a member look suspect, or show forged metadata, until the member hears of it
//!   and refutes, which takes a round of gossip.
//! * A node that was not run for a while judges nobody by what it missed.
//!
//! Lifeguard's parts (Dadgar, Phillips, Currey 2017) belong into `timing.rs`; telling the suspect first is here already.
//!
//! # Driving it
//!
//! A [`Membership`] is driven by calls: after each one, drain [`Membership::poll_output`] to `None`, then see
//! [`Membership::poll_timeout`] for when [`Membership::handle_timeout`] is due. The driver has a transport that carries whole
//! messages between nodes and proves who sent them; it looks addresses up in [`Member::meta`]. Messages may be lost,
//! repeated, delayed and reordered.
//!
//! ```
//! use meshwork_membership::{Config, Event, Membership, Meta, NodeId, Output, State, Time};
//!
//! let node = |n: u8| {
//!     let meta = Meta { name: format!("node-{n}"), weight: 64, ..Meta::default() };
//!     Membership::new(NodeId::from_bytes([n; 32]), meta, 0, Config::lan(), n.into(), Time::ZERO)
//! };
//! let mut nodes = [node(0)?, node(1)?];
//! let ids = nodes.each_ref().map(|node| node.me().id);
//! nodes[1].join(Time::ZERO, ids[0]);
//!
//! // The simplest driver: messages arrive at once, and time jumps from one timeout to the next.
//! let mut joined = 0;
//! while joined < 2 {
//!     let now = nodes.iter().filter_map(Membership::poll_timeout).min().ok_or("no timeout")?;
//!     for at in [0, 1] {
//!         nodes[at].handle_timeout(now);
//!         while let Some(output) = nodes[at].poll_output() {
//!             match output {
//!                 Output::Send { to, message } => {
//!                     let to = usize::from(to == ids[1]);
//!                     nodes[to].handle_message(now, ids[at], &message)?;
//!                 }
//!                 Output::Event(Event::Joined(_)) => joined += 1,
//!                 _ => {} // A real driver writes to disk what is to be remembered.
//!             }
//!         }
//!     }
//! }
//! assert_eq!(nodes[0].member(ids[1]).map(|member| member.state), Some(State::Alive));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod node_id;
mod time;

mod config;
mod meta;

mod member;
mod message;

mod event;
mod membership;

mod claims;
mod exchange;
mod myself;
mod probing;

mod gossip;
mod ring;
mod table;
mod timing;

pub use config::Config;
pub use event::{Counters, Event, Output};
pub use member::{DecodeRemembered, Member, Remembered, State};
pub use membership::{Membership, RejectMessage};
pub use message::{Claim, DecodeMessage, INCARNATION_MAX, MESSAGE_BYTES_MAX, Message, Purpose};
pub use meta::{InvalidMeta, Meta};
pub use node_id::{NodeId, ParseNodeId};
pub use time::Time;
