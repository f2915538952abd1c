//! Documents by HTTP.

use meshwork_crdt::{ActorSeed, CausalContext, Document, Limits, Object, ReplicaId, Text};
use serde_json::json;

use crate::Home;

const DOC: &str = "/v1/docs/notes/today";

async fn text(home: &Home) -> String {
    home.get(DOC).await.good()["text"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn an_edit_counts_in_the_text_that_its_writer_saw() {
    let home = Home::open().await;
    assert_eq!(home.get(DOC).await.status, 404);
    let first = home
        .post(
            DOC,
            r#"{"splices":[{"at":0,"insert":"Äpfel 🍎 und"},{"at":7,"delete":1}]}"#,
        )
        .await
        .good();
    assert_eq!(first["acknowledged"], 1);
    let read = home.get(DOC).await.good();
    assert_eq!(
        read,
        json!({"text": "Äpfel 🍎und", "heads": first["heads"], "changes": 1})
    );
    home.post(DOC, r#"{"splices":[{"at":0,"insert":"Viele "}]}"#)
        .await
        .good();
    let late = json!({"splices": [{"at": 10, "insert": " Birnen"}], "heads": first["heads"]});
    home.post(DOC, &late.to_string()).await.good();
    assert_eq!(text(&home).await, "Viele Äpfel 🍎und Birnen");
    home.close().await;
}

#[tokio::test]
async fn texts_are_marked_and_unmarked() {
    let home = Home::open().await;
    let bold = |start, value: &str| {
        format!(
            r#"{{"splices":[],"marks":[{{"start":{start},"end":6,"name":"bold","value":{value},"expand":"none"}}]}}"#
        )
    };
    home.post(DOC, r#"{"splices":[{"at":0,"insert":"a bold word"}]}"#)
        .await
        .good();
    home.post(DOC, &bold(2, "true")).await.good();
    assert_eq!(
        home.get(DOC).await.good()["marks"],
        json!([{"start": 2, "end": 6, "name": "bold", "value": true}])
    );
    home.post(DOC, &bold(0, "null")).await.good();
    assert_eq!(home.get(DOC).await.good().get("marks"), None);
    let beyond = bold(2, "true").replace("6", "60");
    assert_eq!(
        home.post(DOC, &beyond).await.refusal(),
        (400, "out_of_range".into())
    );
    home.close().await;
}

#[tokio::test]
async fn edits_that_do_not_fit_are_refused_and_change_nothing() {
    let home = Home::open().await;
    home.post(DOC, r#"{"splices":[{"at":0,"insert":"abc"}]}"#)
        .await
        .good();
    let beyond = home
        .post(
            DOC,
            r#"{"splices":[{"at":1,"insert":"x"},{"at":9,"delete":1}]}"#,
        )
        .await;
    assert_eq!(beyond.refusal(), (400, "out_of_range".into()));
    let unknown = json!({"splices": [], "heads": ["00".repeat(32)]});
    assert_eq!(
        home.post(DOC, &unknown.to_string()).await.refusal(),
        (409, "unknown_heads".into())
    );
    let short = r#"{"splices":[],"heads":["00"]}"#;
    assert_eq!(
        home.post(DOC, short).await.refusal(),
        (400, "bad_heads".into())
    );
    assert_eq!(
        home.post(DOC, "{}").await.refusal(),
        (400, "bad_json".into())
    );
    let nothing = home.post(DOC, r#"{"splices":[]}"#).await.good();
    assert_eq!(nothing["acknowledged"], 0);
    assert_eq!(home.get(DOC).await.good()["changes"], 1);
    assert_eq!(text(&home).await, "abc");
    home.post("/v1/keys/notes/c", r#"{"op":"add","amount":1}"#)
        .await
        .good();
    assert_eq!(
        home.get("/v1/docs/notes/c").await.refusal(),
        (409, "wrong_kind".into())
    );
    let edit = home
        .post("/v1/docs/notes/c", r#"{"splices":[{"at":0,"insert":"x"}]}"#)
        .await;
    assert_eq!(edit.refusal(), (409, "wrong_kind".into()));
    home.close().await;
}

#[tokio::test]
async fn an_editor_of_its_own_fetches_what_is_missing_and_adds_chunks() {
    let home = Home::open().await;
    let (chunks, missing) = (format!("{DOC}/chunks"), format!("{DOC}/missing"));
    let fetch = async |version: Vec<u8>| home.send("POST", &missing, version).await.body;
    assert_eq!(fetch(Vec::new()).await, Vec::<u8>::new());

    let seed = ActorSeed::new(ReplicaId::from_bytes(*b"somebody"), 1);
    let mut theirs = Text::open(&Document::default(), &CausalContext::default(), seed);
    theirs.splice(0, 0, "from afar").unwrap();
    home.send("POST", &chunks, theirs.commit().unwrap())
        .await
        .good();
    assert_eq!(text(&home).await, "from afar");

    home.post(DOC, r#"{"splices":[{"at":9,"insert":" and here"}]}"#)
        .await
        .good();
    let mut object = Object::decode(&fetch(Vec::new()).await, &Limits::DEFAULT).unwrap();
    theirs.absorb(object.as_document().unwrap(), object.version());
    assert_eq!(theirs.text(), "from afar and here");
    assert_eq!(fetch(object.version().encode()).await, Vec::<u8>::new());

    home.post(DOC, r#"{"splices":[{"at":0,"delete":5}]}"#)
        .await
        .good();
    object
        .join(&Object::decode(&fetch(object.version().encode()).await, &Limits::DEFAULT).unwrap());
    theirs.absorb(object.as_document().unwrap(), object.version());
    assert_eq!(theirs.text(), "afar and here");

    assert_eq!(
        home.post(&chunks, "").await.refusal(),
        (400, "bad_chunk".into())
    );
    assert_eq!(
        home.post(&missing, "junk").await.refusal(),
        (400, "bad_version".into())
    );
    home.close().await;
}
