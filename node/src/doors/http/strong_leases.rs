//! `/v1/strong/leases`: keys end with a stream.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::Uri;
use axum::response::Response;
use serde::Deserialize;

use super::failure::Failure;
use super::state::Door;
use super::strong_hold::{Grant, Hold, Step, place, ttl};

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    ttl_ms: u64,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { ttl_ms: 15_000 }
    }
}

pub(super) async fn hold(State(door): State<Arc<Door>>, uri: Uri) -> Result<Response, Failure> {
    let Query(wanted) = Query::<Wanted>::try_from_uri(&uri)
        .map_err(|error| Failure::bad("bad_query", error.body_text()))?;
    let ttl = ttl(wanted.ttl_ms)?;
    let place = place(&door)?;
    let lease = door.mesh.lease(ttl).await?;
    let step = Step::Granted(Grant::Lease(lease));
    Ok(Hold::new(&door, place, step).stream(ttl))
}
