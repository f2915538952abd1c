//! What has to move when the view changes.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use meshwork_membership::NodeId;

use crate::{Partition, Placement};

/// What one partition needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which partition.
    pub partition: Partition,
    /// The nodes that begin to hold it and need a copy; may be empty. Closest to the partition first.
    pub to: Vec<NodeId>,
    /// The nodes that have held it so far: first those that are still in the view, then those that are not and may be
    /// beyond reach. Closest first within both.
    pub sources: Vec<NodeId>,
    /// How many of the sources are still in the view.
    pub survivors: usize,
    /// The nodes that need not hold it any more. They drop it only when all of `to` have it.
    pub drop_from: Vec<NodeId>,
}

/// What leads from one placement to the next, in the order in which it is best done.
///
/// Steps that copy come before steps that only drop. Among those that copy, the ones with the fewest surviving copies
/// come first, since the next failure would hurt them most; ties are settled by the number of the partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MovePlan {
    steps: Vec<Step>,
}

impl MovePlan {
    /// The plan that leads from `old` to `new`; empty when they place all partitions alike.
    #[must_use]
    pub fn between(old: &Placement, new: &Placement) -> Self {
        let mut steps: Vec<Step> = Partition::all()
            .filter_map(|partition| Step::between(partition, old, new))
            .collect();
        steps.sort_by_key(|step| (step.to.is_empty(), step.survivors, step.partition));
        Self { steps }
    }

    /// Every partition that changes hands, the most urgent first.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether nothing changes hands.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The partitions that a node begins to hold, in the order of the steps.
    pub fn gains(&self, node: NodeId) -> impl Iterator<Item = Partition> {
        let steps = self.steps.iter();
        steps.filter_map(move |step| step.to.contains(&node).then_some(step.partition))
    }

    /// The partitions that a node need not hold any more, in the order of the steps.
    pub fn losses(&self, node: NodeId) -> impl Iterator<Item = Partition> {
        let steps = self.steps.iter();
        steps.filter_map(move |step| step.drop_from.contains(&node).then_some(step.partition))
    }

    /// Copies of a partition that have to be made.
    #[must_use]
    pub fn copies(&self) -> usize {
        self.steps.iter().map(|step| step.to.len()).sum()
    }

    /// Copies of a partition that may be dropped.
    #[must_use]
    pub fn drops(&self) -> usize {
        self.steps.iter().map(|step| step.drop_from.len()).sum()
    }

    /// Partitions that somebody held and no node of the new view does.
    #[must_use]
    pub fn orphans(&self) -> usize {
        let orphaned = |step: &&Step| step.survivors == 0 && !step.sources.is_empty();
        self.steps.iter().filter(orphaned).count()
    }

    /// Copies to be made, by the node that gets them.
    #[must_use]
    pub fn copies_by_node(&self) -> BTreeMap<NodeId, usize> {
        let mut copies = BTreeMap::new();
        for node in self.steps.iter().flat_map(|step| &step.to) {
            *copies.entry(*node).or_default() += 1;
        }
        copies
    }
}

/// One line of counts: `812 partitions change: 812 copies to 3 nodes, 0 drops, 0 without a surviving copy`.
impl fmt::Display for MovePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} partitions change: {} copies to {} nodes, {} drops, {} without a surviving copy",
            self.steps.len(),
            self.copies(),
            self.copies_by_node().len(),
            self.drops(),
            self.orphans(),
        )
    }
}

impl Step {
    /// What a partition needs; nothing when the same nodes hold it.
    fn between(partition: Partition, old: &Placement, new: &Placement) -> Option<Self> {
        let (before, after) = (old.replicas(partition), new.replicas(partition));
        let without = |nodes: &[NodeId], others: &[NodeId]| -> Vec<NodeId> {
            let others: BTreeSet<&NodeId> = others.iter().collect();
            nodes
                .iter()
                .filter(|node| !others.contains(node))
                .copied()
                .collect()
        };
        let (to, drop_from) = (without(after, before), without(before, after));
        if to.is_empty() && drop_from.is_empty() {
            return None;
        }
        let (mut sources, gone): (Vec<NodeId>, Vec<NodeId>) =
            before.iter().partition(|node| new.knows(**node));
        let survivors = sources.len();
        sources.extend(gone);
        Some(Self {
            partition,
            to,
            sources,
            survivors,
            drop_from,
        })
    }
}

#[cfg(test)]
mod tests;
