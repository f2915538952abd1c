//! Frames on a stream: read with memory that grows as bytes arrive, written in batches.

use std::io;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::wire::{DecodeFrame, Header, Kind};

/// Takes frames from a stream.
#[derive(Debug)]
pub(super) struct FrameReader<R> {
    stream: R,
    arrived: BytesMut,
    /// Grows from 4 to 64 KiB while the peer fills it, so that an idle link stays small.
    chunk: Vec<u8>,
}

/// Why no frame came.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadFrame {
    /// The stream ended, or broke, within a frame or between two.
    #[error("the stream broke")]
    Io(#[from] io::Error),
    /// The peer sent what it should not.
    #[error(transparent)]
    Decode(#[from] DecodeFrame),
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(stream: R) -> Self {
        Self {
            stream,
            arrived: BytesMut::new(),
            chunk: vec![0; CHUNK_BYTES_MIN],
        }
    }

    /// The next frame; `None` at the end of the stream. Dropping the future loses nothing.
    pub(super) async fn next(
        &mut self,
        bytes_max: u32,
    ) -> Result<Option<(Kind, Bytes)>, ReadFrame> {
        loop {
            if let Some(frame) = self.take(bytes_max)? {
                return Ok(Some(frame));
            }
            let count = self.stream.read(&mut self.chunk).await?;
            match self.chunk.get(..count) {
                None | Some([]) if self.arrived.is_empty() => return Ok(None),
                None | Some([]) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Some(read) => self.arrived.extend_from_slice(read),
            }
            if count == self.chunk.len() && count < CHUNK_BYTES_MAX {
                self.chunk.resize(2 * count, 0);
            }
        }
    }

    fn take(&mut self, bytes_max: u32) -> Result<Option<(Kind, Bytes)>, DecodeFrame> {
        let Some(encoded) = self.arrived.first_chunk::<{ Header::BYTES }>() else {
            return Ok(None);
        };
        let header = Header::decode(*encoded, bytes_max)?;
        let bytes = usize::try_from(header.bytes).unwrap_or(usize::MAX);
        if self.arrived.len() - Header::BYTES < bytes {
            return Ok(None);
        }
        let frame = self
            .arrived
            .split_to(Header::BYTES + bytes)
            .freeze()
            .slice(Header::BYTES..);
        if self.arrived.is_empty() && bytes > CHUNK_BYTES_MAX {
            self.arrived = BytesMut::new();
        }
        Ok(Some((header.kind, frame)))
    }
}

/// Gathers frames and writes many at a time.
#[derive(Debug)]
pub(super) struct FrameWriter<W> {
    stream: W,
    batch: BytesMut,
    progress_timeout: Duration,
}

/// Why frames could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteFrame {
    /// The stream broke.
    #[error("the stream broke")]
    Io(#[from] io::Error),
    /// The peer took nothing for the progress timeout.
    #[error("the peer does not read")]
    NotReading,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub(super) fn new(stream: W, progress_timeout: Duration) -> Self {
        Self {
            stream,
            batch: BytesMut::new(),
            progress_timeout,
        }
    }

    /// Appends a frame to the batch; a large one is written at once, without copying it.
    pub(super) async fn put(&mut self, kind: Kind, frame: &[u8]) -> Result<(), WriteFrame> {
        let bytes = u32::try_from(frame.len())
            .map_err(|_longer| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.batch.put_slice(&Header { kind, bytes }.encode());
        if frame.len() < COPY_BYTES_MAX {
            self.batch.put_slice(frame);
            return match self.batch.len() < CHUNK_BYTES_MAX {
                true => Ok(()),
                false => self.write_batch().await,
            };
        }
        self.write_batch().await?;
        for chunk in frame.chunks(CHUNK_BYTES_MAX) {
            write(&mut self.stream, chunk, self.progress_timeout).await?;
        }
        Ok(())
    }

    /// Sends the batch on its way.
    pub(super) async fn flush(&mut self) -> Result<(), WriteFrame> {
        self.write_batch().await?;
        within(self.progress_timeout, self.stream.flush()).await
    }

    /// Tells the peer that nothing more comes. What was written is still delivered while the connection lives.
    pub(super) async fn close(&mut self) -> Result<(), WriteFrame> {
        within(self.progress_timeout, self.stream.close()).await
    }

    async fn write_batch(&mut self) -> Result<(), WriteFrame> {
        write(&mut self.stream, &self.batch, self.progress_timeout).await?;
        self.batch.clear();
        Ok(())
    }
}

async fn write<W: AsyncWrite + Unpin>(
    stream: &mut W,
    bytes: &[u8],
    patience: Duration,
) -> Result<(), WriteFrame> {
    within(patience, stream.write_all(bytes)).await
}

async fn within(
    patience: Duration,
    done: impl Future<Output = io::Result<()>>,
) -> Result<(), WriteFrame> {
    match timeout(patience, done).await {
        Ok(written) => Ok(written?),
        Err(_elapsed) => Err(WriteFrame::NotReading),
    }
}

const CHUNK_BYTES_MIN: usize = 4 << 10;
const CHUNK_BYTES_MAX: usize = 64 << 10;
/// Frames from this size on are written from where they are.
const COPY_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use futures::io::Cursor;

    use super::*;

    async fn written(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut writer = FrameWriter::new(Cursor::new(Vec::new()), Duration::from_secs(1));
        for frame in frames {
            writer.put(Kind::Payload, frame).await.unwrap();
        }
        writer.flush().await.unwrap();
        writer.stream.into_inner()
    }

    #[tokio::test]
    async fn frames_of_all_sizes_come_back_in_order() {
        let sizes = [0, 1, 5, 4_091, 16_383, 16_384, 65_536, 200_000, 3];
        let frames: Vec<_> = sizes.iter().map(|size| vec![7u8; *size]).collect();
        let mut reader = FrameReader::new(Cursor::new(written(&frames).await));
        for frame in &frames {
            let (kind, bytes) = reader.next(200_000).await.unwrap().unwrap();
            assert_eq!((kind, &bytes[..]), (Kind::Payload, &frame[..]));
        }
        assert!(reader.next(200_000).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn claimed_length_takes_no_memory() {
        let mut bytes = Header {
            kind: Kind::Payload,
            bytes: 1 << 20,
        }
        .encode()
        .to_vec();
        bytes.push(1);
        let mut reader = FrameReader::new(Cursor::new(bytes));
        assert!(matches!(reader.next(1 << 20).await, Err(ReadFrame::Io(_))));
        assert!(reader.arrived.capacity() < CHUNK_BYTES_MAX);
    }

    #[tokio::test]
    async fn oversized_frame_is_refused_before_its_body() {
        let header = Header {
            kind: Kind::Payload,
            bytes: u32::MAX,
        };
        let mut reader = FrameReader::new(Cursor::new(header.encode().to_vec()));
        let refused = DecodeFrame::TooLarge {
            bytes: u32::MAX,
            bytes_max: 1_024,
        };
        assert!(matches!(reader.next(1_024).await, Err(ReadFrame::Decode(e)) if e == refused));
    }
}
