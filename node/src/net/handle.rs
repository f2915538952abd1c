//! The handle on the network.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use meshwork_membership::NodeId;
use tokio::task::JoinHandle;

use super::config::NetConfig;
use super::driver;
use super::event::{self, Class, NetEvents};
use super::shared::Shared;
use super::stats::NetStats;
use crate::admission::{Credential, RejectCredential};

/// A running network: cheap to clone, all clones are the same.
///
/// Dropping every clone does not stop it; [`shutdown`](Self::shutdown) does.
///
/// # Examples
/// ```
/// # use std::net::SocketAddr;
/// # use meshwork::admission::{CertificateRequest, Credential, Keypair};
/// use meshwork::net::{Net, NetConfig, NetLimits};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let (mesh, keypair) = (Keypair::generate()?, Keypair::generate()?);
/// let subject = keypair.node_id();
/// let request =
///     CertificateRequest { subject, name: "a".into(), issued_s: 0, expires_s: None, roles: 0 };
/// let credential = Credential::issue_by_mesh(&mesh, request)?;
/// let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
/// let limits = NetLimits::default();
/// let mesh = mesh.mesh_id();
/// let (net, mut events) =
///     Net::start(NetConfig { keypair, mesh, credential, instance: 7, listen, limits })?;
/// assert!(events.recv().await.is_some());
/// net.shutdown().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Net {
    shared: Arc<Shared>,
    driver: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// Why the network did not start. Nothing runs and nothing is bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartNet {
    /// The address cannot be listened on; when another program has it, choose another port.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The node's own credential would be refused by every peer: get a new one.
    #[error("this node's credential does not prove membership")]
    Credential(#[source] RejectCredential),
}

/// Why a frame was not queued. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendFrame {
    /// There is no link to the peer: wait for its [`Up`](super::NetEvent::Up).
    #[error("the peer is not connected")]
    NotConnected,
    /// The peer does not take frames of this class as fast as they are sent: try again later, or do without.
    #[error("the peer's queue is full")]
    Full,
    /// No peer would take it: the caller's mistake.
    #[error("a frame of {bytes} bytes where {bytes_max} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest.
        bytes_max: u32,
    },
}

impl Net {
    /// Binds the sockets and starts the network on the current tokio runtime.
    ///
    /// # Errors
    /// Any [`StartNet`].
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time enabled.
    pub fn start(config: NetConfig) -> Result<(Self, NetEvents), StartNet> {
        let limits = config.limits.clone();
        let (sender, events) = event::queue(limits.events_max, limits.events_bytes_max);
        let shared = Arc::new(Shared::new(limits, config.credential.clone(), sender));
        let driver = driver::Driver::bind(config, Arc::clone(&shared))?;
        let driver = Arc::new(Mutex::new(Some(tokio::spawn(driver.run()))));
        Ok((Self { shared, driver }, events))
    }

    /// Queues a frame to a connected peer. Never blocks; frames of one class arrive in the order in which they were queued.
    ///
    /// # Errors
    /// Any [`SendFrame`].
    pub fn send(&self, peer: NodeId, class: Class, frame: Bytes) -> Result<(), SendFrame> {
        let bytes_max = self.shared.limits.frame_bytes_max;
        let bytes = frame.len();
        if u32::try_from(bytes).map_or(true, |bytes| bytes > bytes_max) {
            return Err(SendFrame::TooLarge { bytes, bytes_max });
        }
        let route = self.shared.route(peer).ok_or(SendFrame::NotConnected)?;
        route.send(class, frame, &self.shared.limits)
    }

    /// Says where a peer may be reached, instead of what was said before; the first 16 are tried.
    pub fn set_addresses(&self, peer: NodeId, mut addresses: Vec<SocketAddr>) {
        addresses.truncate(ADDRESSES_OF_PEER_MAX);
        self.shared.change(peer, |desired| {
            match addresses.is_empty() {
                true => desired.addresses.remove(&peer),
                false => desired.addresses.insert(peer, addresses),
            };
        });
    }

    /// Keeps a connection to the peer: dials whenever there is none and an address is known.
    pub fn want(&self, peer: NodeId) {
        self.shared.change(peer, |desired| {
            desired.wanted.insert(peer);
        });
    }

    /// Stops keeping it. A link stays while the peer uses it.
    pub fn unwant(&self, peer: NodeId) {
        self.shared.change(peer, |desired| {
            desired.wanted.remove(&peer);
        });
    }

    /// Behaves as if the links to these peers were cut, and to no others; for tests and demonstrations of partitions.
    pub fn set_cut(&self, peers: BTreeSet<NodeId>) {
        let mut desired = self.shared.desired();
        let before = std::mem::replace(&mut desired.cut, peers);
        let changed: BTreeSet<_> = before.symmetric_difference(&desired.cut).copied().collect();
        desired.fresh.extend(changed);
        drop(desired);
        self.shared.changed.notify_one();
    }

    /// Shows this credential from the next connection on.
    pub fn set_credential(&self, credential: Credential) {
        self.shared.desired().credential = credential;
    }

    /// Where the node listens, as far as the system has said; complete soon after the start.
    #[must_use]
    pub fn listening(&self) -> Vec<SocketAddr> {
        self.shared.desired().listening.iter().copied().collect()
    }

    /// The members that are connected.
    #[must_use]
    pub fn connected(&self) -> Vec<NodeId> {
        self.shared.connected()
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> NetStats {
        self.shared.counters.snapshot(self.shared.connected().len())
    }

    /// Sends what is queued, closes all links, and waits until every task has ended; two seconds at most. The system frees the
    /// ports a little later, when QUIC has drained the closed connections.
    ///
    /// Dropping the future does not call it off. A second call returns when the first is done or at once.
    /// Keep taking events meanwhile, or drop the receiver.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        let driver = self
            .driver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(driver) = driver
            && let Err(error) = driver.await
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// More than a node has; bounds what one member's metadata makes us dial.
const ADDRESSES_OF_PEER_MAX: usize = 16;
