//! What is held for as long as a stream is open: a lock, or a lease.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use futures::future::BoxFuture;
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::state::{Door, HOLDS_MAX};
use crate::strong::{AcquireError, Lease, LockGuard};

/// An open stream. Dropped with its connection, it gives back what is held or leaves the line.
pub(super) struct Hold {
    step: Step,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

/// How far a stream has come.
pub(super) enum Step {
    Waits(BoxFuture<'static, Result<LockGuard, AcquireError>>),
    /// It is to be told so.
    Granted(Grant),
    Holds(Grant),
    /// The client was told that it is lost, as the node stops, and still has it for a while to end what it does.
    Lingers(Grant),
    Over,
}

/// What is held.
pub(super) enum Grant {
    Lock(LockGuard),
    Lease(Lease),
}

/// A place among those who hold something here.
pub(super) fn place(door: &Door) -> Result<OwnedSemaphorePermit, Failure> {
    let place = Arc::clone(&door.holds).try_acquire_owned();
    place.map_err(|_full| {
        Failure::busy(format!(
            "{HOLDS_MAX} locks and leases are held or waited for here already"
        ))
    })
}

/// The time that a client gives what it holds.
pub(super) fn ttl(ttl_ms: u64) -> Result<Duration, Failure> {
    let ttl = Duration::from_millis(ttl_ms);
    if !(TTL_MIN..=TTL_MAX).contains(&ttl) {
        return Err(Failure::bad("bad_ttl", "ttl_ms is from 1000 to 86400000"));
    }
    Ok(ttl)
}

impl Hold {
    pub(super) fn new(door: &Door, place: OwnedSemaphorePermit, step: Step) -> Self {
        Self {
            step,
            stop: door.stop.clone(),
            _place: place,
        }
    }

    /// The answer: events for as long as it is held.
    pub(super) fn stream(self, ttl: Duration) -> Response {
        let events = stream::unfold(self, |mut hold| async {
            let event = hold.next().await?;
            Some((Ok::<_, Infallible>(event), hold))
        });
        // Often enough for a client to notice in time that this node stands still.
        let keep_alive = KeepAlive::new().interval(KEEP_ALIVE.min(ttl / 4));
        Sse::new(events).keep_alive(keep_alive).into_response()
    }

    /// The next event. Its future is dropped with the stream alone, so that no step gets lost.
    async fn next(&mut self) -> Option<Event> {
        match std::mem::replace(&mut self.step, Step::Over) {
            Step::Waits(acquire) => {
                let acquired = tokio::select! {
                    () = self.stop.cancelled() => return None,
                    acquired = acquire => acquired,
                };
                match acquired {
                    Ok(guard) => Some(self.granted(Grant::Lock(guard))),
                    Err(error) => Some(event("failed", &Failure::from(error).body())),
                }
            }
            Step::Granted(grant) => Some(self.granted(grant)),
            Step::Holds(grant) => {
                tokio::select! {
                    () = grant.lost() => {}
                    () = self.stop.cancelled() => self.step = Step::Lingers(grant),
                }
                Some(event("lost", &json!({})))
            }
            Step::Lingers(grant) => {
                tokio::time::sleep(LINGER).await;
                drop(grant);
                None
            }
            Step::Over => None,
        }
    }

    fn granted(&mut self, grant: Grant) -> Event {
        let event = event("granted", &grant.shown());
        self.step = Step::Holds(grant);
        event
    }
}

impl Grant {
    async fn lost(&self) {
        match self {
            Self::Lock(guard) => guard.lost().await,
            Self::Lease(lease) => lease.lost().await,
        }
    }

    fn shown(&self) -> Value {
        match self {
            Self::Lock(guard) => json!({"token": guard.fencing_token().0}),
            Self::Lease(lease) => json!({"lease": lease.session().to_string()}),
        }
    }
}

fn event(name: &str, data: &Value) -> Event {
    Event::default().event(name).data(data.to_string())
}

/// A client that hears nothing for much longer may take the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Within the time that the door gives requests under way when it stops.
const LINGER: Duration = Duration::from_secs(3);
/// What the group takes.
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_hours(24);
