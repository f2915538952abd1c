//! The smallest libp2p behaviour that hands out negotiated streams.
//!
//! It decides nothing: which connections are dialled, kept and closed is the [driver](super::driver)'s business. What
//! libp2p does with a connection that has no streams, closing it after the idle timeout, is what we want for strangers.

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll, Waker};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
    ListenFailure, NetworkBehaviour, NotifyHandler, Stream, SubstreamProtocol, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use super::event::Class;

/// What a stream is for; its protocol name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    /// Traffic between members.
    Member(Class),
    /// The ticket exchange.
    Join,
}

/// What the behaviour tells the driver.
#[derive(Debug)]
pub(super) enum StreamEvent {
    /// The peer opened a stream.
    Inbound {
        conn: ConnectionId,
        protocol: Protocol,
        stream: Stream,
    },
    /// A stream that we asked for is open.
    Outbound {
        conn: ConnectionId,
        protocol: Protocol,
        stream: Stream,
    },
    /// A stream that we asked for cannot be had: the peer speaks another protocol.
    Failed { conn: ConnectionId },
    /// The peer opened more streams than any correct peer does.
    Flood { conn: ConnectionId },
}

/// Opens streams on request, and takes those that peers open.
#[derive(Debug)]
pub(super) struct Streams {
    role: Role,
    /// Inbound connections whose QUIC handshake is going on.
    pending: BTreeSet<ConnectionId>,
    pending_max: usize,
    /// At most one request for each connection and protocol; drained by the swarm.
    requests: VecDeque<ToSwarm<StreamEvent, Protocol>>,
    waker: Option<Waker>,
}

/// Whether peers may open streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Takes streams of all protocols.
    Member,
    /// Only dials; takes none.
    Joiner,
}

/// There are too many QUIC handshakes already.
#[derive(Debug, thiserror::Error)]
#[error("too many pending connections")]
struct TooManyPending;

impl Streams {
    pub(super) fn new(role: Role, pending_max: usize) -> Self {
        Self {
            role,
            pending: BTreeSet::new(),
            pending_max,
            requests: VecDeque::new(),
            waker: None,
        }
    }

    /// Asks for a stream on a connection that is established.
    pub(super) fn open(&mut self, peer_id: PeerId, conn: ConnectionId, protocol: Protocol) {
        let handler = NotifyHandler::One(conn);
        self.requests.push_back(ToSwarm::NotifyHandler {
            peer_id,
            handler,
            event: protocol,
        });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = StreamHandler;
    type ToSwarm = StreamEvent;

    fn handle_pending_inbound_connection(
        &mut self,
        conn: ConnectionId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if self.pending.len() >= self.pending_max {
            return Err(ConnectionDenied::new(TooManyPending));
        }
        self.pending.insert(conn);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        conn: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.pending.remove(&conn);
        Ok(StreamHandler::new(self.role))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(StreamHandler::new(self.role))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) = event {
            self.pending.remove(&connection_id);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        conn: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        let event = match event {
            HandlerEvent::Inbound(protocol, stream) => StreamEvent::Inbound {
                conn,
                protocol,
                stream,
            },
            HandlerEvent::Outbound(protocol, stream) => StreamEvent::Outbound {
                conn,
                protocol,
                stream,
            },
            HandlerEvent::Failed => StreamEvent::Failed { conn },
            HandlerEvent::Flood => StreamEvent::Flood { conn },
        };
        self.requests.push_back(ToSwarm::GenerateEvent(event));
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(request) = self.requests.pop_front() {
            return Poll::Ready(request);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// One connection's streams.
#[derive(Debug)]
pub(super) struct StreamHandler {
    role: Role,
    to_open: VecDeque<Protocol>,
    events: VecDeque<HandlerEvent>,
    /// Streams that the peer has opened so far. Links keep theirs, so that the count over a connection's life is small.
    inbound: usize,
}

/// What a handler tells the behaviour.
#[derive(Debug)]
pub(super) enum HandlerEvent {
    Inbound(Protocol, Stream),
    Outbound(Protocol, Stream),
    Failed,
    Flood,
}

impl StreamHandler {
    fn new(role: Role) -> Self {
        Self {
            role,
            to_open: VecDeque::new(),
            events: VecDeque::new(),
            inbound: 0,
        }
    }

    fn take_inbound(&mut self, protocol: Protocol, stream: Stream) {
        self.inbound += 1;
        match self.inbound.cmp(&(INBOUND_STREAMS_MAX + 1)) {
            std::cmp::Ordering::Less => {
                self.events
                    .push_back(HandlerEvent::Inbound(protocol, stream));
            }
            std::cmp::Ordering::Equal => self.events.push_back(HandlerEvent::Flood),
            std::cmp::Ordering::Greater => {}
        }
    }
}

impl ConnectionHandler for StreamHandler {
    type FromBehaviour = Protocol;
    type ToBehaviour = HandlerEvent;
    type InboundProtocol = Accept;
    type OutboundProtocol = Open;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Accept> {
        SubstreamProtocol::new(Accept(self.role), ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Open, (), HandlerEvent>> {
        // The connection polls again after every event that it hands in, so that no waker is kept.
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        match self.to_open.pop_front() {
            Some(protocol) => Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(Open(protocol), ()),
            }),
            None => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, protocol: Protocol) {
        self.to_open.push_back(protocol);
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the enum is foreign and may grow"
    )]
    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Accept, Open>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol, ..
            }) => {
                let (protocol, stream) = protocol;
                self.take_inbound(protocol, stream);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol, ..
            }) => {
                let (protocol, stream) = protocol;
                self.events
                    .push_back(HandlerEvent::Outbound(protocol, stream));
            }
            ConnectionEvent::DialUpgradeError(_) => self.events.push_back(HandlerEvent::Failed),
            _ => {}
        }
    }
}

/// Takes a stream of any of our protocols as it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accept(Role);

/// Opens a stream of one protocol.
#[derive(Debug, Clone, Copy)]
pub(super) struct Open(Protocol);

impl UpgradeInfo for Accept {
    type Info = Protocol;
    type InfoIter = std::iter::Copied<std::slice::Iter<'static, Protocol>>;

    fn protocol_info(&self) -> Self::InfoIter {
        match self.0 {
            Role::Member => Protocol::ALL.iter().copied(),
            Role::Joiner => [].iter().copied(),
        }
    }
}

impl InboundUpgrade<Stream> for Accept {
    type Output = (Protocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: Protocol) -> Self::Future {
        ready(Ok((protocol, stream)))
    }
}

impl UpgradeInfo for Open {
    type Info = Protocol;
    type InfoIter = std::iter::Once<Protocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once(self.0)
    }
}

impl OutboundUpgrade<Stream> for Open {
    type Output = (Protocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: Protocol) -> Self::Future {
        ready(Ok((protocol, stream)))
    }
}

impl Protocol {
    const ALL: [Self; 4] = [
        Self::Member(Class::Gossip),
        Self::Member(Class::Data),
        Self::Member(Class::Bulk),
        Self::Join,
    ];
}

impl AsRef<str> for Protocol {
    fn as_ref(&self) -> &str {
        match self {
            Self::Member(Class::Gossip) => "/meshwork/gossip/1",
            Self::Member(Class::Data) => "/meshwork/data/1",
            Self::Member(Class::Bulk) => "/meshwork/bulk/1",
            Self::Join => "/meshwork/join/1",
        }
    }
}

/// A link needs three streams, joining one.
const INBOUND_STREAMS_MAX: usize = 8;
