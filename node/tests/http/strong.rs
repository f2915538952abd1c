//! Leases, ids, elections and the changes of strong keys by HTTP.

use serde_json::{Value, json};

use crate::Home;
use crate::client::Stream;

/// The next event and its data; comments and the length of chunks are skipped.
async fn event(stream: &mut Stream) -> Option<(String, Value)> {
    loop {
        let text = stream.until("\n\n").await?;
        let part = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        if let (Some(event), Some(data)) = (part("event: "), part("data: ")) {
            return Some((event.to_owned(), serde_json::from_str(data).unwrap()));
        }
    }
}

async fn told(stream: &mut Stream, name: &str) -> Value {
    let (event, data) = event(stream).await.unwrap();
    assert_eq!(event, name, "{data}");
    data
}

#[tokio::test]
async fn a_key_lives_as_long_as_the_stream_of_its_lease() {
    let home = Home::voting().await;
    let refused = home.post("/v1/strong/leases?ttl_ms=1", "").await;
    assert_eq!(refused.refusal(), (400, "bad_ttl".into()));
    let (status, mut stream) = home.stream("POST", "/v1/strong/leases?ttl_ms=1000").await;
    assert_eq!(status, 200);
    let lease = told(&mut stream, "granted").await["lease"].clone();
    let path = format!("/v1/strong/keys/n/a?lease={}", lease.as_str().unwrap());
    home.send("PUT", &path, "1").await.good();
    home.send("PUT", "/v1/strong/keys/n/b", "1").await.good();
    let found = home.get("/v1/strong/keys/n/a").await.good();
    assert_eq!(found["value"], "1");
    // In a transaction each key says whether it ends with the lease.
    let both = r#"{"then":[{"put":"n/c","value":"1","leased":true},{"put":"n/d","value":"1"}]}"#;
    let refused = home.post("/v1/strong/txn", both).await;
    assert_eq!(refused.refusal(), (400, "bad_step".into()));
    let txn = format!("/v1/strong/txn?lease={}", lease.as_str().unwrap());
    home.post(&txn, both).await.good();
    drop(stream);
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while home.get("/v1/strong/keys/n/a").await.status != 404 {
        assert!(tokio::time::Instant::now() < deadline, "it is still there");
    }
    assert_eq!(home.get("/v1/strong/keys/n/c").await.status, 404);
    for key in ["n/b", "n/d"] {
        home.get(&format!("/v1/strong/keys/{key}")).await.good();
    }
    let refused = home.send("PUT", &path, "1").await;
    assert_eq!(refused.refusal(), (409, "session_expired".into()));
    let refused = home.send("PUT", "/v1/strong/keys/n/a?lease=x", "1").await;
    assert_eq!(refused.refusal(), (400, "bad_lease".into()));
    home.close().await;
}

#[tokio::test]
async fn ids_ascend_and_numbers_are_checked() {
    let home = Home::voting().await;
    let mut all: Vec<u64> = Vec::new();
    for body in ["", r#"{"count":1000}"#] {
        let ids = home.post("/v1/strong/ids", body).await.good();
        let ids = ids["ids"].as_array().unwrap().iter();
        all.extend(ids.map(|id| id.as_str().unwrap().parse::<u64>().unwrap()));
    }
    assert!(all.len() == 1_001 && all.is_sorted_by(|a, b| a < b));
    for count in ["0", "10001"] {
        let body = format!(r#"{{"count":{count}}}"#);
        let refused = home.post("/v1/strong/ids", &body).await;
        assert_eq!(refused.refusal(), (400, "bad_count".into()));
    }
    home.close().await;
}

#[tokio::test]
async fn who_leads_is_told_when_it_changes() {
    let home = Home::voting().await;
    let (_, mut follower) = home.stream("GET", "/v1/strong/elections/svc/a").await;
    assert_eq!(told(&mut follower, "vacant").await, json!({}));
    let (_, mut leader) = home.stream("POST", "/v1/strong/locks/svc/a?note=me").await;
    let token = told(&mut leader, "granted").await["token"].clone();
    let leads = told(&mut follower, "leads").await;
    assert_eq!((&leads["note"], &leads["token"]), (&json!("me"), &token));
    drop(leader);
    told(&mut follower, "vacant").await;
    home.close().await;
    assert!(event(&mut follower).await.is_none());
}

#[tokio::test]
async fn changes_of_strong_keys_are_told_in_their_order_and_can_be_resumed() {
    let home = Home::voting().await;
    let refused = home.get("/v1/watch?prefix=n/").await;
    assert_eq!(refused.refusal(), (409, "strong_namespace".into()));
    let (_, mut stream) = home.stream("GET", "/v1/strong/watch?prefix=n/w").await;
    let begin = told(&mut stream, "watching").await["revision"].clone();
    let transaction = json!({"then": [
        {"put": "n/w2", "value": "1"}, {"put": "n/x", "value": "1"}, {"put": "n/w1", "value": "1"},
    ]});
    let both = home
        .post("/v1/strong/txn", &transaction.to_string())
        .await
        .good();
    let deleted = home.send("DELETE", "/v1/strong/keys/n/w1", "").await.good();
    let wanted = [
        json!({"revision": both["revision"], "keys": ["n/w2", "n/w1"]}),
        json!({"revision": deleted["revision"], "keys": ["n/w1"]}),
    ];
    for wanted in &wanted {
        assert_eq!(&told(&mut stream, "changed").await, wanted);
    }
    for (from, wanted) in [(&begin, &wanted[0]), (&both["revision"], &wanted[1])] {
        let path = format!("/v1/strong/watch?prefix=n/w&after={from}");
        let (_, mut resumed) = home.stream("GET", &path).await;
        assert_eq!(told(&mut resumed, "watching").await["revision"], *from);
        assert_eq!(&told(&mut resumed, "changed").await, wanted);
    }
    home.close().await;
    assert!(event(&mut stream).await.is_none());
}
