//! `/v1/strong/backup` and `/v1/strong/restore`: bytes as they are, as long as they are.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::failure::Failure;
use super::keys::Json;
use super::state::{Door, STREAMS_MAX};
use crate::strong::{FetchBackup, StrongBackup};

/// A backup on its way to a client.
struct Sending {
    backup: StrongBackup,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn backup(State(door): State<Arc<Door>>) -> Result<Response, Failure> {
    let place = place(&door)?;
    let backup = door.mesh.backup_strong().await?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, backup.bytes().to_string()),
    ];
    let sending = Sending {
        backup,
        _place: place,
    };
    // A client finds out by the length that it was cut short.
    let parts = stream::try_unfold(sending, |mut sending| async {
        let part = sending.backup.next().await?;
        Ok::<_, FetchBackup>(part.map(|part| (part, sending)))
    });
    Ok((headers, Body::from_stream(parts)).into_response())
}

pub(super) async fn restore(
    State(door): State<Arc<Door>>,
    request: Request,
) -> Result<Json<Value>, Failure> {
    let _place = place(&door)?;
    // What cannot be is said before a byte of the body is read.
    let mut restore = door.mesh.restore_strong().await?;
    let mut body = request.into_body().into_data_stream();
    while let Some(bytes) = next(&mut body).await? {
        restore.push(&bytes).await?;
    }
    let revision = restore.finish().await?;
    Ok(Json(json!({"revision": revision.0})))
}

pub(super) async fn reset(State(door): State<Arc<Door>>) -> Result<Json<Value>, Failure> {
    door.mesh.reset_strong().await?;
    Ok(Json(json!({"reset": true})))
}

fn place(door: &Door) -> Result<OwnedSemaphorePermit, Failure> {
    let place = Arc::clone(&door.streams).try_acquire_owned();
    place.map_err(|_full| {
        Failure::busy(format!("{STREAMS_MAX} streams are open already; close one"))
    })
}

/// The next bytes of a body, gathered to what one part may have.
async fn next(body: &mut BodyDataStream) -> Result<Option<Vec<u8>>, Failure> {
    let mut part = Vec::new();
    while part.len() < PART_BYTES {
        match tokio::time::timeout(BODY_TIMEOUT, body.next()).await {
            Ok(Some(Ok(bytes))) => part.extend_from_slice(&bytes),
            Ok(Some(Err(error))) => {
                let message = format!("the body broke off: {error}");
                return Err(Failure::bad("bad_body", message));
            }
            Ok(None) => break,
            Err(_) => {
                let message = "the body did not arrive in time";
                return Err(Failure::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "slow_body",
                    message,
                ));
            }
        }
    }
    Ok((!part.is_empty()).then_some(part))
}

/// Bytes of a body that are handed over at a time, about.
const PART_BYTES: usize = 256 << 10;

/// How long a client may keep the next bytes back.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
