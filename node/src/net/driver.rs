//! The one task that owns the libp2p swarm: connections, dialling, timers. What is decided at the door is in
//! [`door`](super::door).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use libp2p::core::ConnectedPoint;
use libp2p::core::transport::TransportError;
use libp2p::core::upgrade::Version;
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{PeerId, Stream, Swarm, SwarmBuilder, quic};
use meshwork_membership::NodeId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::address::{identity, multiaddr, node_id, socket_address};
use super::behaviour::{Protocol, Role, StreamEvent, Streams};
use super::config::{NetConfig, NetLimits};
use super::dialing::{Backoff, Dial, Jitter, Peer};
use super::door::Report;
use super::event::{Class, DialFailure, DownReason, NetEvent};
use super::handle::StartNet;
use super::handshake::Framed;
use super::refusal::RefuseReason;
use super::shared::Shared;
use super::stats::add;
use crate::admission::{Keypair, MeshId};

/// The network's task.
pub(super) struct Driver {
    pub(super) swarm: Swarm<Streams>,
    pub(super) shared: Arc<Shared>,
    pub(super) me: NodeId,
    pub(super) mesh: MeshId,
    pub(super) instance: u64,
    pub(super) conns: BTreeMap<ConnectionId, Conn>,
    pub(super) peers: BTreeMap<NodeId, Peer>,
    pub(super) tasks: JoinSet<()>,
    pub(super) reports: mpsc::Sender<Report>,
    reported: mpsc::Receiver<Report>,
    pub(super) timers: BTreeSet<(Instant, Timer)>,
    pub(super) jitter: Jitter,
}

/// One established connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) peer: NodeId,
    pub(super) remote: SocketAddr,
    pub(super) stage: Stage,
}

/// How far a connection has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// We dialled; these streams are open so far.
    Opening(BTreeMap<Class, Stream>),
    /// We dialled and wait for the answer to our hello.
    Greeting,
    /// The peer dialled and has opened no stream yet.
    Waiting,
    /// A task reads the peer's first frame, refuses it, or serves a ticket.
    Busy,
    /// There is a link; further streams go to it.
    Member(Option<mpsc::Sender<(Class, Stream)>>),
}

/// What to look at later. Stale ones find nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Dial(NodeId),
    Handshake(ConnectionId),
    Sweep,
}

impl Driver {
    /// Binds the sockets.
    pub(super) fn bind(config: NetConfig, shared: Arc<Shared>) -> Result<Self, StartNet> {
        let NetConfig {
            keypair,
            mesh,
            credential,
            instance,
            listen,
            limits,
        } = config;
        let me = keypair.node_id();
        credential
            .verify(mesh, me, now_s())
            .map_err(StartNet::Credential)?;
        let mut swarm = swarm(&keypair, &limits, Role::Member);
        for address in listen {
            swarm
                .listen_on(multiaddr(address))
                .map_err(|error| StartNet::Listen {
                    address,
                    source: why_not(address, error),
                })?;
        }
        let (reports, reported) = mpsc::channel(REPORTS_MAX);
        let timers = BTreeSet::from([(Instant::now() + SWEEP_EVERY, Timer::Sweep)]);
        Ok(Self {
            swarm,
            shared,
            me,
            mesh,
            instance,
            conns: BTreeMap::new(),
            peers: BTreeMap::new(),
            tasks: JoinSet::new(),
            reports,
            reported,
            timers,
            jitter: Jitter::new(instance),
        })
    }

    /// Runs until the network is told to stop, then closes what is open.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            let next = self.timers.first().map_or_else(far_away, |(at, _)| *at);
            tokio::select! {
                () = shared.stop.cancelled() => break,
                event = self.swarm.select_next_some() => self.on_swarm(event),
                Some(report) = self.reported.recv() => self.on_report(report),
                Some(ended) = self.tasks.join_next() => resume(ended),
                () = shared.changed.notified() => self.on_desired(),
                () = sleep_until(next) => self.on_timers(),
            }
        }
        self.close().await;
    }

    async fn close(mut self) {
        for link in self.peers.values().filter_map(|peer| peer.link.as_ref()) {
            link.end(DownReason::Shutdown);
        }
        let conns: Vec<_> = self.conns.keys().copied().collect();
        let deadline = sleep_until(Instant::now() + SHUTDOWN_TIMEOUT);
        tokio::pin!(deadline);
        // Links drain while the swarm still serves their streams; then the connections close. Nothing new begins.
        while self.peers.values().any(|peer| peer.link.is_some()) {
            tokio::select! {
                () = &mut deadline => break,
                Some(report) = self.reported.recv() => {
                    if let Report::LinkEnded { id, peer } = report {
                        self.on_link_ended(peer, id);
                    }
                }
                Some(ended) = self.tasks.join_next() => resume(ended),
                event = self.swarm.select_next_some() => drop(event),
            }
        }
        for conn in conns {
            self.swarm.close_connection(conn);
        }
        while self.swarm.connected_peers().next().is_some() {
            tokio::select! {
                () = &mut deadline => break,
                event = self.swarm.select_next_some() => drop(event),
            }
        }
        self.tasks.shutdown().await;
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the enum is foreign and may grow"
    )]
    fn on_swarm(&mut self, event: SwarmEvent<StreamEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_stream(event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                self.on_established(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed {
                connection_id,
                cause,
                ..
            } => {
                tracing::debug!(?cause, "connection closed");
                self.on_closed(connection_id);
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                peer_id,
                error,
            } => {
                self.on_dial_error(connection_id, peer_id, &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                if let Some(address) = socket_address(&address) {
                    self.shared.desired().listening.insert(address);
                    self.shared.events.offer(NetEvent::Listening(address));
                }
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                if let Some(address) = socket_address(&address) {
                    self.shared.desired().listening.remove(&address);
                    self.shared.events.offer(NetEvent::ListeningEnded(address));
                }
            }
            _ => {}
        }
    }

    fn on_established(&mut self, peer_id: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let dialed = endpoint.is_dialer();
        let remote = socket_address(endpoint.get_remote_address());
        let Some((peer, remote)) = node_id(&peer_id).zip(remote) else {
            self.swarm.close_connection(id);
            return;
        };
        let of_peer = self.conns.values().filter(|conn| conn.peer == peer).count();
        let linked = self
            .peers
            .get(&peer)
            .is_some_and(|peer| peer.link.is_some());
        let stage = match dialed {
            true => Stage::Opening(BTreeMap::new()),
            false => Stage::Waiting,
        };
        self.conns.insert(
            id,
            Conn {
                peer,
                remote,
                stage,
            },
        );
        let unwelcome = self.shared.desired().cut.contains(&peer)
            || (dialed && linked)
            || of_peer >= self.shared.limits.connections_of_peer_max;
        if unwelcome {
            self.drop_conn(id);
            return;
        }
        self.set_timer(self.shared.limits.handshake_timeout, Timer::Handshake(id));
        if dialed {
            for class in Class::ALL {
                self.swarm
                    .behaviour_mut()
                    .open(peer_id, id, Protocol::Member(class));
            }
        } else {
            self.make_room_at_the_door();
        }
    }

    /// Drops the oldest connection that has proved nothing when there are too many.
    fn make_room_at_the_door(&mut self) {
        let unproved = |conn: &Conn| matches!(conn.stage, Stage::Waiting | Stage::Busy);
        let unproved = self.conns.iter().filter(|(_, conn)| unproved(conn));
        let unproved: Vec<_> = unproved.map(|(id, _)| *id).collect();
        if unproved.len() > self.shared.limits.handshakes_max
            && let Some(oldest) = unproved.first()
        {
            add(&self.shared.counters.handshakes_dropped, 1);
            self.drop_conn(*oldest);
        }
    }

    fn on_stream(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::Outbound {
                conn: id,
                protocol: Protocol::Member(class),
                stream,
            } => {
                let Some(conn) = self.conns.get_mut(&id) else {
                    return;
                };
                if let Stage::Opening(streams) = &mut conn.stage {
                    streams.insert(class, stream);
                    if streams.len() == Class::ALL.len() {
                        self.greet(id);
                    }
                }
            }
            StreamEvent::Inbound {
                conn,
                protocol,
                stream,
            } => self.on_inbound(conn, protocol, stream),
            StreamEvent::Outbound {
                conn,
                protocol: Protocol::Join,
                ..
            }
            | StreamEvent::Failed { conn }
            | StreamEvent::Flood { conn } => self.drop_conn(conn),
        }
    }

    fn on_inbound(&mut self, id: ConnectionId, protocol: Protocol, stream: Stream) {
        let progress = self.shared.limits.progress_timeout;
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        match (&mut conn.stage, protocol) {
            (Stage::Waiting, Protocol::Member(Class::Gossip)) => {
                conn.stage = Stage::Busy;
                self.hear(id, Framed::new(stream, progress));
            }
            (Stage::Waiting, Protocol::Join) => {
                conn.stage = Stage::Busy;
                self.serve_join(id, Framed::new(stream, progress));
            }
            (Stage::Member(Some(link)), Protocol::Member(class))
                if link.try_send((class, stream)).is_ok() => {}
            _ => self.drop_conn(id),
        }
    }

    /// Forgets a connection and closes it; ends its link, if any.
    pub(super) fn drop_conn(&mut self, id: ConnectionId) {
        self.swarm.close_connection(id);
        self.on_closed(id);
    }

    fn on_closed(&mut self, id: ConnectionId) {
        let Some(conn) = self.conns.remove(&id) else {
            return;
        };
        let Some(peer) = self.peers.get_mut(&conn.peer) else {
            return;
        };
        if let Some(link) = &peer.link
            && link.conn == id
        {
            link.end(DownReason::Lost);
        }
        if peer.dial == Dial::Under(id) {
            peer.dial = Dial::Idle;
            self.dial_later(conn.peer);
        }
    }

    /// Looks again at the peers of which something else is desired now.
    fn on_desired(&mut self) {
        let (fresh, cut) = {
            let mut desired = self.shared.desired();
            (std::mem::take(&mut desired.fresh), desired.cut.clone())
        };
        for peer in fresh {
            if cut.contains(&peer) {
                self.cut(peer);
            }
            let min = self.shared.limits.backoff_min;
            if self.wanted_addresses(peer).is_some() {
                let entry = self.peer_mut(peer);
                entry.backoff = Backoff::new(min);
                if matches!(entry.dial, Dial::Idle | Dial::At(_)) {
                    self.dial_at(peer, Instant::now());
                }
            }
        }
    }

    fn cut(&mut self, peer: NodeId) {
        if let Some(link) = self.peers.get(&peer).and_then(|peer| peer.link.as_ref()) {
            link.end(DownReason::Cut);
        }
        let linked = |conn: &Conn| matches!(conn.stage, Stage::Member(_));
        let of_peer = self
            .conns
            .iter()
            .filter(|(_, conn)| conn.peer == peer && !linked(conn));
        let ids: Vec<_> = of_peer.map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.drop_conn(id));
    }

    /// The connection by which we greet a peer at this moment.
    pub(super) fn greeting(&self, peer: NodeId) -> bool {
        self.conns
            .values()
            .any(|conn| conn.peer == peer && matches!(conn.stage, Stage::Greeting))
    }

    fn set_timer(&mut self, wait: Duration, timer: Timer) {
        self.timers.insert((Instant::now() + wait, timer));
    }

    fn on_timers(&mut self) {
        let now = Instant::now();
        while let Some((at, timer)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            match timer {
                Timer::Dial(peer) => {
                    if self
                        .peers
                        .get(&peer)
                        .is_some_and(|peer| peer.dial == Dial::At(at))
                    {
                        self.dial(peer);
                    }
                }
                Timer::Handshake(id) => self.on_handshake_timeout(id),
                Timer::Sweep => self.sweep(now),
            }
        }
    }

    fn on_handshake_timeout(&mut self, id: ConnectionId) {
        match self.conns.get(&id) {
            Some(Conn {
                stage: Stage::Member(_),
                ..
            })
            | None => {}
            Some(Conn {
                stage: Stage::Opening(_) | Stage::Greeting,
                peer,
                ..
            }) => {
                self.count_dial_failure(*peer, DialFailure::Unreachable);
                self.drop_conn(id);
            }
            Some(Conn {
                stage: Stage::Waiting | Stage::Busy,
                peer,
                remote,
            }) => {
                let (peer, remote) = (*peer, *remote);
                self.count_refusal(peer, remote, RefuseReason::Timeout);
                self.drop_conn(id);
            }
        }
    }

    /// Ends links that have expired or that nobody needs; forgets peers that are neither wanted nor linked.
    fn sweep(&mut self, now: Instant) {
        self.set_timer(SWEEP_EVERY, Timer::Sweep);
        let wanted = self.shared.desired().wanted.clone();
        let (now_s, idle) = (now_s(), self.shared.limits.unwanted_idle);
        for (id, peer) in &mut self.peers {
            let Some(link) = &peer.link else { continue };
            if link.expires_s.is_some_and(|expires_s| expires_s <= now_s) {
                link.end(DownReason::Expired);
            }
            if peer.used.0 != link.pulse.used() || wanted.contains(id) {
                peer.used = (link.pulse.used(), now);
            } else if now.duration_since(peer.used.1) > idle {
                link.end(DownReason::Idle);
            }
        }
        self.peers.retain(|id, peer| {
            peer.link.is_some() || peer.dial != Dial::Idle || wanted.contains(id)
        });
    }
}

/// A swarm with our transport and behaviour.
pub(super) fn swarm(keypair: &Keypair, limits: &NetLimits, role: Role) -> Swarm<Streams> {
    let millis = |wait: Duration| u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
    let quic = |mut quic: quic::Config| {
        quic.handshake_timeout = limits.handshake_timeout.min(DIAL_TIMEOUT);
        quic.max_idle_timeout = millis(limits.idle_timeout);
        quic.keep_alive_interval = limits.keep_alive;
        quic.max_concurrent_stream_limit = STREAMS_MAX;
        quic.max_stream_data = limits.stream_window_bytes;
        quic.max_connection_data = limits.stream_window_bytes.saturating_mul(2);
        quic
    };
    SwarmBuilder::with_existing_identity(identity(keypair))
        .with_tokio()
        .with_quic_config(quic)
        .with_behaviour(|_| Streams::new(role, limits.handshakes_max))
        .unwrap_or_else(|never| match never {})
        .with_swarm_config(|swarm| {
            swarm
                .with_idle_connection_timeout(limits.handshake_timeout)
                .with_substream_upgrade_protocol_override(Version::V1Lazy)
        })
        .build()
}

/// Wall-clock seconds since 1970, for certificates.
pub(super) fn now_s() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// Asks the system itself: libp2p wraps its answer in ways that hide the kind.
fn why_not(address: SocketAddr, error: TransportError<io::Error>) -> io::Error {
    match (UdpSocket::bind(address), error) {
        (Err(refused), _) => refused,
        (Ok(_), TransportError::Other(error)) => error,
        (Ok(_), TransportError::MultiaddrNotSupported(_)) => io::ErrorKind::Unsupported.into(),
    }
}

fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(3_600)
}

/// A task's panic is ours.
fn resume(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

/// Each task reports a few times in its life; at the limit it waits.
const REPORTS_MAX: usize = 256;
const SWEEP_EVERY: Duration = Duration::from_secs(1);
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// A QUIC handshake that takes longer is not going to succeed.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Streams of one peer at a time; a link has three.
const STREAMS_MAX: u32 = 8;
