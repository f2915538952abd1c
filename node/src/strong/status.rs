//! What a node can say about its strong part at a moment.

use std::collections::BTreeSet;

use meshwork_membership::NodeId;
use serde::Serialize;

use super::core::Strong;
use super::group::{Group, Heard};
use super::leader::leader_of;
use super::records::VoterId;

/// The strong group as one node sees it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StrongStatus {
    /// The group, in hexadecimal; none that this node has heard of if left out.
    pub group: Option<String>,
    /// `voter`, `learner` or `none`: what this node is in it.
    pub role: &'static str,
    /// Why this node takes no part although it did.
    pub out: Option<String>,
    /// The node that leads, in hexadecimal, as far as this one knows. Only voters and learners know.
    pub leader: Option<String>,
    /// The term: how many elections there were at least.
    pub term: u64,
    /// Entries applied here.
    pub applied: u64,
    /// Commands applied here: the revision of the state.
    pub revision: u64,
    /// Bytes of the log since it was last cut.
    pub log_bytes: usize,
    /// The last entry in the snapshot on disk, and the snapshot's bytes.
    pub snapshot_index: u64,
    /// Bytes of the snapshot on disk.
    pub snapshot_bytes: u64,
    /// Voters and learners.
    pub members: Vec<GroupMember>,
    /// Namespaces whose keys are the group's.
    pub namespaces: Vec<String>,
}

/// A voter or learner.
#[derive(Clone, Debug, Serialize)]
pub struct GroupMember {
    /// Its node, in hexadecimal.
    pub node: String,
    /// `voter` or `learner`.
    pub role: &'static str,
    /// Entries that it lacks, and whether it was heard of lately; the leader alone knows.
    pub lag: Option<u64>,
    /// Whether it was heard of within the last election timeout; the leader alone knows.
    pub heard: Option<bool>,
}

/// Whose majorities decide.
#[cfg(feature = "sim")]
#[derive(Clone, Debug)]
pub(crate) struct Voters {
    /// The entry that made it so.
    pub(crate) index: u64,
    /// The voters, and while they change those before.
    pub(crate) majorities: [BTreeSet<VoterId>; 2],
}

impl Strong {
    /// Who votes, as far as this voter or learner knows.
    #[cfg(feature = "sim")]
    pub(crate) fn voters(&self) -> Option<Voters> {
        let config = self.group()?.log().config();
        Some(Voters {
            index: config.index,
            majorities: [config.voters.clone(), config.outgoing.clone()],
        })
    }

    /// What this node can say about the group.
    pub(crate) fn status(&self) -> StrongStatus {
        let roster = self.roster();
        let group = self.group();
        let id = roster.map(|roster| roster.group);
        let id = id.or_else(|| Some(group?.log().head.group));
        let standing = group.map(Group::standing);
        let leader = group.and_then(leader_of);
        let snapshot = group.map(|group| group.log().snapshot());
        StrongStatus {
            group: id.map(|id| data_encoding::HEXLOWER.encode(&id.0)),
            role: group.map_or("none", role),
            out: self.out().map(str::to_owned),
            leader: leader.map(|leader| leader.to_string()),
            term: standing.map_or(0, |standing| standing.term),
            applied: group.map_or(0, Group::applied),
            revision: group.map_or(0, |group| group.state().revision().0),
            log_bytes: group.map_or(0, |group| group.log().bytes()),
            snapshot_index: snapshot.map_or(0, |snapshot| snapshot.index),
            snapshot_bytes: snapshot.map_or(0, |snapshot| snapshot.bytes),
            members: group.map_or_else(|| listed(self), members),
            namespaces: roster
                .into_iter()
                .flat_map(|roster| roster.namespaces.iter().cloned())
                .collect(),
        }
    }
}

fn role(group: &Group) -> &'static str {
    let log = group.log();
    role_of(&log.config().voters, log.head.me)
}

fn role_of(voters: &BTreeSet<VoterId>, id: VoterId) -> &'static str {
    if voters.contains(&id) {
        "voter"
    } else {
        "learner"
    }
}

fn members(group: &Group) -> Vec<GroupMember> {
    let config = group.log().config();
    let last = group.log().last();
    let leads = group.standing().leads;
    let member = |(id, matched, heard): (u64, u64, Heard)| {
        let node = config.nodes.get(&id)?;
        Some(GroupMember {
            node: node.to_string(),
            role: role_of(&config.voters, id),
            lag: leads.then(|| last.saturating_sub(matched)),
            heard: leads.then_some(heard == Heard::Lately || id == group.log().head.me),
        })
    };
    group.progress().filter_map(member).collect()
}

/// What a node outside the group knows of those in it.
fn listed(strong: &Strong) -> Vec<GroupMember> {
    let Some(roster) = strong.roster() else {
        return Vec::new();
    };
    let member = |(id, node): (&VoterId, &NodeId)| GroupMember {
        node: node.to_string(),
        role: role_of(&roster.voters, *id),
        lag: None,
        heard: None,
    };
    roster.nodes.iter().map(member).collect()
}
