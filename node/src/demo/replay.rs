//! What each of two authors does, and when, in a recorded editing history.

use std::collections::BTreeSet;

use meshwork::traces::{Patch, Trace};

/// What one author does, in order.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) steps: Vec<Step>,
}

/// One transaction of the history.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// So many commits of the other must be in, and no more.
    pub(super) needs: u64,
    pub(super) patches: Vec<Patch>,
    /// Whether a commit ends here, because the other goes on from this state.
    pub(super) commits: bool,
}

/// A history cannot be played by two authors on two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(super) enum PlanReplay {
    /// It has more authors. Choose another history.
    #[error("the history has {authors} authors; the demo replays those of one or two")]
    Authors {
        /// How many.
        authors: usize,
    },
    /// An author goes on from a state that lacks some of its own work, as if it were two people.
    #[error("in transaction {transaction} an author does not go on from its own last one")]
    Forks {
        /// Where.
        transaction: usize,
    },
}

/// One author while the history is split.
#[derive(Debug, Default)]
struct Planned {
    part: Part,
    /// After how many of its transactions the other goes on from its state.
    cuts: BTreeSet<usize>,
    /// How many transactions it has in all.
    count: usize,
    /// The counts at which it commits something.
    commits: Vec<usize>,
    edited: bool,
}

/// How many transactions of author 0 and author 1 are in a state.
type Known = [usize; 2];

/// Splits a history into the parts of its authors.
///
/// # Errors
/// [`PlanReplay`].
pub(super) fn parts(trace: Trace) -> Result<[Part; 2], PlanReplay> {
    let authors = trace.agents;
    if authors > 2 {
        return Err(PlanReplay::Authors { authors });
    }
    let known = known(&trace)?;
    let mut planned = [Planned::default(), Planned::default()];
    for (txn, known) in trace.transactions.iter().zip(&known) {
        let (me, other, [mine, theirs]) = turn(&mut planned, txn.agent, *known);
        me.count = mine;
        other.cuts.insert(theirs);
    }
    for (txn, known) in trace.transactions.into_iter().zip(known) {
        let (me, other, [mine, theirs]) = turn(&mut planned, txn.agent, known);
        me.edited |= txn.patches.iter().any(changes);
        let commits = me.edited && (me.cuts.contains(&mine) || mine == me.count);
        if commits {
            me.commits.push(mine);
            me.edited = false;
        }
        let needs = other.commits.partition_point(|count| *count <= theirs) as u64;
        me.part.steps.push(Step {
            needs,
            patches: txn.patches,
            commits,
        });
    }
    Ok(planned.map(|planned| planned.part))
}

/// Whose turn it is, the other, and what is known of each, in this order.
const fn turn(
    planned: &mut [Planned; 2],
    agent: usize,
    known: Known,
) -> (&mut Planned, &mut Planned, Known) {
    let ([first, second], [of_first, of_second]) = (planned, known);
    match agent {
        0 => (first, second, [of_first, of_second]),
        _ => (second, first, [of_second, of_first]),
    }
}

/// What is known after each transaction.
fn known(trace: &Trace) -> Result<Vec<Known>, PlanReplay> {
    let mut all: Vec<Known> = Vec::with_capacity(trace.transactions.len());
    let mut counts = [0; 2];
    for (transaction, txn) in trace.transactions.iter().enumerate() {
        let parents = txn.parents.iter().filter_map(|parent| all.get(*parent));
        let mut state = parents.fold([0, 0], |[a, b], [c, d]| [a.max(*c), b.max(*d)]);
        let [of_first, of_second] = &mut state;
        let [first, second] = &mut counts;
        let (mine, count) = match txn.agent {
            0 => (of_first, first),
            _ => (of_second, second),
        };
        if mine != count {
            return Err(PlanReplay::Forks { transaction });
        }
        *count += 1;
        *mine = *count;
        all.push(state);
    }
    Ok(all)
}

const fn changes(patch: &Patch) -> bool {
    patch.delete > 0 || !patch.insert.is_empty()
}

#[cfg(test)]
mod tests {
    use meshwork::traces::Transaction;

    use super::*;

    fn txn(agent: usize, parents: &[usize], insert: &str) -> Transaction {
        Transaction {
            parents: parents.to_vec(),
            agent,
            patches: vec![Patch {
                at: 0,
                delete: 0,
                insert: insert.into(),
            }],
        }
    }

    fn trace(agents: usize, transactions: Vec<Transaction>) -> Trace {
        Trace {
            end: String::new(),
            agents,
            transactions,
        }
    }

    #[test]
    fn commits_end_where_the_other_goes_on_and_at_the_end() {
        let all = vec![
            txn(0, &[], "a"),
            txn(0, &[0], "b"),
            txn(1, &[0], "c"),
            txn(0, &[1, 2], "d"),
            txn(1, &[2, 1], "e"),
        ];
        let [first, second] = parts(trace(2, all)).unwrap();
        let shape = |part: &Part| -> Vec<(u64, bool)> {
            part.steps
                .iter()
                .map(|step| (step.needs, step.commits))
                .collect()
        };
        assert_eq!(shape(&first), [(0, true), (0, true), (1, true)]);
        assert_eq!(shape(&second), [(1, true), (2, true)]);
    }

    #[test]
    fn a_transaction_that_changes_nothing_is_no_commit_to_wait_for() {
        let all = vec![txn(0, &[], ""), txn(1, &[0], "a"), txn(0, &[1], "b")];
        let [first, second] = parts(trace(2, all)).unwrap();
        assert!(!first.steps[0].commits && first.steps[1].commits);
        assert_eq!(second.steps[0].needs, 0);
        assert_eq!(first.steps[1].needs, 1);
    }

    #[test]
    fn histories_that_are_not_of_two_authors_are_refused() {
        let fork = vec![txn(0, &[], "a"), txn(0, &[], "b")];
        assert_eq!(
            parts(trace(2, fork)).unwrap_err(),
            PlanReplay::Forks { transaction: 1 }
        );
        let crowd = trace(3, Vec::new());
        assert_eq!(
            parts(crowd).unwrap_err(),
            PlanReplay::Authors { authors: 3 }
        );
    }
}
