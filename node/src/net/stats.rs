//! Counters.

use std::sync::atomic::{AtomicU64, Ordering};

use super::refusal::RefuseReason;

/// What went over the network since the start; a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetStats {
    /// Members connected now.
    pub links: usize,
    /// Bytes of payload frames and their headers taken in.
    pub bytes_in: u64,
    /// The same sent.
    pub bytes_out: u64,
    /// Payload frames taken in.
    pub frames_in: u64,
    /// The same sent.
    pub frames_out: u64,
    /// Dials begun.
    pub dials: u64,
    /// Dials that reached nobody, or not the peer that was meant.
    pub dials_failed: u64,
    /// Connections that were dropped to make room for newer ones, unproved.
    pub handshakes_dropped: u64,
    /// Connections that this node refused, by reason; only reasons that occurred.
    pub refused: Vec<(RefuseReason, u64)>,
    /// Connections that others refused to this node, by reason; only reasons that occurred.
    pub refused_by_peers: Vec<(RefuseReason, u64)>,
}

/// The counters themselves; relaxed, since nothing is decided by them.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    pub(super) frames_in: AtomicU64,
    pub(super) frames_out: AtomicU64,
    pub(super) dials: AtomicU64,
    pub(super) dials_failed: AtomicU64,
    pub(super) handshakes_dropped: AtomicU64,
    pub(super) refused: ByReason,
    pub(super) refused_by_peers: ByReason,
}

/// One counter for each reason.
#[derive(Debug, Default)]
pub(super) struct ByReason([AtomicU64; RefuseReason::ALL.len()]);

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, amount: usize) {
    counter.fetch_add(u64::try_from(amount).unwrap_or(u64::MAX), Ordering::Relaxed);
}

impl ByReason {
    pub(super) fn count(&self, reason: RefuseReason) {
        if let Some(counter) = self.0.get(usize::from(reason.code() - 1)) {
            add(counter, 1);
        }
    }

    fn snapshot(&self) -> Vec<(RefuseReason, u64)> {
        let counts = self.0.iter().map(|counter| counter.load(Ordering::Relaxed));
        RefuseReason::ALL
            .into_iter()
            .zip(counts)
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

impl Counters {
    pub(super) fn snapshot(&self, links: usize) -> NetStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        NetStats {
            links,
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
            frames_in: read(&self.frames_in),
            frames_out: read(&self.frames_out),
            dials: read(&self.dials),
            dials_failed: read(&self.dials_failed),
            handshakes_dropped: read(&self.handshakes_dropped),
            refused: self.refused.snapshot(),
            refused_by_peers: self.refused_by_peers.snapshot(),
        }
    }
}
