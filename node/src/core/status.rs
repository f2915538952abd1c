//! What a node can say about itself and its mesh at a moment.

use core::time::Duration;

use meshwork_crdt::ReplicaId;
use meshwork_membership::{NodeId, State, Time};
use meshwork_sync::{Counts, Lag, StoreFailure};
use serde::Serialize;

use super::node::Node;
use crate::strong::StrongStatus;

/// A member as seen from here.
#[derive(Clone, Debug, Serialize)]
pub struct MemberStatus {
    /// Who, in hexadecimal.
    pub id: String,
    /// Its store's replica id: whose writes are its own, and who can be given rights on a bounded counter.
    pub replica: String,
    /// Its name for people.
    pub name: String,
    /// `alive`, `suspect`, `down` or `left`.
    pub state: &'static str,
    /// Whether it is this node.
    pub me: bool,
    /// Its failure zone.
    pub zone: String,
    /// Its share of the data relative to the others.
    pub weight: u16,
    /// Whether it holds replicas.
    pub storage: bool,
    /// Partitions placed on it, of 4,096.
    pub partitions: usize,
    /// Whether a connection is up.
    pub connected: bool,
    /// Where it can be reached.
    pub addresses: Vec<String>,
    /// Seconds that this node has held it for `state`.
    pub for_seconds: u64,
    /// Deltas that wait for it here.
    pub lag_deltas: u64,
    /// Their bytes.
    pub lag_bytes: u64,
}

/// A node at a moment.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// This node first, then the others by id.
    pub members: Vec<MemberStatus>,
    /// Partitions placed here that still lack comparisons before their answers count.
    pub partitions_filling: usize,
    /// Partitions not placed here that are being handed over.
    pub partitions_leaving: usize,
    /// Objects held here.
    pub objects: usize,
    /// Deltas waiting for peers.
    pub outbox_deltas: u64,
    /// Their bytes.
    pub outbox_bytes: u64,
    /// Whether nothing is left here that another node should have.
    pub handed_over: bool,
    /// The strong group as seen from here.
    pub strong: StrongStatus,
    /// Why writes are refused at present.
    pub store_failure: Option<String>,
    /// Writes of this node that peers refuse since its clock is ahead of theirs, since the start; each attempt counts.
    pub clock_ahead_by_peers: u64,
    /// Frames from members that made no sense or answered nothing, since the start.
    pub frames_refused: u64,
    /// Counters since the start.
    #[serde(skip)]
    pub counts: Counts,
}

impl Node {
    /// What this node can say about itself and its mesh.
    #[must_use]
    pub fn status(&self, now: Time) -> Status {
        let placement = self.replication.placement();
        let me = core::iter::once(self.membership.me());
        let members = me
            .chain(self.membership.members())
            .map(|member| {
                let id: NodeId = member.id;
                let Lag { entries, bytes } = self.replication.lag(&id);
                MemberStatus {
                    id: id.to_string(),
                    replica: ReplicaId::from_bytes(member.meta.replica).to_string(),
                    name: member.meta.name.clone(),
                    state: state_name(member.state),
                    me: id == self.me,
                    zone: member.meta.zone.clone(),
                    weight: member.meta.weight,
                    storage: member.meta.roles & super::roles::STORAGE != 0,
                    partitions: placement.partitions_of(id).len(),
                    connected: self.connected.contains(&id),
                    addresses: member.meta.addresses.clone(),
                    for_seconds: now.since(member.since).as_secs(),
                    lag_deltas: entries,
                    lag_bytes: bytes,
                }
            })
            .collect();
        let (filling, leaving) = self.replication.moving();
        let outbox = self.replication.outbox();
        Status {
            members,
            partitions_filling: filling,
            partitions_leaving: leaving,
            objects: self.replication.objects_len(),
            outbox_deltas: outbox.entries,
            outbox_bytes: outbox.bytes,
            handed_over: self.is_handed_over(),
            strong: self.strong.status(),
            store_failure: self
                .replication
                .store_failure()
                .map(StoreFailure::to_string),
            clock_ahead_by_peers: self.replication.counts().clock_ahead_by_peers,
            frames_refused: self.frames_refused,
            counts: self.replication.counts(),
        }
    }
}

const fn state_name(state: State) -> &'static str {
    match state {
        State::Alive => "alive",
        State::Suspect => "suspect",
        State::Down => "down",
        State::Left => "left",
    }
}

/// How long a leaving node waits for its data to be taken over before it goes all the same.
pub const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(30);
