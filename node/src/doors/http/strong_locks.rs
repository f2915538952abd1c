//! `/v1/strong/locks`: a lock is held for as long as its stream is open.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::Uri;
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use futures::future::BoxFuture;
use futures::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::keys::Json;
use super::state::{Door, HOLDS_MAX};
use super::strong_request::{StrongAsked, key_of, unexpected};
use super::values::Bytes;
use crate::strong::{self, AcquireError, Finding, LockBuilder, LockGuard, LockHolder, Mode};

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

/// An open stream. Dropped with its connection, it gives the lock back or leaves the line.
struct Hold {
    step: Step,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

/// How far a stream has come.
enum Step {
    Waits(BoxFuture<'static, Result<LockGuard, AcquireError>>),
    /// It is to be told so.
    Granted(LockGuard),
    Holds(LockGuard),
    /// The client was told that the lock is lost, as the node stops, and still has it for a while to end what it does.
    Lingers(LockGuard),
    Over,
}

pub(super) async fn hold(State(door): State<Arc<Door>>, uri: Uri) -> Result<Response, Failure> {
    let Query(wanted) = Query::<Wanted>::try_from_uri(&uri)
        .map_err(|error| Failure::bad("bad_query", error.body_text()))?;
    let ttl = Duration::from_millis(wanted.ttl_ms);
    if !(TTL_MIN..=TTL_MAX).contains(&ttl) {
        return Err(Failure::bad("bad_ttl", "ttl_ms is from 1000 to 86400000"));
    }
    let lock = door.mesh.lock(&key_of(uri.path())?);
    let place = Arc::clone(&door.holds)
        .try_acquire_owned()
        .map_err(|_full| {
            Failure::busy(format!(
                "{HOLDS_MAX} locks are held or waited for here already"
            ))
        })?;
    let lock = lock.ttl(ttl).note(wanted.note);
    let lock = match wanted.shared {
        1 => lock.shared(),
        _ => lock,
    };
    let hold = Hold {
        step: begin(lock, wanted.wait_ms).await?,
        stop: door.stop.clone(),
        _place: place,
    };
    let events = stream::unfold(hold, |mut hold| async {
        let event = hold.next().await?;
        Some((Ok::<_, Infallible>(event), hold))
    });
    // Often enough for a client to notice in time that this node stands still.
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE.min(ttl / 4));
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

/// A lock that is not waited for is taken before the answer begins, so that its status can tell.
async fn begin(lock: LockBuilder, wait_ms: Option<u64>) -> Result<Step, Failure> {
    match wait_ms {
        Some(0) => {
            let guard = lock.try_acquire().await?;
            Ok(Step::Granted(guard.ok_or_else(Failure::held)?))
        }
        Some(ms) => {
            let patience = Duration::from_millis(ms);
            Ok(Step::Waits(Box::pin(lock.acquire_within(patience))))
        }
        None => Ok(Step::Waits(Box::pin(lock.acquire()))),
    }
}

impl Hold {
    /// The next event. Its future is dropped with the stream alone, so that no step gets lost.
    async fn next(&mut self) -> Option<Event> {
        match std::mem::replace(&mut self.step, Step::Over) {
            Step::Waits(acquire) => {
                let acquired = tokio::select! {
                    () = self.stop.cancelled() => return None,
                    acquired = acquire => acquired,
                };
                match acquired {
                    Ok(guard) => Some(self.granted(guard)),
                    Err(error) => Some(event("failed", &Failure::from(error).body())),
                }
            }
            Step::Granted(guard) => Some(self.granted(guard)),
            Step::Holds(guard) => {
                tokio::select! {
                    () = guard.lost() => {}
                    () = self.stop.cancelled() => self.step = Step::Lingers(guard),
                }
                Some(event("lost", &json!({})))
            }
            Step::Lingers(guard) => {
                tokio::time::sleep(LINGER).await;
                drop(guard);
                None
            }
            Step::Over => None,
        }
    }

    fn granted(&mut self, guard: LockGuard) -> Event {
        let token = guard.fencing_token().0;
        self.step = Step::Holds(guard);
        event("granted", &json!({"token": token}))
    }
}

fn event(name: &str, data: &Value) -> Event {
    Event::default().event(name).data(data.to_string())
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

/// A client that hears nothing for much longer may take the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Within the time that the door gives requests under way when it stops.
const LINGER: Duration = Duration::from_secs(3);
/// What the group takes.
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_hours(24);
