//! Our names for peers and places, and libp2p's.

use std::net::{IpAddr, SocketAddr};

use libp2p::multiaddr::{Multiaddr, Protocol};
use libp2p::{PeerId, identity};
use meshwork_membership::NodeId;

use crate::admission::Keypair;

/// The address that libp2p dials or listens on: QUIC version 1 over UDP.
pub(super) fn multiaddr(address: SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip())
        .with(Protocol::Udp(address.port()))
        .with(Protocol::QuicV1)
}

/// The IP address and port of a QUIC address; `None` for any other transport.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "multiaddr knows 35 protocols"
)]
pub(super) fn socket_address(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    match (parts.next()?, parts.next()?) {
        (Protocol::Udp(port), Protocol::QuicV1) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

/// The libp2p name of a node; `None` when its 32 bytes are no point on the curve, so that no peer can prove to be it.
pub(super) fn peer_id(node: NodeId) -> Option<PeerId> {
    let key = identity::ed25519::PublicKey::try_from_bytes(node.as_bytes()).ok()?;
    Some(identity::PublicKey::from(key).to_peer_id())
}

/// The node that a peer proved to be; `None` for a peer whose key is not ed25519.
pub(super) fn node_id(peer: &PeerId) -> Option<NodeId> {
    let key = identity::PublicKey::try_decode_protobuf(peer.as_ref().digest()).ok()?;
    Some(NodeId::from_bytes(key.try_into_ed25519().ok()?.to_bytes()))
}

/// The key pair as libp2p signs with it.
pub(super) fn identity(keypair: &Keypair) -> identity::Keypair {
    let mut secret = keypair.secret();
    identity::Keypair::ed25519_from_bytes(secret.as_mut_slice())
        .expect("any 32 bytes are an ed25519 secret")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_and_peer_ids_convert_both_ways() {
        let keypair = Keypair::from_secret(&[5; 32]);
        let peer = identity(&keypair).public().to_peer_id();
        assert_eq!(node_id(&peer), Some(keypair.node_id()));
        assert_eq!(peer_id(keypair.node_id()), Some(peer));
        assert_eq!(node_id(&PeerId::random()), None);
    }

    #[test]
    fn addresses_convert_both_ways() {
        for text in ["192.0.2.1:4001", "[2001:db8::1]:65535"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(socket_address(&multiaddr(address)), Some(address));
        }
        assert_eq!(
            socket_address(&"/ip4/192.0.2.1/tcp/1".parse().unwrap()),
            None
        );
    }
}
