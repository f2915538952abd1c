//! What every request passes before it is looked at.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::http::{HeaderMap, Request, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::sync::OwnedSemaphorePermit;

use super::failure::Failure;
use super::state::Door;
use super::tally::Route;

/// What answers a request that has passed.
pub(super) type Routes = TowerToHyperService<Router>;

/// Checks where a request comes from, its token and the number under way; counts it.
pub(super) async fn guard(
    door: Arc<Door>,
    routes: Routes,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let route = Route::of(request.uri().path());
    let began = Instant::now();
    let response = match admit(&door, route, &request) {
        Ok(_under_way) => routes.call(request).await?,
        Err(failure) => failure.into_response(),
    };
    door.tally.note(route, response.status(), began.elapsed());
    Ok(response)
}

fn admit(
    door: &Door,
    route: Route,
    request: &Request<Incoming>,
) -> Result<Option<OwnedSemaphorePermit>, Failure> {
    check_source(request.uri(), request.headers())?;
    if matches!(route, Route::Health | Route::Ready) {
        return Ok(None);
    }
    let shown = request.headers().get(header::AUTHORIZATION);
    if !shown.is_some_and(|shown| door.token.opens(shown.as_bytes())) {
        return Err(Failure::new(
            StatusCode::UNAUTHORIZED,
            "token",
            "show the token in the data folder's door.token: Authorization: Bearer <token>",
        ));
    }
    if route == Route::Metrics {
        return Ok(None);
    }
    let under_way = Arc::clone(&door.requests).try_acquire_owned();
    under_way
        .map(Some)
        .map_err(|_full| Failure::busy("too many requests are under way; try again shortly"))
}

/// A browser names the page that asks in `Origin`, and the name that it looked up in `Host`. A page that rebinds its name
/// to this machine's address ("DNS rebinding") is found out by the latter, since no page's name is an address.
fn check_source(uri: &Uri, headers: &HeaderMap) -> Result<(), Failure> {
    if headers.contains_key(header::ORIGIN) {
        return Err(Failure::forbidden(
            "origin",
            "web pages may not use this door",
        ));
    }
    let authority = uri.authority().map(|authority| authority.as_str());
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().unwrap_or_default(),
        // HTTP/2 names it in the address.
        (None, _) => authority.unwrap_or_default(),
        (Some(_), Some(_)) => "",
    };
    if is_numeric_or_local(host) && authority.is_none_or(is_numeric_or_local) {
        return Ok(());
    }
    Err(Failure::forbidden(
        "host",
        "use this door by an IP address or as localhost, not by another name",
    ))
}

fn is_numeric_or_local(authority: &str) -> bool {
    let port_at = authority
        .rfind(':')
        .filter(|at| !authority[*at..].contains(']'));
    let (host, port) = authority.split_at(port_at.unwrap_or(authority.len()));
    let port_fits = port.is_empty()
        || port
            .get(1..)
            .is_some_and(|port| port.parse::<u16>().is_ok());
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host_fits = match inner {
        Some(inner) => matches!(inner.parse(), Ok(IpAddr::V6(_))),
        None => host.eq_ignore_ascii_case("localhost") || matches!(host.parse(), Ok(IpAddr::V4(_))),
    };
    host_fits && port_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_pass_as_hosts() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:7118",
            "localhost:1",
            "LOCALHOST",
            "[::1]:7118",
            "[::1]",
            "10.0.0.7:80",
        ] {
            assert!(is_numeric_or_local(host), "{host}");
        }
        for host in [
            "",
            ":80",
            "evil.example",
            "evil.example:7118",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "::1",
            "[::1",
            "127.0.0.1:port",
            "127.0.0.1:99999",
            "user@127.0.0.1",
            "[127.0.0.1]",
        ] {
            assert!(!is_numeric_or_local(host), "{host}");
        }
    }
}
