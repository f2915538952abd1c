//! Real sockets on loopback. Waiting is always for an event, with a deadline.

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

#[tokio::test]
async fn node_of_another_mesh_is_refused_and_learns_only_that() {
    let mut home = Node::member(1).await;
    let (mesh, keypair) = (key(101), key(2));
    let mut other = config(2, 2);
    (other.credential, other.mesh) = (certify(&mesh, &keypair, None), mesh.mesh_id());
    let mut other = Node::start(other).await;
    other.reach(&home);
    assert_eq!(
        other.refused_by_peer().await,
        (home.id, RefuseReason::OtherMesh)
    );
    assert_eq!(
        home.refused_peer().await,
        (other.id, RefuseReason::OtherMesh)
    );
    assert!(home.net.connected().is_empty());
    assert_eq!(home.net.stats().refused[0].0, RefuseReason::OtherMesh);

    let hello = Hello {
        version_min: VERSION,
        version_max: VERSION,
        instance: 1,
        credential: certify(&mesh, &key(3), None),
    };
    let (raw, mut stream) = Raw::open(&key(3), &home, GOSSIP).await;
    let raw = raw.drive();
    let mut said = framed(Kind::Hello, &hello.encode());
    said.extend(framed(Kind::Payload, b"let me in anyway"));
    stream.write_all(&said).await.unwrap();
    stream.flush().await.unwrap();
    let refusal = Reply::Refused(RefuseReason::OtherMesh).encode();
    assert_eq!(rest_of(&mut stream).await, framed(Kind::Reply, &refusal));
    raw.abort();
}

#[tokio::test]
async fn expired_or_anothers_credential_is_refused() {
    let mut home = Node::member(1).await;
    let refusals = [
        (certify(&key(100), &key(3), Some(2)), RefuseReason::Expired),
        (
            certify(&key(100), &key(4), None),
            RefuseReason::BadCredential,
        ),
    ];
    for (credential, reason) in refusals {
        let (raw, mut stream) = Raw::open(&key(3), &home, GOSSIP).await;
        let raw = raw.drive();
        let hello = Hello {
            version_min: 1,
            version_max: 9,
            instance: 1,
            credential,
        };
        stream
            .write_all(&framed(Kind::Hello, &hello.encode()))
            .await
            .unwrap();
        stream.flush().await.unwrap();
        let refusal = Reply::Refused(reason).encode();
        assert_eq!(rest_of(&mut stream).await, framed(Kind::Reply, &refusal));
        assert_eq!(home.refused_peer().await, (key(3).node_id(), reason));
        raw.abort();
    }
}

#[tokio::test]
async fn garbage_instead_of_a_hello_is_refused() {
    let mut home = Node::member(1).await;
    let frames = [
        (vec![0xff; 64], RefuseReason::Malformed),
        (framed(Kind::Payload, b"hi"), RefuseReason::Malformed),
        (
            framed(Kind::Hello, &[1, 0, 1, 0, 0xff]),
            RefuseReason::Malformed,
        ),
        (
            Header {
                kind: Kind::Hello,
                bytes: u32::MAX,
            }
            .encode()
            .to_vec(),
            RefuseReason::Malformed,
        ),
        (
            framed(Kind::Hello, &[2, 0, 9, 0, 1, 2, 3]),
            RefuseReason::Version,
        ),
    ];
    for (said, reason) in frames {
        let (raw, mut stream) = Raw::open(&key(3), &home, GOSSIP).await;
        let raw = raw.drive();
        stream.write_all(&said).await.unwrap();
        stream.flush().await.unwrap();
        let refusal = Reply::Refused(reason).encode();
        assert_eq!(rest_of(&mut stream).await, framed(Kind::Reply, &refusal));
        assert_eq!(home.refused_peer().await, (key(3).node_id(), reason));
        raw.abort();
    }
}

#[tokio::test]
async fn silent_and_dribbling_strangers_are_dropped_in_time() {
    let mut slow = config(1, 1);
    slow.limits.handshake_timeout = Duration::from_millis(300);
    let mut home = Node::start(slow).await;
    let (raw, mut stream) = Raw::open(&key(3), &home, GOSSIP).await;
    let raw = raw.drive();
    let header = Header {
        kind: Kind::Hello,
        bytes: 200,
    }
    .encode();
    stream.write_all(&header[..2]).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(
        home.refused_peer().await,
        (key(3).node_id(), RefuseReason::Timeout)
    );
    assert!(rest_of(&mut stream).await.is_empty());
    raw.abort();
}

#[tokio::test]
async fn oldest_stranger_makes_room_for_the_next() {
    let mut crowded = config(1, 1);
    crowded.limits.handshakes_max = 4;
    let home = Node::start(crowded).await;
    let mut strangers = Vec::new();
    for seed in 10..16 {
        let (raw, mut stream) = Raw::open(&key(seed), &home, GOSSIP).await;
        stream
            .write_all(
                &Header {
                    kind: Kind::Hello,
                    bytes: 100,
                }
                .encode()[..3],
            )
            .await
            .unwrap();
        stream.flush().await.unwrap();
        strangers.push((raw.drive(), stream));
    }
    let mut ended = Vec::new();
    for (_, stream) in &mut strangers[..2] {
        ended.push(rest_of(stream).await);
    }
    assert_eq!(ended, [Vec::new(), Vec::new()]);
    assert_eq!(home.net.stats().handshakes_dropped, 2);
    strangers.iter().for_each(|(raw, _)| raw.abort());
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
async fn peer_that_opens_too_many_streams_is_dropped() {
    let mut home = Node::member(1).await;
    let (mut raw, first) = Raw::open(&key(3), &home, Protocol::Join).await;
    let (peer, conn) = (address::peer_id(home.id).unwrap(), raw.connection.unwrap());
    raw.kept.push(first);
    for _ in 0..2 {
        raw.swarm.behaviour_mut().open(peer, conn, Protocol::Join);
        let mut stream = raw.opened(Protocol::Join).await;
        stream.write_all(&[6]).await.unwrap();
        stream.flush().await.unwrap();
        raw.kept.push(stream);
    }
    let closed = async {
        loop {
            if let SwarmEvent::ConnectionClosed { .. } = raw.swarm.select_next_some().await {
                return;
            }
        }
    };
    timeout(DEADLINE, closed)
        .await
        .expect("a second stream of the join protocol is one too many");
    assert!(home.events.try_recv().is_none());
}

#[tokio::test]
async fn oversized_frame_drops_the_link_and_says_so() {
    let mut home = Node::member(1).await;
    let (raw, mut gossip) = raw_member(&mut home, &key(2)).await;
    let header = Header {
        kind: Kind::Payload,
        bytes: u32::MAX,
    };
    gossip.write_all(&header.encode()).await.unwrap();
    gossip.flush().await.unwrap();
    assert_eq!(
        home.down(key(2).node_id()).await,
        DownReason::TooLarge { bytes: u32::MAX }
    );
    raw.abort();
}

#[tokio::test]
async fn member_that_talks_nonsense_is_dropped() {
    let mut home = Node::member(1).await;
    for said in [framed(Kind::Hello, b"again"), vec![200; 5]] {
        let (raw, mut gossip) = raw_member(&mut home, &key(2)).await;
        gossip.write_all(&said).await.unwrap();
        gossip.flush().await.unwrap();
        assert_eq!(home.down(key(2).node_id()).await, DownReason::Violation);
        raw.abort();
    }
}

#[tokio::test]
async fn stream_closed_by_the_member_ends_the_link() {
    let mut home = Node::member(1).await;
    let (raw, mut gossip) = raw_member(&mut home, &key(2)).await;
    gossip.close().await.unwrap();
    assert_eq!(home.down(key(2).node_id()).await, DownReason::Closed);
    raw.abort();
}

#[tokio::test]
async fn member_that_never_reads_gets_full_and_then_is_dropped() {
    let mut impatient = config(1, 1);
    impatient.limits.progress_timeout = Duration::from_millis(500);
    impatient.limits.queue_bytes_max = 4 << 20;
    let mut home = Node::start(impatient).await;
    let (raw, _gossip) = raw_member(&mut home, &key(2)).await;
    let frame = Bytes::from(vec![0; 1 << 20]);
    let refused = async {
        loop {
            match home.net.send(key(2).node_id(), Class::Bulk, frame.clone()) {
                Ok(()) => tokio::task::yield_now().await,
                Err(refused) => return refused,
            }
        }
    };
    assert_eq!(timeout(DEADLINE, refused).await.unwrap(), SendFrame::Full);
    assert_eq!(home.down(key(2).node_id()).await, DownReason::NotReading);
    raw.abort();
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
async fn copy_takes_the_place_of_a_node_that_no_longer_answers() {
    let mut home = Node::member(1).await;
    // The raw member never answers a ping.
    let (raw, _gossip) = raw_member(&mut home, &key(2)).await;
    let copy = Node::start(config(2, 22)).await;
    copy.reach(&home);
    assert_eq!(home.down(copy.id).await, DownReason::Replaced);
    assert_eq!(home.up(copy.id).await, 22);
    raw.abort();
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
async fn node_with_a_worthless_credential_does_not_start() {
    let mut expired = config(1, 1);
    expired.credential = certify(&key(100), &key(1), Some(2));
    assert!(matches!(Net::start(expired), Err(StartNet::Credential(_))));
}

#[tokio::test]
async fn shutdown_sends_what_was_queued() {
    let (a, mut b) = pair().await;
    for number in 0..1_000u32 {
        a.net
            .send(
                b.id,
                Class::Gossip,
                Bytes::from(number.to_le_bytes().to_vec()),
            )
            .unwrap();
    }
    let (id, net) = (a.id, a.net.clone());
    drop(a);
    let closing = tokio::spawn(async move { net.shutdown().await });
    for number in 0..1_000u32 {
        assert_eq!(b.frame().await.2, number.to_le_bytes()[..]);
    }
    assert_eq!(b.down(id).await, DownReason::Closed);
    timeout(DEADLINE, closing).await.unwrap().unwrap();
}

/// An inviter that answers tickets from its book, in a task.
async fn inviter() -> (Ticket, JoinHandle<()>) {
    let mut home = Node::member(1).await;
    let (secret, mut book) = (TicketSecret::from_bytes([5; 32]), Invites::default());
    let id = TicketId::from_bytes([1; 16]);
    book.issue(id, &secret, 10, FAR_FUTURE_S).unwrap();
    book.issue(TicketId::from_bytes([2; 16]), &secret, 10, 20)
        .unwrap();
    let ticket = Ticket {
        mesh_name: "home".into(),
        mesh: key(100).mesh_id(),
        inviter: home.id,
        addresses: vec![home.addr],
        id,
        secret,
        expires_s: FAR_FUTURE_S,
    };
    let own = certify(&key(100), &key(1), None);
    let serve = async move {
        while let Some(event) = home.events.recv().await {
            if let NetEvent::JoinRequest {
                ticket,
                secret,
                subject,
                name,
                answer,
            } = event
            {
                let grant = book
                    .redeem(ticket, &secret, subject, 1_000)
                    .map(|redeemed| {
                        let (issued_s, expires_s, roles) = (1_000, None, 0);
                        let request = CertificateRequest {
                            subject,
                            name,
                            issued_s,
                            expires_s,
                            roles,
                        };
                        let credential = redeemed.stored().certify(&key(1), &own, request).unwrap();
                        JoinGrant {
                            credential,
                            mesh_name: "home".into(),
                        }
                    });
                answer.send(grant).unwrap();
            }
        }
    };
    (ticket, tokio::spawn(serve))
}

#[tokio::test]
async fn ticket_brings_a_credential_once() {
    let (ticket, serving) = inviter().await;
    let joined = join_mesh(&key(2), &ticket, "laptop", DEADLINE)
        .await
        .unwrap();
    assert_eq!(
        (joined.mesh_name.as_str(), joined.inviter),
        ("home", ticket.inviter)
    );
    assert_eq!(joined.credential.leaf().unwrap().name(), "laptop");
    let mut member = config(2, 2);
    member.credential = joined.credential;
    let mut member = Node::start(member).await;
    member
        .net
        .set_addresses(ticket.inviter, ticket.addresses.clone());
    member.net.want(ticket.inviter);
    member.up(ticket.inviter).await;
    let used = join_mesh(&key(3), &ticket, "second", DEADLINE).await;
    assert!(
        matches!(used, Err(JoinMesh::Refused(RefuseTicket::Used))),
        "{used:?}"
    );
    serving.abort();
}

#[tokio::test]
async fn bad_tickets_are_refused_by_name() {
    let (ticket, serving) = inviter().await;
    let mut wrong = ticket.clone();
    wrong.secret = TicketSecret::from_bytes([6; 32]);
    let mut expired = ticket.clone();
    expired.id = TicketId::from_bytes([2; 16]);
    let mut unknown = ticket.clone();
    unknown.id = TicketId::from_bytes([3; 16]);
    let refusals = [
        (wrong, RefuseTicket::WrongSecret),
        (expired, RefuseTicket::Expired),
        (unknown, RefuseTicket::Unknown),
    ];
    for (ticket, expected) in refusals {
        match join_mesh(&key(2), &ticket, "n", DEADLINE).await {
            Err(JoinMesh::Refused(refusal)) => assert_eq!(refusal, expected),
            other => panic!("{other:?}"),
        }
    }
    let mut nowhere = ticket.clone();
    nowhere.addresses.clear();
    assert!(matches!(
        join_mesh(&key(2), &nowhere, "n", DEADLINE).await,
        Err(JoinMesh::Nowhere)
    ));
    let mut impostor = ticket;
    impostor.inviter = key(9).node_id();
    let found = Some(key(1).node_id());
    match join_mesh(&key(2), &impostor, "n", DEADLINE).await {
        Err(JoinMesh::WrongPeer { found: who }) => assert_eq!(who, found),
        other => panic!("{other:?}"),
    }
    serving.abort();
}

#[tokio::test]
async fn garbage_instead_of_a_ticket_is_dropped() {
    let mut home = Node::member(1).await;
    let (raw, mut stream) = Raw::open(&key(3), &home, Protocol::Join).await;
    let raw = raw.drive();
    stream
        .write_all(&framed(Kind::Join, &[0xff; 300]))
        .await
        .unwrap();
    stream.flush().await.unwrap();
    assert!(rest_of(&mut stream).await.is_empty());
    assert!(home.events.try_recv().is_none());
    raw.abort();
}
