//! Speaking to the running node through its HTTP door.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::Value as Json;
use ureq::http::request::Builder;
use ureq::http::{Method, Request, Response};
use ureq::{Agent, AsSendBody, Body, SendBody};
use zeroize::Zeroizing;

use super::exit::{Exit, Failure};

/// The door of the node that runs on a data folder.
#[derive(Debug)]
pub(crate) struct Door {
    agent: Agent,
    base: String,
    token: Zeroizing<String>,
}

/// How long the door may take beyond the time that a command gives the mesh.
const MARGIN: Duration = Duration::from_secs(10);
/// How long something large may take on its way.
const LONG: Duration = Duration::from_hours(1);
/// The longest answer that is taken in.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

impl Door {
    /// Finds the door of the node that runs on a folder.
    pub(crate) fn open(folder: &Path) -> Result<Self, Failure> {
        let base = read(folder, "door.addr")?.ok_or_else(|| not_running(folder))?;
        // Whoever took over the port of a node that was killed must not be shown the token.
        if !holder_is_alive(folder) {
            return Err(stale(folder));
        }
        let token = read(folder, "door.token")?.ok_or_else(|| not_running(folder))?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(2)))
            .build()
            .new_agent();
        Ok(Self {
            agent,
            base,
            token: Zeroizing::new(token),
        })
    }

    /// Asks for JSON. `patience` is what the mesh may take.
    pub(crate) fn get(&self, path: &str, patience: Duration) -> Result<Json, Failure> {
        parse(&self.exchange(Method::GET, path, None, patience)?)
    }

    /// Sends JSON, and takes JSON.
    pub(crate) fn post(
        &self,
        path: &str,
        body: &Json,
        patience: Duration,
    ) -> Result<Json, Failure> {
        let body = body.to_string();
        self.send(Method::POST, path, body.as_bytes(), patience)
    }

    /// Sends bytes with any method, and takes JSON.
    pub(crate) fn send(
        &self,
        method: Method,
        path: &str,
        body: &[u8],
        patience: Duration,
    ) -> Result<Json, Failure> {
        parse(&self.exchange(method, path, Some(body), patience)?)
    }

    /// Posts bytes, and takes bytes.
    pub(crate) fn post_bytes(
        &self,
        path: &str,
        body: &[u8],
        patience: Duration,
    ) -> Result<Vec<u8>, Failure> {
        self.exchange(Method::POST, path, Some(body), patience)
    }

    /// Opens a stream of events.
    pub(crate) fn stream(&self, path: &str) -> Result<impl io::Read + use<>, Failure> {
        self.open_stream(self.request(Method::GET, path).body(()))
    }

    /// Opens a stream of events that something is done for as long as it is open.
    pub(crate) fn post_stream(&self, path: &str) -> Result<impl io::Read + use<>, Failure> {
        self.open_stream(self.request(Method::POST, path).body(&b""[..]))
    }

    /// Opens a stream of bytes, and says how many there are where that is known.
    pub(crate) fn fetch(
        &self,
        path: &str,
    ) -> Result<(Option<u64>, impl io::Read + use<>), Failure> {
        let response = self.run(self.request(Method::GET, path).body(()), LONG)?;
        let (head, mut body) = response.into_parts();
        if head.status.is_success() {
            let bytes = body.content_length();
            return Ok((bytes, body.into_with_config().limit(u64::MAX).reader()));
        }
        Err(refusal(head.status.as_u16(), &read_body(&mut body)?))
    }

    /// Posts as many bytes as there are, and takes JSON. What the node refuses at once is not sent to it.
    pub(crate) fn upload(
        &self,
        path: &str,
        mut from: impl io::Read,
        bytes: u64,
    ) -> Result<Json, Failure> {
        let request = self
            .request(Method::POST, path)
            .header("content-length", bytes)
            .header("expect", "100-continue");
        let response = self.run(request.body(SendBody::from_reader(&mut from)), LONG)?;
        let (head, mut body) = response.into_parts();
        let body = read_body(&mut body)?;
        if head.status.is_success() {
            return parse(&body);
        }
        Err(refusal(head.status.as_u16(), &body))
    }

    fn open_stream<B: AsSendBody>(
        &self,
        request: Result<Request<B>, ureq::http::Error>,
    ) -> Result<impl io::Read + use<B>, Failure> {
        let request = request.map_err(invalid)?;
        let response = self
            .agent
            .run(request)
            .map_err(|error| unreachable(&error))?;
        let (head, mut body) = response.into_parts();
        if head.status.is_success() {
            return Ok(body.into_with_config().limit(u64::MAX).reader());
        }
        Err(refusal(head.status.as_u16(), &read_body(&mut body)?))
    }

    fn request(&self, method: Method, path: &str) -> Builder {
        let authorization = Zeroizing::new(format!("Bearer {}", *self.token));
        Request::builder()
            .method(method)
            .uri(format!("{}/v1/{path}", self.base))
            .header("authorization", authorization.as_str())
            .header("content-type", "application/json")
    }

    fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&[u8]>,
        patience: Duration,
    ) -> Result<Vec<u8>, Failure> {
        let request = self.request(method, path);
        let response = match body {
            Some(body) => self.run(request.body(body), patience)?,
            None => self.run(request.body(()), patience)?,
        };
        let (head, mut body) = response.into_parts();
        let body = read_body(&mut body)?;
        if head.status.is_success() {
            return Ok(body);
        }
        Err(refusal(head.status.as_u16(), &body))
    }

    fn run(
        &self,
        request: Result<Request<impl AsSendBody>, ureq::http::Error>,
        patience: Duration,
    ) -> Result<Response<Body>, Failure> {
        let request = self.agent.configure_request(request.map_err(invalid)?);
        let request = request.timeout_global(Some(patience + MARGIN)).build();
        self.agent.run(request).map_err(|error| unreachable(&error))
    }
}

/// What a door says when it refuses: `{"error": {"code": …, "message": …}}`.
fn refusal(status: u16, body: &[u8]) -> Failure {
    let json: Json = serde_json::from_slice(body).unwrap_or_default();
    let failure = told(&json, exit(status)).unwrap_or_else(|| {
        Failure::new(
            exit(status),
            format!("the node answered with HTTP status {status} and no reason"),
        )
    });
    match status {
        _ if failure.hint.is_some() => failure,
        401 => failure.hint("the file door.token in the data folder is not the running node's: is the folder a copy?"),
        503 | 504 => failure.hint("see who can be reached with `meshwork status`; a lower --level or a longer --timeout asks for less"),
        _ => failure,
    }
}

/// The same where it comes without a status, as an event.
pub(crate) fn told(json: &Json, otherwise: Exit) -> Option<Failure> {
    let text = |at| json.pointer(at).and_then(Json::as_str);
    let message = text("/error/message")?;
    let code = text("/error/code").unwrap_or_default();
    let (exit, hint) = match code {
        "no_strong_group" | "held" | "busy" => (Exit::Unavailable, None),
        "strong_unavailable" | "unknown_outcome" => (Exit::Unavailable, Some(SEE_GROUP)),
        _ => (otherwise, None),
    };
    Some(Failure {
        exit,
        message: message.to_owned(),
        hint: hint.map(str::to_owned),
        code: Some(code.to_owned()),
    })
}

const SEE_GROUP: &str = "see who leads and who can be reached with `meshwork strong status`";

/// What an HTTP status means to whoever called the command.
const fn exit(status: u16) -> Exit {
    match status {
        404 => Exit::NotFound,
        408 | 429 | 503 | 504 => Exit::Unavailable,
        400 | 403 | 409 | 413 | 507 => Exit::Refused,
        _ => Exit::Failed,
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that `map_err` wants"
)]
fn invalid(error: ureq::http::Error) -> Failure {
    Failure::from_error(Exit::Failed, &error)
}

fn unreachable(error: &ureq::Error) -> Failure {
    let refused =
        matches!(error, ureq::Error::Io(cause) if cause.kind() == io::ErrorKind::ConnectionRefused);
    if refused || matches!(error, ureq::Error::ConnectionFailed) {
        return Failure::new(Exit::NoNode, "the node does not answer at its HTTP address")
            .hint("it may be starting or stopping: try again, or start it with `meshwork up`");
    }
    let exit = if matches!(error, ureq::Error::Timeout(_)) {
        Exit::Unavailable
    } else {
        Exit::Failed
    };
    Failure::from_error(exit, error)
}

fn read_body(body: &mut Body) -> Result<Vec<u8>, Failure> {
    let config = body.with_config().limit(ANSWER_BYTES_MAX);
    config.read_to_vec().map_err(|error| unreachable(&error))
}

fn parse(body: &[u8]) -> Result<Json, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("the node's answer makes no sense: {error}"),
        )
    })
}

fn read(folder: &Path, name: &str) -> Result<Option<String>, Failure> {
    let path = folder.join(name);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new(
            Exit::Failed,
            format!("{} cannot be read: {error}", path.display()),
        )),
    }
}

/// Whether the process that wrote its number into the folder's lock file is there.
///
/// The lock itself is not tried, since a node that starts at this moment would find it taken.
fn holder_is_alive(folder: &Path) -> bool {
    let text = fs::read_to_string(folder.join("lock")).unwrap_or_default();
    let pid = text
        .trim()
        .parse()
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| {
        let asked = rustix::process::test_kill_process(pid);
        asked.is_ok() || asked == Err(rustix::io::Errno::PERM)
    })
}

fn not_running(folder: &Path) -> Failure {
    let (shown, member) = (folder.display(), folder.join("member").exists());
    if member {
        return Failure::new(Exit::NoNode, format!("no node runs on {shown}"))
            .hint(format!("start it with `meshwork up --dir {shown}`"));
    }
    Failure::new(Exit::NoNode, format!("there is no node in {shown}")).hint(
        "make one with `meshwork init --mesh NAME` or `meshwork join TICKET`, or say where it is with --dir",
    )
}

fn stale(folder: &Path) -> Failure {
    let shown = folder.display();
    let message = format!("no node runs on {shown}: the last one ended without cleaning up");
    Failure::new(Exit::NoNode, message).hint(format!(
        "nothing is lost; start it again with `meshwork up --dir {shown}`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_a_running_node_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Door::open(folder.path()).unwrap_err();
        assert_eq!(open().exit, Exit::NoNode);
        assert!(open().hint.unwrap().contains("init"));
        fs::write(folder.path().join("member"), "").unwrap();
        assert!(open().hint.unwrap().contains("meshwork up"));
        fs::write(folder.path().join("door.addr"), "http://127.0.0.1:1\n").unwrap();
        fs::write(folder.path().join("lock"), format!("{}\n", i32::MAX)).unwrap();
        assert!(open().message.contains("without cleaning up"));
    }

    #[test]
    fn a_refusal_keeps_the_door_s_words() {
        let failure = refusal(
            409,
            br#"{"error":{"code":"wrong_kind","message":"it is a set"}}"#,
        );
        assert_eq!(
            (failure.exit, &*failure.message),
            (Exit::Refused, "it is a set")
        );
        assert_eq!(failure.code.as_deref(), Some("wrong_kind"));
        let held = br#"{"error":{"code":"held","message":"somebody else holds the lock"}}"#;
        assert_eq!(refusal(409, held).exit, Exit::Unavailable);
        let failure = refusal(502, b"<html>");
        assert_eq!(failure.exit, Exit::Failed);
        assert!(failure.message.contains("502"));
    }
}
