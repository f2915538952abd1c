//! The node's core: where a frame goes, who counts as placed, whom to keep a connection to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use meshwork_crdt::{Merges, ReplicaId};
use meshwork_dht::{Placement, Seat, View};
use meshwork_membership::{Event, InvalidMeta, Membership, Meta, NodeId, Remembered, State, Time};
use meshwork_sync::{
    Batch, Found, Key, Origin, Prefix, Read, ReadError, ReadStore, Refusal, Refuser, Replication,
    RequestId, Space, Store, StoreFailure, Write, WriteError, Written,
};

use super::batches::{Batches, Whose};
use super::config::{NodeConfig, roles};
use crate::strong::{
    self, Ability, Able, MemberCondition, RejectStrong, ResetStrong, SessionId, Strong, StrongDone,
    StrongError, StrongOutput, StrongRequest, StrongSetup, VoterId,
};

/// One member of a mesh as a pure state machine: hand it what happened, then take [`Node::poll_output`] until it is empty.
///
/// The contract is that of its parts: change one thing, drain, and call [`Node::handle_timeout`] when
/// [`Node::poll_timeout`] says so.
#[derive(Debug)]
pub struct Node {
    pub(super) me: NodeId,
    pub(super) membership: Membership,
    pub(super) replication: Replication,
    pub(super) strong: Strong,
    batches: Batches,
    pub(super) connected: BTreeSet<NodeId>,
    /// Members to say hello to when they are first connected: from a ticket, a command line or an earlier run.
    seeds: BTreeSet<NodeId>,
    /// Whom a connection is wanted to, and the addresses that were last told.
    wanted: BTreeMap<NodeId, Vec<String>>,
    outputs: VecDeque<Output>,
    view_changed: bool,
    /// Whether it has given up its place.
    pub(super) frames_refused: u64,
}

/// What a node starts from.
#[derive(Debug)]
pub struct NodeSetup {
    /// Its identity.
    pub id: NodeId,
    /// What it says about itself.
    pub meta: Meta,
    /// Its store's replica id.
    pub replica: ReplicaId,
    /// The same for all members of a mesh; keys the short ids of comparisons.
    pub mesh_key: [u8; 32],
    /// Where the store comes from.
    pub origin: Origin,
    /// Who founded the mesh, as this node's own certificates say: it alone says who forms the strong group.
    pub founder: NodeId,
    /// Settings.
    pub config: NodeConfig,
    /// The merge functions of users' own kinds.
    pub merges: Merges,
    /// Members to find the mesh by, with their addresses.
    pub seeds: BTreeMap<NodeId, Vec<String>>,
    /// Seed of everything random inside.
    pub random_seed: u64,
}

/// A kind of traffic, so that bulk never holds up what is small and urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Membership.
    Gossip,
    /// Requests, answers, deltas.
    Data,
    /// Large pushes.
    Bulk,
}

/// What the driver must do next.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Send a frame; if the peer is not connected or its queue is full the frame is lost.
    Send {
        /// To whom.
        to: NodeId,
        /// On which stream.
        class: Class,
        /// What.
        frame: Vec<u8>,
    },
    /// Make a batch durable.
    Store {
        /// To be handed back.
        id: u64,
        /// The changes; shared, since the core keeps them until they are durable.
        batch: Arc<Batch>,
    },
    /// A write is answered.
    Written {
        /// The request.
        id: RequestId,
        /// How it ended.
        result: Result<Written, WriteError>,
    },
    /// A read is answered.
    Found {
        /// The request.
        id: RequestId,
        /// How it ended.
        result: Result<Found, ReadError>,
    },
    /// What [`Node::keep`] was given is durable.
    Kept {
        /// As given.
        id: u64,
    },
    /// Data was not merged. Told once for each reason, side and connection.
    Refused {
        /// The other node.
        peer: NodeId,
        /// Which side refused.
        by: Refuser,
        /// Why.
        reason: Refusal,
    },
    /// A strong request is answered.
    Strong {
        /// The request.
        id: RequestId,
        /// How it ended.
        result: Result<StrongDone, StrongError>,
    },
    /// A session that was opened here has ended, and its locks with it.
    SessionLost(SessionId),
    /// A watched key has changed.
    Changed {
        /// The key.
        key: Key,
        /// Digest of its new version.
        digest: [u8; 32],
    },
    /// Keep a connection to a peer, to be found at one of these addresses.
    Want {
        /// The peer.
        peer: NodeId,
        /// Where it was last said to be.
        addresses: Vec<String>,
    },
    /// No connection to this peer is needed any more.
    Unwant {
        /// The peer.
        peer: NodeId,
    },
    /// Something changed among the members; for logs and metrics.
    Member(Event),
}

/// A frame is refused. The peer's fault; nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RejectFrame {
    /// By membership.
    #[error(transparent)]
    Membership(#[from] meshwork_membership::RejectMessage),
    /// By replication.
    #[error(transparent)]
    Replication(#[from] meshwork_sync::RejectMessage),
    /// By the strong part.
    #[error(transparent)]
    Strong(#[from] RejectStrong),
}

/// Why a node cannot start from what it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenNode {
    /// What it is to say about itself breaks a limit. The caller's mistake.
    #[error(transparent)]
    Meta(#[from] InvalidMeta),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] ReadStore),
}

/// A frame longer than this goes on the bulk stream.
const DATA_FRAME_BYTES_MAX: usize = 64 << 10;

impl Node {
    /// A node that goes on with what its store holds.
    ///
    /// # Errors
    /// [`OpenNode`] when its description of itself or its store is unusable.
    pub fn open(
        setup: NodeSetup,
        store: Arc<dyn Store + Send + Sync>,
        now: Time,
    ) -> Result<Self, OpenNode> {
        let remembered = remembered(&*store)?;
        let own = remembered.iter().find(|r| r.id == setup.id);
        let floor = own.map_or(0, |r| r.incarnation.saturating_add(1));
        let NodeConfig {
            membership,
            replication,
            strong,
        } = setup.config;
        let strong = StrongSetup {
            me: setup.id,
            replica: setup.replica,
            origin: setup.origin,
            founder: setup.founder,
            ability: Ability::of(setup.meta.roles),
            config: strong,
            // Another stream of the same randomness.
            random_seed: !setup.random_seed,
        };
        let mut members = Membership::new(
            setup.id,
            setup.meta,
            floor,
            membership,
            setup.random_seed,
            now,
        )?;
        let identity = meshwork_sync::Identity {
            node: setup.id,
            replica: setup.replica,
            mesh_key: setup.mesh_key,
            origin: setup.origin,
        };
        let others: Vec<Remembered> = remembered
            .into_iter()
            .filter(|r| r.id != setup.id)
            .collect();
        let seeds = setup
            .seeds
            .keys()
            .chain(others.iter().map(|r| &r.id))
            .copied()
            .collect();
        // A copy or a backup remembers the mesh as it was.
        let is_stranger = others.is_empty() || setup.origin == Origin::Restored;
        if is_stranger && setup.origin != Origin::Founder {
            members.seek_list();
        }
        members.restore(now, others);
        let strong = Strong::open(strong, Arc::clone(&store), now);
        let replication = Replication::open(&identity, replication, setup.merges, store, now)?;
        let mut node = Self {
            me: setup.id,
            membership: members,
            replication,
            strong,
            batches: Batches::default(),
            connected: BTreeSet::new(),
            seeds,
            wanted: BTreeMap::new(),
            outputs: VecDeque::new(),
            view_changed: true,
            frames_refused: 0,
        };
        for (peer, addresses) in setup.seeds {
            node.want(peer, addresses);
        }
        node.follow_members(now);
        Ok(node)
    }

    /// A connection to a member is up.
    pub fn handle_connected(&mut self, now: Time, peer: NodeId) {
        if self.connected.insert(peer) {
            if self.seeds.remove(&peer) {
                self.membership.join(now, peer);
            }
            self.replication.handle_connected(now, peer);
            self.strong.handle_connected(now, peer);
        }
        self.after(now);
    }

    /// The process is about to end: what should be on disk and is not yet comes as a last batch.
    pub fn handle_stop(&mut self, now: Time) {
        self.membership.handle_stop();
        self.after(now);
    }

    /// A connection to a member is gone.
    pub fn handle_disconnected(&mut self, now: Time, peer: NodeId) {
        if self.connected.remove(&peer) {
            self.membership.handle_unreachable(now, peer);
            self.replication.handle_disconnected(now, peer);
            self.strong.handle_disconnected(now, peer);
        }
        self.after(now);
    }

    /// A frame from a connected member. `wall_ms` is the wall clock, in milliseconds since 1970.
    ///
    /// # Errors
    /// [`RejectFrame`] says what is wrong with it; nothing has changed then.
    pub fn handle_frame(
        &mut self,
        now: Time,
        wall_ms: u64,
        from: NodeId,
        class: Class,
        frame: &[u8],
    ) -> Result<(), RejectFrame> {
        let taken = match class {
            Class::Gossip => self
                .membership
                .handle_message(now, from, frame)
                .map_err(RejectFrame::from),
            Class::Data | Class::Bulk if strong::Message::is_strong(frame) => self
                .strong
                .handle_frame(now, from, frame)
                .map_err(RejectFrame::from),
            Class::Data | Class::Bulk => self
                .replication
                .handle_message(now, wall_ms, from, frame)
                .map_err(RejectFrame::from),
        };
        self.frames_refused += u64::from(taken.is_err());
        self.after(now);
        taken
    }

    /// A batch is durable.
    pub fn handle_stored(&mut self, now: Time, id: u64) {
        match self.batches.stored(id) {
            Some(Whose::Replication(id)) => self.replication.handle_stored(id),
            Some(Whose::Strong(stored)) => {
                self.strong.handle_stored(now, stored);
                self.after(now);
            }
            None => {}
        }
    }

    /// A batch could not be made durable, nor can any that was handed over after it.
    pub fn handle_store_failed(&mut self, now: Time, id: u64, failure: StoreFailure) {
        let failed = self.batches.failed(id);
        if failed.strong {
            self.strong.handle_store_failed(now, &failure);
        }
        if let Some(first) = failed.replication {
            self.replication.handle_store_failed(now, first, failure);
        }
        self.after(now);
    }

    /// Does what is due. An extra call does nothing.
    pub fn handle_timeout(&mut self, now: Time) {
        self.membership.handle_timeout(now);
        self.replication.handle_timeout(now);
        if self.strong.poll_timeout().is_some_and(|at| at <= now) {
            self.strong.handle_timeout(now);
        }
        self.after(now);
    }

    /// When [`Node::handle_timeout`] is to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let times = [
            self.membership.poll_timeout(),
            self.replication.poll_timeout(),
            self.strong.poll_timeout(),
        ];
        times.into_iter().flatten().min()
    }

    /// The next thing to do; call it until it returns `None` after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front().or_else(|| self.poll_strong());
        output.or_else(|| {
            let output = self.replication.poll_output()?;
            Some(from_replication(output, &mut self.batches))
        })
    }

    /// Who votes in the strong group, as far as a voter or learner here knows.
    #[cfg(feature = "sim")]
    pub(crate) fn voters(&self) -> Option<strong::Voters> {
        self.strong.voters()
    }

    /// Asks something of the strong group. Answered by [`Output::Strong`] with the same `id` within `timeout`.
    pub fn ask(
        &mut self,
        now: Time,
        id: RequestId,
        request: StrongRequest,
        timeout: core::time::Duration,
    ) {
        self.strong.request(now, id, request, timeout);
        self.after(now);
    }

    /// Begins a new strong group in place of one whose only voter was on this node and is gone.
    ///
    /// # Errors
    /// [`ResetStrong`].
    pub fn reset_strong(&mut self, now: Time) -> Result<(), ResetStrong> {
        let begun = self.strong.reset(now);
        self.after(now);
        begun
    }

    /// Writes one key. Answered by [`Output::Written`] with the same `id`.
    ///
    /// After [`Node::retire`] nothing is taken any more: handing over would never end, and what came in after it would be left here.
    pub fn write(&mut self, now: Time, wall_ms: u64, id: RequestId, write: Write) {
        self.replication.write(now, wall_ms, id, write);
    }

    /// Reads one key. Answered by [`Output::Found`] with the same `id`.
    pub fn read(&mut self, now: Time, id: RequestId, read: Read) {
        self.replication.read(now, id, read);
    }

    /// Begins to tell of changes under `prefix` by [`Output::Changed`].
    pub fn watch(&mut self, prefix: Prefix) {
        self.replication.watch(prefix);
    }

    /// Ends one [`Node::watch`] of `prefix`.
    pub fn unwatch(&mut self, prefix: &Prefix) {
        self.replication.unwatch(prefix);
    }

    /// Keeps a record of the driver's own; answered by [`Output::Kept`] once it is durable.
    pub fn keep(&mut self, id: u64, key: Vec<u8>, value: Vec<u8>) {
        self.replication.keep(id, Space::Meta, key, value);
    }

    /// Changes what this node says about itself.
    ///
    /// # Errors
    /// [`InvalidMeta`] when it breaks a limit; nothing changed then.
    pub fn set_meta(&mut self, now: Time, meta: Meta) -> Result<(), InvalidMeta> {
        self.membership.set_meta(now, meta)?;
        self.view_changed = true;
        self.after(now);
        Ok(())
    }

    /// What this node says about itself.
    #[must_use]
    pub const fn meta(&self) -> &Meta {
        &self.membership.me().meta
    }

    /// Gives up this node's place: its partitions fall to others, and [`Node::is_handed_over`] says when they have them.
    pub fn retire(&mut self, now: Time) {
        self.replication.take_no_more_writes();
        let mut meta = self.meta().clone();
        meta.roles &= !(roles::STORAGE | roles::VOTER);
        // Clearing a bit breaks no limit.
        let kept = self.set_meta(now, meta);
        debug_assert!(
            kept.is_ok(),
            "a valid description stays valid without a role"
        );
        self.replication.hand_over(now);
    }

    /// Goes on with [`Node::retire`]: what came in since, from members that had not heard of it, is handed over too.
    pub fn hand_over(&mut self, now: Time) {
        self.replication.hand_over(now);
    }

    /// Where partitions are placed, as this node sees it.
    #[must_use]
    pub const fn placement(&self) -> &Placement {
        self.replication.placement()
    }

    /// Whether nothing is left here that another node should have: no partition to hand over, no delta waiting, no vote.
    #[must_use]
    pub fn is_handed_over(&self) -> bool {
        let (_, leaving) = self.replication.moving();
        leaving == 0
            && self.replication.outbox().entries == 0
            && self.replication.objects_len() == 0
            && self.strong.is_handed_over()
    }

    /// Says goodbye to all members; the driver goes on for about a second and stops.
    pub fn leave(&mut self, now: Time) {
        self.membership.leave(now);
        self.after(now);
    }

    /// Passes on what the parts want done, until they want nothing more.
    fn after(&mut self, now: Time) {
        while let Some(output) = self.membership.poll_output() {
            match output {
                meshwork_membership::Output::Send { to, message } => {
                    self.outputs.push_back(Output::Send {
                        to,
                        class: Class::Gossip,
                        frame: message,
                    });
                }
                meshwork_membership::Output::Event(event) => {
                    self.view_changed = true;
                    self.outputs.push_back(Output::Member(event));
                }
                meshwork_membership::Output::Remember(member) => {
                    let key = member.id.as_bytes().to_vec();
                    self.replication
                        .put_record(Space::Members, key, Some(member.encode()));
                }
                meshwork_membership::Output::ForgetRemembered(id) => {
                    self.replication
                        .put_record(Space::Members, id.as_bytes().to_vec(), None);
                }
                _ => {}
            }
        }
        if core::mem::take(&mut self.view_changed) {
            self.follow_members(now);
        }
    }

    /// The next thing that the strong part wants done outside of the core.
    fn poll_strong(&mut self) -> Option<Output> {
        loop {
            let output = match self.strong.poll_output()? {
                StrongOutput::Namespaces(namespaces) => {
                    self.replication.leave_to_strong(namespaces);
                    continue;
                }
                StrongOutput::Send(to, frame) => Output::Send {
                    to,
                    class: class_of(&frame),
                    frame,
                },
                StrongOutput::Store(stored, batch) => Output::Store {
                    id: self.batches.hand_over(Whose::Strong(stored)),
                    batch,
                },
                StrongOutput::Done(id, result) => Output::Strong { id, result },
                StrongOutput::Lost(session) => Output::SessionLost(session),
            };
            return Some(output);
        }
    }

    /// Brings placement and connections in line with the members.
    fn follow_members(&mut self, now: Time) {
        let me = core::iter::once(self.membership.me());
        // Who takes a few for all finds nobody who has more, and would count as complete.
        let all = self.membership.members();
        let placed = all.filter(|_| self.membership.has_list());
        let view = View {
            nodes: me
                .chain(placed)
                .filter(|m| m.state != State::Left && m.meta.roles & roles::STORAGE != 0)
                .map(|m| (m.id, Seat::new(m.meta.zone.clone(), m.meta.weight)))
                .collect(),
        };
        self.replication.handle_view(now, view);
        self.tell_able(now);
        let members: BTreeMap<NodeId, Vec<String>> = self
            .membership
            .members()
            .filter(|m| m.state != State::Left)
            .map(|m| (m.id, m.meta.addresses.clone()))
            .collect();
        for peer in self.wanted.keys().copied().collect::<Vec<_>>() {
            if !members.contains_key(&peer) && !self.seeds.contains(&peer) {
                self.wanted.remove(&peer);
                self.outputs.push_back(Output::Unwant { peer });
            }
        }
        for (peer, addresses) in members {
            self.want(peer, addresses);
        }
    }

    /// Tells the strong group's leader who can vote.
    fn tell_able(&mut self, now: Time) {
        let me = core::iter::once(self.membership.me());
        let able = me.chain(self.membership.members()).map(|member| {
            let id = VoterId::from_be_bytes(member.meta.replica);
            let able = Able {
                node: member.id,
                condition: condition(member),
            };
            (id, able)
        });
        let able = able.collect();
        self.strong.handle_members(now, able);
    }

    fn want(&mut self, peer: NodeId, addresses: Vec<String>) {
        if peer != self.me && self.wanted.get(&peer) != Some(&addresses) {
            self.wanted.insert(peer, addresses.clone());
            self.outputs.push_back(Output::Want { peer, addresses });
        }
    }
}

fn condition(member: &meshwork_membership::Member) -> MemberCondition {
    match member.state {
        State::Left => MemberCondition::Retired,
        _ if member.meta.roles & roles::VOTER == 0 => MemberCondition::Retired,
        State::Down => MemberCondition::Down(member.since),
        State::Alive | State::Suspect => MemberCondition::Up,
    }
}

fn from_replication(output: meshwork_sync::Output, batches: &mut Batches) -> Output {
    match output {
        meshwork_sync::Output::Send { to, message } => {
            let frame = message.encode();
            Output::Send {
                to,
                class: class_of(&frame),
                frame,
            }
        }
        meshwork_sync::Output::Store { id, batch } => Output::Store {
            id: batches.hand_over(Whose::Replication(id)),
            batch,
        },
        meshwork_sync::Output::Written { id, result } => Output::Written { id, result },
        meshwork_sync::Output::Found { id, result } => Output::Found { id, result },
        meshwork_sync::Output::Kept { id } => Output::Kept { id },
        meshwork_sync::Output::Refused { peer, by, reason } => Output::Refused { peer, by, reason },
        meshwork_sync::Output::Changed { key, digest } => Output::Changed { key, digest },
        other => unreachable!("replication and node are built together: {other:?}"),
    }
}

const fn class_of(frame: &[u8]) -> Class {
    if frame.len() > DATA_FRAME_BYTES_MAX {
        Class::Bulk
    } else {
        Class::Data
    }
}

/// The members that an earlier run wrote down; what cannot be read is left out, since gossip tells it again.
fn remembered(store: &dyn Store) -> Result<Vec<Remembered>, ReadStore> {
    let mut members = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = match store.scan(Space::Members, &[], after.as_deref(), 1_000) {
            Ok(page) => page,
            Err(ReadStore::Damaged { key, .. }) => {
                after = Some(key);
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some((last, _)) = page.last() else {
            return Ok(members);
        };
        after = Some(last.clone());
        members.extend(
            page.iter()
                .filter_map(|(_, bytes)| Remembered::decode(bytes).ok()),
        );
    }
}
