//! `/v1/strong/keys` and what is as plain: namespaces, sequences, the group's status.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use meshwork_sync::Key;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::body::{Parsed, Whole};
use super::failure::Failure;
use super::keys::{Json, bytes};
use super::state::Door;
use super::strong_request::{ShownFound, StrongAsked, Wishes, unexpected};
use crate::strong::{Finding, KeyOp, Outcome, Owner, Query, Request, StrongStatus, Transaction};

/// A change is agreed on.
#[derive(Serialize)]
pub(super) struct Changed {
    /// Where in history.
    revision: u64,
}

pub(super) async fn status(State(door): State<Arc<Door>>) -> Result<Json<StrongStatus>, Failure> {
    let status = door.mesh.status().await.ok_or_else(Failure::stopped)?;
    Ok(Json(status.strong))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    name: String,
}

pub(super) async fn create(
    State(door): State<Arc<Door>>,
    wishes: Wishes,
    Parsed(named): Parsed<Named>,
) -> Result<Json<Value>, Failure> {
    let namespace = door.mesh.strong(&named.name)?.within(wishes.timeout);
    let new = namespace.create().await?;
    Ok(Json(json!({"created": new})))
}

pub(super) async fn get(
    State(door): State<Arc<Door>>,
    StrongAsked { key, wishes }: StrongAsked,
) -> Result<Response, Failure> {
    if wishes.stale {
        return get_stale(&door, &wishes, key).await;
    }
    let Finding::Got { mut found, .. } = wishes.find(&door, Query::Get(vec![key])).await? else {
        return Err(unexpected());
    };
    let found = found.pop().flatten().ok_or_else(Failure::not_found)?;
    if wishes.raw {
        return Ok(bytes(found.value));
    }
    Ok(Json(ShownFound::from(&found)).into_response())
}

/// A value as some voter has it, and how old that may be.
#[derive(Serialize)]
struct ShownStale<'a> {
    #[serde(flatten)]
    found: ShownFound<'a>,
    state_revision: u64,
    age_ms: Option<u64>,
}

async fn get_stale(door: &Door, wishes: &Wishes, key: Key) -> Result<Response, Failure> {
    if wishes.raw {
        let message = "raw=1 cannot say how old the value may be: ask without it";
        return Err(Failure::bad("bad_query", message));
    }
    let stale = door.mesh.find_stale(key, wishes.timeout).await?;
    let state_revision = stale.revision.0;
    let found = stale.found.as_ref();
    let found = found.ok_or_else(|| Failure::not_found_at(state_revision))?;
    let shown = ShownStale {
        found: found.into(),
        state_revision,
        age_ms: stale.age_ms,
    };
    Ok(Json(shown).into_response())
}

pub(super) async fn put(
    State(door): State<Arc<Door>>,
    StrongAsked { key, wishes }: StrongAsked,
    Whole(value): Whole,
) -> Result<Json<Changed>, Failure> {
    let put = KeyOp::Put {
        key,
        value: value.into(),
        owner: match wishes.lease {
            Some(_) => Owner::Session,
            None => Owner::Nobody,
        },
    };
    change(&door, &wishes, put).await
}

pub(super) async fn delete(
    State(door): State<Arc<Door>>,
    StrongAsked { key, wishes }: StrongAsked,
) -> Result<Json<Changed>, Failure> {
    change(&door, &wishes, KeyOp::Delete { key }).await
}

async fn change(door: &Door, wishes: &Wishes, op: KeyOp) -> Result<Json<Changed>, Failure> {
    let transaction = Transaction {
        then: vec![op],
        ..Transaction::default()
    };
    let transact = Request::Transact(transaction);
    let Outcome::Done { revision, .. } = wishes.act(door, transact).await? else {
        return Err(unexpected());
    };
    let revision = revision.0;
    Ok(Json(Changed { revision }))
}

/// How many numbers or ids; one unless told otherwise.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    pub(super) count: u32,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { count: 1 }
    }
}

pub(super) async fn draw(
    State(door): State<Arc<Door>>,
    StrongAsked { key, wishes }: StrongAsked,
    Parsed(Wanted { count }): Parsed<Wanted>,
) -> Result<Json<Value>, Failure> {
    if count == 0 {
        return Err(Failure::bad("bad_count", "count is at least 1"));
    }
    let sequence = key;
    let draw = Request::Draw { sequence, count };
    let Outcome::Drawn { first } = wishes.act(&door, draw).await? else {
        return Err(unexpected());
    };
    Ok(Json(json!({"first": first})))
}
