//! Which peers to dial, and when to dial again.

use std::net::SocketAddr;
use std::time::Duration;

use libp2p::PeerId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use meshwork_membership::NodeId;
use tokio::time::Instant;

use super::address::{multiaddr, node_id, peer_id};
use super::driver::{Driver, Timer};
use super::event::{DialFailure, NetEvent};
use super::link::LinkHandle;
use super::stats::add;

/// Waits that double up to a maximum, each shortened by up to a half at random so that nodes do not dial in step.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    next: Duration,
}

/// A portable generator (SplitMix64) for jitter; nothing that must be secret comes from it.
#[derive(Debug, Clone)]
pub(super) struct Jitter(u64);

/// What is known of a peer that is wanted or linked.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) link: Option<LinkHandle>,
    pub(super) backoff: Backoff,
    pub(super) linked_at: Option<Instant>,
    /// Payload frames at the last look, and when they last changed.
    pub(super) used: (u64, Instant),
    pub(super) dial: Dial,
}

/// Whether a peer is being dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dial {
    /// Not now.
    Idle,
    /// At this time.
    At(Instant),
    /// By this connection, not yet established or not yet greeted.
    Under(ConnectionId),
}

impl Driver {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the enum is foreign and may grow"
    )]
    pub(super) fn on_dial_error(
        &mut self,
        id: ConnectionId,
        peer_id: Option<PeerId>,
        error: &DialError,
    ) {
        let Some(peer) = peer_id.as_ref().and_then(node_id) else {
            return;
        };
        let reason = match error {
            DialError::WrongPeerId { obtained, .. } => DialFailure::WrongPeer {
                found: node_id(obtained),
            },
            _ => DialFailure::Unreachable,
        };
        tracing::debug!(peer = %peer, %error, "dial failed");
        self.dial_failed(peer, id, reason);
    }

    pub(super) fn dial_failed(&mut self, peer: NodeId, id: ConnectionId, reason: DialFailure) {
        self.count_dial_failure(peer, reason);
        if let Some(entry) = self.peers.get_mut(&peer)
            && entry.dial == Dial::Under(id)
        {
            entry.dial = Dial::Idle;
            self.dial_later(peer);
        }
    }

    pub(super) fn count_dial_failure(&self, peer: NodeId, reason: DialFailure) {
        add(&self.shared.counters.dials_failed, 1);
        self.shared
            .events
            .offer(NetEvent::DialFailed { peer, reason });
    }

    /// Where to dial a peer: `None` when it is not wanted, cut, or at no known address.
    pub(super) fn wanted_addresses(&self, peer: NodeId) -> Option<Vec<SocketAddr>> {
        let desired = self.shared.desired();
        let wanted = desired.wanted.contains(&peer) && !desired.cut.contains(&peer);
        wanted
            .then(|| desired.addresses.get(&peer).cloned())
            .flatten()
    }

    pub(super) fn peer_mut(&mut self, peer: NodeId) -> &mut Peer {
        let min = self.shared.limits.backoff_min;
        self.peers.entry(peer).or_insert_with(|| Peer {
            link: None,
            backoff: Backoff::new(min),
            linked_at: None,
            used: (0, Instant::now()),
            dial: Dial::Idle,
        })
    }

    /// Waits longest before the next dial.
    pub(super) fn slow_down(&mut self, peer: NodeId) {
        let max = self.shared.limits.backoff_max;
        self.peer_mut(peer).backoff.slow_down(max);
    }

    /// Plans the next dial, when the peer is wanted and has no link.
    pub(super) fn dial_later(&mut self, peer: NodeId) {
        let max = self.shared.limits.backoff_max;
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        let wait = entry.backoff.wait(max, &mut self.jitter);
        if entry.dial == Dial::Idle && entry.link.is_none() {
            self.dial_at(peer, Instant::now() + wait);
        }
    }

    pub(super) fn dial_at(&mut self, peer: NodeId, at: Instant) {
        self.peer_mut(peer).dial = Dial::At(at);
        self.timers.insert((at, Timer::Dial(peer)));
    }

    pub(super) fn dial(&mut self, peer: NodeId) {
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        entry.dial = Dial::Idle;
        if entry.link.is_some() || peer == self.me {
            return;
        }
        let Some(addresses) = self.wanted_addresses(peer) else {
            return;
        };
        let Some(peer_id) = peer_id(peer) else {
            self.shared.events.offer(NetEvent::DialFailed {
                peer,
                reason: DialFailure::NotAKey,
            });
            return;
        };
        let options = DialOpts::peer_id(peer_id)
            .condition(PeerCondition::Always)
            .addresses(addresses.into_iter().map(multiaddr).collect())
            .build();
        let id = options.connection_id();
        self.peer_mut(peer).dial = Dial::Under(id);
        add(&self.shared.counters.dials, 1);
        if let Err(error) = self.swarm.dial(options) {
            tracing::debug!(peer = %peer, %error, "dial refused");
            self.dial_failed(peer, id, DialFailure::Unreachable);
        }
    }

    /// Notes that a dial has led to a link, or to a refusal.
    pub(super) fn dial_done(&mut self, peer: NodeId, id: ConnectionId) {
        let entry = self.peer_mut(peer);
        if entry.dial == Dial::Under(id) {
            entry.dial = Dial::Idle;
        }
    }

    /// Plans to dial again after a link ended; at once when it had lasted.
    pub(super) fn on_link_ended(&mut self, peer: NodeId, id: ConnectionId) {
        let min = self.shared.limits.backoff_min;
        if let Some(entry) = self.peers.get_mut(&peer)
            && entry.link.as_ref().is_some_and(|link| link.conn == id)
        {
            entry.link = None;
            if entry.linked_at.is_some_and(|at| at.elapsed() > LASTING) {
                entry.backoff = Backoff::new(min);
            }
            self.dial_later(peer);
        }
        self.drop_conn(id);
    }
}

impl Backoff {
    pub(super) const fn new(min: Duration) -> Self {
        Self { next: min }
    }

    /// The next wait.
    pub(super) fn wait(&mut self, max: Duration, jitter: &mut Jitter) -> Duration {
        let whole = self.next.min(max);
        self.next = (whole * 2).min(max);
        whole - whole.mul_f64(jitter.fraction() / 2.0)
    }

    /// A peer that refused us will not change its mind at once.
    pub(super) const fn slow_down(&mut self, max: Duration) {
        self.next = max;
    }
}

impl Jitter {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let high = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(u32::MAX);
        f64::from(high) / f64::from(u32::MAX)
    }
}

/// A link that lived this long ended for a reason of its own, not because of what made the last one end.
const LASTING: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_min_to_max_and_keep_at_least_half() {
        let (min, max) = (Duration::from_millis(50), Duration::from_secs(5));
        let (mut backoff, mut jitter) = (Backoff::new(min), Jitter::new(1));
        let mut whole = min;
        for _ in 0..20 {
            let wait = backoff.wait(max, &mut jitter);
            assert!(wait <= whole && wait >= whole / 2, "{wait:?} of {whole:?}");
            whole = (whole * 2).min(max);
        }
        assert_eq!(whole, max);
    }
}
