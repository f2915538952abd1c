//! `/v1/strong/ids`: ids that are unique in the mesh.

use std::sync::Arc;

use axum::extract::State;
use serde_json::{Value, json};

use super::body::Parsed;
use super::failure::Failure;
use super::keys::Json;
use super::state::Door;
use super::strong_keys::Wanted;
use crate::strong::{IdError, Ids};

pub(super) async fn make(
    State(door): State<Arc<Door>>,
    Parsed(Wanted { count }): Parsed<Wanted>,
) -> Result<Json<Value>, Failure> {
    if !(1..=COUNT_MAX).contains(&count) {
        let message = format!("count is from 1 to {COUNT_MAX}");
        return Err(Failure::bad("bad_count", message));
    }
    let mut source = door.ids.lock().await;
    let ids = match source.take().filter(|ids| !ids.is_lost()) {
        Some(ids) => ids,
        None => door.mesh.ids().open().await?,
    };
    let ids = source.insert(ids);
    let ids = draw(ids, count).await?;
    Ok(Json(json!({"ids": ids})))
}

/// As text: they are more than the numbers of JavaScript hold.
async fn draw(ids: &Ids, count: u32) -> Result<Vec<String>, IdError> {
    let mut drawn = Vec::new();
    for _ in 0..count {
        drawn.push(ids.next().await?.to_string());
    }
    Ok(drawn)
}

/// Ids in one answer.
const COUNT_MAX: u32 = 10_000;
