//! The checks of single laws on what came of a history.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Debug;

use super::bytes;
use super::history::{Run, Write};
use super::interleave;
use super::law::Law;
use super::subject::Subject;

/// Why a law does not hold.
pub(super) type Verdict = Result<(), String>;

pub(super) fn same<T: PartialEq + Debug>(what: &str, left: &T, right: &T) -> Verdict {
    if left == right {
        return Ok(());
    }
    Err(format!("{what}\n  one:   {left:?}\n  other: {right:?}"))
}

pub(super) fn check<S: Subject>(subject: &S, law: Law, run: &Run<S>) -> Verdict {
    match law {
        Law::Total => Ok(()),
        Law::Commutative => pairs(run, |a, b| {
            let what = format!("a = {a:?}\n  b = {b:?}\n  a ⊔ b is not b ⊔ a");
            same(&what, &subject.joined(a, b), &subject.joined(b, a))
        }),
        Law::Associative => associative(subject, run),
        Law::Idempotent => each(run, |a| {
            same("a state joined with itself", &subject.joined(a, a), a)?;
            let start = subject.start();
            same("a state joined with nothing", &subject.joined(a, &start), a)
        }),
        Law::Inflation => pairs(run, |a, b| {
            let both = subject.joined(a, b);
            let what = format!("a = {a:?}\n  b = {b:?}\n  a is not inside of a ⊔ b");
            same(&what, &subject.joined(&both, a), &both)?;
            same(&what, &subject.joined(&both, b), &both)
        }),
        Law::Delta => match &run.torn {
            Some((write, joined, written)) => {
                let what = format!("write {write}: before joined with the delta, and after");
                same(&what, joined, written)
            }
            None => Ok(()),
        },
        Law::NoLostUpdate => no_lost_update(subject, run),
        Law::DeltaSince => pairs(run, |a, b| delta_since(subject, a, b)),
        Law::RoundTrip => each(run, |a| {
            let again = subject.decode(&subject.encode(a));
            same("a state, encoded and decoded", &again.as_ref(), &Some(a))
        }),
        Law::Digest => pairs(run, |a, b| {
            let equal = subject.digest(a) == subject.digest(b);
            match (a == b, equal) {
                (true, false) => Err(format!("equal states with two digests: {a:?}")),
                (false, true) => Err(format!("two states with one digest:\n  {a:?}\n  {b:?}")),
                _ => Ok(()),
            }
        }),
        Law::DamagedBytes => bytes::check(subject, run),
        Law::Convergence => converges(subject, run),
        Law::EveryInterleaving => interleave::check(subject, run),
        Law::Model => model(subject, run),
    }
}

/// The states of all replicas, and a few deltas.
pub(super) fn pool<S: Subject>(run: &Run<S>) -> impl Iterator<Item = &S::State> + Clone {
    let apart = run.deltas.len().div_ceil(3).max(1);
    run.states
        .iter()
        .chain(run.deltas.iter().rev().step_by(apart))
}

fn each<S: Subject>(run: &Run<S>, mut check: impl FnMut(&S::State) -> Verdict) -> Verdict {
    pool(run).try_for_each(&mut check)
}

fn pairs<S: Subject>(
    run: &Run<S>,
    mut check: impl FnMut(&S::State, &S::State) -> Verdict,
) -> Verdict {
    each(run, |a| each(run, |b| check(a, b)))
}

fn associative<S: Subject>(subject: &S, run: &Run<S>) -> Verdict {
    pairs(run, |a, b| {
        let ab = subject.joined(a, b);
        each(run, |c| {
            let (left, right) = (
                subject.joined(&ab, c),
                subject.joined(a, &subject.joined(b, c)),
            );
            if left == right {
                return Ok(());
            }
            let what =
                format!("a = {a:?}\n  b = {b:?}\n  c = {c:?}\n  (a ⊔ b) ⊔ c is not a ⊔ (b ⊔ c)");
            same(&what, &left, &right)
        })
    })
}

/// All replicas' states, joined.
fn end<S: Subject>(subject: &S, run: &Run<S>) -> S::State {
    let mut all = subject.start();
    run.states
        .iter()
        .for_each(|state| subject.join(&mut all, state));
    all
}

fn no_lost_update<S: Subject>(subject: &S, run: &Run<S>) -> Verdict {
    let all = end(subject, run);
    for (write, delta) in run.deltas.iter().enumerate() {
        let what = format!("write {write} is not in what all replicas end with");
        same(&what, &subject.joined(&all, delta), &all)?;
    }
    for (replica, state) in run.states.iter().enumerate() {
        let what = format!("replica {replica}'s state is not in what all end with");
        same(&what, &subject.joined(&all, state), &all)?;
    }
    Ok(())
}

fn delta_since<S: Subject>(subject: &S, state: &S::State, peer: &S::State) -> Verdict {
    let whole = subject.joined(peer, state);
    let Some(lacking) = subject.delta_since(state, peer) else {
        return same("a peer is said to lack nothing", peer, &whole);
    };
    let what = format!("a peer with {peer:?}\n  gets {lacking:?}\n  of a state");
    same(&what, &subject.joined(peer, &lacking), &whole)?;
    let (part, state) = (subject.encode(&lacking).len(), subject.encode(state).len());
    match part <= state {
        true => Ok(()),
        false => Err(format!(
            "what a peer lacks takes {part} bytes, the whole state {state}"
        )),
    }
}

fn converges<S: Subject>(subject: &S, run: &Run<S>) -> Verdict {
    let all = end(subject, run);
    let gather = |order: &mut dyn Iterator<Item = &S::State>| {
        let mut state = subject.start();
        order.for_each(|delta| subject.join(&mut state, delta));
        state
    };
    let deltas = &run.deltas;
    let forward = gather(&mut deltas.iter());
    same("all deltas in order, and all states", &forward, &all)?;
    let backward = gather(&mut deltas.iter().rev());
    same("all deltas in reverse, and all states", &backward, &all)?;
    let twice = gather(
        &mut deltas
            .iter()
            .step_by(2)
            .chain(deltas.iter().rev())
            .chain(deltas),
    );
    same("deltas again and again, and all states", &twice, &all)?;
    let (mut odd, even) = (
        gather(&mut deltas.iter().skip(1).step_by(2)),
        gather(&mut deltas.iter().step_by(2)),
    );
    subject.join(&mut odd, &even);
    same("two groups of deltas, and all states", &odd, &all)?;
    for stride in [3, 5, 7] {
        let mixed = (0..stride).flat_map(|first| deltas.iter().skip(first).step_by(stride));
        let mixed = gather(&mut mixed.collect::<Vec<_>>().into_iter());
        same("deltas out of order, and all states", &mixed, &all)?;
    }
    Ok(())
}

fn model<S: Subject>(subject: &S, run: &Run<S>) -> Verdict {
    for (replica, (state, seen)) in run.states.iter().zip(&run.seen).enumerate() {
        let writes = run.writes.iter().enumerate();
        let seen = writes.filter(|(number, _)| seen.contains(number));
        let seen: Vec<_> = seen.map(|(_, write)| write.clone()).collect();
        reads_as_expected(subject, &format!("replica {replica}"), state, &seen)?;
    }
    let all = end(subject, run);
    reads_as_expected(subject, "all replicas together", &all, &run.writes)
}

/// The model speaks of histories in which whoever knows of a write knows what its writer knew.
pub(super) fn reads_as_expected<S: Subject>(
    subject: &S,
    who: &str,
    state: &S::State,
    writes: &[Write<S::Op>],
) -> Verdict {
    if !Write::closed(writes) {
        return Ok(());
    }
    match subject.expected(writes) {
        Some(expected) => {
            let what = format!("what is read at {who}, and what the model says");
            same(&what, &subject.view(state), &expected)
        }
        None => Ok(()),
    }
}
