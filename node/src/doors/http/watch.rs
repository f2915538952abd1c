//! `/v1/watch`: changes as they happen.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::Uri;
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use futures::stream;
use meshwork_sync::{Key, Prefix};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::state::{Door, STREAMS_MAX};
use super::values::Bytes;
use crate::{Watch, WatchEvent};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Watched {
    prefix: String,
}

/// An open stream. A client that reads slower than changes come is told that it missed some; one that reads nothing is
/// dropped with its connection.
struct Feed {
    watch: Watch,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn watch(State(door): State<Arc<Door>>, uri: Uri) -> Result<Response, Failure> {
    let Query(Watched { prefix }) =
        Query::try_from_uri(&uri).map_err(|error| Failure::bad("bad_query", error.body_text()))?;
    if prefix.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Failure::bad(
            "bad_key",
            "a prefix is UTF-8: end it before the first other byte",
        ));
    }
    let prefix = Prefix::parse(&prefix)?;
    let place = Arc::clone(&door.streams)
        .try_acquire_owned()
        .map_err(|_full| {
            Failure::busy(format!("{STREAMS_MAX} streams are open already; close one"))
        })?;
    let watch = door.mesh.watch(prefix).await.ok_or_else(Failure::stopped)?;
    let feed = Feed {
        watch,
        stop: door.stop.clone(),
        _place: place,
    };
    let events = stream::unfold(feed, |mut feed| async {
        let event = feed.next().await?;
        Some((Ok::<_, Infallible>(event), feed))
    });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

impl Feed {
    async fn next(&mut self) -> Option<Event> {
        let event = tokio::select! {
            () = self.stop.cancelled() => None,
            event = self.watch.next() => event,
        };
        Some(match event? {
            WatchEvent::Changed(key) => Event::default().event("changed").data(data(&key)?),
            WatchEvent::Missed => Event::default().event("missed").data("{}"),
        })
    }
}

fn data(key: &Key) -> Option<String> {
    #[derive(Serialize)]
    struct Changed<'a> {
        key: Bytes<'a>,
    }
    let mut name = key.namespace().as_bytes().to_vec();
    name.push(b'/');
    name.extend_from_slice(key.name());
    serde_json::to_string(&Changed { key: Bytes(&name) }).ok()
}

/// A client that hears nothing for much longer may take the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
