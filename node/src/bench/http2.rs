//! Requests over HTTP/2, many on one connection.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::header::HeaderMap;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::load::Failed;

/// Connections to three nodes, shared by their clients.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    /// Some to each node; the first of each come first.
    senders: Vec<SendRequest<Full<Bytes>>>,
}

/// Connections to each node: enough that none holds the others up, and few enough that requests travel together.
const TO_EACH: usize = 6;

/// What came back, with a status that says that all is well.
pub(super) struct Answer {
    pub(super) body: Bytes,
    pub(super) trailers: HeaderMap,
}

impl Connections {
    pub(super) async fn open(nodes: &[SocketAddr]) -> Result<Self, Failed> {
        let mut senders = Vec::new();
        for node in nodes.iter().cycle().take(nodes.len() * TO_EACH) {
            let stream = TcpStream::connect(node).await.map_err(Failed::new)?;
            stream.set_nodelay(true).map_err(Failed::new)?;
            let shaken = handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
            let (sender, connection) = shaken.map_err(Failed::new)?;
            // It ends with its node, or when nobody sends any more.
            tokio::spawn(connection);
            senders.push(sender);
        }
        Ok(Self { senders })
    }

    /// Asks a client's node.
    pub(super) async fn ask(
        &self,
        client: usize,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, Failed> {
        let sender = self.senders.get(client % self.senders.len());
        let mut sender = sender
            .ok_or_else(|| Failed("no connection".into()))?
            .clone();
        let answer = sender.send_request(request).await.map_err(Failed::new)?;
        let status = answer.status();
        let collected = answer.into_body().collect().await;
        let collected = collected.map_err(Failed::new)?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        let body = collected.to_bytes();
        if !status.is_success() {
            let said = String::from_utf8_lossy(&body);
            return Err(Failed(format!("{status}: {said}")));
        }
        Ok(Answer { body, trailers })
    }
}
