//! What the address of a request about strong keys says, and how the group is asked.

use std::time::Duration;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use meshwork_sync::Key;
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::request::{key_at, timeout};
use super::state::Door;
use super::values::Bytes;
use crate::strong::{
    Finding, Found, Outcome, Request, STRONG_TIMEOUT, SessionId, StrongError, StrongRequest,
};

/// How long a request may take, and how its answer is shown.
#[derive(Debug)]
pub(super) struct Wishes {
    pub(super) timeout: Duration,
    /// `raw=1`.
    pub(super) raw: bool,
    /// `stale=1`.
    pub(super) stale: bool,
    /// `lease=…`: changes are made in its session, and only while it lives.
    pub(super) lease: Option<SessionId>,
}

/// One strong key or sequence, and how to ask for it.
#[derive(Debug)]
pub(super) struct StrongAsked {
    pub(super) key: Key,
    pub(super) wishes: Wishes,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    timeout_ms: Option<u64>,
    raw: Option<u8>,
    stale: Option<u8>,
    lease: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Wishes {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let Query(asked) = Query::<Asked>::try_from_uri(&parts.uri)
            .map_err(|error| Failure::bad("bad_query", error.body_text()))?;
        Ok(Self {
            timeout: timeout(asked.timeout_ms)?.unwrap_or(STRONG_TIMEOUT),
            raw: asked.raw == Some(1),
            stale: asked.stale == Some(1),
            lease: asked.lease.as_deref().map(lease).transpose()?,
        })
    }
}

impl<S: Sync> FromRequestParts<S> for StrongAsked {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        Ok(Self {
            key: key_of(parts.uri.path())?,
            wishes: Wishes::from_request_parts(parts, state).await?,
        })
    }
}

impl Wishes {
    /// Reads as of a moment after this was called.
    pub(super) async fn find(
        &self,
        door: &Door,
        query: crate::strong::Query,
    ) -> Result<Finding, Failure> {
        let read = StrongRequest::Read(query);
        let done = door.mesh.ask_strong(read, self.timeout).await?;
        Ok(done.finding()?)
    }

    /// Has something done once.
    pub(super) async fn act(&self, door: &Door, request: Request) -> Result<Outcome, Failure> {
        let request = match self.lease {
            Some(session) => StrongRequest::In(session, request),
            None => StrongRequest::Do(request),
        };
        let done = door.mesh.ask_strong(request, self.timeout).await?;
        Ok(done.outcome()?)
    }
}

/// A lease as its stream named it.
fn lease(text: &str) -> Result<SessionId, Failure> {
    let number = u64::from_str_radix(text, 16);
    let lease =
        number.map_err(|_digits| Failure::bad("bad_lease", "a lease is named in hexadecimal"));
    lease.map(SessionId)
}

/// A value and the revision of its last change.
#[derive(Serialize)]
pub(super) struct ShownFound<'a> {
    value: Bytes<'a>,
    revision: u64,
}

impl<'a> From<&'a Found> for ShownFound<'a> {
    fn from(found: &'a Found) -> Self {
        Self {
            value: Bytes(&found.value),
            revision: found.revision.0,
        }
    }
}

/// The leader answered another question: what it did is not known.
pub(super) fn unexpected() -> Failure {
    StrongError::Unknown.into()
}

/// The key at the end of an address: `/v1/strong/keys/bank/alice`, and the same for locks, sequences and elections.
pub(super) fn key_of(path: &str) -> Result<Key, Failure> {
    let place = path.strip_prefix("/v1/strong/").unwrap_or_default();
    key_at(place.split_once('/').map_or("", |(_, place)| place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_strong_is_named_alike() {
        let key = Key::parse("bank/a/b c").unwrap();
        for kind in ["keys", "locks", "sequences", "elections"] {
            let path = format!("/v1/strong/{kind}/bank/a%2Fb%20c");
            assert_eq!(key_of(&path).unwrap(), key);
        }
        assert!(key_of("/v1/strong/keys/bank").is_err());
    }
}
