//! The node itself: how it is, who may join, leaving and stopping.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use meshwork_membership::NodeId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::body::Parsed;
use super::failure::{Failure, JSON};
use super::keys::Json;
use super::metrics;
use super::state::Door;
use super::tally::reason_name;
use crate::core::Status;
use crate::net::NetStats;

pub(super) async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Ready to take writes; what is still filling answers already, from its peers.
pub(super) async fn ready(State(door): State<Arc<Door>>) -> Response {
    let status = door.mesh.status().await;
    let filling = status
        .as_ref()
        .map_or(0, |status| status.partitions_filling);
    let store = match &status {
        None => "the node has stopped".to_owned(),
        Some(status) => status
            .store_failure
            .clone()
            .unwrap_or_else(|| "ok".to_owned()),
    };
    let ready = status.is_some_and(|status| status.store_failure.is_none());
    let code = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        code,
        Json(json!({"ready": ready, "filling": filling, "store": store})),
    )
        .into_response()
}

#[derive(Serialize)]
pub(super) struct Report {
    id: String,
    name: String,
    mesh: String,
    version: &'static str,
    pid: u32,
    listen: Vec<SocketAddr>,
    http: String,
    status: Status,
    net: Value,
}

pub(super) async fn status(State(door): State<Arc<Door>>) -> Result<Json<Report>, Failure> {
    let mesh = &door.mesh;
    let status = mesh.status().await.ok_or_else(Failure::stopped)?;
    let me = status.members.iter().find(|member| member.me);
    Ok(Json(Report {
        id: mesh.id().to_string(),
        name: me.map(|me| me.name.clone()).unwrap_or_default(),
        mesh: mesh.mesh_name().to_owned(),
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        listen: mesh.addresses(),
        http: super::server::url(door.address),
        net: net(&mesh.net_stats()),
        status,
    }))
}

fn net(stats: &NetStats) -> Value {
    let by_reason = |counts: &[(crate::net::RefuseReason, u64)]| -> Value {
        counts
            .iter()
            .map(|(reason, count)| (reason_name(*reason).to_owned(), (*count).into()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    json!({
        "links": stats.links,
        "bytes_in": stats.bytes_in,
        "bytes_out": stats.bytes_out,
        "frames_in": stats.frames_in,
        "frames_out": stats.frames_out,
        "dials": stats.dials,
        "dials_failed": stats.dials_failed,
        "handshakes_dropped": stats.handshakes_dropped,
        "refused": by_reason(&stats.refused),
        "refused_by_peers": by_reason(&stats.refused_by_peers),
    })
}

pub(super) async fn metrics(State(door): State<Arc<Door>>) -> Response {
    let status = door.mesh.status().await;
    let page = metrics::page(
        status.as_ref(),
        &door.mesh.net_stats(),
        &door.tally,
        door.started_s,
    );
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response()
}

pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, JSON)], OPENAPI).into_response()
}

/// The description of this door.
pub(super) const OPENAPI: &str = include_str!("../openapi.json");

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Invitation {
    valid_for_s: u64,
}

impl Default for Invitation {
    fn default() -> Self {
        Self { valid_for_s: 3_600 }
    }
}

pub(super) async fn invite(
    State(door): State<Arc<Door>>,
    Parsed(wanted): Parsed<Invitation>,
) -> Result<Json<Value>, Failure> {
    if !(1..=INVITE_S_MAX).contains(&wanted.valid_for_s) {
        let message = format!("valid_for_s is from 1 to {INVITE_S_MAX}");
        return Err(Failure::bad("bad_duration", message));
    }
    let ticket = door
        .mesh
        .invite(Duration::from_secs(wanted.valid_for_s))
        .await?;
    Ok(Json(
        json!({"ticket": ticket.to_string(), "expires_s": ticket.expires_s}),
    ))
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Leaving {
    patience_s: u64,
}

impl Default for Leaving {
    fn default() -> Self {
        Self { patience_s: 30 }
    }
}

pub(super) async fn leave(
    State(door): State<Arc<Door>>,
    Parsed(wanted): Parsed<Leaving>,
) -> Result<Json<Value>, Failure> {
    if wanted.patience_s > PATIENCE_S_MAX {
        let message = format!("patience_s is at most {PATIENCE_S_MAX}");
        return Err(Failure::bad("bad_duration", message));
    }
    let handed_over = door.leave(Duration::from_secs(wanted.patience_s)).await?;
    Ok(Json(json!({"handed_over": handed_over})))
}

pub(super) async fn stop(State(door): State<Arc<Door>>) -> Result<Json<Value>, Failure> {
    door.begin_stop()?;
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cut {
    nodes: Vec<String>,
}

pub(super) async fn cut(
    State(door): State<Arc<Door>>,
    Parsed(cut): Parsed<Cut>,
) -> Result<Json<Value>, Failure> {
    if !door.faults {
        return Err(Failure::forbidden(
            "faults_off",
            "this node makes no faults: start it with --allow-faults",
        ));
    }
    let nodes: Result<Vec<NodeId>, _> = cut.nodes.iter().map(|node| node.parse()).collect();
    let nodes = nodes.map_err(|error: meshwork_membership::ParseNodeId| {
        Failure::bad("bad_node", error.to_string())
    })?;
    door.mesh.cut(nodes);
    Ok(Json(json!({})))
}

/// 30 days.
const INVITE_S_MAX: u64 = 30 * 24 * 3_600;
/// A day.
const PATIENCE_S_MAX: u64 = 24 * 3_600;
