//! `/v1/strong/locks`: a lock is held for as long as its stream is open.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::keys::Json;
use super::state::Door;
use super::strong_hold::{Grant, Hold, Step, place, ttl};
use super::strong_request::{StrongAsked, key_of, unexpected};
use super::values::Bytes;
use crate::strong::{self, Finding, LockBuilder, LockHolder, Mode};

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    ttl_ms: u64,
    /// For ever when left out.
    wait_ms: Option<u64>,
    /// `shared=1`.
    shared: u8,
    note: String,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            ttl_ms: 15_000,
            wait_ms: None,
            shared: 0,
            note: String::new(),
        }
    }
}

pub(super) async fn hold(State(door): State<Arc<Door>>, uri: Uri) -> Result<Response, Failure> {
    let Query(wanted) = Query::<Wanted>::try_from_uri(&uri)
        .map_err(|error| Failure::bad("bad_query", error.body_text()))?;
    let ttl = ttl(wanted.ttl_ms)?;
    let lock = door.mesh.lock(&key_of(uri.path())?);
    let place = place(&door)?;
    let lock = lock.ttl(ttl).note(wanted.note);
    let lock = match wanted.shared {
        1 => lock.shared(),
        _ => lock,
    };
    let step = begin(lock, wanted.wait_ms).await?;
    Ok(Hold::new(&door, place, step).stream(ttl))
}

/// A lock that is not waited for is taken before the answer begins, so that its status can tell.
async fn begin(lock: LockBuilder, wait_ms: Option<u64>) -> Result<Step, Failure> {
    match wait_ms {
        Some(0) => {
            let guard = lock.try_acquire().await?;
            let guard = guard.ok_or_else(Failure::held)?;
            Ok(Step::Granted(Grant::Lock(guard)))
        }
        Some(ms) => {
            let patience = Duration::from_millis(ms);
            Ok(Step::Waits(Box::pin(lock.acquire_within(patience))))
        }
        None => Ok(Step::Waits(Box::pin(lock.acquire()))),
    }
}

/// A lock as others see it.
#[derive(Serialize)]
struct ShownLock<'a> {
    holders: Vec<ShownHolder<'a>>,
    waiters: u32,
}

#[derive(Serialize)]
struct ShownHolder<'a> {
    session: String,
    mode: &'static str,
    token: u64,
    note: Bytes<'a>,
}

impl<'a> From<&'a LockHolder> for ShownHolder<'a> {
    fn from(holder: &'a LockHolder) -> Self {
        Self {
            session: holder.session.to_string(),
            mode: match holder.mode {
                Mode::Shared => "shared",
                Mode::Exclusive => "exclusive",
            },
            token: holder.token.0,
            note: Bytes(&holder.note),
        }
    }
}

pub(super) async fn show(
    State(door): State<Arc<Door>>,
    StrongAsked { key, wishes }: StrongAsked,
) -> Result<Response, Failure> {
    let finding = wishes.find(&door, strong::Query::Lock(key)).await?;
    let Finding::Lock { holders, waiters } = finding else {
        return Err(unexpected());
    };
    let holders = holders.iter().map(ShownHolder::from).collect();
    Ok(Json(ShownLock { holders, waiters }).into_response())
}
