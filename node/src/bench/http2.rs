//! Requests over HTTP/2, many on one connection, by `h2` alone: what it costs to ask is taken from those who are measured.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use h2::client::{SendRequest, handshake};
use hyper::Request;
use hyper::header::HeaderMap;
use tokio::net::TcpStream;

use super::load::Failed;

/// Connections to three nodes, shared by their clients.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    /// Some to each node; the first of each come first.
    senders: Vec<SendRequest<Bytes>>,
}

/// Connections to each node: enough that none holds the others up, and few enough that requests travel together.
const TO_EACH: usize = 6;

/// What came back, with a status that says that all is well.
pub(super) struct Answer {
    pub(super) body: Bytes,
    pub(super) trailers: HeaderMap,
}

/// Drives a connection that lets all others go first whenever it is woken: what they have to say then leaves together.
async fn drive_patiently<C: Future>(connection: C) -> C::Output {
    let mut connection = pin!(connection);
    let mut waited = false;
    poll_fn(|context| {
        waited = !waited;
        if waited {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        connection.as_mut().poll(context)
    })
    .await
}

impl Connections {
    pub(super) async fn open(nodes: &[SocketAddr]) -> Result<Self, Failed> {
        let mut senders = Vec::new();
        for node in nodes.iter().cycle().take(nodes.len() * TO_EACH) {
            let stream = TcpStream::connect(node).await.map_err(Failed::new)?;
            stream.set_nodelay(true).map_err(Failed::new)?;
            let (sender, connection) = handshake(stream).await.map_err(Failed::new)?;
            // It ends with its node, or when nobody sends any more.
            tokio::spawn(drive_patiently(connection));
            senders.push(sender);
        }
        Ok(Self { senders })
    }

    /// Asks a client's node.
    pub(super) async fn ask(
        &self,
        client: usize,
        request: Request<Bytes>,
    ) -> Result<Answer, Failed> {
        let sender = self.senders.get(client % self.senders.len());
        let sender = sender.ok_or_else(|| Failed("no connection".into()))?;
        let mut sender = sender.clone().ready().await.map_err(Failed::new)?;
        let (head, body) = request.into_parts();
        let head = Request::from_parts(head, ());
        let sent = sender.send_request(head, body.is_empty());
        let (answer, mut stream) = sent.map_err(Failed::new)?;
        if !body.is_empty() {
            stream.send_data(body, true).map_err(Failed::new)?;
        }
        let answer = answer.await.map_err(Failed::new)?;
        let status = answer.status();
        let mut stream = answer.into_body();
        let mut body = BytesMut::new();
        while let Some(part) = stream.data().await {
            let part = part.map_err(Failed::new)?;
            let taken = stream.flow_control().release_capacity(part.len());
            taken.map_err(Failed::new)?;
            body.extend_from_slice(&part);
        }
        let trailers = stream.trailers().await.map_err(Failed::new)?;
        if !status.is_success() {
            let said = String::from_utf8_lossy(&body);
            return Err(Failed(format!("{status}: {said}")));
        }
        Ok(Answer {
            body: body.freeze(),
            trailers: trailers.unwrap_or_default(),
        })
    }
}
