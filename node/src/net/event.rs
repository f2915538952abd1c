//! What the network tells its driver.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use meshwork_membership::NodeId;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::refusal::RefuseReason;
use super::wire::JoinGrant;
use crate::admission::{RefuseTicket, TicketId, TicketSecret};

/// A kind of traffic. Each has its own stream and queue on every link, so that bulk never delays gossip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Small and urgent: membership, consensus.
    Gossip,
    /// Requests, answers, deltas.
    Data,
    /// Whole partitions, snapshots.
    Bulk,
}

impl Class {
    /// All classes, in order of urgency.
    pub const ALL: [Self; 3] = [Self::Gossip, Self::Data, Self::Bulk];
}

/// Something that happened. For each link the order is [`Up`](Self::Up), its [`Frame`](Self::Frame)s, [`Down`](Self::Down).
#[derive(Debug)]
#[non_exhaustive]
pub enum NetEvent {
    /// This node can be reached here; for a listener on all interfaces, once for each of them. [`Net::listening`](super::Net::listening)
    /// knows them all at any time.
    Listening(SocketAddr),
    /// It can no longer be reached here.
    ListeningEnded(SocketAddr),
    /// A member is connected.
    Up {
        /// The member.
        peer: NodeId,
        /// Where it is seen. An address that it listens on only if this node dialled it.
        addr: SocketAddr,
        /// Which process of it.
        instance: u64,
        /// Its name for people, from its certificate; without control characters.
        name: String,
    },
    /// A member is no longer connected. Frames that were queued or on their way may be lost.
    Down {
        /// The member.
        peer: NodeId,
        /// Why.
        reason: DownReason,
    },
    /// A member sent something.
    Frame {
        /// The member.
        peer: NodeId,
        /// On which stream; frames of one class come in the order in which they were sent.
        class: Class,
        /// What it sent. A slice of a larger buffer: copy what is kept for long.
        bytes: Bytes,
    },
    /// A stranger shows a ticket.
    JoinRequest {
        /// The ticket's id.
        ticket: TicketId,
        /// The secret it shows.
        secret: TicketSecret,
        /// Who it is, proved by the transport.
        subject: NodeId,
        /// The name it would like: 1 to 64 bytes without control characters.
        name: String,
        /// Where the answer goes; dropping it refuses as unavailable. Answer within the handshake timeout.
        answer: oneshot::Sender<JoinAnswer>,
    },
    /// This node refused a connection. Dropped instead of delivered when events back up; [`NetStats`](super::NetStats) counts all.
    RefusedPeer {
        /// Who wanted to connect.
        peer: NodeId,
        /// From where.
        addr: SocketAddr,
        /// Why not.
        reason: RefuseReason,
    },
    /// Another node refused this one. Dropped instead of delivered when events back up; counted.
    RefusedByPeer {
        /// Who refused.
        peer: NodeId,
        /// Where it was reached.
        addr: SocketAddr,
        /// Its reason.
        reason: RefuseReason,
    },
    /// A wanted peer was not reached; it will be tried again. Dropped instead of delivered when events back up; counted.
    DialFailed {
        /// The peer.
        peer: NodeId,
        /// Why.
        reason: DialFailure,
    },
}

/// The answer to a ticket.
pub type JoinAnswer = Result<JoinGrant, RefuseTicket>;

/// Why a link ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DownReason {
    /// The peer closed it.
    Closed,
    /// Nothing is heard of the peer, or it restarted: the transport gave up.
    Lost,
    /// The peer took nothing for the progress timeout.
    NotReading,
    /// The peer announced a frame larger than allowed.
    TooLarge {
        /// What it announced, in bytes.
        bytes: u32,
    },
    /// The peer sent what no correct peer sends.
    Violation,
    /// The peer refused this node's credential.
    RefusedByPeer(RefuseReason),
    /// A new connection of the same node took its place.
    Replaced,
    /// A certificate of the peer's expired.
    Expired,
    /// Nobody used it and this node does not want it.
    Idle,
    /// [`Net::set_cut`](super::Net::set_cut) cut it.
    Cut,
    /// This node shuts down.
    Shutdown,
}

/// Why a peer was not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DialFailure {
    /// Its id is no valid key: nobody can prove to be it.
    NotAKey,
    /// At the address that was tried answers another node.
    WrongPeer {
        /// That node, when its key is of our kind.
        found: Option<NodeId>,
    },
    /// Nobody answers at any of its addresses.
    Unreachable,
}

/// Where events come out, bounded in number and in bytes.
#[derive(Debug)]
pub struct NetEvents {
    receiver: mpsc::Receiver<NetEvent>,
    credit: Credit,
}

/// Where links and the driver put events in.
#[derive(Debug, Clone)]
pub(super) struct EventSender {
    sender: mpsc::Sender<NetEvent>,
    credit: Credit,
}

/// The bytes of undelivered frames, as permits.
#[derive(Debug, Clone)]
struct Credit {
    permits: Arc<Semaphore>,
    permits_max: u32,
}

/// A bounded queue of events.
pub(super) fn queue(events_max: usize, bytes_max: u32) -> (EventSender, NetEvents) {
    let (sender, receiver) = mpsc::channel(events_max.max(1));
    let permits_max = bytes_max.max(1);
    let permits = Arc::new(Semaphore::new(
        usize::try_from(permits_max).unwrap_or(usize::MAX),
    ));
    let credit = Credit {
        permits,
        permits_max,
    };
    (
        EventSender {
            sender,
            credit: credit.clone(),
        },
        NetEvents { receiver, credit },
    )
}

impl NetEvents {
    /// The next event; `None` after shutdown, when all have been taken. Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<NetEvent> {
        let event = self.receiver.recv().await?;
        self.release(&event);
        Some(event)
    }

    /// The next event if there is one.
    pub fn try_recv(&mut self) -> Option<NetEvent> {
        let event = self.receiver.try_recv().ok()?;
        self.release(&event);
        Some(event)
    }

    fn release(&self, event: &NetEvent) {
        if let NetEvent::Frame { bytes, .. } = event {
            let permits = usize::try_from(self.credit.cost(bytes)).unwrap_or(usize::MAX);
            self.credit.permits.add_permits(permits);
        }
    }
}

impl EventSender {
    /// Waits for room; `false` when nobody listens any more.
    pub(super) async fn send(&self, event: NetEvent) -> bool {
        self.sender.send(event).await.is_ok()
    }

    /// Waits for room in bytes too; `false` when nobody listens any more.
    pub(super) async fn send_frame(&self, peer: NodeId, class: Class, bytes: Bytes) -> bool {
        match self
            .credit
            .permits
            .acquire_many(self.credit.cost(&bytes))
            .await
        {
            Ok(permits) => permits.forget(),
            Err(_closed) => return false,
        }
        self.send(NetEvent::Frame { peer, class, bytes }).await
    }

    /// Drops the event when there is no room.
    pub(super) fn offer(&self, event: NetEvent) {
        if self.sender.try_send(event).is_err() {
            tracing::debug!("events back up; one that is also counted was not delivered");
        }
    }
}

impl Credit {
    fn cost(&self, bytes: &Bytes) -> u32 {
        u32::try_from(bytes.len())
            .unwrap_or(u32::MAX)
            .min(self.permits_max)
    }
}
