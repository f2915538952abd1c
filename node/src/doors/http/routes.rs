//! Which address leads where.

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::routing::{MethodRouter, get, post};

use super::failure::Failure;
use super::state::Door;
use super::{
    documents, keys, node, strong_backup, strong_ids, strong_keys, strong_leases, strong_locks,
    strong_txn, strong_watch, watch,
};

pub(super) fn router(door: Arc<Door>) -> Router {
    let mut router = Router::new();
    for (path, methods) in routes() {
        router = router.route(path, methods);
    }
    router
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(door)
}

/// Every route; `openapi.json` describes the same.
fn routes() -> [(&'static str, MethodRouter<Arc<Door>>); 25] {
    [
        ("/health", get(node::health)),
        ("/ready", get(node::ready)),
        ("/metrics", get(node::metrics)),
        ("/v1/openapi.json", get(node::openapi)),
        ("/v1/status", get(node::status)),
        ("/v1/invites", post(node::invite)),
        ("/v1/leave", post(node::leave)),
        ("/v1/stop", post(node::stop)),
        ("/v1/faults/cut", post(node::cut)),
        ("/v1/watch", get(watch::watch)),
        (
            "/v1/keys/{*key}",
            get(keys::get)
                .put(keys::put)
                .post(keys::change)
                .delete(keys::delete),
        ),
        ("/v1/docs/{*key}", get(documents::get).post(documents::post)),
        ("/v1/strong/status", get(strong_keys::status)),
        ("/v1/strong/namespaces", post(strong_keys::create)),
        (
            "/v1/strong/keys/{*key}",
            get(strong_keys::get)
                .put(strong_keys::put)
                .delete(strong_keys::delete),
        ),
        ("/v1/strong/txn", post(strong_txn::transact)),
        (
            "/v1/strong/locks/{*key}",
            get(strong_locks::show).post(strong_locks::hold),
        ),
        ("/v1/strong/sequences/{*key}", post(strong_keys::draw)),
        ("/v1/strong/backup", get(strong_backup::backup)),
        ("/v1/strong/restore", post(strong_backup::restore)),
        ("/v1/strong/reset", post(strong_backup::reset)),
        ("/v1/strong/leases", post(strong_leases::hold)),
        ("/v1/strong/elections/{*key}", get(strong_watch::leaders)),
        ("/v1/strong/watch", get(strong_watch::keys)),
        ("/v1/strong/ids", post(strong_ids::make)),
    ]
}

async fn unknown(uri: Uri) -> Failure {
    let message = format!(
        "there is no {:?}; GET /v1/openapi.json lists what there is",
        uri.path()
    );
    Failure::new(StatusCode::NOT_FOUND, "no_such_route", message)
}

async fn wrong_method(method: Method) -> Failure {
    let message = format!("{method} does nothing here; GET /v1/openapi.json lists what does");
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", message)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The other way round, and the methods, are tested from outside.
    #[test]
    fn every_route_is_described() {
        let described: Value = serde_json::from_str(node::OPENAPI).unwrap();
        let paths = described["paths"].as_object().unwrap();
        for (route, _) in routes() {
            let fits = |path: &String| match route.strip_suffix("{*key}") {
                Some(begin) => path.starts_with(begin),
                None => path == route,
            };
            assert!(paths.keys().any(fits), "{route}");
        }
    }
}
