//! `/v1/docs`: texts, edited by splices or by programs with an automerge editor of their own.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use meshwork_crdt::{ActorSeed, CausalContext, Document, Limits, Object, Op, Text};
use serde::{Deserialize, Serialize};

use super::body::Whole;
use super::failure::Failure;
use super::keys::{Json, acknowledge, bytes};
use super::marks::{self, Marking, Shown};
use super::request::{Asked, Part};
use super::state::Door;

/// A text at a moment.
#[derive(Serialize)]
pub(super) struct Read {
    text: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    marks: Vec<Shown>,
    heads: Vec<String>,
    changes: usize,
}

/// An edit that was written.
#[derive(Serialize)]
struct Edited {
    acknowledged: usize,
    heads: Vec<String>,
}

/// What a client wants changed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    /// One after the other, each counted in the text that the one before it left.
    splices: Vec<Splice>,
    /// Then what is marked, or is not any more.
    #[serde(default)]
    marks: Vec<Marking>,
    /// The text that the first is counted in; the present one when left out.
    #[serde(default)]
    heads: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Splice {
    at: usize,
    #[serde(default)]
    delete: usize,
    #[serde(default)]
    insert: String,
}

pub(super) async fn get(
    State(door): State<Arc<Door>>,
    asked: Asked,
) -> Result<Json<Read>, Failure> {
    let (object, _) = asked.read_present(&door).await?;
    let seed = door.actor_seed();
    door.busy_work(move || {
        let document = object.as_document().ok_or_else(|| other_kind(&object))?;
        let mut text = Text::open(document, object.version(), seed);
        Ok(Json(Read {
            heads: shown(&text.heads()),
            text: text.text(),
            marks: marks::shown(&text),
            changes: document.len(),
        }))
    })
    .await?
}

pub(super) async fn post(
    State(door): State<Arc<Door>>,
    asked: Asked,
    Whole(body): Whole,
) -> Result<Response, Failure> {
    match asked.part {
        Part::Whole => {
            let edit = serde_json::from_slice(&body).map_err(|error| {
                Failure::bad(
                    "bad_json",
                    format!("the body is not what it should be: {error}"),
                )
            })?;
            edit_text(&door, &asked, edit).await
        }
        Part::Chunks if body.is_empty() => Err(Failure::bad("bad_chunk", "the body is the chunk")),
        Part::Chunks => {
            let op = Op::Chunk(body.into());
            acknowledge(&door, &asked, op)
                .await
                .map(IntoResponse::into_response)
        }
        Part::Missing => missing(&door, &asked, &body).await,
    }
}

async fn edit_text(door: &Door, asked: &Asked, edit: Edit) -> Result<Response, Failure> {
    let object = asked.read(&door.mesh).await?.object;
    let seed = door.actor_seed();
    let (op, heads) = door
        .busy_work(move || edit.carry_out(&object, seed))
        .await??;
    let acknowledged = match op {
        Some(op) => asked.write(door, op).await?.acknowledged,
        // Splices that change nothing are nothing to write.
        None => 0,
    };
    let heads = shown(&heads);
    Ok(Json(Edited {
        acknowledged,
        heads,
    })
    .into_response())
}

impl Edit {
    /// The operation to write, if anything changed, and the heads of the text with it.
    fn carry_out(
        self,
        object: &Object,
        seed: ActorSeed,
    ) -> Result<(Option<Op>, Vec<Head>), Failure> {
        let new = Document::default();
        let document = match object.as_document() {
            Some(document) => document,
            None if object.kinds().next().is_none() => &new,
            None => return Err(other_kind(object)),
        };
        let mut text = Text::open(document, object.version(), seed);
        if let Some(heads) = &self.heads {
            text.rewind(&parsed(heads)?).map_err(|error| {
                Failure::conflict(
                    "unknown_heads",
                    format!("{error} yet: read the text again and count there"),
                )
            })?;
        }
        for Splice { at, delete, insert } in &self.splices {
            text.splice(*at, *delete, insert)
                .map_err(|error| Failure::bad("out_of_range", error.to_string()))?;
        }
        for marking in &self.marks {
            marking.carry_out(&mut text)?;
        }
        Ok((text.commit_to(document), text.heads()))
    }
}

/// What the caller lacks of the object, in the encoding of replicas.
async fn missing(door: &Door, asked: &Asked, version: &[u8]) -> Result<Response, Failure> {
    let since = match version {
        [] => CausalContext::default(),
        version => CausalContext::decode(version, &Limits::DEFAULT)
            .map_err(|error| Failure::bad("bad_version", error.to_string()))?,
    };
    let found = door.mesh.read(&asked.key, since, asked.options).await?;
    Ok(bytes(match found.object.is_empty() {
        true => Vec::new(),
        false => found.object.encode(),
    }))
}

/// Hash of an automerge change.
type Head = [u8; 32];

fn shown(heads: &[Head]) -> Vec<String> {
    heads.iter().map(|head| HEXLOWER.encode(head)).collect()
}

fn parsed(heads: &[String]) -> Result<Vec<Head>, Failure> {
    let parse = |head: &String| HEXLOWER.decode(head.as_bytes()).ok()?.try_into().ok();
    let parsed: Option<Vec<Head>> = heads.iter().map(parse).collect();
    parsed.ok_or_else(|| Failure::bad("bad_heads", "heads are 64 hexadecimal digits each"))
}

fn other_kind(object: &Object) -> Failure {
    let found = object.kinds().next();
    let found = found.map_or_else(String::new, |kind| format!("this is a {kind}, "));
    Failure::conflict(
        "wrong_kind",
        format!("{found}not a document: use /v1/keys for it, or another key"),
    )
}
