//! Every schedule of a few writes.

use alloc::format;
use alloc::vec::Vec;

use super::check::{Verdict, reads_as_expected, same};
use super::history::{REPLICAS, Run, Step, Write};
use super::subject::Subject;

/// How many writes are scheduled in all ways: 4 writes have 64 ways of who saw whom, and each 24 orders of arrival.
const WRITES_MAX: usize = 4;

/// Takes the last few writes of a history and makes them again under every schedule.
pub(super) fn check<S: Subject>(subject: &S, run: &Run<S>) -> Verdict {
    let first = run.writes.len().saturating_sub(WRITES_MAX);
    let writes = run.writes.get(first..).unwrap_or_default();
    let earlier = writes.len() * writes.len().saturating_sub(1) / 2;
    let orders = orders(writes.len());
    (0..1_u32 << earlier).try_for_each(|saw| schedule(subject, writes, saw, &orders))
}

/// Bit `n` of `saw` says whether the writer got the delta of the `n`-th pair of a write and an earlier one.
fn schedule<S: Subject>(
    subject: &S,
    writes: &[Write<S::Op>],
    saw: u32,
    orders: &[Vec<usize>],
) -> Verdict {
    let mut run = Run::new(subject);
    let mut pair = 0;
    for (later, write) in writes.iter().enumerate() {
        let replica = usize::from(write.by.replica);
        for earlier in 0..later {
            let own = writes
                .get(earlier)
                .is_some_and(|by| by.by.replica == write.by.replica);
            let delivers = saw >> pair & 1 == 1;
            pair += 1;
            match (own, delivers) {
                // One's own writes are seen anyway: one of the two cases is enough.
                (true, true) => return Ok(()),
                (true, false) | (false, false) => {}
                (false, true) => run.step(
                    subject,
                    &Step::Deliver {
                        replica,
                        write: earlier,
                    },
                ),
            }
        }
        let op = write.op.clone();
        run.step(subject, &Step::Write { replica, op });
    }
    let mut all = subject.start();
    run.states
        .iter()
        .for_each(|state| subject.join(&mut all, state));
    let told = || format!("the schedule {:?}", run.steps);
    for order in orders {
        let mut state = subject.start();
        let deltas = order.iter().filter_map(|at| run.deltas.get(*at));
        deltas.for_each(|delta| subject.join(&mut state, delta));
        if state != all {
            let what = format!("{}\n  with deltas in the order {order:?}", told());
            return same(&what, &state, &all);
        }
    }
    for (replica, state) in run.states.iter().enumerate().take(REPLICAS) {
        let seen = run.seen.get(replica).cloned().unwrap_or_default();
        let seen = run
            .writes
            .iter()
            .enumerate()
            .filter(|(n, _)| seen.contains(n));
        let seen: Vec<_> = seen.map(|(_, write)| write.clone()).collect();
        reads_as_expected(
            subject,
            &format!("replica {replica} of {}", told()),
            state,
            &seen,
        )?;
    }
    reads_as_expected(subject, &told(), &all, &run.writes)
}

/// All orders of `0..length`.
fn orders(length: usize) -> Vec<Vec<usize>> {
    let mut orders = alloc::vec![Vec::new()];
    for item in 0..length {
        let longer = orders.iter().flat_map(|order: &Vec<usize>| {
            (0..=order.len()).map(move |at| {
                let mut order = order.clone();
                order.insert(at, item);
                order
            })
        });
        orders = longer.collect();
    }
    orders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_24_orders_of_four() {
        let mut orders = orders(4);
        orders.sort();
        orders.dedup();
        assert_eq!(orders.len(), 24);
    }
}
