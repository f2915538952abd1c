//! Two nodes on loopback: round trips one at a time and many at once, small frames and bulk in one direction.
//!
//! `cargo bench -p meshwork --bench net` prints one line for each measurement.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a benchmark stops at the first failure and prints its figures"
)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshwork::admission::{CertificateRequest, Credential, Keypair};
use meshwork::net::{Class, Net, NetConfig, NetEvent, NetEvents, NetLimits, SendFrame};
use meshwork_membership::NodeId;

struct Node {
    net: Net,
    events: NetEvents,
    id: NodeId,
}

fn start(mesh: &Keypair, seed: u8) -> Node {
    let keypair = Keypair::from_secret(&[seed; 32]);
    let id = keypair.node_id();
    let request = CertificateRequest {
        subject: id,
        name: "bench".into(),
        issued_s: 0,
        expires_s: None,
        roles: 0,
    };
    let credential = Credential::issue_by_mesh(mesh, request).unwrap();
    let (net, events) = Net::start(NetConfig {
        keypair,
        mesh: mesh.mesh_id(),
        credential,
        instance: u64::from(seed),
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        limits: NetLimits::default(),
    })
    .unwrap();
    Node { net, events, id }
}

async fn send(net: &Net, to: NodeId, class: Class, frame: Bytes) {
    while let Err(SendFrame::Full) = net.send(to, class, frame.clone()) {
        tokio::task::yield_now().await;
    }
}

async fn frame(events: &mut NetEvents) -> Bytes {
    loop {
        match events.recv().await.unwrap() {
            NetEvent::Frame { bytes, .. } => return bytes,
            NetEvent::Down { reason, .. } => panic!("link down: {reason:?}"),
            _ => {}
        }
    }
}

async fn round_trips(a: &mut Node, b: NodeId, count: usize, in_flight: usize) {
    let body = Bytes::from_static(&[7; 64]);
    let (mut times, began) = (Vec::with_capacity(count), Instant::now());
    let mut sent = std::collections::VecDeque::new();
    for _ in 0..count {
        while sent.len() < in_flight {
            sent.push_back(Instant::now());
            send(&a.net, b, Class::Data, body.clone()).await;
        }
        frame(&mut a.events).await;
        times.push(sent.pop_front().unwrap().elapsed());
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    while sent.pop_front().is_some() {
        frame(&mut a.events).await;
    }
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap();
    let (p50, p99) = (at(50), at(99));
    println!("round trips, 64 B, {in_flight} in flight: p50 {p50:?} p99 {p99:?} {rate:.0}/s");
}

async fn one_way(a: &Node, sink: NodeId, size: usize, count: usize, class: Class) {
    let body = Bytes::from(vec![7; size]);
    let began = Instant::now();
    for _ in 0..count {
        send(&a.net, sink, class, body.clone()).await;
    }
    let sent = began.elapsed();
    println!(
        "sent {count} frames of {size} B: {:.0}/s queued",
        count as f64 / sent.as_secs_f64()
    );
}

fn main() {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let mesh = Keypair::from_secret(&[100; 32]);
            let (mut a, mut b) = (start(&mesh, 1), start(&mesh, 2));
            let address = match b.events.recv().await.unwrap() {
                NetEvent::Listening(address) => address,
                other => panic!("{other:?}"),
            };
            let began = Instant::now();
            a.net.set_addresses(b.id, vec![address]);
            a.net.want(b.id);
            while !matches!(a.events.recv().await.unwrap(), NetEvent::Up { .. }) {}
            println!("dial, handshake and hello: {:?}", began.elapsed());

            let (to_a, net) = (a.id, b.net.clone());
            let echo = tokio::spawn(async move {
                for _ in 0..ECHOES {
                    let body = frame(&mut b.events).await;
                    send(&net, to_a, Class::Data, body).await;
                }
                b
            });
            round_trips(&mut a, b_id(), 10_000, 1).await;
            round_trips(&mut a, b_id(), 100_000, 16).await;
            round_trips(&mut a, b_id(), 400_000, 256).await;
            let mut b = echo.await.unwrap();
            for (size, count, class) in [
                (64, 1_000_000, Class::Data),
                (1_024, 300_000, Class::Data),
                (1 << 20, 1_000, Class::Bulk),
            ] {
                let began = Instant::now();
                let taken = async {
                    for _ in 0..count {
                        frame(&mut b.events).await;
                    }
                    began.elapsed()
                };
                let ((), taken) = tokio::join!(one_way(&a, b_id(), size, count, class), taken);
                let seconds = taken.as_secs_f64();
                let (rate, volume) = (
                    count as f64 / seconds,
                    (count * size) as f64 / seconds / 1e6,
                );
                println!("one way, {size} B: {rate:.0} frames/s, {volume:.0} MB/s");
            }
            tokio::time::timeout(Duration::from_secs(5), a.net.shutdown())
                .await
                .unwrap();
        });
}

fn b_id() -> NodeId {
    Keypair::from_secret(&[2; 32]).node_id()
}

/// All round trips, with those that are in flight at the end of each series.
const ECHOES: usize = 10_000 + 100_000 + 15 + 400_000 + 255;
