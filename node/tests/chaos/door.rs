//! A client of a real node: its HTTP door.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use meshwork::Options;
use meshwork::sim::workload::{Client, Failure, Seen};
use meshwork_crdt::{Dot, Limits, Object, Op};
use meshwork_sync::Key;
use serde_json::{Value as Json, json};

use crate::site::Site;
use crate::wire::{Broken, Reply, exchange};

/// The door of the node that runs on a folder, over all its lives.
#[derive(Clone)]
pub(crate) struct Door {
    folder: PathBuf,
    namespace: Option<String>,
    start: Instant,
    /// Every other read is in JSON, which does not tell the version.
    reads: Cell<u32>,
}

/// How much longer than the mesh a client waits, for a node that is stopped or busy.
const GRACE: Duration = Duration::from_millis(500);

impl Door {
    pub(crate) fn new(site: &Site, start: Instant) -> Self {
        Self {
            folder: site.folder(),
            namespace: site.namespace.clone(),
            start,
            reads: Cell::new(0),
        }
    }

    async fn ask(
        &self,
        (method, path): (&str, String),
        options: Options,
        body: &[u8],
    ) -> Result<Reply, Broken> {
        let read = |name: &str| std::fs::read_to_string(self.folder.join(name));
        let address = read("door.addr").map_err(Broken::Before)?;
        let token = read("door.token").map_err(Broken::Before)?;
        let address = address
            .trim()
            .trim_start_matches("http://")
            .parse()
            .unwrap();
        let (level, timeout) = (options.level, options.timeout.as_millis());
        let head = format!(
            "{method} {path}?level={level}&timeout_ms={timeout} HTTP/1.1\r\nHost: {address}\r\n\
             Connection: close\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
            token.trim(),
            body.len()
        );
        let request = [head.as_bytes(), body].concat();
        let patience = options.timeout + GRACE;
        exchange(self.namespace.clone(), address, &request, patience).await
    }

    /// The key as the door shows it.
    pub(crate) async fn shown(&self, key: &Key, options: Options) -> Result<Seen, Failure> {
        let path = format!("/v1/keys/{key}");
        let reply = self.ask(("GET", path), options, b"").await;
        match reply.map_err(unanswered)? {
            Reply { status: 200, body } => {
                let answer: Json = serde_json::from_slice(&body).unwrap();
                Ok(Seen::from_json(&answer).unwrap())
            }
            Reply { status: 404, .. } => Ok(Seen::default()),
            reply => Err(failure(&reply)),
        }
    }
}

impl Client for Door {
    async fn write(&self, key: &Key, op: Op, options: Options) -> Result<Option<Dot>, Failure> {
        let reply = if let Op::Chunk(chunk) = &op {
            let path = format!("/v1/docs/{key}/chunks");
            self.ask(("POST", path), options, chunk).await
        } else {
            let path = format!("/v1/keys/{key}");
            let body = json_of(&op).to_string();
            self.ask(("POST", path), options, body.as_bytes()).await
        };
        match reply.map_err(unanswered)? {
            Reply { status: 200, .. } => Ok(None),
            reply => Err(failure(&reply)),
        }
    }

    async fn object(&self, key: &Key, options: Options) -> Result<Object, Failure> {
        let path = format!("/v1/docs/{key}/missing");
        let reply = self.ask(("POST", path), options, b"").await;
        match reply.map_err(unanswered)? {
            Reply { status: 200, body } if body.is_empty() => Ok(Object::new()),
            Reply { status: 200, body } => Ok(Object::decode(&body, &Limits::DEFAULT).unwrap()),
            reply => Err(failure(&reply)),
        }
    }

    async fn read(&self, key: &Key, options: Options) -> Result<Seen, Failure> {
        let reads = self.reads.get() + 1;
        self.reads.set(reads);
        match reads.is_multiple_of(2) {
            true => self.shown(key, options).await,
            false => Ok(Seen::of(&self.object(key, options).await?)),
        }
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

fn unanswered(broken: Broken) -> Failure {
    match broken {
        Broken::Before(error) => Failure::Refused(format!("no connection: {error}")),
        Broken::After(error) => Failure::Unknown(error.to_string()),
    }
}

/// What the door says that it could not do, as its description has it.
fn failure(reply: &Reply) -> Failure {
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    let json: Json = serde_json::from_str(&text).unwrap_or_default();
    match json["error"]["code"].as_str() {
        Some("timeout") => Failure::Kept(text),
        Some(
            "unavailable" | "busy" | "wrong_kind" | "outbox_full" | "unauthorized" | "leaving",
        ) => Failure::Refused(text),
        _ => Failure::Unknown(text),
    }
}

/// An operation as the door takes it.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the workload writes no others"
)]
fn json_of(op: &Op) -> Json {
    let data = |bytes: &[u8]| json!({"base64": BASE64.encode(bytes)});
    match op {
        Op::Add(amount) => json!({"op": "add", "amount": amount}),
        Op::Put(value) => json!({"op": "put", "value": data(value)}),
        Op::Insert(element) => json!({"op": "insert", "element": data(element)}),
        Op::Remove(element) => json!({"op": "remove", "element": data(element)}),
        Op::Enable => json!({"op": "enable"}),
        Op::Disable => json!({"op": "disable"}),
        Op::Delete => json!({"op": "delete"}),
        Op::Field { name, kind, op } => {
            let (name, kind) = (data(name), kind.to_string());
            json!({"op": "field", "name": name, "kind": kind, "then": json_of(op)})
        }
        Op::RemoveField { name, kind } => {
            json!({"op": "remove_field", "name": data(name), "kind": kind.to_string()})
        }
        other => panic!("the workload does not write {other:?}"),
    }
}
