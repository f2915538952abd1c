//! What a read must show.

use meshwork_sync::Level;

use super::record::{Outcome, Write};
use super::{Failure, Look, Request};

/// How keys are placed on nodes during a run, on which it depends what may be claimed before the end.
///
/// There are no session tokens: what a client is promised between its requests rests on its node's own copy, and on quorums that
/// meet. Whatever the placement, a read never shows what nobody wrote or what was refused, and in the end all nodes show the
/// same: all that was acknowledged or ever shown, and nothing that was taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Every node is a replica of every key from the first request to the last: no more nodes than copies, and nobody joins or leaves.
    ///
    /// Then a read at *any* level shows all that was written through its node, at any level, and all that its node has shown:
    /// read your writes and monotonic reads, for all clients of a node together and over restarts. And it shows what was
    /// written at a level that meets its own, through any node: `all` meets everything, `quorum` meets `quorum`. What was taken away
    /// through its node stays away. Through others it may show again for a moment, beside what took its place: changes do not
    /// travel in the order in which they were made.
    Everywhere {
        /// How many nodes.
        nodes: usize,
    },
    /// The replicas of a key stay the same, and some nodes are none.
    ///
    /// Then a read at level `one` or above shows what was written through its node, as far as its node has kept its copy or
    /// handed it over to all replicas; and it shows what was written at a level that meets its own, through any node. Reads through a
    /// node without a copy are not monotonic: each may ask another replica.
    Fixed {
        /// How many replicas a key has.
        replicas: usize,
    },
    /// Nodes join and leave. Nothing is claimed before the end but what holds whatever the placement.
    Moving,
}

impl Placement {
    /// Whether a write must be part of what is shown.
    pub(super) fn must_show(self, write: &Write, look: &Look) -> bool {
        match (self, look) {
            (_, Look::End { .. }) => write.is_kept(),
            (_, Look::Answer) | (Self::Moving, Look::Live(..)) => false,
            (Self::Everywhere { nodes }, Look::Live(request, _)) => {
                is_known(write, request) || self.meets(write, request, nodes)
            }
            (Self::Fixed { replicas }, Look::Live(request, _)) => {
                let own = write.request.node == request.node && request.level >= Level::One;
                (own && is_known(write, request)) || self.meets(write, request, replicas)
            }
        }
    }

    /// As [`Placement::must_show`] for what a text shows: a change that has arrived is shown only once all have that it builds on,
    /// which its node had and another replica need not have.
    pub(super) fn must_show_text(self, write: &Write, look: &Look) -> bool {
        match (self, look) {
            (_, Look::End { .. }) => write.is_kept(),
            (Self::Everywhere { .. }, Look::Live(request, _)) => is_known(write, request),
            (_, Look::Answer | Look::Live(..)) => false,
        }
    }

    /// Whether a removal has surely seen what was known at its node.
    pub(super) const fn nodes_keep_copies(self) -> bool {
        matches!(self, Self::Everywhere { .. })
    }

    /// Whether replicas that hold the write and replicas that were asked must have one in common.
    fn meets(self, write: &Write, request: &Request, replicas: usize) -> bool {
        let level = match &write.outcome {
            Outcome::Acknowledged => write.request.level,
            Outcome::Failed(Failure::Kept(_)) => Level::Local,
            Outcome::Pending | Outcome::Failed(_) => return false,
        };
        let before = write.end.is_some_and(|end| end <= request.start);
        before && self.copies(level, replicas) + self.copies(request.level, replicas) > replicas
    }

    fn copies(self, level: Level, replicas: usize) -> usize {
        let here = usize::from(self.nodes_keep_copies());
        level.needed(replicas).max(here)
    }
}

/// Whether the request's node was known to hold the write when the request was made.
fn is_known(write: &Write, request: &Request) -> bool {
    let known = write.known.get(&request.node);
    known.is_some_and(|known| *known <= request.start)
}
