//! Who continues whose text: which editor makes each transaction, and what it must have seen by then.

use std::collections::BTreeSet;

use super::Trace;
use super::replay::ReplayTrace;

/// How to replay a history.
///
/// An author who goes on from a state that is not after all of its own has forked; the fork gets an editor of its own.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) editors: Vec<EditorPlan>,
}

/// One transaction.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Who makes it.
    pub(super) editor: usize,
    /// How many transactions its editor has made then.
    pub(super) count: usize,
    /// What the editor takes over first: of another editor the first so many transactions.
    pub(super) follow: Vec<(usize, usize)>,
}

/// One line of work by one author.
#[derive(Debug)]
pub(super) struct EditorPlan {
    agent: usize,
    /// After how many transactions others take over, so that a change must end there.
    pub(super) cuts: BTreeSet<usize>,
    /// The last step in which it does something.
    pub(super) last_step: usize,
    count: usize,
}

/// How many transactions of each editor are in a state.
type Seen = Vec<usize>;

/// Editors in one history. Each has a copy of the document while it works.
const EDITORS_MAX: usize = 1_024;
/// Numbers in all states together, 8 bytes each.
const SEEN_MAX: usize = 1 << 25;

impl Plan {
    pub(super) fn new(trace: &Trace) -> Result<Self, ReplayTrace> {
        let mut plan = Self::default();
        let mut states: Vec<Seen> = Vec::with_capacity(trace.transactions.len());
        let mut numbers = 0_usize;
        for (index, txn) in trace.transactions.iter().enumerate() {
            let mut seen = Seen::new();
            for state in txn.parents.iter().filter_map(|parent| states.get(*parent)) {
                join(&mut seen, state);
            }
            let editor = plan.editor_for(txn.agent, &seen)?;
            let before = plan.last_state(editor, &states);
            let follow = plan.follow(editor, before, &seen);
            seen.resize(seen.len().max(editor + 1), 0);
            let entry = plan.editors.get_mut(editor);
            if let (Some(entry), Some(seen)) = (entry, seen.get_mut(editor)) {
                entry.count += 1;
                entry.last_step = index;
                *seen = entry.count;
                plan.steps.push(Step {
                    editor,
                    count: entry.count,
                    follow,
                });
            }
            numbers += seen.len();
            if numbers > SEEN_MAX {
                return Err(ReplayTrace::TooConcurrent);
            }
            states.push(seen);
        }
        Ok(plan)
    }

    /// The author's editor whose whole work is in the state, or a new one.
    fn editor_for(&mut self, agent: usize, seen: &Seen) -> Result<usize, ReplayTrace> {
        let fits = |(index, editor): (usize, &EditorPlan)| {
            let all = seen.get(index).is_some_and(|count| *count == editor.count);
            (editor.agent == agent && all).then_some(index)
        };
        if let Some(index) = self.editors.iter().enumerate().find_map(fits) {
            return Ok(index);
        }
        if self.editors.len() == EDITORS_MAX {
            return Err(ReplayTrace::TooConcurrent);
        }
        self.editors.push(EditorPlan {
            agent,
            cuts: BTreeSet::new(),
            last_step: 0,
            count: 0,
        });
        Ok(self.editors.len() - 1)
    }

    /// The state that an editor left, if it has begun.
    fn last_state<'a>(&self, editor: usize, states: &'a [Seen]) -> &'a [usize] {
        let entry = self.editors.get(editor).filter(|entry| entry.count > 0);
        let state = entry.and_then(|entry| states.get(entry.last_step));
        state.map_or(&[], Vec::as_slice)
    }

    fn follow(&mut self, editor: usize, before: &[usize], seen: &Seen) -> Vec<(usize, usize)> {
        let mut follow = Vec::new();
        for (other, &count) in seen.iter().enumerate() {
            let known = before.get(other).copied().unwrap_or_default();
            if other != editor && count > known {
                follow.push((other, count));
                if let Some(entry) = self.editors.get_mut(other) {
                    entry.cuts.insert(count);
                }
            }
        }
        follow
    }
}

fn join(seen: &mut Seen, other: &Seen) {
    seen.resize(seen.len().max(other.len()), 0);
    for (mine, theirs) in seen.iter_mut().zip(other) {
        *mine = (*mine).max(*theirs);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Transaction;
    use super::*;

    fn trace(transactions: &[(usize, &[usize])]) -> Trace {
        let transactions = transactions.iter().map(|(agent, parents)| Transaction {
            parents: parents.to_vec(),
            agent: *agent,
            patches: Vec::new(),
        });
        Trace {
            end: String::new(),
            agents: 9,
            transactions: transactions.collect(),
        }
    }

    #[test]
    fn an_author_who_forks_gets_a_second_editor() {
        let plan = Plan::new(&trace(&[(0, &[]), (0, &[0]), (0, &[0]), (0, &[1, 2])])).unwrap();
        let editors: Vec<usize> = plan.steps.iter().map(|step| step.editor).collect();
        assert_eq!(editors, [0, 0, 1, 0]);
        assert_eq!(plan.steps[2].follow, [(0, 1)]);
        assert_eq!(plan.steps[3].follow, [(1, 1)]);
        assert!(plan.editors[0].cuts.contains(&1));
    }

    #[test]
    fn what_was_taken_over_is_not_taken_over_again() {
        let plan = Plan::new(&trace(&[(0, &[]), (1, &[0]), (1, &[1]), (0, &[2])])).unwrap();
        let follow: Vec<_> = plan.steps.iter().map(|step| step.follow.clone()).collect();
        assert_eq!(follow, [vec![], vec![(0, 1)], vec![], vec![(1, 2)]]);
    }

    #[test]
    fn a_history_of_forks_only_is_refused() {
        let forks: Vec<(usize, &[usize])> = vec![(0, &[]); EDITORS_MAX + 1];
        assert!(matches!(
            Plan::new(&trace(&forks)),
            Err(ReplayTrace::TooConcurrent)
        ));
    }
}
