//! What is asked of a strong group, by the handle that applications have, and what the answers say.

use std::time::Duration;

use meshwork_sync::Key;

use super::Failure;
use super::linear::{Op, Saw};
use crate::strong::{
    Branch, Condition, Finding, Found, KeyOp, Outcome, Owner, Query, Refusal, Request, StrongDone,
    StrongError, StrongFailure, StrongKeyError, StrongRequest, Token, Transaction,
};
use crate::{Mesh, RequestError};

/// What became of a write that only the holder of a lock may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnderLock {
    Wrote(Saw),
    NotHeld,
}

impl UnderLock {
    /// What the writer saw, if it wrote.
    pub(super) fn wrote(self) -> Result<Saw, Failure> {
        match self {
            Self::Wrote(saw) => Ok(saw),
            Self::NotHeld => Err(Failure::Refused("the lock is not held".into())),
        }
    }
}

/// Makes a namespace a strong one. Says whether it surely is.
pub(super) async fn create(mesh: &Mesh, namespace: &str, timeout: Duration) -> bool {
    match mesh.strong(namespace) {
        Ok(keys) => keys.within(timeout).create().await.is_ok(),
        Err(_) => false,
    }
}

pub(super) async fn ask(mesh: &Mesh, key: &Key, op: Op, timeout: Duration) -> Result<Saw, Failure> {
    let keys = mesh.strong(key.namespace()).map_err(impossible)?;
    let keys = keys.within(timeout);
    let name = str::from_utf8(key.name()).map_err(impossible)?;
    match op {
        Op::Read => {
            let found = keys.get(name).await.map_err(key_failed)?;
            Ok(Saw::Value(number(found.as_ref())))
        }
        Op::Write(new) => {
            keys.put(name, bytes(new)).await.map_err(key_failed)?;
            Ok(Saw::Written)
        }
        Op::Delete => {
            keys.delete(name).await.map_err(key_failed)?;
            Ok(Saw::Written)
        }
        Op::Cas { expect, new } => {
            let expect = expect.map(bytes);
            let changed = keys.compare_and_set(name, expect.as_deref(), bytes(new));
            let changed = changed.await.map_err(key_failed)?;
            Ok(if changed { Saw::Changed } else { Saw::Kept })
        }
        Op::Swap(new) => {
            let swap = swap(vec![], key, new);
            let done = keys.transact(swap).await.map_err(failed)?;
            found_before(&done)
        }
    }
}

/// Writes a key if a lock is held under this token.
pub(super) async fn swap_under(
    mesh: &Mesh,
    (lock, token): (&Key, Token),
    (key, new): (&Key, u64),
    timeout: Duration,
) -> Result<UnderLock, Failure> {
    let keys = mesh.strong(key.namespace()).map_err(impossible)?;
    let lock = lock.clone();
    let swap = swap(vec![Condition::Held { lock, token }], key, new);
    let done = keys.within(timeout).transact(swap).await.map_err(failed)?;
    if let Outcome::Done {
        branch: Branch::Otherwise,
        ..
    } = done
    {
        return Ok(UnderLock::NotHeld);
    }
    found_before(&done).map(UnderLock::Wrote)
}

/// Draws numbers; says the first.
pub(super) async fn draw(
    mesh: &Mesh,
    sequence: &Key,
    count: u32,
    timeout: Duration,
) -> Result<u64, Failure> {
    let sequence = sequence.clone();
    let draw = StrongRequest::Do(Request::Draw { sequence, count });
    let done = mesh.ask_strong(draw, timeout).await.map_err(failed)?;
    let StrongDone::Done(Outcome::Drawn { first }) = done else {
        return Err(another(&done));
    };
    Ok(first)
}

/// Reads keys, all as of one moment.
pub(super) async fn read_all(
    mesh: &Mesh,
    keys: Vec<Key>,
    timeout: Duration,
) -> Result<Vec<Saw>, Failure> {
    let read = StrongRequest::Read(Query::Get(keys));
    let done = mesh.ask_strong(read, timeout).await.map_err(failed)?;
    let StrongDone::Found(Finding::Got { found, .. }) = done else {
        return Err(another(&done));
    };
    let found = found.iter().map(Option::as_ref);
    Ok(found.map(|found| Saw::Value(number(found))).collect())
}

fn swap(conditions: Vec<Condition>, key: &Key, new: u64) -> Transaction {
    Transaction {
        conditions,
        then: vec![KeyOp::Put {
            key: key.clone(),
            value: bytes(new),
            owner: Owner::Nobody,
        }],
        otherwise: vec![],
    }
}

fn found_before(done: &Outcome) -> Result<Saw, Failure> {
    let Outcome::Done { found, .. } = done else {
        return Err(another(done));
    };
    let before = found.first().and_then(Option::as_ref);
    Ok(Saw::Value(number(before)))
}

/// Long enough that the group's log grows.
fn bytes(value: u64) -> Vec<u8> {
    format!("{value:0100}").into_bytes()
}

fn number(found: Option<&Found>) -> Option<u64> {
    let text = str::from_utf8(&found?.value).ok();
    Some(text.and_then(|text| text.parse().ok()).unwrap_or(NOBODYS))
}

/// What stands for a value that nobody wrote.
const NOBODYS: u64 = u64::MAX;

fn key_failed(error: StrongKeyError) -> Failure {
    match error {
        StrongKeyError::Key(error) => impossible(error),
        StrongKeyError::Request(error) => failed(error),
    }
}

/// What an error says of what was asked for: refused is only what surely has not happened.
fn failed(error: StrongFailure) -> Failure {
    let text = error.to_string();
    let RequestError::Refused(error) = error else {
        return Failure::Unknown(text);
    };
    match error {
        // It says so itself: an earlier sending may have been applied.
        StrongError::Unknown
        | StrongError::Refused(Refusal::SessionExpired { .. } | Refusal::Forgotten { .. }) => {
            Failure::Unknown(text)
        }
        StrongError::NoGroup
        | StrongError::Unavailable
        | StrongError::Busy
        | StrongError::Refused(_) => Failure::Refused(text),
    }
}

fn impossible(error: impl std::fmt::Display) -> Failure {
    Failure::Refused(error.to_string())
}

/// The answer to another question.
fn another(answer: &impl std::fmt::Debug) -> Failure {
    Failure::Unknown(format!("answered by {answer:?}"))
}
