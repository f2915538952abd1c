//! What the address of a request says: which key, at which level, by when.

use std::time::Duration;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use meshwork_crdt::{CausalContext, Object, Op};
use meshwork_sync::{Found, Key, Level, Written};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::failure::Failure;
use super::state::Door;
use crate::{Mesh, Options};

/// One key, and how to ask for it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) key: Key,
    pub(super) options: Options,
    /// `raw=1`.
    pub(super) raw: bool,
    pub(super) part: Part,
}

/// What of a document a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    /// `…/chunks`
    Chunks,
    /// `…/missing`
    Missing,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wishes {
    level: Option<String>,
    timeout_ms: Option<u64>,
    raw: Option<u8>,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let path = parts.uri.path();
        let (place, part) = match path.strip_prefix("/v1/docs/") {
            Some(place) if parts.method == axum::http::Method::POST => split_part(place),
            Some(place) => (place, Part::Whole),
            None => (
                path.strip_prefix("/v1/keys/").unwrap_or_default(),
                Part::Whole,
            ),
        };
        let Query(wishes) = Query::<Wishes>::try_from_uri(&parts.uri)
            .map_err(|error| Failure::bad("bad_query", error.body_text()))?;
        Ok(Self {
            key: key_at(place)?,
            options: wishes.options()?,
            raw: wishes.raw == Some(1),
            part,
        })
    }
}

impl Asked {
    /// Reads the key.
    pub(super) async fn read(&self, mesh: &Mesh) -> Result<Found, Failure> {
        Ok(mesh
            .read(&self.key, CausalContext::default(), self.options)
            .await?)
    }

    /// Reads the key, which must be there.
    pub(super) async fn read_present(&self, door: &Door) -> Result<(Object, usize), Failure> {
        let Found { object, answered } = self.read(&door.mesh).await?;
        if object.is_empty() || object.is_deleted() {
            return Err(Failure::not_found());
        }
        Ok((object, answered))
    }

    /// Changes the key.
    pub(super) async fn write(&self, door: &Door, op: Op) -> Result<Written, Failure> {
        Ok(door.mesh.write(&self.key, op, self.options).await?)
    }
}

impl Wishes {
    fn options(&self) -> Result<Options, Failure> {
        let level = match &self.level {
            Some(text) => text.parse().map_err(|_unknown| {
                Failure::bad("bad_level", "the level is one of local, one, quorum, all")
            })?,
            None => Level::default(),
        };
        let timeout = timeout(self.timeout_ms)?.unwrap_or(Options::default().timeout);
        Ok(Options { level, timeout })
    }
}

/// The time that a client gives a request.
pub(super) fn timeout(timeout_ms: Option<u64>) -> Result<Option<Duration>, Failure> {
    let timeout = timeout_ms.map(Duration::from_millis);
    if timeout.is_some_and(|timeout| timeout > TIMEOUT_MAX) {
        return Err(Failure::bad("bad_timeout", "timeout_ms is at most 60000"));
    }
    Ok(timeout)
}

/// The key at `namespace/name` in a path, both percent-encoded. The first `/` that is not encoded ends the namespace.
pub(super) fn key_at(place: &str) -> Result<Key, Failure> {
    let (namespace, name) = place.split_once('/').unwrap_or((place, ""));
    let namespace = percent_decode_str(namespace).decode_utf8_lossy();
    let name: Vec<u8> = percent_decode_str(name).collect();
    Ok(Key::new(&namespace, &name)?)
}

/// Cuts off the name of a document's part. A name that ends alike is written with `%2F`.
fn split_part(place: &str) -> (&str, Part) {
    match place.rsplit_once('/') {
        Some((document, "chunks")) => (document, Part::Chunks),
        Some((document, "missing")) => (document, Part::Missing),
        Some(_) | None => (place, Part::Whole),
    }
}

const TIMEOUT_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_slashes_and_any_bytes() {
        let key = key_at("notes/2026/a%2Fb%FF%00").unwrap();
        assert_eq!(key.namespace(), "notes");
        assert_eq!(key.name(), b"2026/a/b\xff\0");
        assert!(key_at("notes").is_err());
        assert!(key_at("no%2Ftes/x").is_err());
    }

    #[test]
    fn a_document_may_be_named_like_a_part_of_one() {
        assert_eq!(split_part("n/a/chunks"), ("n/a", Part::Chunks));
        assert_eq!(split_part("n/a/missing"), ("n/a", Part::Missing));
        assert_eq!(split_part("n/a%2Fchunks"), ("n/a%2Fchunks", Part::Whole));
    }
}
