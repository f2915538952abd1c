//! `/v1/keys`: values of every kind.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use meshwork_crdt::{Kind, Op};
use meshwork_sync::Written;
use serde::Serialize;

use super::body::{Parsed, Whole};
use super::failure::{Failure, JSON};
use super::ops::JsonOp;
use super::request::Asked;
use super::state::Door;
use super::values::{Reader, Shown};

/// An answer in JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(text) => json(text),
            Err(error) => Failure::internal(error.to_string()).into_response(),
        }
    }
}

/// A change is written.
#[derive(Serialize)]
pub(super) struct Acknowledged {
    /// How many replicas are known to hold it.
    acknowledged: usize,
    /// The name of the element that it inserted into a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    element: Option<String>,
}

pub(super) async fn get(State(door): State<Arc<Door>>, asked: Asked) -> Result<Response, Failure> {
    let (object, answered) = asked.read_present(&door).await?;
    if asked.raw {
        let register = object.as_register().and_then(|register| register.latest());
        let value = register.ok_or_else(|| {
            Failure::conflict(
                "wrong_kind",
                "only registers have raw values: ask without raw=1",
            )
        })?;
        return Ok(bytes(value.clone()));
    }
    let mut key = asked.key.namespace().as_bytes().to_vec();
    key.push(b'/');
    key.extend_from_slice(asked.key.name());
    let slow = object.kinds().any(is_slow);
    let mesh = door.mesh.clone();
    let show = move || {
        let reader = Reader::of(&mesh);
        serde_json::to_vec(&Shown::new(&key, &object, answered, reader))
    };
    let text = if slow {
        door.busy_work(show).await?
    } else {
        show()
    };
    text.map(json)
        .map_err(|error| Failure::internal(error.to_string()))
}

pub(super) async fn put(
    State(door): State<Arc<Door>>,
    asked: Asked,
    Whole(value): Whole,
) -> Result<Json<Acknowledged>, Failure> {
    acknowledge(&door, &asked, Op::Put(value.into())).await
}

pub(super) async fn delete(
    State(door): State<Arc<Door>>,
    asked: Asked,
) -> Result<Json<Acknowledged>, Failure> {
    acknowledge(&door, &asked, Op::Delete).await
}

pub(super) async fn change(
    State(door): State<Arc<Door>>,
    asked: Asked,
    Parsed(op): Parsed<JsonOp>,
) -> Result<Json<Acknowledged>, Failure> {
    acknowledge(&door, &asked, op.into()).await
}

pub(super) async fn acknowledge(
    door: &Door,
    asked: &Asked,
    op: Op,
) -> Result<Json<Acknowledged>, Failure> {
    let inserts = inserts_element(&op);
    let Written { dot, acknowledged } = asked.write(door, op).await?;
    Ok(Json(Acknowledged {
        acknowledged,
        element: inserts.then(|| dot.to_string()),
    }))
}

/// Whether the operation inserts an element into a list, here or in a field.
fn inserts_element(mut op: &Op) -> bool {
    while let Op::Field { op: inner, .. } = op {
        op = inner;
    }
    matches!(op, Op::InsertAfter { .. })
}

/// Whether showing a value of the kind may take long: a document is built, a list sorted, an application's merge function called.
const fn is_slow(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Document | Kind::Map | Kind::Sequence | Kind::Custom(_)
    )
}

fn json(text: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, JSON)], text).into_response()
}

/// Bytes that a browser must not take for a page.
pub(super) fn bytes(bytes: Vec<u8>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, bytes).into_response()
}
