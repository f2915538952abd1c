//! What everybody knows of the group, and who may form it.

use std::sync::Arc;

use meshwork_membership::{NodeId, Time};
use meshwork_sync::{Batch, Origin, Space};
use rand::Rng;

use super::{ASK_TO_FORM, Ability, Stored, Strong, StrongOutput};
use crate::strong::group::Group;
use crate::strong::message::{Message, Roster};
use crate::strong::records::{self, FORMED_BY, GroupId, ROSTER};

impl Strong {
    /// Tells everybody of the group when what they should know of it has changed.
    pub(super) fn tell_roster(&mut self, now: Time, group: &Group) {
        let config = group.log().config();
        if config.nodes.is_empty() {
            return;
        }
        let namespaces = group.state().namespaces();
        let known = self.roster.as_ref();
        let same = known
            .is_some_and(|known| known.nodes == config.nodes && known.namespaces == *namespaces);
        if same {
            return;
        }
        let roster = Roster {
            group: group.log().head.group,
            index: group.applied(),
            nodes: config.nodes.clone(),
            namespaces: namespaces.clone(),
        };
        if known.is_none_or(|known| known.index < roster.index) {
            self.set_roster(now, roster, None);
        }
    }

    /// Somebody tells of the group. Once one is known only those who belong to it are believed.
    pub(super) fn hear_roster(&mut self, now: Time, from: NodeId, roster: Roster) {
        let believed = match &self.roster {
            None => true,
            Some(known) if known.group != roster.group => {
                tracing::error!(peer = %from, "a member tells of a second strong group; it is not believed");
                false
            }
            Some(known) => {
                let belongs = known.nodes.values().any(|node| *node == from);
                // After a long absence all of them may have been replaced.
                let alone = !known
                    .nodes
                    .values()
                    .any(|node| self.connected.contains(node));
                known.index < roster.index && (belongs || alone)
            }
        };
        if believed && !roster.nodes.is_empty() {
            self.set_roster(now, roster, Some(from));
        }
    }

    fn set_roster(&mut self, now: Time, roster: Roster, from: Option<NodeId>) {
        let mut batch = Batch::default();
        batch.put(Space::Strong, ROSTER, records::encode(&roster));
        self.store(batch, Stored::Roster);
        for peer in self.connected.clone() {
            if Some(peer) != from {
                self.send(peer, &Message::Roster(Box::new(roster.clone())));
            }
        }
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
        let mut id = [0; 16];
        self.rng.fill_bytes(&mut id);
        let who = self.who(GroupId(id));
        self.opened += 1;
        self.ask_to_form = None;
        let group = Group::form(Arc::clone(&self.store), who, self.setup.me, now);
        self.group = Some(Box::new(group));
    }
}
