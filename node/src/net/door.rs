//! Who is let in: the driver's decisions about handshakes, tickets and rival connections of one peer.
//!
//! **Rivals.** Two nodes that dial each other at once end with two connections. A node that is greeting a peer with a
//! greater id answers that peer's hello as redundant: the lower id's connection is kept. When there is a link already, the
//! newcomer is let in only if the link's peer is dead: it sits on the very address that the newcomer comes from, or it
//! does not answer a ping in time. Otherwise the newcomer is redundant (same process) or a duplicate (another one).

use std::net::SocketAddr;
use std::sync::Arc;

use libp2p::Stream;
use libp2p::swarm::ConnectionId;
use meshwork_membership::NodeId;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::driver::{Driver, Stage, now_s};
use super::event::{Class, DialFailure, DownReason, NetEvent};
use super::handshake::{FailHandshake, Framed, greet, hear};
use super::join;
use super::link::{Lanes, Link, LinkHandle, LinkPeer};
use super::refusal::RefuseReason;
use super::wire::{Hello, Kind, Reply, VERSION, Welcome};
use crate::admission::{Certificate, Credential};

/// What a connection's task tells the driver.
#[derive(Debug)]
pub(super) enum Report {
    /// The peer that we dialled answered our hello, or did not.
    Greeted {
        id: ConnectionId,
        answer: Result<Box<(Welcome, Lanes)>, FailHandshake>,
    },
    /// The peer that dialled us said hello, or did not.
    Heard {
        id: ConnectionId,
        framed: Box<Framed>,
        hello: Result<Box<Hello>, FailHandshake>,
    },
    /// Whether the link that a newcomer claims to replace is alive.
    Checked {
        id: ConnectionId,
        framed: Box<Framed>,
        hello: Box<Hello>,
        rival: Rival,
    },
    /// A connection has served its purpose.
    Done { id: ConnectionId },
    /// A link has ended and said so.
    LinkEnded { id: ConnectionId, peer: NodeId },
}

/// The state of the link that a newcomer competes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rival {
    /// There is none, or its peer is dead.
    Gone,
    /// It answers.
    Alive,
}

impl Driver {
    pub(super) fn on_report(&mut self, report: Report) {
        match report {
            Report::Greeted { id, answer } => self.on_greeted(id, answer),
            Report::Heard {
                id,
                framed,
                hello: Ok(hello),
            } => self.on_hello(id, framed, hello),
            Report::Heard {
                id,
                framed,
                hello: Err(error),
            } => {
                tracing::debug!(%error, "no hello");
                match error.refusal() {
                    Some(reason) => self.refuse(id, *framed, reason),
                    None => self.drop_conn(id),
                }
            }
            Report::Checked {
                id,
                framed,
                hello,
                rival,
            } => {
                self.decide(id, *framed, *hello, rival);
            }
            Report::Done { id } => self.drop_conn(id),
            Report::LinkEnded { id, peer } => self.on_link_ended(peer, id),
        }
    }

    /// Says hello on a connection that we dialled, all of whose streams are open.
    pub(super) fn greet(&mut self, id: ConnectionId) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let peer = conn.peer;
        let Stage::Opening(streams) = std::mem::replace(&mut conn.stage, Stage::Greeting) else {
            return;
        };
        if self
            .peers
            .get(&peer)
            .is_some_and(|peer| peer.link.is_some())
        {
            self.drop_conn(id);
            return;
        }
        let limits = &self.shared.limits;
        let (progress, patience) = (limits.progress_timeout, limits.handshake_timeout);
        let framed: Vec<_> = streams
            .into_values()
            .map(|stream| Framed::new(stream, progress))
            .collect();
        let mut lanes: Lanes = framed.try_into().expect("one stream for each class");
        let hello = Hello {
            version_min: VERSION,
            version_max: VERSION,
            instance: self.instance,
            credential: self.shared.desired().credential.clone(),
        };
        let reports = self.reports.clone();
        self.tasks.spawn(async move {
            let [gossip, _, _] = &mut lanes;
            let answer = greet(gossip, &hello, patience).await;
            let answer = answer.map(|welcome| Box::new((welcome, lanes)));
            tell(&reports, Report::Greeted { id, answer }).await;
        });
    }

    fn on_greeted(
        &mut self,
        id: ConnectionId,
        answer: Result<Box<(Welcome, Lanes)>, FailHandshake>,
    ) {
        let Some((peer, remote)) = self.conns.get(&id).map(|conn| (conn.peer, conn.remote)) else {
            return;
        };
        let (welcome, lanes) = match answer {
            Ok(answer) => *answer,
            Err(error) => {
                match error {
                    FailHandshake::Refused(reason) => self.on_refused(peer, remote, reason),
                    FailHandshake::Malformed(_) | FailHandshake::Io(_) | FailHandshake::Timeout => {
                        tracing::debug!(peer = %peer, %error, "no welcome");
                        self.count_dial_failure(peer, DialFailure::Unreachable);
                    }
                }
                self.drop_conn(id);
                return;
            }
        };
        if self
            .peers
            .get(&peer)
            .is_some_and(|peer| peer.link.is_some())
        {
            self.drop_conn(id);
            return;
        }
        if let Err(reason) = self.prove(peer, &welcome.credential) {
            self.count_refusal(peer, remote, reason);
            self.slow_down(peer);
            let [gossip, _, _] = lanes;
            self.last_words(id, gossip, Kind::Refused, vec![reason.code()]);
            return;
        }
        self.dial_done(peer, id);
        let link_peer = link_peer(peer, remote, welcome.instance, &welcome.credential);
        let (link, after) = self.link(id, link_peer, None);
        self.run_link(id, peer, link.run_dialed(lanes, after));
    }

    /// Reads the first frame of a peer that dialled us.
    pub(super) fn hear(&mut self, id: ConnectionId, mut framed: Framed) {
        let (reports, patience) = (self.reports.clone(), self.shared.limits.handshake_timeout);
        self.tasks.spawn(async move {
            let hello = hear(&mut framed, patience).await.map(Box::new);
            tell(
                &reports,
                Report::Heard {
                    id,
                    framed: Box::new(framed),
                    hello,
                },
            )
            .await;
        });
    }

    fn on_hello(&mut self, id: ConnectionId, framed: Box<Framed>, hello: Box<Hello>) {
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        let (peer, remote) = (conn.peer, conn.remote);
        if let Err(reason) = self.prove(peer, &hello.credential) {
            self.refuse(id, *framed, reason);
            return;
        }
        let Some(link) = self.peers.get(&peer).and_then(|peer| peer.link.as_ref()) else {
            self.decide(id, *framed, *hello, Rival::Gone);
            return;
        };
        if link.remote == remote && link.instance != hello.instance {
            self.decide(id, *framed, *hello, Rival::Gone);
            return;
        }
        let (pulse, patience) = (Arc::clone(&link.pulse), self.shared.limits.liveness_timeout);
        let reports = self.reports.clone();
        self.tasks.spawn(async move {
            let rival = match pulse.is_alive(patience).await {
                true => Rival::Alive,
                false => Rival::Gone,
            };
            tell(
                &reports,
                Report::Checked {
                    id,
                    framed,
                    hello,
                    rival,
                },
            )
            .await;
        });
    }

    /// Lets a proved member in, or says why not.
    fn decide(&mut self, id: ConnectionId, framed: Framed, hello: Hello, rival: Rival) {
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        let (peer, remote) = (conn.peer, conn.remote);
        let link = self.peers.get(&peer).and_then(|peer| peer.link.as_ref());
        let links = self
            .peers
            .values()
            .filter(|peer| peer.link.is_some())
            .count();
        let refusal = match (link, rival) {
            (Some(link), Rival::Alive) if link.instance == hello.instance => {
                Some(RefuseReason::Redundant)
            }
            (Some(_), Rival::Alive) => Some(RefuseReason::DuplicateIdentity),
            (None, _) if self.me < peer && self.greeting(peer) => Some(RefuseReason::Redundant),
            (None, _) if links >= self.shared.limits.links_max => Some(RefuseReason::Busy),
            (Some(_), Rival::Gone) | (None, _) => None,
        };
        match refusal {
            Some(reason) => self.refuse(id, framed, reason),
            None => self.welcome(
                id,
                framed,
                link_peer(peer, remote, hello.instance, &hello.credential),
            ),
        }
    }

    fn welcome(&mut self, id: ConnectionId, framed: Framed, peer: LinkPeer) {
        let welcome = Reply::Welcome(Welcome {
            version: VERSION,
            instance: self.instance,
            credential: self.shared.desired().credential.clone(),
        });
        let (opened, to_open) = mpsc::channel::<(Class, Stream)>(Class::ALL.len());
        let node = peer.peer;
        let (link, after) = self.link(id, peer, Some(opened));
        self.run_link(
            id,
            node,
            link.run_accepted(framed, welcome.encode(), to_open, after),
        );
    }

    /// Makes the connection the peer's link; the earlier link, if any, ends first.
    fn link(
        &mut self,
        id: ConnectionId,
        peer: LinkPeer,
        opened: Option<mpsc::Sender<(Class, Stream)>>,
    ) -> (Link, Option<CancellationToken>) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.stage = Stage::Member(opened);
        }
        let node = peer.peer;
        let (handle, link) = LinkHandle::new(id, &self.shared, peer);
        let entry = self.peer_mut(node);
        entry.linked_at = Some(Instant::now());
        entry.used = (0, Instant::now());
        let earlier = entry.link.replace(handle);
        if let Some(earlier) = &earlier {
            earlier.end(DownReason::Replaced);
        }
        (link, earlier.map(|earlier| earlier.ended()))
    }

    fn run_link(
        &mut self,
        id: ConnectionId,
        peer: NodeId,
        run: impl Future<Output = ()> + Send + 'static,
    ) {
        let reports = self.reports.clone();
        self.tasks.spawn(async move {
            run.await;
            tell(&reports, Report::LinkEnded { id, peer }).await;
        });
    }

    /// Whether the credential proves that the peer is a member now.
    fn prove(&self, peer: NodeId, credential: &Credential) -> Result<(), RefuseReason> {
        credential
            .verify(self.mesh, peer, now_s())
            .map_err(|reject| {
                tracing::debug!(peer = %peer, %reject, "credential refused");
                RefuseReason::from(&reject)
            })
    }

    fn refuse(&mut self, id: ConnectionId, framed: Framed, reason: RefuseReason) {
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        let (peer, remote) = (conn.peer, conn.remote);
        self.count_refusal(peer, remote, reason);
        if reason == RefuseReason::Timeout {
            self.drop_conn(id);
            return;
        }
        self.last_words(id, framed, Kind::Reply, Reply::Refused(reason).encode());
    }

    fn last_words(&mut self, id: ConnectionId, framed: Framed, kind: Kind, contents: Vec<u8>) {
        let reports = self.reports.clone();
        self.tasks.spawn(async move {
            framed.send_last(kind, &contents).await;
            tell(&reports, Report::Done { id }).await;
        });
    }

    /// Counts a refusal and tells the application, unless it is no fault of anybody's.
    pub(super) fn count_refusal(&self, peer: NodeId, addr: SocketAddr, reason: RefuseReason) {
        self.shared.counters.refused.count(reason);
        if reason != RefuseReason::Redundant {
            tracing::warn!(peer = %peer, %addr, ?reason, "refused a connection");
            self.shared
                .events
                .offer(NetEvent::RefusedPeer { peer, addr, reason });
        }
    }

    fn on_refused(&mut self, peer: NodeId, addr: SocketAddr, reason: RefuseReason) {
        self.shared.counters.refused_by_peers.count(reason);
        if reason != RefuseReason::Redundant {
            tracing::warn!(peer = %peer, %addr, ?reason, "a peer refused this node");
            self.slow_down(peer);
            self.shared
                .events
                .offer(NetEvent::RefusedByPeer { peer, addr, reason });
        }
    }

    /// Answers a stranger with a ticket.
    pub(super) fn serve_join(&mut self, id: ConnectionId, framed: Framed) {
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        let (subject, shared, reports) =
            (conn.peer, Arc::clone(&self.shared), self.reports.clone());
        self.tasks.spawn(async move {
            join::serve(framed, subject, &shared).await;
            tell(&reports, Report::Done { id }).await;
        });
    }
}

fn link_peer(peer: NodeId, remote: SocketAddr, instance: u64, credential: &Credential) -> LinkPeer {
    let name = credential
        .leaf()
        .map(Certificate::name)
        .unwrap_or_default()
        .into();
    LinkPeer {
        peer,
        remote,
        instance,
        name,
        expires_s: credential.expires_s(),
    }
}

/// The driver is gone only when everything is: then nobody needs the report.
async fn tell(reports: &mpsc::Sender<Report>, report: Report) {
    if reports.send(report).await.is_err() {
        tracing::debug!("a task outlived the driver");
    }
}
