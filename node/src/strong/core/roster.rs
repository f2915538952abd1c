//! What everybody knows of the group, and who may form it.

use std::collections::BTreeSet;

use meshwork_membership::{NodeId, Time};
use meshwork_sync::{Batch, Origin, Space};

use super::{ASK_TO_FORM, Ability, Stored, Strong, StrongOutput};
use crate::strong::group::Group;
use crate::strong::message::{Message, Roster};
use crate::strong::records::{self, FORMED_BY, ROSTER};

impl Strong {
    /// Tells everybody of the group when what they should know of it has changed.
    pub(super) fn tell_roster(&mut self, now: Time, group: &Group) {
        let config = group.log().config();
        if config.nodes.is_empty() {
            return;
        }
        let known = self.roster.as_ref();
        // Those of a group that was lost are the group's also while it does not hold them again.
        let mut namespaces = known.map_or_else(BTreeSet::new, |known| known.namespaces.clone());
        namespaces.extend(group.state().namespaces().iter().cloned());
        let mut roster = Roster {
            group: group.log().head.group,
            era: known.map_or(0, |known| known.era),
            index: known.map_or(0, |known| known.index),
            nodes: config.nodes.clone(),
            voters: &config.voters | &config.outgoing,
            namespaces,
        };
        let is_news = known.is_none_or(|known| {
            known.index < group.applied() && (*known != roster || !known.is_formed())
        });
        if is_news {
            roster.index = group.applied();
            self.set_roster(now, roster, None);
        }
    }

    /// Somebody tells of the group. Once one is known only those who belong to it are believed.
    pub(super) fn hear_roster(&mut self, now: Time, from: NodeId, roster: Roster) {
        let believed = match &self.roster {
            None => !self.votes_elsewhere(&roster),
            Some(known) if known.group != roster.group => {
                let stays = self.out.is_some() || self.votes_elsewhere(&roster);
                let succeeds = !stays && self.succeeds(known, from, &roster);
                if !succeeds && roster.era >= known.era {
                    tracing::error!(peer = %from, "a member tells of a second strong group; it is not believed");
                }
                succeeds
            }
            Some(known) => {
                let belongs = known.nodes.values().any(|node| *node == from);
                known.index < roster.index && (belongs || self.is_cut_off(known))
            }
        };
        if believed && roster.is_sound() {
            self.set_roster(now, roster, Some(from));
        }
    }

    fn set_roster(&mut self, now: Time, roster: Roster, from: Option<NodeId>) {
        let of_another = |group: &Group| group.log().head.group != roster.group;
        if self.group().is_some_and(of_another) {
            self.group = None;
            self.stay_out(BEGUN_ANEW.into());
        }
        for peer in self.connected.clone() {
            if Some(peer) != from {
                self.send(peer, &Message::Roster(Box::new(roster.clone())));
            }
        }
        self.keep_roster(now, roster);
    }

    /// Whether this node votes in another group, which cannot be lost then.
    fn votes_elsewhere(&self, roster: &Roster) -> bool {
        self.group().is_some_and(|group| {
            let head = group.log().head;
            head.group != roster.group && group.log().config().voters.contains(&head.me)
        })
    }

    /// Knows a roster, and has told nobody yet.
    pub(super) fn keep_roster(&mut self, now: Time, roster: Roster) {
        let mut batch = Batch::default();
        batch.put(Space::Strong, ROSTER, records::encode(&roster));
        self.store(batch, Stored::Roster);
        self.roster = Some(roster);
        self.follow_roster(now);
        self.ask_to_form = None;
    }

    /// Tells the parts of this node where the group is found, and what is its own.
    pub(super) fn follow_roster(&mut self, now: Time) {
        if let Some(roster) = &self.roster {
            self.client.set_nodes(now, roster.nodes.values().copied());
            let namespaces = roster.namespaces.clone();
            self.outputs.push_back(StrongOutput::Namespaces(namespaces));
        }
    }

    pub(super) fn ask_to_form(&mut self, now: Time) {
        self.ask_to_form = Some(now + ASK_TO_FORM);
        if self.setup.origin == Origin::Founder && self.formed_by.is_none() {
            return self.asked_to_form(now, self.setup.me);
        }
        self.send(self.setup.founder, &Message::MayForm);
    }

    /// The mesh's founder lets one node form the group, once. Whoever asks again gets the same answer, since it may not have heard it.
    pub(super) fn asked_to_form(&mut self, now: Time, node: NodeId) {
        if self.setup.origin != Origin::Founder || self.roster.is_some() {
            return;
        }
        match self.formed_by {
            Some(by) if by == node => self.let_form(now, node),
            Some(_) => {}
            None if self.leave_under_way => {}
            None => {
                self.leave_under_way = true;
                let mut batch = Batch::default();
                batch.put(Space::Strong, FORMED_BY, records::encode(&node));
                self.store(batch, Stored::Leave(node));
            }
        }
    }

    pub(super) fn let_form(&mut self, now: Time, node: NodeId) {
        if node == self.setup.me {
            self.form(now);
        } else {
            self.send(node, &Message::Form);
        }
    }

    pub(super) fn form(&mut self, now: Time) {
        let may = self.setup.ability == Ability::Votes && self.setup.origin != Origin::Restored;
        if !may || self.group.is_some() || self.roster.is_some() || self.out.is_some() {
            return;
        }
        let id = self.draw_group_id();
        self.begin(now, id);
    }
}

/// To a learner of a group that was lost. What it does now may still be on its way to the disk.
const BEGUN_ANEW: &str =
    "the strong group was lost and has begun anew: restart this node, so that it takes part again";
