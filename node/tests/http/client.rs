//! As little of an HTTP client as the tests need: every byte of a request is theirs to choose.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpStream;

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Status and error code.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let code = self.json()["error"]["code"].as_str().unwrap().to_owned();
        assert!(!self.json()["error"]["message"].as_str().unwrap().is_empty());
        (self.status, code)
    }

    /// The JSON of an answer that must be good.
    #[track_caller]
    pub(crate) fn good(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, 200, "{text}");
        self.json()
    }
}

/// Sends a head and a body as they are, and reads all that comes until the door closes.
pub(crate) async fn raw(address: SocketAddr, head: &str, body: &[u8]) -> Reply {
    let stream = TcpStream::connect(address).await.unwrap();
    write_all(&stream, head.as_bytes()).await;
    write_all(&stream, body).await;
    let mut bytes = Vec::new();
    while let Some(more) = read(&stream).await {
        bytes.extend(more);
    }
    let end = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8(bytes[..end].to_vec())
        .unwrap()
        .to_lowercase();
    Reply {
        status: status_of(&head),
        body: bytes.split_off(end + 4),
        head,
    }
}

/// An event stream: its head has been read.
pub(crate) struct Stream {
    stream: TcpStream,
    read: String,
}

impl Stream {
    pub(crate) async fn open(address: SocketAddr, request: &str) -> (u16, Self) {
        let stream = TcpStream::connect(address).await.unwrap();
        write_all(&stream, request.as_bytes()).await;
        let mut this = Self {
            stream,
            read: String::new(),
        };
        let head = this.until("\r\n\r\n").await.unwrap();
        (status_of(&head), this)
    }

    /// What comes up to `end`; `None` if the door closes before.
    pub(crate) async fn until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(at) = self.read.find(end) {
                let rest = self.read.split_off(at + end.len());
                return Some(std::mem::replace(&mut self.read, rest));
            }
            let bytes = read(&self.stream).await?;
            self.read.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }
}

/// Writes all, or as much as the door wants to read.
async fn write_all(stream: &TcpStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        stream.writable().await.unwrap();
        match stream.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// The next bytes; `None` at the end.
async fn read(stream: &TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 65_536];
    loop {
        let readable = tokio::time::timeout(PATIENCE, stream.readable());
        readable.await.unwrap().unwrap();
        match stream.try_read(&mut bytes) {
            Ok(0) => return None,
            Ok(count) => {
                bytes.truncate(count);
                return Some(bytes);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
}

/// More than any answer takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn status_of(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}
