//! Request bodies, whole, bounded in size and time.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::failure::Failure;

/// The longest body: a value of the greatest length in base64 within JSON.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;
/// How long a client may take to send one.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A body as it came.
pub(super) struct Whole(pub(super) Bytes);

/// A body in JSON, whatever the client calls it; no body is the same as `{}`.
pub(super) struct Parsed<T>(pub(super) T);

impl<S: Sync> FromRequest<S> for Whole {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        // Before a byte of it is read; a client that waits for "100 Continue" never sends it.
        if announced(&parts.headers).is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64) {
            return Err(too_large());
        }
        match tokio::time::timeout(BODY_TIMEOUT, collect(body)).await {
            Ok(body) => body.map(Self),
            Err(_) => Err(Failure::new(
                StatusCode::REQUEST_TIMEOUT,
                "slow_body",
                "the body did not arrive in time",
            )),
        }
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Parsed<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let Whole(body) = Whole::from_request(request, state).await?;
        let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
        serde_json::from_slice(text).map(Self).map_err(|error| {
            Failure::bad(
                "bad_json",
                format!("the body is not what it should be: {error}"),
            )
        })
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

async fn collect(body: Body) -> Result<Bytes, Failure> {
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(Failure::bad(
            "bad_body",
            format!("the body broke off: {error}"),
        )),
    }
}

fn too_large() -> Failure {
    Failure::too_large(format!(
        "at most {BODY_BYTES_MAX} bytes are taken in one request"
    ))
}
