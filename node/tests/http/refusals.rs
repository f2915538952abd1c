//! What the door does not let in.

use meshwork::doors::http::{Http, HttpConfig, StartHttp};
use serde_json::Value;

use crate::Home;
use crate::client::{Stream, raw};

const VALUE_BYTES_MAX: usize = 512 << 10;
const BODY_BYTES_MAX: usize = 1 << 20;

#[tokio::test]
async fn without_the_token_only_health_and_readiness_are_told() {
    let home = Home::open().await;
    let address = home.http.address();
    let right = format!("Bearer {}", home.token);
    for shown in [
        "",
        "Bearer ",
        "Bearer 00",
        &right.replace("Bearer", "Basic"),
        &right[..70],
    ] {
        for path in [
            "/v1/status",
            "/metrics",
            "/v1/keys/n/a",
            "/v1/watch?prefix=n/",
            "/v1/openapi.json",
            "/nowhere",
        ] {
            let head = format!(
                "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: {shown}\r\n\r\n"
            );
            let reply = raw(address, &head, b"").await;
            assert_eq!(reply.refusal(), (401, "token".into()), "{path} {shown}");
            assert!(reply.head.contains("www-authenticate: bearer"));
        }
    }
    for path in ["/health", "/ready"] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        assert_eq!(raw(address, &head, b"").await.status, 200);
    }
    home.close().await;
}

#[tokio::test]
async fn web_pages_and_other_names_are_refused_even_with_the_token() {
    let home = Home::open().await;
    let (address, token) = (home.http.address(), &home.token);
    let cases = [
        (
            format!("Host: {address}\r\nOrigin: http://{address}\r\n"),
            403,
            "origin",
        ),
        (
            format!("Host: {address}\r\nOrigin: null\r\n"),
            403,
            "origin",
        ),
        ("Host: evil.example\r\n".into(), 403, "host"),
        ("Host: evil.example:80\r\n".into(), 403, "host"),
        ("Host:\r\n".into(), 403, "host"),
        (
            format!("Host: {address}\r\nHost: evil.example\r\n"),
            403,
            "host",
        ),
        (String::new(), 403, "host"),
    ];
    for (headers, status, code) in cases {
        for path in ["/v1/status", "/health"] {
            let head = format!(
                "GET {path} HTTP/1.1\r\n{headers}Connection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
            );
            let reply = raw(address, &head, b"").await;
            assert_eq!(reply.refusal(), (status, code.to_owned()), "{headers}");
        }
    }
    let head = format!(
        "GET http://evil.example/health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(
        raw(address, &head, b"").await.refusal(),
        (403, "host".into())
    );
    home.close().await;
}

#[tokio::test]
async fn mistakes_are_told_apart() {
    let home = Home::open().await;
    home.post("/v1/keys/n/counter", r#"{"op":"add","amount":1}"#)
        .await
        .good();
    let cases = [
        ("PUT", "/v1/keys/n/counter", "x", 409, "wrong_kind"),
        ("GET", "/v1/keys/n/counter?raw=1", "", 409, "wrong_kind"),
        ("POST", "/v1/keys/n/a", "{", 400, "bad_json"),
        ("POST", "/v1/keys/n/a", "", 400, "bad_json"),
        (
            "POST",
            "/v1/keys/n/a",
            r#"{"op":"explode"}"#,
            400,
            "bad_json",
        ),
        ("GET", "/v1/keys/n/a?level=most", "", 400, "bad_level"),
        (
            "GET",
            "/v1/keys/n/a?timeout_ms=60001",
            "",
            400,
            "bad_timeout",
        ),
        ("GET", "/v1/keys/n/a?timeout_ms=soon", "", 400, "bad_query"),
        ("GET", "/v1/keys/n/a?levle=one", "", 400, "bad_query"),
        ("GET", "/v1/keys/n", "", 400, "bad_key"),
        ("GET", "/v1/keys/n/", "", 400, "bad_key"),
        ("GET", "/v1/keys/n%20n/a", "", 400, "bad_key"),
        ("GET", "/v1/watch", "", 400, "bad_query"),
        ("GET", "/v1/watch?prefix=n", "", 400, "bad_key"),
        ("GET", "/v1/watch?prefix=n/%FF", "", 400, "bad_key"),
        (
            "POST",
            "/v1/invites",
            r#"{"valid_for_s":0}"#,
            400,
            "bad_duration",
        ),
        (
            "POST",
            "/v1/leave",
            r#"{"patience_s":100000}"#,
            400,
            "bad_duration",
        ),
        (
            "POST",
            "/v1/faults/cut",
            r#"{"nodes":[]}"#,
            403,
            "faults_off",
        ),
        ("GET", "/v1/nothing", "", 404, "no_such_route"),
        ("PATCH", "/v1/status", "", 405, "wrong_method"),
    ];
    for (method, path, body, status, code) in cases {
        let reply = home.send(method, path, body).await;
        assert_eq!(
            reply.refusal(),
            (status, code.to_owned()),
            "{method} {path} {body}"
        );
    }
    let name = "x".repeat(1025);
    assert_eq!(
        home.get(&format!("/v1/keys/n/{name}")).await.refusal(),
        (400, "bad_key".into())
    );
    home.close().await;
}

#[tokio::test]
async fn bodies_beyond_the_limits_are_refused_before_they_are_held() {
    let home = Home::open().await;
    let address = home.http.address();
    // Announced and never sent: the door does not wait for it.
    let announced = home.head(
        "PUT",
        "/v1/keys/n/a",
        &format!("Content-Length: {}\r\n", BODY_BYTES_MAX + 1),
    );
    assert_eq!(
        raw(address, &announced, b"").await.refusal(),
        (413, "too_large".into())
    );
    // Not announced.
    let chunked = home.head("PUT", "/v1/keys/n/a", "Transfer-Encoding: chunked\r\n");
    let mut body = format!("{:x}\r\n", BODY_BYTES_MAX + 1).into_bytes();
    body.resize(body.len() + BODY_BYTES_MAX + 1, b'x');
    assert_eq!(
        raw(address, &chunked, &body).await.refusal(),
        (413, "too_large".into())
    );
    // The door would take it, the mesh does not.
    let large = vec![b'x'; VALUE_BYTES_MAX + 1];
    assert_eq!(
        home.send("PUT", "/v1/keys/n/a", large).await.refusal(),
        (413, "too_large".into())
    );
    home.send("PUT", "/v1/keys/n/a", vec![b'x'; VALUE_BYTES_MAX])
        .await
        .good();
    assert_eq!(
        home.get("/v1/keys/n/a?raw=1").await.body.len(),
        VALUE_BYTES_MAX
    );
    home.close().await;
}

#[tokio::test]
async fn heads_beyond_the_limit_close_the_connection() {
    let home = Home::open().await;
    let long = home.head(
        "GET",
        "/health",
        &format!("X: {}\r\n", "x".repeat(20 << 10)),
    );
    let mut stream = Stream::open(home.http.address(), &long).await;
    assert_eq!(stream.0, 431);
    assert_eq!(stream.1.until("never").await, None);
    home.close().await;
}

#[tokio::test]
async fn one_stream_too_many_is_refused_until_another_ends() {
    let home = Home::open().await;
    let mut streams = Vec::new();
    for _ in 0..64 {
        let (status, stream) = home.watch("n/").await;
        assert_eq!(status, 200);
        streams.push(stream);
    }
    assert_eq!(home.watch("n/").await.0, 429);
    assert_eq!(home.get("/v1/status").await.status, 200);
    streams.pop();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while home.watch("n/").await.0 != 200 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the place is not given back"
        );
        tokio::task::yield_now().await;
    }
    home.close().await;
}

#[tokio::test]
async fn a_port_in_use_is_named_and_nothing_is_left_behind() {
    let home = Home::open().await;
    let folder = tempfile::tempdir().unwrap();
    let listen = home.http.address();
    let config = HttpConfig {
        folder: folder.path().to_path_buf(),
        listen,
        faults: false,
    };
    let error = Http::start(home.mesh.clone(), config).unwrap_err();
    assert!(matches!(error, StartHttp::InUse { address } if address == listen));
    assert!(error.to_string().contains("--http"));
    assert!(!folder.path().join("door.addr").exists());
    home.close().await;
}

#[tokio::test]
async fn every_route_is_described_and_nothing_else_is() {
    let home = Home::open().await;
    let described = home.get("/v1/openapi.json").await.good();
    let paths = described["paths"].as_object().unwrap();
    // The one that ends the others comes last.
    let mut order: Vec<(&String, &Value)> = paths.iter().collect();
    order.sort_by_key(|(path, _)| *path == "/v1/stop");
    for (path, methods) in order {
        let at = path.replace("{namespace}", "n").replace("{name}", "a");
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH"] {
            let body = match path.as_str() {
                "/v1/leave" => r#"{"patience_s":9999999}"#,
                _ => "{}",
            };
            let known = match (path.as_str(), method) {
                // They have no end.
                ("/v1/watch" | "/v1/strong/elections/{namespace}/{name}", "GET") => true,
                _ => {
                    let body = String::from_utf8(home.send(method, &at, body).await.body).unwrap();
                    !body.contains("wrong_method") && !body.contains("no_such_route")
                }
            };
            // Parts of documents are named by POST alone, and are names of documents to other methods.
            let is_part = path.ends_with("/chunks") || path.ends_with("/missing");
            let wanted = methods.get(method.to_lowercase()).is_some() || is_part && method == "GET";
            assert_eq!(known, wanted, "{method} {path}");
        }
    }
    home.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_over_http_2_pass_the_same_guard() {
    use http_body_util::{BodyExt, Full};
    use hyper_util::rt::{TokioExecutor, TokioIo};

    let home = Home::open().await;
    let stream = tokio::net::TcpStream::connect(home.http.address())
        .await
        .unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let address = home.http.address();
    let mut ask = async |host: &str, token: &str| {
        let request = hyper::Request::get(format!("http://{host}/v1/status"))
            .header("authorization", format!("Bearer {token}"))
            .body(Full::<bytes::Bytes>::default())
            .unwrap();
        let answer = client.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        answer.into_body().collect().await.unwrap();
        status
    };
    assert_eq!(ask(&address.to_string(), &home.token).await, 200);
    assert_eq!(ask(&address.to_string(), "wrong").await, 401);
    let other = format!("evil.example:{}", address.port());
    assert_eq!(ask(&other, &home.token).await, 403);
    home.close().await;
}
