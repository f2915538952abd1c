//! Bytes that were damaged on the way.

use alloc::format;
use alloc::vec::Vec;

use super::check::{Verdict, pool, same};
use super::history::Run;
use super::subject::Subject;

/// How many places of an encoding are damaged.
const PLACES_MAX: usize = 48;

pub(super) fn check<S: Subject>(subject: &S, run: &Run<S>) -> Verdict {
    for state in pool(run) {
        let bytes = subject.encode(state);
        let apart = bytes.len().div_ceil(PLACES_MAX).max(1);
        for at in (0..bytes.len()).step_by(apart) {
            damaged(subject, state, bytes.get(..at).unwrap_or(&bytes))?;
            for change in [0x01, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed
                    .iter_mut()
                    .skip(at)
                    .take(1)
                    .for_each(|byte| *byte ^= change);
                damaged(subject, state, &changed)?;
            }
            let (before, after) = bytes.split_at(at);
            damaged(subject, state, &[before, b" ", after].concat())?;
            damaged(
                subject,
                state,
                &[before, after.get(1..).unwrap_or(after)].concat(),
            )?;
        }
        let longer = [&bytes[..], &[0]].concat();
        damaged(subject, state, &longer)?;
    }
    let start = subject.start();
    for length in [0, 1, 2, 8, 33] {
        for byte in [0x00, 0x01, 0x7f, 0xff] {
            damaged(subject, &start, &alloc::vec![byte; length])?;
        }
    }
    Ok(())
}

fn damaged<S: Subject>(subject: &S, state: &S::State, bytes: &[u8]) -> Verdict {
    let Some(found) = subject.decode(bytes) else {
        return Ok(());
    };
    let again: Vec<u8> = subject.encode(&found);
    let what = format!("bytes that decode to {found:?}, and its encoding");
    same(&what, &bytes, &again.as_slice())?;
    let (one, other) = (subject.joined(state, &found), subject.joined(&found, state));
    same(
        "a state and one from damaged bytes, joined in both orders",
        &one,
        &other,
    )
}
