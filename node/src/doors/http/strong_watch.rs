//! `/v1/strong/watch` and `/v1/strong/elections`: what changes in the group, in its order.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::Uri;
use axum::response::Response;
use axum::response::sse::Event;
use futures::stream;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::failure::Failure;
use super::state::Door;
use super::strong_request::key_of;
use super::values::Bytes;
use super::watch::{feed, parse, place, whole};
use crate::strong::{Reign, Revision, StrongEvent, StrongWatch};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Watched {
    prefix: String,
    /// From now on when left out.
    after: Option<u64>,
}

pub(super) async fn keys(State(door): State<Arc<Door>>, uri: Uri) -> Result<Response, Failure> {
    let Query(Watched { prefix, after }) =
        Query::try_from_uri(&uri).map_err(|error| Failure::bad("bad_query", error.body_text()))?;
    let namespace = door.mesh.strong(&parse(&prefix)?.namespace)?;
    let name = prefix.split_once('/').map_or("", |(_, name)| name);
    let place = place(&door)?;
    let watch = match after {
        Some(revision) => namespace.watch_after(name, Revision(revision)),
        None => namespace.watch(name).await?,
    };
    let begin = json!({"revision": watch.revision().0}).to_string();
    let begin = Event::default().event("watching").data(begin);
    let events = stream::unfold((Some(begin), watch), |(begin, mut watch)| async {
        let event = match begin {
            Some(begin) => begin,
            None => changed(&mut watch).await?,
        };
        Some((event, (None, watch)))
    });
    Ok(feed(&door, place, events))
}

/// Keys that changed at once.
#[derive(Serialize)]
struct Changed<'a> {
    revision: u64,
    keys: Vec<Bytes<'a>>,
}

async fn changed(watch: &mut StrongWatch) -> Option<Event> {
    let (name, data) = match watch.next().await? {
        StrongEvent::Changed { revision, keys } => {
            let names: Vec<Vec<u8>> = keys.iter().map(whole).collect();
            let changed = Changed {
                revision: revision.0,
                keys: names.iter().map(|name| Bytes(name)).collect(),
            };
            ("changed", serde_json::to_string(&changed).ok()?)
        }
        StrongEvent::Missed { revision } => ("missed", json!({"revision": revision.0}).to_string()),
    };
    Some(Event::default().event(name).data(data))
}

pub(super) async fn leaders(State(door): State<Arc<Door>>, uri: Uri) -> Result<Response, Failure> {
    let watch = door.mesh.election(&key_of(uri.path())?).watch();
    let place = place(&door)?;
    let events = stream::unfold(watch, |mut watch| async {
        let event = reign(&watch.next().await?)?;
        Some((event, watch))
    });
    Ok(feed(&door, place, events))
}

/// Who leads.
#[derive(Serialize)]
struct ShownLeader<'a> {
    session: String,
    token: u64,
    note: Bytes<'a>,
}

fn reign(reign: &Reign) -> Option<Event> {
    let Reign::Leads(leader) = reign else {
        return Some(Event::default().event("vacant").data("{}"));
    };
    let shown = ShownLeader {
        session: leader.session.to_string(),
        token: leader.token.0,
        note: Bytes(&leader.note),
    };
    let data = serde_json::to_string(&shown).ok()?;
    Some(Event::default().event("leads").data(data))
}
