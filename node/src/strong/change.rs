//! Changes of who votes.

use std::collections::{BTreeMap, BTreeSet};

use meshwork_membership::NodeId;
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState,
};
use serde::{Deserialize, Serialize};

use super::records::{Config, VoterId};

/// A change of the voters, carried out as one: with joint consensus where it takes more than one step (Ongaro and Ousterhout 2014, section 6).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// Empty: the transition is over.
    pub(crate) steps: Vec<Step>,
}

/// A part of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// Votes from now on.
    Voter(VoterId, NodeId),
    /// Follows without a vote.
    Learner(VoterId, NodeId),
    /// Is out.
    Remove(VoterId),
}

impl Change {
    pub(crate) fn to_raft(&self) -> ConfChangeV2 {
        let mut change = ConfChangeV2::default();
        change.set_transition(ConfChangeTransition::Auto);
        let steps = self.steps.iter().map(|step| {
            let mut single = ConfChangeSingle::default();
            let (kind, id) = match step {
                Step::Voter(id, _) => (ConfChangeType::AddNode, id),
                Step::Learner(id, _) => (ConfChangeType::AddLearnerNode, id),
                Step::Remove(id) => (ConfChangeType::RemoveNode, id),
            };
            single.set_change_type(kind);
            single.node_id = *id;
            single
        });
        change.changes = steps.collect::<Vec<_>>().into();
        change
    }

    /// The voters after it, of which raft has worked out the roles.
    pub(crate) fn applied(&self, index: u64, before: &Config, roles: &ConfState) -> Config {
        let set = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<_>>();
        let mut config = Config {
            index,
            voters: set(&roles.voters),
            outgoing: set(&roles.voters_outgoing),
            learners: set(&roles.learners),
            learners_next: set(&roles.learners_next),
            auto_leave: roles.auto_leave,
            nodes: BTreeMap::new(),
        };
        let mut nodes = before.nodes.clone();
        nodes.extend(self.steps.iter().filter_map(|step| match step {
            Step::Voter(id, node) | Step::Learner(id, node) => Some((*id, *node)),
            Step::Remove(_) => None,
        }));
        let members = config.members();
        nodes.retain(|id, _| members.contains(id));
        config.nodes = nodes;
        config
    }
}
