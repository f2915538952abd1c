//! The member list, with its indexes.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Member, NodeId, State, Time};

/// What this node knows about one other member.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) member: Member,
    /// When a suspect is down, or one that is gone is forgotten.
    pub(crate) deadline: Option<Time>,
    /// Whether it ever spoke to this node: what others made up never does.
    pub(crate) heard: bool,
    /// When it was last told what is held against it.
    pub(crate) told: Option<Time>,
    /// When it was last told what this node says about itself.
    pub(crate) corrected: Option<Time>,
    /// When lists were last exchanged with it.
    pub(crate) exchanged: Option<Time>,
    /// Peers that call it `Down` at this incarnation.
    pub(crate) down_by: Witnesses,
    /// Peers that call it `Left` at this incarnation.
    pub(crate) left_by: Witnesses,
}

/// Distinct peers that said the same thing; a few are enough to know.
#[derive(Debug, Default)]
pub(crate) struct Witnesses(Vec<NodeId>);

impl Witnesses {
    /// Adds one, and says how many there are.
    pub(crate) fn add(&mut self, peer: NodeId, count_max: usize) -> usize {
        if self.0.len() < count_max && !self.0.contains(&peer) {
            self.0.push(peer);
        }
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// All other members. Every deadline belongs to the state in force: a change of state cancels it, so that no
/// suspicion outlives its refutation.
#[derive(Debug, Default)]
pub(crate) struct Table {
    records: BTreeMap<NodeId, Record>,
    live: BTreeSet<NodeId>,
    down: BTreeSet<NodeId>,
    deadlines: BTreeSet<(Time, NodeId)>,
}

impl Table {
    pub(crate) fn get(&self, id: NodeId) -> Option<&Record> {
        self.records.get(&id)
    }

    /// For the fields that no index depends on.
    pub(crate) fn get_mut(&mut self, id: NodeId) -> Option<&mut Record> {
        self.records.get_mut(&id)
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// `Alive` and `Suspect` members.
    pub(crate) const fn live(&self) -> &BTreeSet<NodeId> {
        &self.live
    }

    /// `Down` members.
    pub(crate) const fn down(&self) -> &BTreeSet<NodeId> {
        &self.down
    }

    /// Number of members that are `Down` or `Left`.
    pub(crate) fn gone(&self) -> usize {
        self.records.len() - self.live.len()
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// A member whose deadline has come, if any.
    pub(crate) fn due(&self, now: Time) -> Option<NodeId> {
        self.deadlines
            .first()
            .filter(|(at, _)| *at <= now)
            .map(|(_, id)| *id)
    }

    /// Adds a member or replaces what is known about it, with the deadline of its new state. Witnesses start anew.
    pub(crate) fn put(&mut self, member: Member, deadline: Option<Time>) {
        let id = member.id;
        let old = self.remove(id);
        if member.state.is_live() {
            self.live.insert(id);
        } else if member.state == State::Down {
            self.down.insert(id);
        }
        self.deadlines.extend(deadline.map(|at| (at, id)));
        let record = Record {
            member,
            deadline,
            heard: old.as_ref().is_some_and(|old| old.heard),
            told: old.as_ref().and_then(|old| old.told),
            corrected: old.as_ref().and_then(|old| old.corrected),
            exchanged: old.and_then(|old| old.exchanged),
            down_by: Witnesses::default(),
            left_by: Witnesses::default(),
        };
        self.records.insert(id, record);
    }

    /// Moves a member's deadline.
    pub(crate) fn set_deadline(&mut self, id: NodeId, at: Time) {
        if let Some(record) = self.records.get_mut(&id) {
            if let Some(old) = record.deadline.replace(at) {
                self.deadlines.remove(&(old, id));
            }
            self.deadlines.insert((at, id));
        }
    }

    pub(crate) fn remove(&mut self, id: NodeId) -> Option<Record> {
        let record = self.records.remove(&id)?;
        self.live.remove(&id);
        self.down.remove(&id);
        if let Some(at) = record.deadline {
            self.deadlines.remove(&(at, id));
        }
        Some(record)
    }

    /// Whom to forget when too many are gone: one that never spoke to this node, else the nearest to its deadline.
    pub(crate) fn least_worth_remembering(&self) -> Option<NodeId> {
        let gone = || {
            self.deadlines
                .iter()
                .filter_map(|(_, id)| self.records.get(id))
                .filter(|record| !record.member.state.is_live())
        };
        gone()
            .find(|record| !record.heard)
            .or_else(|| gone().next())
            .map(|record| record.member.id)
    }

    /// The suspects.
    pub(crate) fn suspects(&self) -> Vec<NodeId> {
        let suspects = self.deadlines.iter().map(|(_, id)| *id);
        suspects.filter(|id| self.live.contains(id)).collect()
    }

    /// A live member that never spoke to this node.
    pub(crate) fn unheard(&self) -> Option<NodeId> {
        self.live
            .iter()
            .find(|id| self.records.get(id).is_some_and(|record| !record.heard))
            .copied()
    }

    /// A sum over the live members that is the same for the same members at the same incarnations, in any order.
    pub(crate) fn digest(&self, me: &Member) -> u64 {
        let live = self.live.iter().filter_map(|id| self.records.get(id));
        live.map(|record| &record.member)
            .chain([me])
            .map(|member| hash(member.id, member.incarnation))
            .fold(0, u64::wrapping_add)
    }
}

/// FNV-1a (Fowler, Noll, Vo) with the last steps of MurmurHash3, so that a sum of hashes is as good as one.
/// Not a secure one: whoever forges a digest only keeps lists apart until gossip or the next exchange.
fn hash(id: NodeId, incarnation: u64) -> u64 {
    let bytes = id
        .as_bytes()
        .iter()
        .copied()
        .chain(incarnation.to_le_bytes());
    let sum = bytes.fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let sum = (sum ^ (sum >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    sum ^ (sum >> 33)
}
