//! Kinds with more to them than an operation and a value.

use meshwork_crdt::{MergeRefused, Merges};
use serde_json::json;

use crate::Home;

#[tokio::test]
async fn every_kind_is_written_and_read() {
    let home = Home::open().await;
    let steps = [
        ("dw-flag", r#"{"op":"switch","on":true}"#, json!(true)),
        ("dw-flag", r#"{"op":"switch","on":false}"#, json!(false)),
        (
            "g-counter",
            r#"{"op":"increase","amount":18446744073709551615}"#,
            json!(u64::MAX),
        ),
        ("max", r#"{"op":"max","number":3}"#, json!(3)),
        ("max", r#"{"op":"max","number":-4}"#, json!(3)),
        ("min", r#"{"op":"min","number":3}"#, json!(3)),
        ("min", r#"{"op":"min","number":-4}"#, json!(-4)),
        ("g-set", r#"{"op":"gather","element":"b"}"#, json!(["b"])),
        (
            "g-set",
            r#"{"op":"gather","element":{"base64":"/w=="}}"#,
            json!(["b", {"base64": "/w=="}]),
        ),
        (
            "rw-set",
            r#"{"op":"admit","element":"ann"}"#,
            json!(["ann"]),
        ),
        ("rw-set", r#"{"op":"ban","element":"ann"}"#, json!([])),
        (
            "map",
            r#"{"op":"field","name":"m","kind":"map","then":{"op":"field","name":"n","kind":"min","then":{"op":"min","number":1}}}"#,
            json!({"m": {"kind": "map", "value": {"n": {"kind": "min", "value": 1}}}}),
        ),
    ];
    for (kind, op, value) in steps {
        let path = format!("/v1/keys/kinds/{kind}");
        let done = home.post(&path, op).await.good();
        assert_eq!(done, json!({"acknowledged": 1}));
        let shown = json!([{"kind": kind, "value": value}]);
        assert_eq!(home.get(&path).await.good()["values"], shown, "{op}");
    }
    home.close().await;
}

#[tokio::test]
async fn a_lower_fencing_token_is_refused() {
    let home = Home::open().await;
    let path = "/v1/keys/kinds/fenced";
    let put = |token: u64, value: &str| {
        json!({"op": "put_fenced", "token": token, "value": value}).to_string()
    };
    home.post(path, &put(u64::MAX - 1, "a")).await.good();
    let late = home.post(path, &put(7, "b")).await;
    assert_eq!(late.refusal(), (409, "fenced_off".into()));
    home.post(path, &put(u64::MAX, "c")).await.good();
    let shown = json!([{"kind": "fenced", "value": "c", "token": u64::MAX}]);
    assert_eq!(home.get(path).await.good()["values"], shown);
    home.close().await;
}

#[tokio::test]
async fn a_bounded_counter_is_not_overdrawn() {
    let home = Home::open().await;
    let path = "/v1/keys/kinds/bounded";
    let op = |op: &str, amount: u64| json!({"op": op, "amount": amount}).to_string();
    let none = home.post(path, &op("withdraw", 1)).await;
    assert_eq!(none.refusal(), (409, "no_rights".into()));
    home.post(path, &op("deposit", 10)).await.good();
    home.post(path, &op("withdraw", 3)).await.good();
    let give = json!({"op": "give_rights", "to": "00000000000000ff", "amount": 5});
    home.post(path, &give.to_string()).await.good();
    let shown = json!([{"kind": "bounded-counter", "value": 7, "rights": 2}]);
    assert_eq!(home.get(path).await.good()["values"], shown);
    let more = home.post(path, &op("withdraw", 3)).await;
    assert_eq!(more.refusal(), (409, "no_rights".into()));
    home.close().await;
}

#[tokio::test]
async fn elements_of_a_list_keep_their_names() {
    let home = Home::open().await;
    let path = "/v1/keys/kinds/list";
    let tea = home
        .post(path, r#"{"op":"insert_after","value":"tea"}"#)
        .await;
    let tea = tea.good()["element"].clone();
    let call = json!({"op": "insert_after", "after": tea, "value": "call"});
    let call = home.post(path, &call.to_string()).await.good()["element"].clone();
    for op in [
        json!({"op": "move_after", "element": call}),
        json!({"op": "write_element", "element": tea, "value": "green tea"}),
    ] {
        let done = home.post(path, &op.to_string()).await.good();
        assert_eq!(done, json!({"acknowledged": 1}));
    }
    let [first, last] = [(&call, "call"), (&tea, "green tea")]
        .map(|(element, value)| json!({"element": element, "value": value}));
    let read = || async { home.get(path).await.good()["values"][0]["value"].clone() };
    assert_eq!(read().await, json!([first, last]));

    let remove = json!({"op": "remove_element", "element": call}).to_string();
    home.post(path, &remove).await.good();
    home.post(path, &remove).await.good();
    assert_eq!(read().await, json!([last]));
    for op in ["move_after", "write_element", "insert_after"] {
        let op = match op {
            "insert_after" => json!({"op": op, "after": call, "value": "x"}),
            "write_element" => json!({"op": op, "element": call, "value": "x"}),
            _ => json!({"op": op, "element": call}),
        };
        let gone = home.post(path, &op.to_string()).await;
        assert_eq!(gone.refusal(), (404, "no_element".into()), "{op}");
    }
    let field = json!({"op": "field", "name": "l", "kind": "sequence", "then": {"op": "insert_after", "value": "x"}});
    let inner = home
        .post("/v1/keys/kinds/map", &field.to_string())
        .await
        .good();
    let map = home.get("/v1/keys/kinds/map").await.good();
    let element = json!({"element": inner["element"], "value": "x"});
    assert_eq!(map["values"][0]["value"]["l"]["value"], json!([element]));
    home.close().await;
}

/// The longer of two texts, or of two equally long ones the greater.
fn longer(a: &[u8], b: &[u8]) -> Result<Vec<u8>, MergeRefused> {
    for text in [a, b] {
        std::str::from_utf8(text).or(Err(MergeRefused))?;
    }
    let longer = (a.len(), a).max((b.len(), b)).1;
    Ok(longer.to_vec())
}

#[tokio::test]
async fn a_kind_of_the_application_s_own_is_joined_where_it_is_known() {
    let mut merges = Merges::default();
    merges.register_fn(7, longer);
    let home = Home::knowing(merges, |_| {}).await;
    let merge = |tag: u16, payload: &str| {
        json!({"op": "merge", "tag": tag, "payload": payload}).to_string()
    };
    for payload in ["short", "the longest", "longer"] {
        for tag in [7, 8] {
            let path = format!("/v1/keys/kinds/{tag}");
            home.post(&path, &merge(tag, payload)).await.good();
        }
    }
    let known = home.get("/v1/keys/kinds/7").await.good();
    let joined = "the longest";
    let shown = json!([{"kind": "custom:7", "value": joined, "payloads": [joined]}]);
    assert_eq!(known["values"], shown);
    let unknown = home.get("/v1/keys/kinds/8").await.good();
    assert_eq!(
        unknown["values"],
        json!([{"kind": "custom:8", "payloads": ["short", "the longest", "longer"]}])
    );
    let bad = r#"{"op":"merge","tag":7,"payload":{"base64":"/w=="}}"#;
    let refused = home.post("/v1/keys/kinds/7", bad).await;
    assert_eq!(refused.refusal(), (400, "payload_refused".into()));
    assert_eq!(home.get("/v1/keys/kinds/7").await.good()["values"], shown);
    home.close().await;
}
