//! A connection whose peer must begin to speak, and keep reading.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// A stream that fails when the peer does not begin, or takes none of what is written for a while.
///
/// Without it a client that asks and never reads holds its connection, and what it asked for, for ever; and one that never says which
/// version of HTTP it speaks holds its connection.
#[derive(Debug)]
pub(super) struct Patient<S = TcpStream> {
    stream: S,
    /// Runs until the first bytes have come, and how many of them are missing.
    silent: Option<(Pin<Box<Sleep>>, usize)>,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            silent: Some((Box::pin(tokio::time::sleep(SILENT_MAX)), FIRST_BYTES)),
            stalled: None,
        }
    }

    /// Passes on what a write said, unless it has waited too long.
    fn judge<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL_MAX)));
        stalled
            .as_mut()
            .poll(context)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let came = buffer.filled().len() - before;
        let Some((silent, missing)) = &mut self.silent else {
            return read;
        };
        *missing = missing.saturating_sub(came);
        if *missing == 0 {
            self.silent = None;
        } else if read.is_pending() && silent.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.judge(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_shutdown(context);
        self.judge(context, closed)
    }
}

/// How long a peer may take to say which version of HTTP it speaks.
const SILENT_MAX: Duration = Duration::from_secs(30);

/// What an older version begins with is longer than what HTTP/2 does (RFC 9113, section 3.4).
const FIRST_BYTES: usize = 24;

/// How long a peer may take nothing.
const STALL_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A peer that begins to read at a moment.
    struct Reader(Pin<Box<Sleep>>);

    impl AsyncWrite for Reader {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.as_mut().poll(context).map(|()| Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn write_to_a_peer_that_reads_after(pause: Duration) -> io::Result<usize> {
        let mut stream = Patient::new(Reader(Box::pin(tokio::time::sleep(pause))));
        poll_fn(|context| Pin::new(&mut stream).poll_write(context, b"bytes")).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_begin_is_dropped_and_one_that_has_begun_is_not() {
        for (said, dropped) in [
            (&b""[..], true),
            (b"PRI * HTTP", true),
            (&[b'x'; 24], false),
        ] {
            let (mut peer, here) = tokio::io::duplex(64);
            let mut stream = Patient::new(here);
            peer.write_all(said).await.unwrap();
            let mut bytes = [0; 64];
            let all = async {
                while stream.read(&mut bytes).await? > 0 {}
                io::Result::Ok(())
            };
            let ended = tokio::time::timeout(SILENT_MAX * 2, all).await;
            assert_eq!(ended.is_ok(), dropped, "{}", said.escape_ascii());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_nothing_is_dropped_and_a_slow_one_is_not() {
        let slow = write_to_a_peer_that_reads_after(STALL_MAX - Duration::from_secs(1)).await;
        assert_eq!(slow.unwrap(), 5);
        let stuck = write_to_a_peer_that_reads_after(STALL_MAX + Duration::from_secs(1)).await;
        assert_eq!(stuck.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
