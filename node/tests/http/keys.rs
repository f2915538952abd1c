//! Values by HTTP.

use serde_json::json;

use crate::Home;

#[tokio::test]
async fn a_register_is_put_read_and_deleted() {
    let home = Home::open().await;
    assert_eq!(
        home.get("/v1/keys/notes/a").await.refusal(),
        (404, "not_found".into())
    );
    let put = home.send("PUT", "/v1/keys/notes/a", "hello").await;
    assert_eq!(put.good(), json!({"acknowledged": 1}));
    let read = home.get("/v1/keys/notes/a").await;
    assert!(read.head.contains("content-type: application/json"));
    let shown = json!({"kind": "register", "value": "hello", "siblings": ["hello"]});
    assert_eq!(
        read.good(),
        json!({"key": "notes/a", "values": [shown], "answered": 1})
    );
    home.send("PUT", "/v1/keys/notes/a", [0xff, 0]).await.good();
    let raw = home.get("/v1/keys/notes/a?raw=1").await;
    assert_eq!(
        (raw.status, raw.body.as_slice()),
        (200, [0xff, 0].as_slice())
    );
    let read = home.get("/v1/keys/notes/a").await.good();
    assert_eq!(read["values"][0]["value"], json!({"base64": "/wA="}));
    home.send("DELETE", "/v1/keys/notes/a", "").await.good();
    assert_eq!(home.get("/v1/keys/notes/a").await.status, 404);
    home.close().await;
}

#[tokio::test]
async fn names_may_hold_slashes_and_any_bytes() {
    let home = Home::open().await;
    for path in [
        "/v1/keys/n/a/b/c",
        "/v1/keys/n/a//",
        "/v1/keys/n/%FF%00%2F",
        "/v1/keys/n/%F0%9F%8D%8E",
    ] {
        home.send("PUT", path, path).await.good();
    }
    for path in [
        "/v1/keys/n/a/b/c",
        "/v1/keys/n/a//",
        "/v1/keys/n/%FF%00%2F",
        "/v1/keys/n/%F0%9F%8D%8E",
    ] {
        assert_eq!(home.get(path).await.good()["values"][0]["value"], path);
    }
    let bytes = home.get("/v1/keys/n/%FF%00/").await.good();
    assert_eq!(bytes["key"], json!({"base64": "bi//AC8="}));
    home.close().await;
}

#[tokio::test]
async fn every_operation_has_its_effect() {
    let home = Home::open().await;
    let steps = [
        ("c", r#"{"op":"add","amount":5}"#, json!(5)),
        ("c", r#"{"op":"add","amount":-7}"#, json!(-2)),
        ("s", r#"{"op":"insert","element":"b"}"#, json!(["b"])),
        (
            "s",
            r#"{"op":"insert","element":{"base64":"/w=="}}"#,
            json!(["b", {"base64": "/w=="}]),
        ),
        (
            "s",
            r#"{"op":"remove","element":"b"}"#,
            json!([{"base64": "/w=="}]),
        ),
        ("f", r#"{"op":"enable"}"#, json!(true)),
        ("r", r#"{"op":"put","value":"x"}"#, json!("x")),
        (
            "m",
            r#"{"op":"field","name":"n","kind":"counter","then":{"op":"add","amount":1}}"#,
            json!({"n": {"kind": "counter", "value": 1}}),
        ),
        (
            "m",
            r#"{"op":"field","name":"r","kind":"register","then":{"op":"put","value":"v"}}"#,
            json!({"n": {"kind": "counter", "value": 1}, "r": {"kind": "register", "value": "v", "siblings": ["v"]}}),
        ),
        (
            "m",
            r#"{"op":"remove_field","name":"n","kind":"counter"}"#,
            json!({"r": {"kind": "register", "value": "v", "siblings": ["v"]}}),
        ),
    ];
    for (name, op, value) in steps {
        let path = format!("/v1/keys/ops/{name}");
        assert_eq!(
            home.post(&path, op).await.good(),
            json!({"acknowledged": 1})
        );
        assert_eq!(
            home.get(&path).await.good()["values"][0]["value"],
            value,
            "{op}"
        );
    }
    home.post("/v1/keys/ops/x", r#"{"op":"merge","tag":7,"payload":"p"}"#)
        .await
        .good();
    let custom = home.get("/v1/keys/ops/x").await.good();
    assert_eq!(
        custom["values"],
        json!([{"kind": "custom:7", "payloads": ["p"]}])
    );
    home.post("/v1/keys/ops/c", r#"{"op":"delete"}"#)
        .await
        .good();
    assert_eq!(home.get("/v1/keys/ops/c").await.status, 404);
    home.close().await;
}

#[tokio::test]
async fn every_level_is_taken() {
    let home = Home::open().await;
    for level in ["local", "one", "quorum", "all"] {
        let path = format!("/v1/keys/l/{level}?level={level}&timeout_ms=2000");
        home.send("PUT", &path, level).await.good();
        assert_eq!(home.get(&path).await.good()["values"][0]["value"], level);
    }
    home.close().await;
}

#[tokio::test]
async fn a_watch_tells_of_changes_under_its_prefix() {
    let home = Home::open().await;
    let (status, mut stream) = home.watch("notes/to").await;
    assert_eq!(status, 200);
    for path in [
        "/v1/keys/notes/other",
        "/v1/keys/other/today",
        "/v1/keys/notes/today",
    ] {
        home.send("PUT", path, "x").await.good();
    }
    let event = stream.until("\n\n").await.unwrap();
    assert!(
        event.contains("event: changed\ndata: {\"key\":\"notes/today\"}\n\n"),
        "{event}"
    );
    home.close().await;
    assert_eq!(stream.until("\n\n").await, None);
}
