//! The member list, with its indexes.

use core::time::Duration;

use std::collections::{BTreeMap, BTreeSet};

use crate::{Coordinate, Member, Meta, NodeId, Purpose, State, Time};

/// What this node knows about one other member. What few members need is kept apart: there may be thousands.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) member: Member,
    /// The [`crate::Meta::hash`] of what it says about itself.
    pub(crate) described: u32,
    /// When a suspect is down, or one that is gone is forgotten.
    pub(crate) deadline: Option<Time>,
    case: Option<Box<Case>>,
    dealings: Option<Box<Dealings>>,
}

impl Record {
    /// What is held against it at this incarnation.
    pub(crate) fn case(&self) -> Option<&Case> {
        self.case.as_deref()
    }

    pub(crate) fn case_mut(&mut self) -> &mut Case {
        self.case.get_or_insert_default()
    }

    /// What passed between it and this node.
    pub(crate) fn dealings(&self) -> Option<&Dealings> {
        self.dealings.as_deref()
    }

    pub(crate) fn dealings_mut(&mut self) -> &mut Dealings {
        self.dealings.get_or_insert_default()
    }

    fn was_heard(&self) -> bool {
        self.dealings().is_some_and(|with| with.heard.is_some())
    }
}

/// What others say of a member at its present incarnation and in its present state.
#[derive(Debug, Default)]
pub(crate) struct Case {
    /// From when on its time to refute is counted.
    pub(crate) counts_from: Time,
    /// The tags of those that accuse it.
    pub(crate) accusers: Vec<u32>,
    /// Peers that call it `Down`.
    pub(crate) down_by: Witnesses,
    /// Peers that call it `Left`.
    pub(crate) left_by: Witnesses,
}

/// What passed between a member and this node, whatever is said about it.
#[derive(Debug, Default)]
pub(crate) struct Dealings {
    /// When it last spoke to this node: what others made up never does.
    pub(crate) heard: Option<Time>,
    /// When it last answered a ping of this node.
    pub(crate) answered: Option<Time>,
    /// When it was last told what is held against it.
    pub(crate) told: Option<Time>,
    /// When it was last told what this node says about itself.
    pub(crate) corrected: Option<Time>,
    /// When lists were last compared or exchanged with it, and what is expected of it next.
    pub(crate) exchanged: Option<(Time, Step)>,
    /// Who last reached it for this node.
    pub(crate) relay: Option<NodeId>,
    pub(crate) round_trips: RoundTrips,
    pub(crate) coordinate: Option<Coordinate>,
}

/// How far a comparison of lists has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// This node asked: the other may send its sums.
    Sums,
    /// This node sent its sums: the other may say what it has.
    Have,
    /// This node said what it has: the other may send what this one lacks, and say what it lacks itself.
    Want,
    /// Nothing more is expected.
    Done,
}

/// The last three round trips that were measured, of which the middle one counts: a single slow one means nothing
/// (the moving filter of Ledlie, Gardner, Seltzer 2007).
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct RoundTrips([Option<u32>; 3]);

impl RoundTrips {
    pub(crate) fn add(&mut self, measured: Duration) {
        let micros = u32::try_from(measured.as_micros()).unwrap_or(u32::MAX);
        let [_, b, c] = self.0;
        self.0 = [b, c, Some(micros)];
    }

    pub(crate) fn typical(&self) -> Option<Duration> {
        let middle = match self.0 {
            [Some(a), Some(b), Some(c)] => a.max(b).min(a.min(b).max(c)),
            [_, Some(a), Some(b)] => a.max(b),
            [_, _, latest] => latest?,
        };
        Some(Duration::from_micros(middle.into()))
    }
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
    /// Over the live members, by the first bits of their ids, and the sum of all: kept up to date, never computed anew.
    sums: [u64; Purpose::BUCKETS],
    sum: u64,
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

    /// The members of one part of the list.
    pub(crate) fn bucket(&self, number: u8) -> impl Iterator<Item = &Record> {
        let bound = |fill: u8| {
            let mut bytes = [fill; NodeId::BYTES];
            bytes[0] = (number << BUCKET_SHIFT) | (fill >> (8 - BUCKET_SHIFT));
            NodeId::from_bytes(bytes)
        };
        self.records
            .range(bound(0)..=bound(0xff))
            .map(|(_, record)| record)
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

    /// Adds a member or replaces what is known about it, with the deadline of its new state. The case starts anew.
    pub(crate) fn put(&mut self, member: Member, deadline: Option<Time>) {
        let id = member.id;
        let old = self.remove(id);
        let described = match &old {
            Some(old) if old.member.meta == member.meta => old.described,
            Some(_) | None => member.meta.hash(),
        };
        let record = Record {
            member,
            described,
            deadline: None,
            case: None,
            dealings: old.and_then(|old| old.dealings),
        };
        self.index(id, Held::from(&record.member), Index::In);
        self.records.insert(id, record);
        self.change_deadline(id, deadline);
    }

    /// Holds a member for something else, with the deadline of its new state. The case starts anew.
    pub(crate) fn hold(&mut self, id: NodeId, held: Held, deadline: Option<Time>) {
        let Some(record) = self.records.get_mut(&id) else {
            return;
        };
        let old = Held::from(&record.member);
        record.member.incarnation = held.incarnation;
        record.member.state = held.state;
        record.member.since = held.since;
        record.case = None;
        self.index(id, old, Index::Out);
        self.index(id, held, Index::In);
        self.change_deadline(id, deadline);
    }

    /// Moves a member's deadline.
    pub(crate) fn set_deadline(&mut self, id: NodeId, at: Time) {
        self.change_deadline(id, Some(at));
    }

    pub(crate) fn remove(&mut self, id: NodeId) -> Option<Record> {
        self.change_deadline(id, None);
        let record = self.records.remove(&id)?;
        self.index(id, Held::from(&record.member), Index::Out);
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
            .find(|record| !record.was_heard())
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
        let unheard = |id: &&NodeId| {
            let record = self.records.get(id);
            record.is_some_and(|record| !record.was_heard())
        };
        self.live.iter().find(unheard).copied()
    }

    /// Changes with the live members and their incarnations.
    pub(crate) const fn sum(&self) -> u64 {
        self.sum
    }

    /// A sum over the live members that is the same for the same members at the same incarnations, in any order.
    pub(crate) fn digest(&self, me: &Member) -> u64 {
        self.sum.wrapping_add(Held::from(me).hash(me.id))
    }

    /// The parts of that sum, shortened.
    pub(crate) fn sums(&self, me: &Member) -> [u32; Purpose::BUCKETS] {
        let own = usize::from(bucket_of(me.id));
        core::array::from_fn(|at| {
            let sum = self.sums.get(at).copied().unwrap_or(0);
            let mine = if at == own {
                Held::from(me).hash(me.id)
            } else {
                0
            };
            short(sum.wrapping_add(mine))
        })
    }

    fn change_deadline(&mut self, id: NodeId, to: Option<Time>) {
        let Some(record) = self.records.get_mut(&id) else {
            return;
        };
        if let Some(old) = core::mem::replace(&mut record.deadline, to) {
            self.deadlines.remove(&(old, id));
        }
        self.deadlines.extend(to.map(|at| (at, id)));
    }

    /// Puts a member into the indexes by its state, or takes it out.
    fn index(&mut self, id: NodeId, held: Held, how: Index) {
        if held.state.is_live() {
            let hash = match how {
                Index::In => held.hash(id),
                Index::Out => held.hash(id).wrapping_neg(),
            };
            self.sum = self.sum.wrapping_add(hash);
            if let Some(sum) = self.sums.get_mut(usize::from(bucket_of(id))) {
                *sum = sum.wrapping_add(hash);
            }
        }
        let index = match held.state {
            State::Alive | State::Suspect => &mut self.live,
            State::Down => &mut self.down,
            State::Left => return,
        };
        match how {
            Index::In => index.insert(id),
            Index::Out => index.remove(&id),
        };
    }
}

/// What a member is held for: what changes often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) incarnation: u64,
    pub(crate) state: State,
    pub(crate) since: Time,
}

impl From<&Member> for Held {
    fn from(member: &Member) -> Self {
        Self {
            incarnation: member.incarnation,
            state: member.state,
            since: member.since,
        }
    }
}

impl Held {
    /// The member that is held for this.
    pub(crate) const fn member(self, id: NodeId, meta: Meta) -> Member {
        let Self {
            incarnation,
            state,
            since,
        } = self;
        Member {
            id,
            incarnation,
            state,
            meta,
            since,
        }
    }

    fn hash(&self, id: NodeId) -> u64 {
        let id = id.as_bytes().iter().copied();
        hash(id.chain(self.incarnation.to_le_bytes()))
    }
}

#[derive(Clone, Copy)]
enum Index {
    In,
    Out,
}

/// Which part of a list an id belongs to: its first five bits.
pub(crate) const fn bucket_of(id: NodeId) -> u8 {
    let [first, ..] = *id.as_bytes();
    first >> BUCKET_SHIFT
}

/// What a member is compared by in an exchange: its incarnation, and whether it is live.
pub(crate) fn compared_by(member: &Member) -> u32 {
    let gone = u64::from(!member.state.is_live());
    short(Held::from(member).hash(member.id).wrapping_add(gone))
}

const BUCKET_SHIFT: u32 = 3;

fn short(sum: u64) -> u32 {
    u32::try_from((sum ^ (sum >> 32)) & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

/// FNV-1a (Fowler, Noll, Vo) with the last steps of MurmurHash3, so that a sum of hashes is as good as one.
/// Not a secure one: whoever forges a digest only keeps lists apart until gossip or the next exchange.
pub(crate) fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    let sum = bytes.fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let sum = (sum ^ (sum >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    sum ^ (sum >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Meta;

    fn member(n: u8, incarnation: u64, state: State) -> Member {
        let mut bytes = [n; 32];
        bytes[0] = n.wrapping_mul(37);
        Member {
            id: NodeId::from_bytes(bytes),
            incarnation,
            state,
            meta: Meta::default(),
            since: Time::ZERO,
        }
    }

    #[test]
    fn sums_follow_every_change_and_do_not_depend_on_the_order() {
        let me = member(200, 3, State::Alive);
        let (mut one, mut other) = (Table::default(), Table::default());
        (0..100).for_each(|n| one.put(member(n, 0, State::Alive), None));
        (0..100).for_each(|n| one.put(member(n, 1, State::Suspect), None));
        one.put(member(7, 1, State::Down), None);
        one.remove(member(8, 1, State::Alive).id);
        let kept = (0..100).rev().filter(|n| *n != 7 && *n != 8);
        kept.for_each(|n| other.put(member(n, 1, State::Alive), None));
        assert_eq!(one.digest(&me), other.digest(&me));
        assert_eq!(one.sums(&me), other.sums(&me));
        other.put(member(9, 2, State::Alive), None);
        let (a, b) = (one.sums(&me), other.sums(&me));
        assert_eq!(a.iter().zip(&b).filter(|(a, b)| a != b).count(), 1);
    }

    #[test]
    fn buckets_part_the_list() {
        let mut table = Table::default();
        (0..=255).for_each(|n| table.put(member(n, 0, State::Alive), None));
        let in_buckets: usize = (0..32).map(|n| table.bucket(n).count()).sum();
        assert_eq!(in_buckets, table.records().count());
        let of_bucket = |n| table.bucket(n).all(|r| bucket_of(r.member.id) == n);
        assert!((0..32).all(of_bucket));
    }

    #[test]
    fn the_middle_of_three_round_trips_counts() {
        let mut trips = RoundTrips::default();
        assert_eq!(trips.typical(), None);
        for micros in [900, 50_000, 1_000] {
            trips.add(Duration::from_micros(micros));
        }
        assert_eq!(trips.typical(), Some(Duration::from_micros(1_000)));
        // 50, 1, 2; then 1, 2, 3; then 2, 3, 0 ms.
        let middles = [2_000, 3_000, 0].map(|micros| {
            trips.add(Duration::from_micros(micros));
            trips.typical().map(|middle| middle.as_micros())
        });
        assert_eq!(middles, [Some(2_000), Some(2_000), Some(2_000)]);
    }
}
