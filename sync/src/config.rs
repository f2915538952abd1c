//! What a replication engine may be told, and the limits that keep it bounded.

use core::time::Duration;

/// Settings of the replication engine. The defaults suit nodes from small edge devices to cloud machines.
#[derive(Clone, Debug)]
pub struct Config {
    /// Copies of each key. More survive more failures and cost as many times the disk and traffic. Default 3.
    pub replication_factor: usize,
    /// Memory for decoded objects, in encoded bytes. Less means more reads of the disk. Default 32 MiB.
    pub object_cache_bytes: usize,
    /// Most bytes of one value handed in by an application. Default 512 KiB, so that a delta fits one frame.
    pub value_bytes_max: usize,
    /// Most bytes of one object; a write that would pass it is refused. Default 16 MiB.
    pub object_bytes_max: usize,
    /// Deltas that wait for peers. Beyond it writes are refused, since dropping one would lose it. Default 1,000,000.
    pub outbox_entries_max: usize,
    /// Bytes of waiting deltas held in memory; the others are read back from the store. Default 8 MiB.
    pub outbox_cache_bytes: usize,
    /// Most bytes of items in one push. Larger pushes use the link better, smaller ones make others wait less. Default 256 KiB.
    pub push_bytes_max: usize,
    /// Pushes to one peer that are not acknowledged yet. Default 8.
    pub pushes_in_flight_max: usize,
    /// After this long without an answer a push is sent again; merging it twice changes nothing. Default 5 s.
    pub push_timeout: Duration,
    /// A read that waits for one answer asks the other replicas as well after this long. Default 100 ms.
    pub hedge_after: Duration,
    /// How long a write on a node that holds no copy waits for the present value before it writes blind. Default 500 ms.
    pub fetch_timeout: Duration,
    /// Time between comparisons with each replica. Shorter finds losses sooner and costs a small message each. Default 30 s.
    pub anti_entropy_period: Duration,
    /// A peer's stamp may be this far ahead of our wall clock. Default 60 s.
    pub drift_max: Duration,
    /// A copy of a key that is not placed here is dropped once delivered and untouched for this long. Default 10 min.
    pub stray_idle: Duration,
    /// Requests under way at once; more are refused as busy. Default 16,384.
    pub requests_max: usize,
    /// Prefixes that one peer may watch here. Default 64.
    pub watches_per_peer_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            replication_factor: 3,
            object_cache_bytes: 32 << 20,
            value_bytes_max: 512 << 10,
            object_bytes_max: 16 << 20,
            outbox_entries_max: 1_000_000,
            outbox_cache_bytes: 8 << 20,
            push_bytes_max: 256 << 10,
            pushes_in_flight_max: 8,
            push_timeout: Duration::from_secs(5),
            hedge_after: Duration::from_millis(100),
            fetch_timeout: Duration::from_millis(500),
            anti_entropy_period: Duration::from_secs(30),
            drift_max: Duration::from_secs(60),
            stray_idle: Duration::from_secs(600),
            requests_max: 16_384,
            watches_per_peer_max: 64,
        }
    }
}
