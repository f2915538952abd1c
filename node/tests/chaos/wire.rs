//! One HTTP request on a connection of its own, made within a machine's namespace.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// A request failed before it was answered whole.
#[derive(Debug)]
pub(crate) enum Broken {
    /// Nothing was sent.
    Before(io::Error),
    /// It may have been received.
    After(io::Error),
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Sends a request and reads the answer to its end, for `patience` at most.
pub(crate) async fn exchange(
    namespace: Option<String>,
    address: SocketAddr,
    request: &[u8],
    patience: Duration,
) -> Result<Reply, Broken> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let stream = tokio::time::timeout(patience, connect(namespace, address)).await;
    let stream = stream.map_err(late).flatten().map_err(Broken::Before)?;
    let answer = tokio::time::timeout(patience, send(&stream, request)).await;
    answer.map_err(late).flatten().map_err(Broken::After)
}

/// A thread of its own goes into the namespace; its socket stays there.
async fn connect(namespace: Option<String>, address: SocketAddr) -> io::Result<TcpStream> {
    let (answer, answered) = oneshot::channel();
    thread::spawn(move || drop(answer.send(connect_within(namespace.as_deref(), address))));
    let stream = answered.await.map_err(io::Error::other)??;
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

fn connect_within(namespace: Option<&str>, address: SocketAddr) -> io::Result<std::net::TcpStream> {
    if let Some(namespace) = namespace {
        let file = File::open(format!("/var/run/netns/{namespace}"))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
    }
    std::net::TcpStream::connect_timeout(&address, Duration::from_secs(2))
}

async fn send(stream: &TcpStream, mut request: &[u8]) -> io::Result<Reply> {
    while !request.is_empty() {
        stream.writable().await?;
        match stream.try_write(request) {
            Ok(count) => request = &request[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    let mut answer = Vec::new();
    let mut bytes = vec![0; 65_536];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    whole(answer).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// The answer, if all of it is there.
fn whole(mut answer: Vec<u8>) -> Option<Reply> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let body = answer.split_off(end + 4);
    let head = String::from_utf8(answer).ok()?.to_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head
        .split("content-length: ")
        .nth(1)?
        .split("\r\n")
        .next()?;
    (length.parse() == Ok(body.len())).then_some(Reply { status, body })
}
