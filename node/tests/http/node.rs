//! The node by HTTP.

use std::time::{Duration, Instant};

use meshwork::admission::Ticket;
use serde_json::json;

use crate::Home;
use crate::client::Stream;

#[tokio::test]
async fn status_tells_who_and_where() {
    let home = Home::open().await;
    let status = home.get("/v1/status").await.good();
    assert_eq!(status["id"], home.mesh.id().to_string());
    assert_eq!(status["mesh"], "home");
    assert_eq!(status["http"], home.http.url());
    assert_eq!(status["pid"], std::process::id());
    assert_eq!(status["status"]["members"][0]["me"], true);
    assert_eq!(status["name"], status["status"]["members"][0]["name"]);
    assert_eq!(status["net"]["links"], 0);
    assert_eq!(
        home.get("/ready").await.good(),
        json!({"ready": true, "filling": 0, "store": "ok"})
    );
    assert_eq!(home.get("/health").await.good(), json!({"status": "ok"}));
    home.close().await;
}

#[tokio::test]
async fn an_invite_is_a_ticket() {
    let home = Home::open().await;
    let invite = home
        .post("/v1/invites", r#"{"valid_for_s":60}"#)
        .await
        .good();
    let ticket: Ticket = invite["ticket"].as_str().unwrap().parse().unwrap();
    assert_eq!(ticket.inviter, home.mesh.id());
    assert_eq!(invite["expires_s"], ticket.expires_s);
    let by_default = home.post("/v1/invites", "").await.good();
    assert!(by_default["expires_s"].as_u64().unwrap() > ticket.expires_s);
    home.close().await;
}

#[tokio::test]
async fn metrics_count_what_was_done() {
    let home = Home::open().await;
    home.send("PUT", "/v1/keys/n/a", "x").await.good();
    assert_eq!(home.get("/v1/keys/n/b").await.status, 404);
    let page = home.get("/metrics").await;
    assert!(
        page.head
            .contains("content-type: text/plain; version=0.0.4")
    );
    let text = String::from_utf8(page.body).unwrap();
    for line in [
        "meshwork_up 1",
        "meshwork_objects 1",
        "meshwork_writes_total 1",
        "meshwork_members{state=\"alive\"} 1",
        "meshwork_partitions{state=\"held\"} 4096",
        "meshwork_http_requests_total{route=\"keys\",status=\"200\"} 1",
        "meshwork_http_requests_total{route=\"keys\",status=\"404\"} 1",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
    home.close().await;
}

#[tokio::test]
async fn faults_are_made_where_they_are_allowed() {
    let home = Home::with(|config| config.faults = true).await;
    let node = "ab".repeat(32);
    home.post("/v1/faults/cut", &json!({"nodes": [node]}).to_string())
        .await
        .good();
    home.post("/v1/faults/cut", r#"{"nodes":[]}"#).await.good();
    let refused = home.post("/v1/faults/cut", r#"{"nodes":["ab"]}"#).await;
    assert_eq!(refused.refusal(), (400, "bad_node".into()));
    home.close().await;
}

#[tokio::test]
async fn stop_is_answered_and_ends_the_node_and_then_the_door_says_so() {
    let home = Home::open().await;
    assert_eq!(home.post("/v1/stop", "").await.good(), json!({}));
    home.mesh.ended().await;
    assert_eq!(
        home.get("/v1/status").await.refusal(),
        (503, "stopped".into())
    );
    assert_eq!(
        home.get("/v1/keys/n/a").await.refusal(),
        (503, "stopped".into())
    );
    let ready = home.get("/ready").await;
    assert_eq!((ready.status, &ready.json()["ready"]), (503, &json!(false)));
    assert_eq!(home.get("/metrics").await.status, 200);
    home.close().await;
}

#[tokio::test]
async fn leaving_ends_the_node_even_when_the_client_hangs_up() {
    let home = Home::open().await;
    let head = home.head(
        "POST",
        "/v1/leave",
        "Content-Length: 16\r\nExpect: 100-continue\r\n",
    );
    let (status, stream) = Stream::open(home.http.address(), &(head + r#"{"patience_s":0}"#)).await;
    assert_eq!(status, 100);
    let second = home.post("/v1/leave", "").await;
    let known = second.status == 503 || second.refusal() == (409, "leaving".into());
    assert!(known, "{second:?}");
    drop(stream);
    let ended = tokio::time::timeout(Duration::from_secs(20), home.mesh.ended()).await;
    assert!(ended.is_ok());
    home.close().await;
}

#[tokio::test]
async fn a_stopped_door_ends_its_streams_and_takes_its_address_down() {
    let home = Home::open().await;
    let notice = home.folder.path().join("door.addr");
    assert_eq!(std::fs::read_to_string(&notice).unwrap(), home.http.url());
    let (_, mut stream) = home.watch("n/").await;
    let began = Instant::now();
    home.http.stop().await;
    assert!(began.elapsed() < Duration::from_secs(4));
    assert_eq!(stream.until("never").await, None);
    assert!(!notice.exists());
    assert!(home.folder.path().join("door.token").exists());
    home.http.stop().await;
    home.mesh.stop().await;
}
