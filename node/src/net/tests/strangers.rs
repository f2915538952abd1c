//! Who has not proved membership gets one code at most, in bounded time.

use super::*;

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
    assert!(ended.iter().all(Vec::is_empty), "{ended:?}");
    assert_eq!(home.net.stats().handshakes_dropped, 2);
    strangers.iter().for_each(|(raw, _)| raw.abort());
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
async fn node_with_a_worthless_credential_does_not_start() {
    let mut expired = config(1, 1);
    expired.credential = certify(&key(100), &key(1), Some(2));
    assert!(matches!(Net::start(expired), Err(StartNet::Credential(_))));
}
