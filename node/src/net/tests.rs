//! Real sockets on loopback. Waiting is always for an event, with a deadline.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test picks the events that it waits for"
)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{Stream, Swarm};
use meshwork_membership::NodeId;
use tokio::task::JoinHandle;
use tokio::time::timeout;

mod hostile;
mod joining;
mod strangers;

use super::behaviour::{Protocol, Role, StreamEvent, Streams};
use super::driver::swarm;
use super::wire::{Header, Hello, Kind, Reply, VERSION};
use super::*;
use crate::admission::{
    CertificateRequest, Credential, Invites, Keypair, MAY_ADMIT, RefuseTicket, Ticket, TicketId,
    TicketSecret,
};

/// Far more than anything here takes.
const DEADLINE: Duration = Duration::from_secs(20);
const FAR_FUTURE_S: u64 = 1 << 40;

fn key(seed: u8) -> Keypair {
    Keypair::from_secret(&[seed; 32])
}

fn certify(mesh: &Keypair, node: &Keypair, expires_s: Option<u64>) -> Credential {
    let request = CertificateRequest {
        subject: node.node_id(),
        name: "node".into(),
        issued_s: 1,
        expires_s,
        roles: MAY_ADMIT,
    };
    Credential::issue_by_mesh(mesh, request).unwrap()
}

fn config(seed: u8, instance: u64) -> NetConfig {
    let (mesh, keypair) = (key(100), key(seed));
    NetConfig {
        credential: certify(&mesh, &keypair, None),
        mesh: mesh.mesh_id(),
        keypair,
        instance,
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        limits: NetLimits {
            liveness_timeout: Duration::from_millis(500),
            backoff_max: Duration::from_millis(500),
            ..NetLimits::default()
        },
    }
}

struct Node {
    net: Net,
    events: NetEvents,
    id: NodeId,
    addr: SocketAddr,
}

impl Node {
    async fn start(config: NetConfig) -> Self {
        let id = config.keypair.node_id();
        let (net, mut events) = Net::start(config).unwrap();
        let addr = match timeout(DEADLINE, events.recv()).await.unwrap() {
            Some(NetEvent::Listening(addr)) => addr,
            other => panic!("no address but {other:?}"),
        };
        Self {
            net,
            events,
            id,
            addr,
        }
    }

    async fn member(seed: u8) -> Self {
        Self::start(config(seed, u64::from(seed))).await
    }

    fn reach(&self, other: &Self) {
        self.net.set_addresses(other.id, vec![other.addr]);
        self.net.want(other.id);
    }

    /// The first event that `pick` takes; others are dropped.
    async fn wait<T>(&mut self, mut pick: impl FnMut(NetEvent) -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(found) = pick(self.events.recv().await.expect("still running")) {
                    return found;
                }
            }
        };
        timeout(DEADLINE, found)
            .await
            .expect("the event came in time")
    }

    async fn up(&mut self, other: NodeId) -> u64 {
        self.wait(|event| match event {
            NetEvent::Up { peer, instance, .. } if peer == other => Some(instance),
            _ => None,
        })
        .await
    }

    async fn down(&mut self, other: NodeId) -> DownReason {
        self.wait(|event| match event {
            NetEvent::Down { peer, reason } if peer == other => Some(reason),
            _ => None,
        })
        .await
    }

    async fn frame(&mut self) -> (NodeId, Class, Bytes) {
        self.wait(|event| match event {
            NetEvent::Frame { peer, class, bytes } => Some((peer, class, bytes)),
            _ => None,
        })
        .await
    }

    async fn refused_peer(&mut self) -> (NodeId, RefuseReason) {
        self.wait(|event| match event {
            NetEvent::RefusedPeer { peer, reason, .. } => Some((peer, reason)),
            NetEvent::Up { peer, .. } => panic!("{peer} was let in"),
            _ => None,
        })
        .await
    }

    async fn refused_by_peer(&mut self) -> (NodeId, RefuseReason) {
        self.wait(|event| match event {
            NetEvent::RefusedByPeer { peer, reason, .. } => Some((peer, reason)),
            NetEvent::Up { peer, .. } => panic!("{peer} let this node in"),
            _ => None,
        })
        .await
    }
}

async fn pair() -> (Node, Node) {
    let (mut a, mut b) = (Node::member(1).await, Node::member(2).await);
    a.reach(&b);
    a.up(b.id).await;
    b.up(a.id).await;
    (a, b)
}

/// Somebody who speaks QUIC and our protocol names, and then says what it likes.
struct Raw {
    swarm: Swarm<Streams>,
    connection: Option<ConnectionId>,
    kept: Vec<Stream>,
}

impl Raw {
    async fn open(keypair: &Keypair, to: &Node, protocol: Protocol) -> (Self, Stream) {
        let swarm = swarm(keypair, &NetLimits::default(), Role::Member);
        let mut raw = Self {
            swarm,
            connection: None,
            kept: Vec::new(),
        };
        let peer = address::peer_id(to.id).unwrap();
        let options = DialOpts::peer_id(peer)
            .addresses(vec![address::multiaddr(to.addr)])
            .build();
        raw.swarm.dial(options).unwrap();
        let stream = timeout(DEADLINE, raw.opened(protocol)).await.unwrap();
        (raw, stream)
    }

    async fn opened(&mut self, protocol: Protocol) -> Stream {
        loop {
            match self.swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished {
                    peer_id,
                    connection_id,
                    ..
                } => {
                    self.connection = Some(connection_id);
                    self.swarm
                        .behaviour_mut()
                        .open(peer_id, connection_id, protocol);
                }
                SwarmEvent::Behaviour(StreamEvent::Outbound { stream, .. }) => return stream,
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
                _ => {}
            }
        }
    }

    /// Keeps the connection going in the background.
    fn drive(self) -> JoinHandle<()> {
        let Self {
            mut swarm, kept, ..
        } = self;
        tokio::spawn(async move {
            let _kept = kept;
            loop {
                swarm.select_next_some().await;
            }
        })
    }
}

const GOSSIP: Protocol = Protocol::Member(Class::Gossip);

fn framed(kind: Kind, contents: &[u8]) -> Vec<u8> {
    let bytes = u32::try_from(contents.len()).unwrap();
    let mut frame = Header { kind, bytes }.encode().to_vec();
    frame.extend(contents);
    frame
}

/// All that a peer answers until it closes.
async fn rest_of(stream: &mut Stream) -> Vec<u8> {
    let mut answer = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut answer))
        .await
        .expect("closed in time");
    if let Err(error) = read {
        assert!(answer.len() < 64, "{error} after {} bytes", answer.len());
    }
    answer
}

#[tokio::test]
async fn frames_cross_in_all_classes_and_both_directions() {
    let (mut a, mut b) = pair().await;
    for (class, size) in Class::ALL.into_iter().zip([0, 300, 1 << 20]) {
        a.net.send(b.id, class, Bytes::from(vec![7; size])).unwrap();
        assert_eq!(b.frame().await, (a.id, class, Bytes::from(vec![7; size])));
        b.net.send(a.id, class, Bytes::from(vec![9; size])).unwrap();
        assert_eq!(a.frame().await, (b.id, class, Bytes::from(vec![9; size])));
    }
    let stats = a.net.stats();
    assert_eq!((stats.links, stats.frames_out, stats.frames_in), (1, 3, 3));
    assert_eq!(stats.bytes_out, 300 + (1 << 20) + 15);
}

#[tokio::test]
async fn frames_of_a_class_arrive_in_order() {
    let (a, mut b) = pair().await;
    for number in 0..3_000u32 {
        a.net
            .send(
                b.id,
                Class::Data,
                Bytes::from(number.to_le_bytes().to_vec()),
            )
            .unwrap();
    }
    for number in 0..3_000u32 {
        assert_eq!(b.frame().await.2, number.to_le_bytes()[..]);
    }
}

#[tokio::test]
async fn simultaneous_dials_end_in_one_link() {
    let (mut a, mut b) = (Node::member(1).await, Node::member(2).await);
    a.reach(&b);
    b.reach(&a);
    a.up(b.id).await;
    b.up(a.id).await;
    a.net
        .send(b.id, Class::Gossip, Bytes::from_static(b"one"))
        .unwrap();
    b.net
        .send(a.id, Class::Gossip, Bytes::from_static(b"two"))
        .unwrap();
    let only_frame = |event| match event {
        NetEvent::Frame { bytes, .. } => Some(bytes),
        NetEvent::Up { .. } | NetEvent::Down { .. } => panic!("a second link: {event:?}"),
        _ => None,
    };
    assert_eq!(b.wait(only_frame).await, "one");
    assert_eq!(a.wait(only_frame).await, "two");
}

/// A member as far as the handshake, by hand; what follows is up to the test.
async fn raw_member(home: &mut Node, keypair: &Keypair) -> (JoinHandle<()>, Stream) {
    let (mut raw, mut gossip) = Raw::open(keypair, home, GOSSIP).await;
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        instance: 77,
        credential: certify(&key(100), keypair, None),
    };
    gossip
        .write_all(&framed(Kind::Hello, &hello.encode()))
        .await
        .unwrap();
    gossip.flush().await.unwrap();
    let mut header = [0; Header::BYTES];
    gossip.read_exact(&mut header).await.unwrap();
    let header = Header::decode(header, 4_096).unwrap();
    assert_eq!(header.kind, Kind::Reply);
    let mut reply = vec![0; usize::try_from(header.bytes).unwrap()];
    gossip.read_exact(&mut reply).await.unwrap();
    assert!(matches!(Reply::decode(&reply), Ok(Reply::Welcome(_))));
    let peer = address::peer_id(home.id).unwrap();
    let conn = raw.connection.expect("established");
    for class in [Class::Data, Class::Bulk] {
        raw.swarm
            .behaviour_mut()
            .open(peer, conn, Protocol::Member(class));
        let mut stream = raw.opened(Protocol::Member(class)).await;
        stream.write_all(&framed(Kind::Ping, &[])).await.unwrap();
        stream.flush().await.unwrap();
        raw.kept.push(stream);
    }
    let raw = raw.drive();
    home.up(keypair.node_id()).await;
    (raw, gossip)
}

#[tokio::test]
async fn slow_application_pushes_back_on_the_sender() {
    let (a, mut b) = pair().await;
    let frame = Bytes::from(vec![0; 1 << 20]);
    let mut sent = 0;
    let refused = async {
        loop {
            match a.net.send(b.id, Class::Bulk, frame.clone()) {
                Ok(()) => sent += 1,
                Err(SendFrame::Full) if sent > 48 => return,
                Err(SendFrame::Full) => tokio::task::yield_now().await,
                Err(other) => panic!("{other}"),
            }
        }
    };
    // 32 MiB of events, 8 MiB of queue, and what is on its way: then nothing more fits.
    assert!(
        timeout(Duration::from_secs(3), refused).await.is_err(),
        "{sent} MiB were taken"
    );
    let taken = sent;
    for _ in 0..taken {
        b.frame().await;
    }
}

#[tokio::test]
async fn frames_to_nobody_or_too_large_are_refused() {
    let (a, b) = pair().await;
    let frame = Bytes::from_static(b"x");
    let nobody = key(9).node_id();
    assert_eq!(
        a.net.send(nobody, Class::Data, frame),
        Err(SendFrame::NotConnected)
    );
    let large = Bytes::from(vec![0; (1 << 20) + 1]);
    let refused = SendFrame::TooLarge {
        bytes: (1 << 20) + 1,
        bytes_max: 1 << 20,
    };
    assert_eq!(a.net.send(b.id, Class::Data, large), Err(refused));
}

#[tokio::test]
async fn copy_of_a_living_node_is_refused_until_that_dies() {
    let mut home = Node::member(1).await;
    let mut first = Node::start(config(2, 21)).await;
    first.reach(&home);
    assert_eq!(home.up(first.id).await, 21);
    first.up(home.id).await;
    let mut copy = Node::start(config(2, 22)).await;
    copy.reach(&home);
    assert_eq!(
        copy.refused_by_peer().await,
        (home.id, RefuseReason::DuplicateIdentity)
    );
    assert_eq!(
        home.refused_peer().await,
        (first.id, RefuseReason::DuplicateIdentity)
    );
    first.net.shutdown().await;
    assert_eq!(home.up(copy.id).await, 22);
}

#[tokio::test]
async fn cut_link_goes_down_and_heals() {
    let (mut a, mut b) = pair().await;
    a.net.set_cut(BTreeSet::from([b.id]));
    assert_eq!(a.down(b.id).await, DownReason::Cut);
    b.down(a.id).await;
    b.reach(&a);
    let fails = |event| matches!(event, NetEvent::DialFailed { .. }).then_some(());
    // The cut holds against dials from either side.
    let dials = b.net.stats().dials;
    let tried = async {
        while b.net.stats().dials < dials + 3 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, tried).await.unwrap();
    assert!(a.net.connected().is_empty());
    while let Some(event) = a.events.try_recv() {
        assert!(fails(event).is_none(), "a does not dial what it has cut");
    }
    a.net.set_cut(BTreeSet::new());
    a.up(b.id).await;
    b.up(a.id).await;
    a.net
        .send(b.id, Class::Data, Bytes::from_static(b"again"))
        .unwrap();
    assert_eq!(b.frame().await.2, "again");
}

#[tokio::test]
async fn restarted_peer_is_reached_again_at_the_same_address() {
    let (mut a, b) = pair().await;
    let (id, addr) = (b.id, b.addr);
    b.net.shutdown().await;
    drop(b);
    a.down(id).await;
    let mut again = config(2, 99);
    again.listen = vec![addr];
    // The system frees the port when QUIC has drained the closed connections.
    let free = async {
        while std::net::UdpSocket::bind(addr).is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, free).await.unwrap();
    let began = std::time::Instant::now();
    let mut b = Node::start(again).await;
    assert_eq!(a.up(id).await, 99);
    b.up(a.id).await;
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn killed_peer_is_linked_again_as_soon_as_it_is_back() {
    let mut a = Node::member(1).await;
    let doomed = tokio::runtime::Runtime::new().unwrap();
    let reach = (a.id, a.addr);
    let b = doomed.spawn(async move {
        let b = Node::member(2).await;
        b.net.set_addresses(reach.0, vec![reach.1]);
        b.net.want(reach.0);
        (b.addr, b)
    });
    let (addr, b) = b.await.unwrap();
    assert_eq!(a.up(b.id).await, 2);
    // Its tasks end where they are: nothing is closed, as when a process is killed.
    doomed.shutdown_background();
    let mut again = config(2, 99);
    again.listen = vec![addr];
    let free = async {
        while std::net::UdpSocket::bind(addr).is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, free).await.unwrap();
    let began = std::time::Instant::now();
    let back = Node::start(again).await;
    back.reach(&a);
    assert_eq!(a.up(b.id).await, 99);
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn moved_peer_is_reached_at_its_new_address() {
    let (mut a, b) = pair().await;
    let id = b.id;
    b.net.shutdown().await;
    drop(b);
    a.down(id).await;
    let mut b = Node::start(config(2, 99)).await;
    a.net.set_addresses(id, vec![b.addr]);
    assert_eq!(a.up(id).await, 99);
    b.up(a.id).await;
}

#[tokio::test]
async fn another_node_at_the_address_is_not_taken_for_the_peer() {
    let (mut a, b) = (Node::member(1).await, Node::member(2).await);
    let absent = key(9).node_id();
    a.net.set_addresses(absent, vec![b.addr]);
    a.net.want(absent);
    let reason = a
        .wait(|event| match event {
            NetEvent::DialFailed { peer, reason } => Some((peer, reason)),
            _ => None,
        })
        .await;
    assert_eq!(
        reason,
        (absent, DialFailure::WrongPeer { found: Some(b.id) })
    );
}

#[tokio::test]
async fn port_in_use_is_said_with_its_address() {
    let a = Node::member(1).await;
    let mut second = config(2, 2);
    second.listen = vec![a.addr];
    match Net::start(second) {
        Err(StartNet::Listen { address, source }) => {
            assert_eq!(address, a.addr);
            assert_eq!(source.kind(), std::io::ErrorKind::AddrInUse);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn shutdown_sends_what_was_queued_in_every_class() {
    let (a, mut b) = pair().await;
    for size in [10, 1_000, 1 << 20] {
        for class in Class::ALL {
            a.net.send(b.id, class, Bytes::from(vec![7; size])).unwrap();
        }
    }
    let (id, net) = (a.id, a.net.clone());
    drop(a);
    let closing = tokio::spawn(async move { net.shutdown().await });
    let mut bytes = 0;
    for _ in 0..9 {
        bytes += b.frame().await.2.len();
    }
    assert_eq!(bytes, 3 * (10 + 1_000 + (1 << 20)));
    assert_eq!(b.down(id).await, DownReason::Closed);
    timeout(DEADLINE, closing).await.unwrap().unwrap();
}

#[tokio::test]
async fn unused_link_ends_only_when_nobody_here_wants_it() {
    let mut careless = config(1, 1);
    careless.limits.unwanted_idle = Duration::from_millis(100);
    let (mut a, mut b) = (Node::start(careless).await, Node::member(2).await);
    a.reach(&b);
    a.up(b.id).await;
    b.up(a.id).await;
    let quiet = timeout(Duration::from_millis(2_500), a.down(b.id)).await;
    assert!(quiet.is_err(), "a wanted link is kept without traffic");
    a.net.unwant(b.id);
    assert_eq!(a.down(b.id).await, DownReason::Idle);
    assert_eq!(b.down(a.id).await, DownReason::Closed);
}

#[tokio::test]
async fn link_ends_when_the_peers_certificate_does() {
    let mut a = Node::member(1).await;
    let mut brief = config(2, 2);
    let expires_s = super::driver::now_s() + 3;
    brief.credential = certify(&key(100), &key(2), Some(expires_s));
    let mut b = Node::start(brief).await;
    b.reach(&a);
    a.up(b.id).await;
    b.up(a.id).await;
    assert_eq!(a.down(b.id).await, DownReason::Expired);
    assert_eq!(b.refused_by_peer().await, (a.id, RefuseReason::Expired));
}

#[tokio::test]
async fn listener_on_all_interfaces_says_where_it_can_be_reached() {
    let mut everywhere = config(2, 2);
    everywhere.listen = vec![SocketAddr::from(([0, 0, 0, 0], 0))];
    let (mut a, b) = (Node::member(1).await, Node::start(everywhere).await);
    assert!(!b.addr.ip().is_unspecified() && b.addr.port() != 0);
    assert!(b.net.listening().contains(&b.addr));
    a.net.set_addresses(b.id, b.net.listening());
    a.net.want(b.id);
    a.up(b.id).await;
}

#[tokio::test]
async fn many_nodes_dialling_each_other_end_with_one_link_a_pair() {
    let mut nodes = Vec::new();
    for seed in 1..=6 {
        nodes.push(Node::member(seed).await);
    }
    let known: Vec<_> = nodes.iter().map(|node| (node.id, node.addr)).collect();
    for node in &nodes {
        for (id, addr) in known.iter().filter(|(id, _)| *id != node.id) {
            node.net.set_addresses(*id, vec![*addr]);
            node.net.want(*id);
        }
    }
    for node in &mut nodes {
        let mut linked = BTreeSet::new();
        while linked.len() < known.len() - 1 {
            let peer = node.wait(|event| match event {
                NetEvent::Up { peer, .. } => Some(peer),
                NetEvent::Down { peer, reason } => panic!("{peer} down: {reason:?}"),
                _ => None,
            });
            assert!(linked.insert(peer.await), "a second link to one peer");
        }
    }
}
