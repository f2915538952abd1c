//! What placement is computed from.

use std::collections::BTreeMap;

use meshwork_membership::NodeId;
use serde::{Deserialize, Serialize};

/// What a node says of itself that bears on placement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Seat {
    /// What fails together: a rack, a site, a household. Replicas are spread over zones before anything else.
    pub zone: String,
    /// How much it holds in proportion to others of its zone. A node of weight 0 holds nothing.
    pub weight: u16,
}

impl Seat {
    /// A seat in `zone` with this weight.
    pub fn new(zone: impl Into<String>, weight: u16) -> Self {
        Self {
            zone: zone.into(),
            weight,
        }
    }
}

/// The nodes that keep their place: alive ones, suspects, and the dead that have not expired yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Each node and its seat.
    pub nodes: BTreeMap<NodeId, Seat>,
}

impl View {
    /// Tells views apart: equal for equal views, in whatever order they were learned.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        for (node, seat) in &self.nodes {
            hasher.update(node.as_bytes());
            hasher.update(&seat.weight.to_le_bytes());
            hasher.update(&(seat.zone.len() as u64).to_le_bytes());
            hasher.update(seat.zone.as_bytes());
        }
        *hasher.finalize().as_bytes()
    }
}

impl FromIterator<(NodeId, Seat)> for View {
    fn from_iter<I: IntoIterator<Item = (NodeId, Seat)>>(nodes: I) -> Self {
        Self {
            nodes: nodes.into_iter().collect(),
        }
    }
}

/// Separates this use of BLAKE3 from all others. Nodes of one mesh must agree on it.
const CONTEXT: &str = "meshwork 2026-11 digest of a placement view v1";
