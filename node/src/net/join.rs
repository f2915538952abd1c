//! Coming in by ticket: one question, one answer, both sides known to each other by TLS.

use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use libp2p::Swarm;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{DialError, SwarmEvent};
use meshwork_membership::NodeId;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::address::{multiaddr, node_id, peer_id};
use super::behaviour::{Protocol, Role, StreamEvent, Streams};
use super::config::NetLimits;
use super::driver::{now_s, swarm};
use super::event::NetEvent;
use super::handshake::{FailHandshake, Framed};
use super::shared::Shared;
use super::wire::{
    DecodeFrame, JOIN_BYTES_MAX, JoinGrant, JoinMessage, Kind, decode_join_answer,
    encode_join_answer,
};
use crate::admission::{
    Credential, Keypair, MeshId, RefuseTicket, RejectCredential, Ticket, name_is_fit,
};

/// What a ticket brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The mesh.
    pub mesh: MeshId,
    /// Its name for people.
    pub mesh_name: String,
    /// This node's proof of membership, verified: keep it.
    pub credential: Credential,
    /// The member that let it in.
    pub inviter: NodeId,
    /// Where that member was reachable, as the ticket says.
    pub addresses: Vec<SocketAddr>,
}

/// Why joining failed. This node is no member; unless said otherwise the ticket is still good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinMesh {
    /// The name has no bytes, more than 64, or control characters. The caller's mistake.
    #[error("a name has 1 to 64 bytes and no control characters")]
    Name,
    /// The ticket's inviter can be reached nowhere: its id is no key, or the ticket has no address.
    #[error("the ticket names no place to go")]
    Nowhere,
    /// Nobody answers at the ticket's addresses: is the inviter running, and reachable from here?
    #[error("nobody answers at {addresses:?}")]
    Unreachable {
        /// Where it was tried.
        addresses: Vec<SocketAddr>,
    },
    /// Somebody else answers there: the inviter moved, or something stands between.
    #[error("at the ticket's address answers {found:?} instead of the inviter")]
    WrongPeer {
        /// Who answers, when its key is of our kind.
        found: Option<NodeId>,
    },
    /// The inviter refuses the ticket.
    #[error("the inviter refuses")]
    Refused(#[source] RefuseTicket),
    /// The inviter sent what no correct inviter sends.
    #[error("the inviter sent what makes no sense")]
    Malformed(#[source] DecodeFrame),
    /// The credential that the inviter gave proves nothing; look at the clocks. The ticket may be used up.
    #[error("the inviter gave a credential that proves nothing")]
    Credential(#[source] RejectCredential),
    /// The connection broke. Try again: the ticket stays good for this node, even when it was used by this attempt.
    #[error("the connection to the inviter broke")]
    Broken,
    /// It took longer than the deadline. Try again, as for [`Broken`](Self::Broken).
    #[error("joining took too long")]
    Timeout,
}

/// Uses a ticket: connects to the inviter, proves to be the holder of `keypair`, and gets a credential for it.
///
/// Needs no [`Net`](super::Net), opens no port that others could use, and closes its connection. `name` is what the node would like to
/// be called; the inviter decides. Dropping the future calls it off; the ticket may have been used then, and stays good for
/// this key pair until it expires.
///
/// # Errors
/// Any [`JoinMesh`].
///
/// # Panics
/// Outside a tokio runtime with I/O and time enabled.
pub async fn join_mesh(
    keypair: &Keypair,
    ticket: &Ticket,
    name: &str,
    deadline: Duration,
) -> Result<Joined, JoinMesh> {
    if !name_is_fit(name) {
        return Err(JoinMesh::Name);
    }
    let mut swarm = swarm(keypair, &NetLimits::default(), Role::Joiner);
    let asked = timeout(deadline, ask(&mut swarm, ticket, name)).await;
    let grant = asked
        .unwrap_or(Err(JoinMesh::Timeout))?
        .map_err(JoinMesh::Refused)?;
    let JoinGrant {
        credential,
        mesh_name,
    } = grant;
    credential
        .verify(ticket.mesh, keypair.node_id(), now_s())
        .map_err(JoinMesh::Credential)?;
    Ok(Joined {
        mesh: ticket.mesh,
        mesh_name,
        credential,
        inviter: ticket.inviter,
        addresses: ticket.addresses.clone(),
    })
}

async fn ask(
    swarm: &mut Swarm<Streams>,
    ticket: &Ticket,
    name: &str,
) -> Result<Result<JoinGrant, RefuseTicket>, JoinMesh> {
    let mut framed = reach(swarm, ticket).await?;
    let message = JoinMessage {
        ticket: ticket.id,
        secret: ticket.secret.clone(),
        name: name.into(),
    };
    let exchange = async {
        framed.send(Kind::Join, &message.encode()).await?;
        framed.expect(Kind::JoinAnswer, JOIN_BYTES_MAX).await
    };
    let contents = tokio::select! {
        contents = exchange => contents.map_err(JoinMesh::from)?,
        () = drive(swarm) => return Err(JoinMesh::Broken),
    };
    decode_join_answer(&contents).map_err(JoinMesh::Malformed)
}

/// Dials the inviter and opens the stream.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is foreign and may grow"
)]
async fn reach(swarm: &mut Swarm<Streams>, ticket: &Ticket) -> Result<Framed, JoinMesh> {
    let inviter = peer_id(ticket.inviter).ok_or(JoinMesh::Nowhere)?;
    let addresses: Vec<_> = ticket.addresses.iter().copied().map(multiaddr).collect();
    if addresses.is_empty() {
        return Err(JoinMesh::Nowhere);
    }
    let unreachable = || JoinMesh::Unreachable {
        addresses: ticket.addresses.clone(),
    };
    let failed = |error: &DialError| match error {
        DialError::WrongPeerId { obtained, .. } => JoinMesh::WrongPeer {
            found: node_id(obtained),
        },
        _ => unreachable(),
    };
    let options = DialOpts::peer_id(inviter).addresses(addresses).build();
    swarm.dial(options).map_err(|error| failed(&error))?;
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                ..
            } => {
                swarm
                    .behaviour_mut()
                    .open(peer_id, connection_id, Protocol::Join);
            }
            SwarmEvent::Behaviour(StreamEvent::Outbound { stream, .. }) => {
                return Ok(Framed::new(stream, NetLimits::default().progress_timeout));
            }
            SwarmEvent::OutgoingConnectionError { error, .. } => return Err(failed(&error)),
            SwarmEvent::ConnectionClosed { .. }
            | SwarmEvent::Behaviour(StreamEvent::Failed { .. }) => return Err(JoinMesh::Broken),
            _ => {}
        }
    }
}

/// Serves the connection until it closes.
async fn drive(swarm: &mut Swarm<Streams>) {
    while !matches!(
        swarm.select_next_some().await,
        SwarmEvent::ConnectionClosed { .. }
    ) {}
}

/// The inviter's side: hears the question, lets the application answer, sends that.
pub(super) async fn serve(mut framed: Framed, subject: NodeId, shared: &Shared) {
    let patience = shared.limits.handshake_timeout;
    let asked = timeout(patience, framed.expect(Kind::Join, JOIN_BYTES_MAX)).await;
    let Ok(Ok(Ok(message))) = asked.map(|asked| asked.map(|bytes| JoinMessage::decode(&bytes)))
    else {
        tracing::debug!(peer = %subject, "no ticket came");
        return;
    };
    let JoinMessage {
        ticket,
        secret,
        name,
    } = message;
    let (answer, answered) = oneshot::channel();
    let request = NetEvent::JoinRequest {
        ticket,
        secret,
        subject,
        name,
        answer,
    };
    let answered = async {
        shared.events.send(request).await;
        answered.await.ok()
    };
    let answer = timeout(patience, answered).await.ok().flatten();
    let answer = answer.unwrap_or(Err(RefuseTicket::Unavailable));
    if let Err(refusal) = &answer {
        tracing::warn!(peer = %subject, %ticket, %refusal, "refused a ticket");
    }
    framed
        .send_last(Kind::JoinAnswer, &encode_join_answer(&answer))
        .await;
}

impl From<FailHandshake> for JoinMesh {
    fn from(error: FailHandshake) -> Self {
        match error {
            FailHandshake::Malformed(error) => Self::Malformed(error),
            FailHandshake::Timeout => Self::Timeout,
            FailHandshake::Io(_) | FailHandshake::Refused(_) => Self::Broken,
        }
    }
}
