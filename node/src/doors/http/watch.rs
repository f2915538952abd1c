//! `/v1/watch`: changes as they happen.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::Uri;
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use futures::{Stream, StreamExt, stream};
use meshwork_sync::{Key, Prefix, WriteError};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use super::failure::Failure;
use super::state::{Door, STREAMS_MAX};
use super::values::Bytes;
use crate::WatchEvent;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Watched {
    prefix: String,
}

/// A client that reads slower than changes come is told that it missed some; one that reads nothing is dropped with its connection.
pub(super) async fn watch(State(door): State<Arc<Door>>, uri: Uri) -> Result<Response, Failure> {
    let Query(Watched { prefix }) =
        Query::try_from_uri(&uri).map_err(|error| Failure::bad("bad_query", error.body_text()))?;
    let prefix = parse(&prefix)?;
    let place = place(&door)?;
    let status = door.mesh.status().await.ok_or_else(Failure::stopped)?;
    if status.strong.namespaces.contains(&prefix.namespace) {
        let namespace = prefix.namespace;
        return Err(WriteError::Strong { namespace }.into());
    }
    let watch = door.mesh.watch(prefix).await.ok_or_else(Failure::stopped)?;
    let events = stream::unfold(watch, |mut watch| async {
        let event = shown(&watch.next().await?)?;
        Some((event, watch))
    });
    Ok(feed(&door, place, events))
}

/// A prefix as it is written in an address.
pub(super) fn parse(prefix: &str) -> Result<Prefix, Failure> {
    if prefix.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Failure::bad(
            "bad_key",
            "a prefix is UTF-8: end it before the first other byte",
        ));
    }
    Ok(Prefix::parse(prefix)?)
}

/// A place among the streams that are open.
pub(super) fn place(door: &Door) -> Result<OwnedSemaphorePermit, Failure> {
    let place = Arc::clone(&door.streams).try_acquire_owned();
    place.map_err(|_full| {
        Failure::busy(format!("{STREAMS_MAX} streams are open already; close one"))
    })
}

/// The answer: events until the door stops or the client hangs up.
pub(super) fn feed(
    door: &Door,
    place: OwnedSemaphorePermit,
    events: impl Stream<Item = Event> + Send + 'static,
) -> Response {
    let events = events.take_until(door.stop.clone().cancelled_owned());
    let events = stream::unfold((Box::pin(events), place), |(mut events, place)| async {
        let event = events.next().await?;
        Some((Ok::<_, Infallible>(event), (events, place)))
    });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Sse::new(events).keep_alive(keep_alive).into_response()
}

fn shown(event: &WatchEvent) -> Option<Event> {
    Some(match event {
        WatchEvent::Changed(key) => Event::default().event("changed").data(data(key)?),
        WatchEvent::Missed => Event::default().event("missed").data("{}"),
    })
}

fn data(key: &Key) -> Option<String> {
    #[derive(Serialize)]
    struct Changed<'a> {
        key: Bytes<'a>,
    }
    let name = whole(key);
    serde_json::to_string(&Changed { key: Bytes(&name) }).ok()
}

/// A key's name with its namespace before it.
pub(super) fn whole(key: &Key) -> Vec<u8> {
    [key.namespace().as_bytes(), b"/", key.name()].concat()
}

/// A client that hears nothing for much longer may take the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
