//! The first frames on a connection, from both sides. Each is bounded in size and, by its caller, in time.

use std::io;
use std::time::Duration;

use futures::io::{AsyncReadExt, ReadHalf, WriteHalf};
use libp2p::Stream;
use tokio::time::timeout;

use super::frames::{FrameReader, FrameWriter, ReadFrame, WriteFrame};
use super::refusal::RefuseReason;
use super::wire::{DecodeFrame, HANDSHAKE_BYTES_MAX, Hello, Kind, Reply, Welcome};

/// A stream with frames on it.
#[derive(Debug)]
pub(super) struct Framed {
    pub(super) reader: FrameReader<ReadHalf<Stream>>,
    pub(super) writer: FrameWriter<WriteHalf<Stream>>,
}

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum FailHandshake {
    /// The peer said why it refuses.
    #[error("the peer refused: {0:?}")]
    Refused(RefuseReason),
    /// The peer sent something else.
    #[error("the peer sent something else")]
    Malformed(#[source] DecodeFrame),
    /// The stream broke.
    #[error("the stream broke")]
    Io(#[source] io::Error),
    /// It took too long.
    #[error("it took too long")]
    Timeout,
}

impl Framed {
    pub(super) fn new(stream: Stream, progress_timeout: Duration) -> Self {
        let (reader, writer) = stream.split();
        Self {
            reader: FrameReader::new(reader),
            writer: FrameWriter::new(writer, progress_timeout),
        }
    }

    /// Sends one frame now.
    pub(super) async fn send(&mut self, kind: Kind, contents: &[u8]) -> Result<(), WriteFrame> {
        self.writer.put(kind, contents).await?;
        self.writer.flush().await
    }

    /// The contents of the next frame, which must be of this kind.
    pub(super) async fn expect(
        &mut self,
        kind: Kind,
        bytes_max: u32,
    ) -> Result<bytes::Bytes, FailHandshake> {
        match self.reader.next(bytes_max).await? {
            Some((found, contents)) if found == kind => Ok(contents),
            Some(_) => Err(FailHandshake::Malformed(DecodeFrame::Malformed)),
            None => Err(FailHandshake::Io(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Sends a last frame and waits until the peer has it, so that closing the connection does not overtake it.
    pub(super) async fn send_last(mut self, kind: Kind, contents: &[u8]) {
        let last = async {
            self.send(kind, contents).await?;
            self.writer.close().await?;
            while let Ok(Some(_)) = self.reader.next(HANDSHAKE_BYTES_MAX).await {}
            Ok::<(), WriteFrame>(())
        };
        if let Err(error) = timeout(LAST_WORDS_TIMEOUT, last).await.unwrap_or(Ok(())) {
            tracing::debug!(%error, "last frame may not have arrived");
        }
    }
}

/// The dialler's side: says hello and hears the answer.
pub(super) async fn greet(
    framed: &mut Framed,
    hello: &Hello,
    patience: Duration,
) -> Result<Welcome, FailHandshake> {
    let greeting = async {
        framed.send(Kind::Hello, &hello.encode()).await?;
        framed.expect(Kind::Reply, HANDSHAKE_BYTES_MAX).await
    };
    let contents = timeout(patience, greeting)
        .await
        .unwrap_or(Err(FailHandshake::Timeout))?;
    match Reply::decode(&contents).map_err(FailHandshake::Malformed)? {
        Reply::Welcome(welcome) => Ok(welcome),
        Reply::Refused(reason) => Err(FailHandshake::Refused(reason)),
    }
}

/// The listener's side: hears a hello.
pub(super) async fn hear(framed: &mut Framed, patience: Duration) -> Result<Hello, FailHandshake> {
    let heard = timeout(patience, framed.expect(Kind::Hello, HANDSHAKE_BYTES_MAX)).await;
    let contents = heard.unwrap_or(Err(FailHandshake::Timeout))?;
    Hello::decode(&contents).map_err(FailHandshake::Malformed)
}

impl FailHandshake {
    /// What the listener answers; `None` when there is nobody to answer.
    pub(super) const fn refusal(&self) -> Option<RefuseReason> {
        match self {
            Self::Malformed(DecodeFrame::Version { .. }) => Some(RefuseReason::Version),
            Self::Malformed(_) => Some(RefuseReason::Malformed),
            Self::Timeout => Some(RefuseReason::Timeout),
            Self::Refused(_) | Self::Io(_) => None,
        }
    }
}

impl From<ReadFrame> for FailHandshake {
    fn from(error: ReadFrame) -> Self {
        match error {
            ReadFrame::Io(error) => Self::Io(error),
            ReadFrame::Decode(error) => Self::Malformed(error),
        }
    }
}

impl From<WriteFrame> for FailHandshake {
    fn from(error: WriteFrame) -> Self {
        match error {
            WriteFrame::Io(error) => Self::Io(error),
            WriteFrame::NotReading => Self::Timeout,
        }
    }
}

/// How long a peer gets to read why it is refused.
pub(super) const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(1);
