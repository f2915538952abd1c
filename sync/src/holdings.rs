//! Which partitions this node is to hold, which of them it holds completely, and which it still has to hand over.

use core::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

use meshwork_dht::{Partition, Placement, Position, View};
use meshwork_membership::NodeId;
use meshwork_membership::planted::{Bug, planted};

use crate::{PartitionSet, records};

/// Placement as seen from one node.
///
/// A partition that falls to this node is *filling* until it has been compared with everybody who may hold acknowledged
/// writes of it; until then its answers do not count for a quorum. A partition that it loses is *leaving*: its data stays
/// until every new replica has been compared with.
#[derive(Debug)]
pub(crate) struct Holdings {
    me: NodeId,
    factor: usize,
    view: View,
    placement: Placement,
    complete: BTreeSet<Partition>,
    filling: BTreeMap<Partition, BTreeSet<NodeId>>,
    leaving: BTreeMap<Partition, BTreeSet<NodeId>>,
}

/// What a comparison of a partition with a peer has settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Nothing that changes what this node holds.
    Nothing,
    /// The partition is complete here now.
    Complete,
    /// Every replica has it; this node may drop its data.
    Droppable,
    /// The peer is to hold it and does not know that yet.
    NotYet,
}

/// What a peer says of the copy that it was compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The partition is placed on it.
    Replica,
    /// It is not, as the peer sees it: two that hand a copy over to each other may both let go of it.
    Stray,
}

impl Holdings {
    pub(crate) fn new(me: NodeId, factor: usize, complete: BTreeSet<Partition>) -> Self {
        let view = View::default();
        let placement = Placement::new(&view, factor);
        Self {
            me,
            factor,
            view,
            placement,
            complete,
            filling: BTreeMap::new(),
            leaving: BTreeMap::new(),
        }
    }

    /// Takes in a new view. Returns whether it differs from the last one.
    pub(crate) fn set_view(&mut self, view: View) -> bool {
        if view == self.view {
            return false;
        }
        let new = Placement::new(&view, self.factor);
        let old = core::mem::replace(&mut self.placement, new);
        let (me, factor) = (self.me, self.factor);
        let mut without_me = view.clone();
        without_me.nodes.remove(&me);
        let without_me = LazyCell::new(move || Placement::new(&without_me, factor));
        self.view = view;
        for partition in Partition::all() {
            if self.placement.holds(self.me, partition) {
                self.leaving.remove(&partition);
                // A node that comes in has not seen who held its partitions, and may hear of the others one by one or all at
                // once: they held them who would if it were not there.
                self.refill(partition, &old, &without_me);
            } else {
                // What was filling may hold writes that nobody else has, too.
                let held = self.complete.remove(&partition);
                let filled = self.filling.remove(&partition).is_some();
                if held || filled || self.leaving.contains_key(&partition) {
                    self.leave(partition);
                }
            }
        }
        true
    }

    fn refill<F: FnOnce() -> Placement>(
        &mut self,
        partition: Partition,
        old: &Placement,
        without_me: &LazyCell<Placement, F>,
    ) {
        if self.complete.contains(&partition) {
            return;
        }
        // Planted: a replica counts for quorums from the moment in which the partition is placed on it.
        if planted(Bug::MoveBeforeData) {
            self.complete.insert(partition);
            return;
        }
        let known = |node: &NodeId| *node != self.me && self.placement.knows(*node);
        let placements = [old, without_me, &self.placement].into_iter();
        let holders = placements.flat_map(|placement| placement.replicas(partition));
        let mut sources: BTreeSet<NodeId> = holders.copied().filter(known).collect();
        let before = self.filling.remove(&partition);
        let had_sources = before.is_some();
        sources.extend(before.into_iter().flatten().filter(known));
        if !sources.is_empty() {
            self.filling.insert(partition, sources);
        } else if had_sources {
            // Everybody who may have held more is gone for good: this is all there is.
            self.complete.insert(partition);
        }
    }

    fn leave(&mut self, partition: Partition) {
        let replicas = self.placement.replicas(partition).iter().copied().collect();
        self.leaving.insert(partition, replicas);
    }

    /// Marks a partition that is not placed here as one to hand over and drop. One that is marked already stays as it is:
    /// replicas that were compared with stay so, since what comes in meanwhile goes through the outbox.
    pub(crate) fn leave_at_rest(&mut self, partition: Partition) {
        let viewed = self.placement.nodes().next().is_some();
        if viewed
            && !self.placement.holds(self.me, partition)
            && !self.leaving.contains_key(&partition)
        {
            self.leave(partition);
        }
    }

    /// Marks a partition as one that may lack acknowledged writes, since some of it was found damaged.
    ///
    /// Returns whether it was complete before.
    pub(crate) fn doubt(&mut self, partition: Partition) -> bool {
        if self.placement.nodes().next().is_none() {
            // Before the first view it is not known who else holds it.
            self.filling.entry(partition).or_default();
            return self.complete.remove(&partition);
        }
        let sources = self.others(partition);
        if !self.placement.holds(self.me, partition) || sources.is_empty() {
            return false;
        }
        self.filling.entry(partition).or_default().extend(sources);
        self.complete.remove(&partition)
    }

    /// A comparison of `partition` with `peer` has been carried through.
    pub(crate) fn compared(&mut self, peer: NodeId, partition: Partition, claim: Claim) -> Settled {
        if let Some(sources) = self.filling.get_mut(&partition) {
            sources.remove(&peer);
            if sources.is_empty() {
                self.filling.remove(&partition);
                self.complete.insert(partition);
                return Settled::Complete;
            }
        }
        if let Some(targets) = self.leaving.get_mut(&partition) {
            if claim == Claim::Stray && targets.contains(&peer) {
                return Settled::NotYet;
            }
            targets.remove(&peer);
            // Planted: the first new replica that has it is enough to drop it here.
            if planted(Bug::CopyDroppedEarly) {
                targets.clear();
            }
            if targets.is_empty() {
                self.leaving.remove(&partition);
                return Settled::Droppable;
            }
        }
        Settled::Nothing
    }

    /// Partitions that wait for a comparison with `peer` before they are complete or may be dropped.
    pub(crate) fn due_with(&self, peer: NodeId) -> BTreeSet<Partition> {
        let waits = |map: &BTreeMap<Partition, BTreeSet<NodeId>>| {
            map.iter()
                .filter(|(_, peers)| peers.contains(&peer))
                .map(|(partition, _)| *partition)
                .collect::<Vec<_>>()
        };
        waits(&self.filling)
            .into_iter()
            .chain(waits(&self.leaving))
            .collect()
    }

    /// Partitions that both this node and `peer` are to hold.
    pub(crate) fn shared_with(&self, peer: NodeId) -> BTreeSet<Partition> {
        let mine = self.placement.partitions_of(self.me).iter().copied();
        mine.filter(|partition| self.placement.holds(peer, *partition))
            .collect()
    }

    pub(crate) fn replicas(&self, position: &Position) -> &[NodeId] {
        self.placement.replicas(position.partition())
    }

    /// The replicas of a partition but for this node.
    pub(crate) fn others(&self, partition: Partition) -> BTreeSet<NodeId> {
        self.placement
            .replicas(partition)
            .iter()
            .copied()
            .filter(|node| *node != self.me)
            .collect()
    }

    pub(crate) fn is_replica(&self, partition: Partition) -> bool {
        self.placement.holds(self.me, partition)
    }

    pub(crate) fn is_complete(&self, partition: Partition) -> bool {
        self.complete.contains(&partition)
    }

    pub(crate) const fn placement(&self) -> &Placement {
        &self.placement
    }

    /// Partitions placed here that are not complete yet.
    pub(crate) fn filling_len(&self) -> usize {
        self.filling.len()
    }

    /// Partitions not placed here that are still to be handed over.
    pub(crate) fn leaving_len(&self) -> usize {
        self.leaving.len()
    }

    /// The complete partitions, for the store.
    pub(crate) fn encode_complete(&self) -> Vec<u8> {
        records::encode(&PartitionSet::from(&self.complete))
    }
}

#[cfg(test)]
mod tests {
    use meshwork_dht::Seat;

    use super::*;

    fn node(n: u8) -> NodeId {
        NodeId::from_bytes([n; 32])
    }

    fn view(nodes: impl IntoIterator<Item = u8>) -> View {
        View {
            nodes: nodes
                .into_iter()
                .map(|n| (node(n), Seat::new("", 1)))
                .collect(),
        }
    }

    #[test]
    fn a_founder_is_complete_and_a_joiner_only_after_comparing_with_every_holder() {
        let mut founder = Holdings::new(node(1), 3, Partition::all().collect());
        founder.set_view(view([1]));
        assert_eq!(founder.filling_len(), 0);

        let mut joiner = Holdings::new(node(2), 3, BTreeSet::new());
        joiner.set_view(view([2]));
        let first = Partition::new(0).unwrap();
        assert!(
            !joiner.is_complete(first),
            "alone, it cannot know what the mesh holds"
        );
        joiner.set_view(view([1, 2]));
        assert_eq!(joiner.due_with(node(1)).len(), 4096);
        assert_eq!(
            joiner.compared(node(1), first, Claim::Replica),
            Settled::Complete
        );
        assert!(joiner.is_complete(first));
    }

    #[test]
    fn a_joiner_that_was_alone_at_first_compares_with_those_it_takes_the_place_of() {
        let mut joiner = Holdings::new(node(9), 3, BTreeSet::new());
        joiner.set_view(view([9]));
        joiner.set_view(view([1, 2, 3, 9]));
        let placed = Partition::all().filter(|partition| joiner.is_replica(*partition));
        for partition in placed.collect::<Vec<_>>() {
            for source in [1, 2, 3] {
                assert!(!joiner.is_complete(partition));
                joiner.compared(node(source), partition, Claim::Replica);
            }
            assert!(joiner.is_complete(partition));
        }
    }

    #[test]
    fn a_lost_partition_is_dropped_only_when_every_new_replica_has_it() {
        let mut holdings = Holdings::new(node(1), 1, Partition::all().collect());
        holdings.set_view(view([1]));
        holdings.set_view(view([1, 2]));
        let lost = *holdings.due_with(node(2)).first().unwrap();
        assert!(!holdings.is_replica(lost));
        assert_eq!(
            holdings.compared(node(3), lost, Claim::Replica),
            Settled::Nothing
        );
        assert_eq!(
            holdings.compared(node(2), lost, Claim::Stray),
            Settled::NotYet
        );
        assert_eq!(
            holdings.compared(node(2), lost, Claim::Replica),
            Settled::Droppable
        );
    }

    #[test]
    fn sources_that_are_gone_for_good_no_longer_hold_up_a_filling_partition() {
        let mut holdings = Holdings::new(node(2), 3, BTreeSet::new());
        holdings.set_view(view([1, 2]));
        assert_eq!(holdings.filling_len(), 4096);
        holdings.set_view(view([2]));
        assert_eq!(holdings.filling_len(), 0);
        assert!(holdings.is_complete(Partition::new(9).unwrap()));
    }

    #[test]
    fn damage_found_before_the_first_view_is_not_forgotten() {
        let mut holdings = Holdings::new(node(1), 3, Partition::all().collect());
        let first = Partition::new(0).unwrap();
        assert!(holdings.doubt(first));
        let mut alone = Holdings::new(node(1), 3, Partition::all().collect());
        assert!(alone.doubt(first));
        holdings.set_view(view([1, 2]));
        assert!(!holdings.is_complete(first));
        assert_eq!(
            holdings.compared(node(2), first, Claim::Replica),
            Settled::Complete
        );
        alone.set_view(view([1]));
        assert!(alone.is_complete(first), "this is all there is");
    }

    #[test]
    fn a_resting_partition_keeps_those_it_was_compared_with() {
        let mut holdings = Holdings::new(node(1), 2, Partition::all().collect());
        holdings.set_view(view([1, 2, 3]));
        let lost = Partition::all().find(|p| !holdings.is_replica(*p)).unwrap();
        assert_eq!(
            holdings.compared(node(2), lost, Claim::Replica),
            Settled::Nothing
        );
        holdings.leave_at_rest(lost);
        assert_eq!(
            holdings.compared(node(3), lost, Claim::Replica),
            Settled::Droppable
        );
        holdings.leave_at_rest(lost);
        assert_eq!(
            holdings.compared(node(2), lost, Claim::Replica),
            Settled::Nothing
        );
    }

    #[test]
    fn a_damaged_partition_is_complete_again_only_after_the_others() {
        let mut holdings = Holdings::new(node(1), 3, Partition::all().collect());
        holdings.set_view(view([1, 2, 3]));
        let first = Partition::new(0).unwrap();
        assert!(holdings.doubt(first) && !holdings.doubt(first));
        assert!(!holdings.is_complete(first));
        assert_eq!(
            holdings.compared(node(2), first, Claim::Replica),
            Settled::Nothing
        );
        assert_eq!(
            holdings.compared(node(3), first, Claim::Replica),
            Settled::Complete
        );
    }
}
