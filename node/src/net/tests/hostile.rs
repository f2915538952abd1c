//! Members that break the rules, by accident or on purpose.

use super::*;

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
