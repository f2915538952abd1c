//! What the handle, the driver and the links share: what is wanted, the routes to connected peers, the counters.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use meshwork_membership::NodeId;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::config::NetLimits;
use super::event::{Class, EventSender};
use super::handle::SendFrame;
use super::stats::Counters;
use crate::admission::Credential;

/// One for each [`Net`](super::Net).
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: NetLimits,
    pub(super) counters: Counters,
    pub(super) events: EventSender,
    /// Set once: everything ends.
    pub(super) stop: CancellationToken,
    /// Something in `desired` changed.
    pub(super) changed: Notify,
    desired: Mutex<Desired>,
    routes: RwLock<BTreeMap<NodeId, Arc<Route>>>,
}

/// What the application asked for. A state, not a queue of commands: asking never blocks and cannot be lost.
#[derive(Debug)]
pub(super) struct Desired {
    pub(super) credential: Credential,
    pub(super) wanted: BTreeSet<NodeId>,
    pub(super) addresses: BTreeMap<NodeId, Vec<SocketAddr>>,
    pub(super) cut: BTreeSet<NodeId>,
    /// Peers to look at again.
    pub(super) fresh: BTreeSet<NodeId>,
    /// Where the node listens.
    pub(super) listening: BTreeSet<SocketAddr>,
}

/// The way to a connected peer: one lane for each class. Dropping it ends the writers once they have sent what is queued.
#[derive(Debug)]
pub(super) struct Route {
    lanes: [Lane; 3],
}

#[derive(Debug)]
struct Lane {
    frames: mpsc::Sender<Bytes>,
    queued_bytes: Arc<AtomicUsize>,
}

/// The other end of a lane, for its writer.
#[derive(Debug)]
pub(super) struct LaneEnd {
    pub(super) class: Class,
    pub(super) frames: mpsc::Receiver<Bytes>,
    pub(super) queued_bytes: Arc<AtomicUsize>,
}

impl Shared {
    pub(super) fn new(limits: NetLimits, credential: Credential, events: EventSender) -> Self {
        let desired = Desired {
            credential,
            wanted: BTreeSet::new(),
            addresses: BTreeMap::new(),
            cut: BTreeSet::new(),
            fresh: BTreeSet::new(),
            listening: BTreeSet::new(),
        };
        Self {
            limits,
            counters: Counters::default(),
            events,
            stop: CancellationToken::new(),
            changed: Notify::new(),
            desired: Mutex::new(desired),
            routes: RwLock::new(BTreeMap::new()),
        }
    }

    /// What is desired. Held for a few instructions only; a panic elsewhere leaves it whole.
    pub(super) fn desired(&self) -> MutexGuard<'_, Desired> {
        self.desired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is desired of `peer` and tells the driver.
    pub(super) fn change(&self, peer: NodeId, change: impl FnOnce(&mut Desired)) {
        let mut desired = self.desired();
        change(&mut desired);
        desired.fresh.insert(peer);
        drop(desired);
        self.changed.notify_one();
    }

    pub(super) fn route(&self, peer: NodeId) -> Option<Arc<Route>> {
        self.routes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&peer)
            .cloned()
    }

    pub(super) fn connected(&self) -> Vec<NodeId> {
        self.routes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .copied()
            .collect()
    }

    /// Opens a way to a peer whose earlier link has ended.
    pub(super) fn open_route(&self, peer: NodeId) -> [LaneEnd; 3] {
        let mut ends = Vec::new();
        let lanes = Class::ALL.map(|class| {
            let (sender, frames) = mpsc::channel(self.limits.queue_frames_max.max(1));
            let queued_bytes = Arc::new(AtomicUsize::new(0));
            ends.push(LaneEnd {
                class,
                frames,
                queued_bytes: Arc::clone(&queued_bytes),
            });
            Lane {
                frames: sender,
                queued_bytes,
            }
        });
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.insert(peer, Arc::new(Route { lanes }));
        ends.try_into().expect("one end for each class")
    }

    pub(super) fn close_route(&self, peer: NodeId) {
        self.routes
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&peer);
    }
}

impl Route {
    /// Queues a frame.
    pub(super) fn send(
        &self,
        class: Class,
        frame: Bytes,
        limits: &NetLimits,
    ) -> Result<(), SendFrame> {
        let [gossip, data, bulk] = &self.lanes;
        let lane = match class {
            Class::Gossip => gossip,
            Class::Data => data,
            Class::Bulk => bulk,
        };
        let bytes = frame.len();
        // A frame larger than the whole queue still goes out alone.
        let before = lane.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before > 0 && before.saturating_add(bytes) > limits.queue_bytes_max {
            lane.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(SendFrame::Full);
        }
        lane.frames.try_send(frame).map_err(|refused| {
            lane.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            match refused {
                mpsc::error::TrySendError::Full(_) => SendFrame::Full,
                mpsc::error::TrySendError::Closed(_) => SendFrame::NotConnected,
            }
        })
    }
}
