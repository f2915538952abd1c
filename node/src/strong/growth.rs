//! Who should vote: the leader's part of growing to three or five voters, and of replacing one that is gone.
//!
//! What the members' list says is a hint; what happens is a change that the group commits, one at a time: a newcomer follows as a learner, and
//! votes once it has caught up. Nobody is taken out before another is in, unless it asks to go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meshwork_membership::{NodeId, Time};

use super::change::{Change, Step};
use super::group::{Group, Heard};
use super::records::VoterId;

/// A member as the leader sees it, by the replica id of its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Able {
    pub(crate) node: NodeId,
    pub(crate) condition: Condition,
}

/// How a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Here, and able to vote.
    Up,
    /// Not heard of since.
    Down(Time),
    /// It is to vote no more: it leaves, or was told so.
    Retired,
}

/// What is to be changed next.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    able: BTreeMap<VoterId, Able>,
    /// When this leader looks again whether something is to be changed.
    look: Time,
}

/// A voter that is down for less stays one: most come back, and each change costs a copy of everything.
const REPLACE_AFTER: Duration = Duration::from_mins(1);

/// How often a leader looks whether something is to be changed. A change that was not committed by then is put before the group again.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A learner votes when it lacks no more entries than this.
const CAUGHT_UP: u64 = 64;

impl Growth {
    pub(crate) fn set_able(&mut self, able: BTreeMap<VoterId, Able>) {
        self.able = able;
    }

    /// The next change, if one is due and none is under way.
    pub(crate) fn next(&mut self, now: Time, group: &Group) -> Option<Change> {
        self.look = now + LOOK_EVERY;
        self.work_out(now, group)
    }

    /// When [`Growth::next`] is to be asked, on a leader.
    pub(crate) fn poll_timeout(&self, group: &Group) -> Option<Time> {
        group.standing().leads.then_some(self.look)
    }

    fn work_out(&self, now: Time, group: &Group) -> Option<Change> {
        let config = group.log().config();
        if !config.outgoing.is_empty() {
            return None;
        }
        let wanted = self.wanted(now, group);
        let node = |id: &VoterId| self.able.get(id).map(|able| able.node);
        let missing: Vec<VoterId> = wanted.difference(&config.voters).copied().collect();
        let is_new = |id: &&VoterId| !config.learners.contains(id);
        let new = missing.iter().filter(is_new);
        let new = new.filter_map(|id| Some(Step::Learner(*id, node(id)?)));
        let idle = config
            .learners
            .difference(&wanted)
            .map(|id| Step::Remove(*id));
        let steps: Vec<Step> = new.chain(idle).collect();
        if !steps.is_empty() {
            return Some(Change { steps });
        }
        if !missing.iter().all(|id| has_caught_up(group, *id)) {
            return None;
        }
        let come = missing
            .iter()
            .filter_map(|id| Some(Step::Voter(*id, *config.nodes.get(id)?)));
        let go = config
            .voters
            .difference(&wanted)
            .map(|id| Step::Remove(*id));
        let steps: Vec<Step> = come.chain(go).collect();
        (!steps.is_empty()).then_some(Change { steps })
    }

    /// Who should vote: those who do and are well, and others for those who are not.
    fn wanted(&self, now: Time, group: &Group) -> BTreeSet<VoterId> {
        let me = group.log().head.me;
        let voters = &group.log().config().voters;
        let condition = |id: &VoterId| self.able.get(id).map(|able| able.condition);
        let is_up = |id: &VoterId| condition(id) == Some(Condition::Up);
        let mut spare = self
            .able
            .keys()
            .copied()
            .filter(|id| is_up(id) && !voters.contains(id));
        let mut wanted = voters.clone();
        let lost = |id: &&VoterId| match condition(id) {
            Some(Condition::Down(since)) => now.since(since) > REPLACE_AFTER && !hears(group, **id),
            // Its node has another store, or is no member any more.
            None => !hears(group, **id),
            Some(Condition::Up | Condition::Retired) => false,
        };
        // What one node takes for lost may be a minority at most: more, and it is itself that is cut off.
        let lost = voters.iter().filter(lost).take((voters.len() - 1) / 2);
        for id in lost {
            if let Some(other) = spare.next() {
                wanted.remove(id);
                wanted.insert(other);
            }
        }
        let retired = voters
            .iter()
            .filter(|id| condition(id) == Some(Condition::Retired));
        for id in retired {
            let other = spare.next();
            wanted.extend(other);
            // A leader lets another lead before it goes.
            if *id != me && (other.is_some() || wanted.len() > 1) {
                wanted.remove(id);
            }
        }
        let spare: Vec<VoterId> = spare.collect();
        let all = wanted.len() + spare.len();
        let target = [5, 3, 1].into_iter().find(|size| *size <= all).unwrap_or(1);
        let more = target.saturating_sub(wanted.len());
        wanted.extend(spare.into_iter().take(more));
        wanted
    }

    /// Whether nobody else is here who can vote.
    pub(crate) fn is_alone(&self, me: VoterId) -> bool {
        let up = |(id, able): (&VoterId, &Able)| *id != me && able.condition == Condition::Up;
        !self.able.iter().any(up)
    }

    /// Who is to lead instead of this node, when it is to vote no more.
    pub(crate) fn successor(&self, group: &Group) -> Option<VoterId> {
        let me = group.log().head.me;
        let condition = |id: &VoterId| self.able.get(id).map(|able| able.condition);
        if !group.standing().leads || condition(&me) != Some(Condition::Retired) {
            return None;
        }
        let config = group.log().config();
        let mut others = config
            .voters
            .iter()
            .filter(|id| **id != me && config.outgoing.is_empty());
        others
            .find(|id| condition(id) == Some(Condition::Up))
            .copied()
    }
}

fn hears(group: &Group, id: VoterId) -> bool {
    group
        .progress()
        .any(|(other, _, heard)| other == id && heard == Heard::Lately)
}

fn has_caught_up(group: &Group, id: VoterId) -> bool {
    let last = group.log().last();
    let mut all = group.progress();
    all.any(|(other, matched, heard)| {
        other == id && heard == Heard::Lately && matched > 0 && matched + CAUGHT_UP >= last
    })
}
