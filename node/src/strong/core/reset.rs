//! A new group for a mesh whose old one is lost: its only voter's store is gone, or was restored.
//!
//! Nobody else can have agreed on anything since, so the node that the vote was on is believed when it tells of a group of a later era. It begins one
//! only where an operator says so, since only they know that the old store will not come back.

use std::sync::Arc;

use meshwork_membership::{NodeId, Time};
use meshwork_sync::{Batch, ReadStore};
use rand::Rng;

use super::{Ability, Strong};
use crate::strong::group::Group;
use crate::strong::message::Roster;
use crate::strong::records::{self, GroupId};

/// No new strong group is begun. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResetStrong {
    /// This node only asks.
    #[error("this node was not set up to vote (`--voter`)")]
    Asks,
    /// There never was one, or this node has not heard of it yet.
    #[error("this node knows of no strong group that could be lost")]
    NoGroup,
    /// It is there.
    #[error(
        "this node has a part in the strong group, which goes on as soon as a majority of its voters is there"
    )]
    Alive,
    /// They decide.
    #[error(
        "other nodes vote in the strong group: it goes on as soon as a majority of its voters is there"
    )]
    Others,
    /// Its disk is full or cannot be read, or what it did in this run may still be on its way there.
    #[error(
        "this node takes no part in the strong group now, but what it held may be there: see `meshwork strong status`, restart the node, and try again"
    )]
    Restart,
    /// The disk's fault.
    #[error(transparent)]
    Store(#[from] ReadStore),
}

impl Strong {
    /// Begins a new group, which holds nothing, in place of one whose only voter was on this node and is gone.
    pub(crate) fn reset(&mut self, now: Time) -> Result<(), ResetStrong> {
        if self.setup.ability != Ability::Votes {
            return Err(ResetStrong::Asks);
        }
        let lost = self.roster.as_ref().ok_or(ResetStrong::NoGroup)?;
        if self.group.is_some() {
            return Err(ResetStrong::Alive);
        }
        if !lost.is_alone(self.setup.me) {
            return Err(ResetStrong::Others);
        }
        if !self.gone {
            return Err(ResetStrong::Restart);
        }
        let era = lost.era + 1;
        let namespaces = lost.namespaces.clone();
        self.forget_group()?;
        let group = self.draw_group_id();
        tracing::warn!(era, "the strong group is lost, and a new one begins");
        // The namespaces stay strong: nobody is to write their keys past the group, also while it does not hold them.
        let roster = Roster {
            group,
            era,
            index: 0,
            nodes: [(self.voter(), self.setup.me)].into(),
            voters: [self.voter()].into(),
            namespaces,
        };
        // Others hear of it from the group, once all of this is on the disk.
        self.keep_roster(now, roster);
        self.out = None;
        self.begin(now, group);
        Ok(())
    }

    /// Why the group cannot go on by itself, if this node knows.
    pub(super) fn lost(&self) -> Option<&'static str> {
        let roster = self.roster.as_ref().filter(|_| self.gone)?;
        roster.is_alone(self.setup.me).then_some(
            "this node was the group's only voter, and what it held is gone: the group cannot go on. If no other copy of this node's folder \
             has it, `meshwork strong reset` begins a new group, and `meshwork strong restore` fills it from a backup",
        )
    }

    /// Whether a group that a member tells of follows on the one that is known.
    pub(super) fn succeeds(&self, known: &Roster, from: NodeId, roster: &Roster) -> bool {
        roster.era > known.era && (known.is_alone(from) || self.is_cut_off(known))
    }

    /// Whether none of those in the group is connected: after a long absence all of them may have been replaced.
    pub(super) fn is_cut_off(&self, known: &Roster) -> bool {
        let mut nodes = known.nodes.values();
        !nodes.any(|node| self.connected.contains(node))
    }

    /// What this node held of a group that is lost. Only before it had a part in one in this run: nothing of it is on its way to the disk then.
    pub(super) fn forget_group(&mut self) -> Result<(), ReadStore> {
        let mut batch = Batch::default();
        records::forget_group(&*self.store, &mut batch)?;
        self.store(batch, super::Stored::Roster);
        Ok(())
    }

    /// Forms a group with this node as its only voter.
    pub(super) fn begin(&mut self, now: Time, id: GroupId) {
        let who = self.who(id);
        self.ask_to_form = None;
        self.take_part(Group::form(
            Arc::clone(&self.store),
            who,
            self.setup.me,
            now,
        ));
        self.touched = Some(now);
    }

    pub(super) fn draw_group_id(&mut self) -> GroupId {
        let mut id = [0; 16];
        self.rng.fill_bytes(&mut id);
        GroupId(id)
    }
}
