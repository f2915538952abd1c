//! Letting new nodes in: tickets given out and redeemed, each step durable before the next.

use std::collections::BTreeMap;
use std::time::Duration;

use meshwork_membership::NodeId;
use tokio::sync::oneshot;

use super::reply;
use crate::admission::{
    CertificateRequest, InviteRecord, Invites, IssueInvite, MAY_ADMIT, NoEntropy, Redeemed,
    RefuseTicket, Ticket, TicketId, TicketSecret,
};
use crate::core::Node;
use crate::net::{JoinAnswer, JoinGrant};
use crate::setup::Member;
use crate::{invites, wall};

/// No ticket was made. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InviteError {
    /// This node's own certificate does not let it admit others.
    #[error("this node may not admit others: invite from a node that may")]
    MayNotAdmit,
    /// Too many invites are open.
    #[error(transparent)]
    Issue(#[from] IssueInvite),
    /// The operating system has no random bytes.
    #[error("the operating system has no random bytes")]
    Entropy,
    /// The node listens nowhere that others could reach.
    #[error("this node has no address that others could reach: set `advertise` in settings.toml")]
    NoAddress,
}

impl From<NoEntropy> for InviteError {
    fn from(_: NoEntropy) -> Self {
        Self::Entropy
    }
}

/// The inviter's book, and what waits until it is durable.
#[derive(Debug)]
pub(super) struct Admit {
    book: Invites,
    waiting: BTreeMap<u64, Waiting>,
    next_id: u64,
}

#[derive(Debug)]
enum Waiting {
    Issued {
        ticket: Box<Ticket>,
        answer: oneshot::Sender<Result<Ticket, InviteError>>,
    },
    Redeemed {
        redeemed: Redeemed,
        name: String,
        answer: oneshot::Sender<JoinAnswer>,
    },
}

/// Somebody at the door with a ticket.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) ticket: TicketId,
    pub(super) secret: TicketSecret,
    pub(super) subject: NodeId,
    pub(super) name: String,
}

impl Admit {
    pub(super) const fn new(book: Invites) -> Self {
        Self {
            book,
            waiting: BTreeMap::new(),
            next_id: 0,
        }
    }

    pub(super) fn invite(
        &mut self,
        node: &mut Node,
        member: &Member,
        valid_for: Duration,
        answer: oneshot::Sender<Result<Ticket, InviteError>>,
    ) {
        match self.issue(node, member, valid_for) {
            Ok((ticket, record)) => {
                let ticket = Box::new(ticket);
                self.keep(node, &record, Waiting::Issued { ticket, answer });
            }
            Err(error) => reply(answer, Err(error)),
        }
    }

    fn issue(
        &mut self,
        node: &Node,
        member: &Member,
        valid_for: Duration,
    ) -> Result<(Ticket, InviteRecord), InviteError> {
        let may = member
            .credential
            .leaf()
            .is_some_and(|leaf| leaf.roles() & MAY_ADMIT != 0);
        if !may {
            return Err(InviteError::MayNotAdmit);
        }
        let addresses: Vec<_> = node
            .meta()
            .addresses
            .iter()
            .filter_map(|address| address.parse().ok())
            .take(Ticket::ADDRESSES_MAX)
            .collect();
        if addresses.is_empty() {
            return Err(InviteError::NoAddress);
        }
        let now_s = wall::now_s();
        let ticket = Ticket {
            mesh_name: member.mesh_name.clone(),
            mesh: member.mesh,
            inviter: member.keypair.node_id(),
            addresses,
            id: TicketId::generate()?,
            secret: TicketSecret::generate()?,
            expires_s: now_s.saturating_add(valid_for.as_secs()),
        };
        let record = self
            .book
            .issue(ticket.id, &ticket.secret, now_s, ticket.expires_s)?;
        Ok((ticket, record))
    }

    pub(super) fn visit(
        &mut self,
        node: &mut Node,
        visitor: Visitor,
        answer: oneshot::Sender<JoinAnswer>,
    ) {
        let Visitor {
            ticket,
            secret,
            subject,
            name,
        } = visitor;
        match self.book.redeem(ticket, &secret, subject, wall::now_s()) {
            Ok(redeemed) => {
                let record = redeemed.record().clone();
                self.keep(
                    node,
                    &record,
                    Waiting::Redeemed {
                        redeemed,
                        name,
                        answer,
                    },
                );
            }
            Err(refusal) => {
                tracing::warn!(peer = %subject, %refusal, "a ticket was refused");
                reply(answer, Err(refusal));
            }
        }
    }

    fn keep(&mut self, node: &mut Node, record: &InviteRecord, waiting: Waiting) {
        self.next_id += 1;
        self.waiting.insert(self.next_id, waiting);
        node.keep(self.next_id, invites::key(record.id()), record.encode());
    }

    /// What was kept under `id` is durable: the next step may be taken.
    pub(super) fn kept(&mut self, id: u64, member: &Member) {
        match self.waiting.remove(&id) {
            Some(Waiting::Issued { ticket, answer }) => reply(answer, Ok(*ticket)),
            Some(Waiting::Redeemed {
                redeemed,
                name,
                answer,
            }) => {
                reply(answer, grant(redeemed, name, member));
            }
            None => {}
        }
    }
}

fn grant(redeemed: Redeemed, name: String, member: &Member) -> JoinAnswer {
    let admission = redeemed.stored();
    let subject = admission.subject();
    let request = CertificateRequest {
        subject,
        name,
        issued_s: wall::now_s(),
        expires_s: None,
        roles: MAY_ADMIT,
    };
    match admission.certify(&member.keypair, &member.credential, request) {
        Ok(credential) => {
            tracing::info!(peer = %subject, "a node was admitted");
            Ok(JoinGrant {
                credential,
                mesh_name: member.mesh_name.clone(),
            })
        }
        Err(error) => {
            tracing::warn!(peer = %subject, %error, "a node with a good ticket could not be admitted");
            Err(RefuseTicket::Unavailable)
        }
    }
}
