//! What the network is built from.

use std::net::SocketAddr;
use std::time::Duration;

use crate::admission::{Credential, Keypair, MeshId};

/// Who this node is and where it listens.
#[derive(Debug, Clone)]
pub struct NetConfig {
    /// The node's identity.
    pub keypair: Keypair,
    /// The mesh whose members are let in.
    pub mesh: MeshId,
    /// The proof that this node is one of them.
    pub credential: Credential,
    /// Random, drawn when the process starts: tells a restarted node from a copy of it that runs elsewhere.
    pub instance: u64,
    /// Where to listen (UDP); port 0 lets the system choose, an unspecified address means all interfaces.
    /// Empty for a node that only dials.
    pub listen: Vec<SocketAddr>,
    /// Bounds and timeouts.
    pub limits: NetLimits,
}

/// Bounds on what peers can fill, and how long to wait for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetLimits {
    /// The largest frame, in bytes, sent or taken; 1 MiB by default. All members should agree: a link on which a larger one arrives is dropped.
    pub frame_bytes_max: u32,
    /// Frames that wait to be sent to one peer in one class; 4,096 by default. More hides bursts, and delays what comes behind them.
    pub queue_frames_max: usize,
    /// Bytes of those frames; 8 MiB by default.
    pub queue_bytes_max: usize,
    /// Events that the application has not taken yet; 1,024 by default.
    pub events_max: usize,
    /// Bytes of frames among them; 32 MiB by default. At the limit links are not read, and senders feel it.
    pub events_bytes_max: u32,
    /// Connected members; 1,024 by default. Further ones are refused as busy.
    pub links_max: usize,
    /// Connections that have not proved membership; 256 by default. At the limit the oldest is dropped.
    pub handshakes_max: usize,
    /// Connections of one peer at a time, the link among them; 4 by default.
    pub connections_of_peer_max: usize,
    /// How long proving membership may take, and how long a connection without streams lives; 10 s by default.
    pub handshake_timeout: Duration,
    /// Silence before QUIC sends a keep-alive packet; 5 s by default. Less notices lost peers and NAT bindings sooner for more packets.
    pub keep_alive: Duration,
    /// Silence before a connection counts as lost; 12 s by default, at least twice `keep_alive`.
    pub idle_timeout: Duration,
    /// How long a peer may take nothing of at most 64 KiB before its link is dropped; 10 s by default.
    pub progress_timeout: Duration,
    /// How long a link may take to answer a ping when another instance claims its place; 1.5 s by default.
    pub liveness_timeout: Duration,
    /// How long a link without traffic is kept when this node does not want it; 60 s by default.
    pub unwanted_idle: Duration,
    /// The first wait before dialling again; 50 ms by default, doubled each time, with jitter.
    pub backoff_min: Duration,
    /// The longest such wait; 5 s by default.
    pub backoff_max: Duration,
    /// Bytes in flight on one stream, which a peer can make us hold; 2 MiB by default. At a round trip of 50 ms it allows 40 MB/s.
    pub stream_window_bytes: u32,
}

impl NetLimits {
    /// What holds unless something else is asked for.
    pub const DEFAULT: Self = Self {
        frame_bytes_max: 1 << 20,
        queue_frames_max: 4_096,
        queue_bytes_max: 8 << 20,
        events_max: 1_024,
        events_bytes_max: 32 << 20,
        links_max: 1_024,
        handshakes_max: 256,
        connections_of_peer_max: 4,
        handshake_timeout: Duration::from_secs(10),
        keep_alive: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(12),
        progress_timeout: Duration::from_secs(10),
        liveness_timeout: Duration::from_millis(1_500),
        unwanted_idle: Duration::from_secs(60),
        backoff_min: Duration::from_millis(50),
        backoff_max: Duration::from_secs(5),
        stream_window_bytes: 2 << 20,
    };
}

impl Default for NetLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
