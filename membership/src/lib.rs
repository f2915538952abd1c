//! SWIM membership for the Meshwork data mesh, as a pure state machine.
//!
//! Every node probes one other in each period, tells its findings by gossip, and gives whoever does not answer some
//! time to refute before it is held for dead. Nobody is in charge, the traffic of a node does not grow with the mesh,
//! and a crash is known to all within seconds.
//!
//! Sources: Das, Gupta, Motivala, "SWIM: Scalable Weakly-consistent Infection-style Process Group Membership Protocol",
//! DSN 2002, with suspicion (section 4.2); Dadgar, Phillips, Currey, "Lifeguard: Local Health Awareness for More Accurate
//! Failure Detection", DSN 2018: a node whose own probes fail slows itself down, relays say so when they get no answer,
//! a suspect has less time the more members accuse it, and hears of it first; Dabek and others, "Vivaldi", SIGCOMM 2004.
//! Where we differ, and why (more in the modules):
//!
//! * News has its own rounds of gossip while there is any, besides riding on pings: the last to hear hears soon. At rest
//!   there are none. News that comes back from others is sent less often.
//! * Digests are compared with a random member, often after a change and seldom at rest, and then only what differs is
//!   sent: lost news is found, a thousand joiners learn of each other within a second, and a mesh at rest stays quiet.
//! * The dead are probed slowly, so that the halves of a split mesh find each other; the first contact compares lists.
//! * Pings are repeated while their answer is awaited: at 20 % loss next to nobody is suspected, and a refutation is short.
//! * What others say about a member is an accusation, not a verdict (the rules are in `claims.rs` and `suspicion.rs`), since a
//!   member of the mesh may lie. Claims are not signed: a liar can make a member look suspect, or show forged metadata,
//!   until the member hears of it and refutes, which takes a round of gossip.
//! * A node that was not run for a while judges nobody by what it missed.
//! * Coordinates are whole numbers on the wire, and computed without functions that differ between machines.
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
mod suspicion;

mod exchange;
mod myself;
mod probing;
mod questions;
mod reconcile;
mod remembering;

mod coordinate;
pub mod planted;

mod gossip;
mod ring;
mod table;
mod timing;

pub use config::Config;
pub use coordinate::Coordinate;
pub use event::{Counters, Event, Output};
pub use member::{DecodeRemembered, Member, Remembered, State};
pub use membership::{Membership, RejectMessage};
pub use message::{Claim, DecodeMessage, INCARNATION_MAX, MESSAGE_BYTES_MAX, Message, Purpose};
pub use meta::{InvalidMeta, Meta};
pub use node_id::{NodeId, ParseNodeId};
pub use time::Time;
