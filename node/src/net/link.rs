//! One connected member: three streams, a reader and a writer on each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::io::{ReadHalf, WriteHalf};
use libp2p::Stream;
use libp2p::swarm::ConnectionId;
use meshwork_membership::NodeId;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::event::{Class, DownReason, NetEvent};
use super::frames::{FrameReader, FrameWriter, ReadFrame, WriteFrame};
use super::handshake::{Framed, LAST_WORDS_TIMEOUT};
use super::refusal::RefuseReason;
use super::shared::{LaneEnd, Shared};
use super::stats::add;
use super::wire::{DecodeFrame, Kind};

/// What the driver keeps of a link.
#[derive(Debug)]
pub(super) struct LinkHandle {
    pub(super) conn: ConnectionId,
    pub(super) instance: u64,
    pub(super) remote: SocketAddr,
    /// When the first certificate of the peer ends, in seconds since 1970.
    pub(super) expires_s: Option<u64>,
    pub(super) pulse: Arc<Pulse>,
    end: watch::Sender<Option<DownReason>>,
    ended: CancellationToken,
}

/// Signs of life of a link, and the control frames that are due on each lane.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// Counts frames of any kind that arrived.
    heard: AtomicU64,
    /// Counts payload frames sent and taken.
    used: AtomicU64,
    /// Frames that arrived and wait for the application.
    waiting: AtomicU64,
    lanes: [LaneControl; 3],
}

/// Control frames that a writer sends before its next payload.
#[derive(Debug, Default)]
struct LaneControl {
    ping: AtomicBool,
    pong: AtomicBool,
    due: Notify,
}

/// A member whose handshake succeeded, and what its link is run with.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: NodeId,
    pub(super) remote: SocketAddr,
    pub(super) instance: u64,
    pub(super) name: String,
    pub(super) pulse: Arc<Pulse>,
    pub(super) shared: Arc<Shared>,
    end: watch::Receiver<Option<DownReason>>,
    ended: CancellationToken,
}

/// The streams of a link, by class.
pub(super) type Lanes = [Framed; 3];

impl LinkHandle {
    /// A handle and the link that obeys it.
    pub(super) fn new(conn: ConnectionId, shared: &Arc<Shared>, peer: LinkPeer) -> (Self, Link) {
        let LinkPeer {
            peer,
            remote,
            instance,
            name,
            expires_s,
        } = peer;
        let (end, ends) = watch::channel(None);
        let (ended, pulse) = (CancellationToken::new(), Arc::new(Pulse::default()));
        let link = Link {
            peer,
            remote,
            instance,
            name,
            pulse: Arc::clone(&pulse),
            shared: Arc::clone(shared),
            end: ends,
            ended: ended.clone(),
        };
        (
            Self {
                conn,
                instance,
                remote,
                expires_s,
                pulse,
                end,
                ended,
            },
            link,
        )
    }

    /// Asks the link to end; the first reason counts.
    pub(super) fn end(&self, reason: DownReason) {
        self.end.send_if_modified(|end| {
            let first = end.is_none();
            end.get_or_insert(reason);
            first
        });
    }

    /// Is set when the link has said that it is down.
    pub(super) fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }
}

/// Who a link is with.
#[derive(Debug)]
pub(super) struct LinkPeer {
    pub(super) peer: NodeId,
    pub(super) remote: SocketAddr,
    pub(super) instance: u64,
    pub(super) name: String,
    pub(super) expires_s: Option<u64>,
}

impl Pulse {
    /// Whether the peer answers a ping within `patience`. A link that this node's own application holds up counts as alive:
    /// the answer may be behind what is not yet taken.
    pub(super) async fn is_alive(&self, patience: Duration) -> bool {
        let before = self.heard.load(Ordering::Relaxed);
        self.request_ping(Class::Gossip);
        let heard = async {
            while self.heard.load(Ordering::Relaxed) == before {
                tokio::time::sleep(patience / 64).await;
            }
        };
        timeout(patience, heard).await.is_ok() || self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Payload frames so far, in both directions.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn request_ping(&self, class: Class) {
        let lane = self.lane(class);
        lane.ping.store(true, Ordering::Release);
        lane.due.notify_one();
    }

    fn request_pong(&self, class: Class) {
        let lane = self.lane(class);
        lane.pong.store(true, Ordering::Release);
        lane.due.notify_one();
    }

    fn lane(&self, class: Class) -> &LaneControl {
        let [gossip, data, bulk] = &self.lanes;
        match class {
            Class::Gossip => gossip,
            Class::Data => data,
            Class::Bulk => bulk,
        }
    }
}

impl Link {
    /// The dialler's side: all streams are open, the peer sees them when something is sent on them.
    pub(super) async fn run_dialed(self, lanes: Lanes, after: Option<CancellationToken>) {
        self.pulse.request_ping(Class::Data);
        self.pulse.request_ping(Class::Bulk);
        self.run(lanes, after).await;
    }

    /// The listener's side: welcomes the peer, then waits for the streams that it opens.
    pub(super) async fn run_accepted(
        self,
        mut gossip: Framed,
        welcome: Vec<u8>,
        mut opened: mpsc::Receiver<(Class, Stream)>,
        after: Option<CancellationToken>,
    ) {
        let limits = &self.shared.limits;
        let (patience, progress) = (limits.handshake_timeout, limits.progress_timeout);
        let rest = async {
            gossip.send(Kind::Reply, &welcome).await.ok()?;
            let (mut data, mut bulk) = (None, None);
            while data.is_none() || bulk.is_none() {
                let (class, stream) = opened.recv().await?;
                let framed = Framed::new(stream, progress);
                match class {
                    Class::Gossip => return None,
                    Class::Data => data = Some(framed),
                    Class::Bulk => bulk = Some(framed),
                }
            }
            data.zip(bulk)
        };
        let mut end = self.end.clone();
        let opened = tokio::select! {
            rest = timeout(patience, rest) => rest.ok().flatten(),
            _ = end.wait_for(Option::is_some) => None,
        };
        match opened {
            Some((data, bulk)) => self.run([gossip, data, bulk], after).await,
            None => self.shared.counters.refused.count(RefuseReason::Timeout),
        }
    }

    /// Tells of the link, moves frames until something ends it, and tells why.
    async fn run(self, lanes: Lanes, after: Option<CancellationToken>) {
        if let Some(earlier) = after {
            earlier.cancelled().await;
        }
        let Self {
            peer,
            remote,
            instance,
            name,
            shared,
            ..
        } = &self;
        let up = NetEvent::Up {
            peer: *peer,
            addr: *remote,
            instance: *instance,
            name: name.clone(),
        };
        // The route is there before anyone hears of the link, so that an answer to `Up` finds it.
        let ends = shared.open_route(*peer);
        let reason = match shared.events.send(up).await {
            true => self.carry(lanes, ends).await,
            false => DownReason::Shutdown,
        };
        shared.close_route(*peer);
        tracing::debug!(peer = %peer, ?reason, "link down");
        if !shared
            .events
            .send(NetEvent::Down {
                peer: *peer,
                reason,
            })
            .await
        {
            tracing::debug!("nobody takes events any more");
        }
    }

    async fn carry(&self, lanes: Lanes, ends: [LaneEnd; 3]) -> DownReason {
        let (mut readers, mut writers) = (JoinSet::new(), JoinSet::new());
        for (framed, end) in lanes.into_iter().zip(ends) {
            let Framed { reader, writer } = framed;
            let lane = LaneTask {
                peer: self.peer,
                class: end.class,
                pulse: Arc::clone(&self.pulse),
                shared: Arc::clone(&self.shared),
            };
            readers.spawn(lane.clone().read(reader));
            writers.spawn(lane.write(writer, end));
        }
        let mut end = self.end.clone();
        let reason = tokio::select! {
            Some(read) = readers.join_next() => read.unwrap_or_else(resume),
            Some(written) = writers.join_next() => written.unwrap_or_else(resume),
            reason = end.wait_for(Option::is_some) => {
                reason.ok().and_then(|reason| *reason).unwrap_or(DownReason::Shutdown)
            }
        };
        match reason {
            DownReason::Closed => self.drain(Last::Reading, readers, writers).await,
            DownReason::Shutdown | DownReason::Idle | DownReason::Expired => {
                self.drain(Last::Writing, readers, writers).await;
            }
            DownReason::Lost
            | DownReason::NotReading
            | DownReason::TooLarge { .. }
            | DownReason::Violation
            | DownReason::RefusedByPeer(_)
            | DownReason::Replaced
            | DownReason::Cut => {}
        }
        reason
    }

    /// Ends the streams in order. The closing side sends what is queued and then hears the other out; the other takes
    /// what is still on its way on all streams before it closes its own, which tells the first that all has arrived.
    async fn drain(
        &self,
        last: Last,
        mut readers: JoinSet<DownReason>,
        mut writers: JoinSet<DownReason>,
    ) {
        let drained = async {
            if last == Last::Reading {
                while readers.join_next().await.is_some() {}
            }
            self.shared.close_route(self.peer);
            while writers.join_next().await.is_some() {}
            while readers.join_next().await.is_some() {}
        };
        if timeout(LAST_WORDS_TIMEOUT, drained).await.is_err() {
            tracing::debug!(peer = %self.peer, "frames may have been lost at the end");
        }
    }
}

/// What a side of a link that ends in order does first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// The peer closed.
    Reading,
    /// This node closes.
    Writing,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

/// A task's panic is ours.
fn resume(error: tokio::task::JoinError) -> DownReason {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_cancelled) => DownReason::Shutdown,
    }
}

/// What the reader and the writer of one stream know.
#[derive(Debug, Clone)]
struct LaneTask {
    peer: NodeId,
    class: Class,
    pulse: Arc<Pulse>,
    shared: Arc<Shared>,
}

impl LaneTask {
    async fn read(self, mut reader: FrameReader<ReadHalf<Stream>>) -> DownReason {
        loop {
            let (kind, bytes) = match reader.next(self.shared.limits.frame_bytes_max).await {
                Ok(Some(frame)) => frame,
                Ok(None) => return DownReason::Closed,
                Err(error) => return read_failure(&error),
            };
            self.pulse.heard.fetch_add(1, Ordering::Relaxed);
            match kind {
                Kind::Payload => {
                    if !self.deliver(bytes).await {
                        return DownReason::Shutdown;
                    }
                }
                Kind::Pong => {}
                Kind::Ping => self.pulse.request_pong(self.class),
                Kind::Refused => return refused(&bytes),
                Kind::Hello | Kind::Reply | Kind::Join | Kind::JoinAnswer => {
                    return DownReason::Violation;
                }
            }
        }
    }

    async fn deliver(&self, bytes: Bytes) -> bool {
        let counters = &self.shared.counters;
        add(&counters.frames_in, 1);
        add(&counters.bytes_in, bytes.len() + super::wire::Header::BYTES);
        self.pulse.used.fetch_add(1, Ordering::Relaxed);
        self.pulse.waiting.fetch_add(1, Ordering::Relaxed);
        let events = &self.shared.events;
        let taken = events.send_frame(self.peer, self.class, bytes).await;
        self.pulse.waiting.fetch_sub(1, Ordering::Relaxed);
        taken
    }

    /// Ends well when the route is closed and everything queued is sent.
    async fn write(
        self,
        mut writer: FrameWriter<WriteHalf<Stream>>,
        mut end: LaneEnd,
    ) -> DownReason {
        let mut frames = Vec::new();
        loop {
            let control = self.pulse.lane(self.class);
            let open = tokio::select! {
                biased;
                () = control.due.notified() => true,
                count = end.frames.recv_many(&mut frames, BATCH_FRAMES_MAX) => count > 0,
            };
            let written = match open {
                true => self.write_some(&mut writer, &mut frames, &end).await,
                false => writer.close().await,
            };
            match written {
                Ok(()) if open => {}
                Ok(()) => return DownReason::Shutdown,
                Err(WriteFrame::NotReading) => return DownReason::NotReading,
                Err(WriteFrame::Io(error)) => return lost(&error),
            }
        }
    }

    async fn write_some(
        &self,
        writer: &mut FrameWriter<WriteHalf<Stream>>,
        frames: &mut Vec<Bytes>,
        end: &LaneEnd,
    ) -> Result<(), WriteFrame> {
        let control = self.pulse.lane(self.class);
        for (due, kind) in [(&control.ping, Kind::Ping), (&control.pong, Kind::Pong)] {
            if due.swap(false, Ordering::AcqRel) {
                writer.put(kind, &[]).await?;
            }
        }
        let counters = &self.shared.counters;
        for frame in frames.drain(..) {
            writer.put(Kind::Payload, &frame).await?;
            end.queued_bytes.fetch_sub(frame.len(), Ordering::Relaxed);
            self.pulse.used.fetch_add(1, Ordering::Relaxed);
            add(&counters.frames_out, 1);
            add(
                &counters.bytes_out,
                frame.len() + super::wire::Header::BYTES,
            );
        }
        writer.flush().await
    }
}

fn read_failure(error: &ReadFrame) -> DownReason {
    match error {
        ReadFrame::Io(error) => lost(error),
        ReadFrame::Decode(DecodeFrame::TooLarge { bytes, .. }) => {
            DownReason::TooLarge { bytes: *bytes }
        }
        ReadFrame::Decode(_) => DownReason::Violation,
    }
}

fn lost(error: &std::io::Error) -> DownReason {
    tracing::debug!(%error, "stream broke");
    DownReason::Lost
}

fn refused(contents: &[u8]) -> DownReason {
    match contents {
        [code] => {
            RefuseReason::from_code(*code).map_or(DownReason::Violation, DownReason::RefusedByPeer)
        }
        _ => DownReason::Violation,
    }
}

/// Enough to fill a few packets, little enough that control frames are not kept waiting.
const BATCH_FRAMES_MAX: usize = 256;
