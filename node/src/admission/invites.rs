//! An inviter's book of open invites.
//!
//! A ticket must never admit two nodes, not even over a crash. So redeeming is in three steps whose types allow no
//! other order: [`Invites::redeem`] gives a [`Redeemed`] with the record to store, [`Redeemed::stored`]
//! turns it into an [`Admission`] once that is durable, and only an [`Admission`] makes a certificate.

use std::collections::BTreeMap;

use meshwork_membership::NodeId;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::{
    CertificateRequest, Credential, IssueCredential, Keypair, TicketId, TicketSecret, encoding,
};

/// The invites that one node has given out, at most [`Invites::OPEN_MAX`]. Pure: the caller stores the records.
#[derive(Debug, Default)]
pub struct Invites {
    records: BTreeMap<TicketId, InviteRecord>,
}

/// What an inviter keeps of one ticket; no secret is in it, only its hash. About 60 bytes stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteRecord {
    id: TicketId,
    secret_hash: [u8; 32],
    expires_s: u64,
    used_by: Option<NodeId>,
}

/// Why no invite was issued. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssueInvite {
    /// There are [`Invites::OPEN_MAX`] that have not expired: wait, or revoke some.
    #[error("there are {} invites already", Invites::OPEN_MAX)]
    Full,
    /// The id is taken. Ids are random: this is the caller's mistake.
    #[error("there is such an invite already")]
    Exists,
}

/// Why a ticket admits nobody. Nothing changed. All of them are told to the joiner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseTicket {
    /// This inviter knows no such ticket: it never gave it out, revoked it, or has forgotten it after it expired.
    #[error("the inviter does not know this ticket")]
    Unknown,
    /// Somebody came in with it already: ask for another.
    #[error("the ticket has been used")]
    Used,
    /// Its time is over: ask for another.
    #[error("the ticket has expired")]
    Expired,
    /// The secret is not the ticket's.
    #[error("the secret is not the ticket's")]
    WrongSecret,
    /// The inviter cannot admit anyone now, such as when its own certificate has ended or its disk is full: try again.
    #[error("the inviter cannot admit anyone now")]
    Unavailable,
}

/// A ticket that was accepted, before that is durable. Dropping it leaves the ticket used.
#[derive(Debug)]
#[must_use = "store the record, then call `stored`"]
pub struct Redeemed {
    record: InviteRecord,
    subject: NodeId,
}

/// The right to certify one node; it exists only after the ticket's use was stored.
#[derive(Debug)]
pub struct Admission {
    subject: NodeId,
}

/// The bytes are no invite record. The disk's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an invite record")]
pub struct DecodeInvite;

impl Invites {
    /// The most invites that are kept. Those that expired make room for new ones.
    pub const OPEN_MAX: usize = 1_024;

    /// The book with what was stored; further records than [`OPEN_MAX`](Self::OPEN_MAX) are left out, the latest to expire last.
    #[must_use]
    pub fn from_records(records: impl IntoIterator<Item = InviteRecord>) -> Self {
        let mut records: Vec<_> = records.into_iter().collect();
        records.sort_by_key(|record| std::cmp::Reverse(record.expires_s));
        let kept = records.into_iter().take(Self::OPEN_MAX);
        Self {
            records: kept.map(|record| (record.id, record)).collect(),
        }
    }

    /// Opens an invite until `expires_s` (seconds since 1970). Store the record before the ticket is given out.
    ///
    /// # Errors
    /// Any [`IssueInvite`].
    pub fn issue(
        &mut self,
        id: TicketId,
        secret: &TicketSecret,
        now_s: u64,
        expires_s: u64,
    ) -> Result<InviteRecord, IssueInvite> {
        if self.records.len() >= Self::OPEN_MAX {
            self.records.retain(|_, record| record.expires_s > now_s);
        }
        if self.records.len() >= Self::OPEN_MAX {
            return Err(IssueInvite::Full);
        }
        if self.records.contains_key(&id) {
            return Err(IssueInvite::Exists);
        }
        let record = InviteRecord {
            id,
            secret_hash: secret.hash(),
            expires_s,
            used_by: None,
        };
        self.records.insert(id, record.clone());
        Ok(record)
    }

    /// Uses a ticket up for `subject`, whose identity the transport has proved.
    ///
    /// The same subject may come again, since the answer to its first attempt may have been lost.
    ///
    /// # Errors
    /// [`RefuseTicket`]; who does not know the secret learns only whether the ticket exists.
    pub fn redeem(
        &mut self,
        id: TicketId,
        secret: &TicketSecret,
        subject: NodeId,
        now_s: u64,
    ) -> Result<Redeemed, RefuseTicket> {
        let record = self.records.get_mut(&id).ok_or(RefuseTicket::Unknown)?;
        if !bool::from(record.secret_hash.ct_eq(&secret.hash())) {
            return Err(RefuseTicket::WrongSecret);
        }
        if record.used_by.is_some_and(|user| user != subject) {
            return Err(RefuseTicket::Used);
        }
        if record.expires_s <= now_s {
            return Err(RefuseTicket::Expired);
        }
        record.used_by = Some(subject);
        Ok(Redeemed {
            record: record.clone(),
            subject,
        })
    }

    /// Takes an invite back; delete its record too. `false` when there is none.
    pub fn revoke(&mut self, id: TicketId) -> bool {
        self.records.remove(&id).is_some()
    }

    /// What has been issued and not yet forgotten, by id.
    pub fn records(&self) -> impl Iterator<Item = &InviteRecord> {
        self.records.values()
    }
}

impl InviteRecord {
    /// Which ticket.
    #[must_use]
    pub const fn id(&self) -> TicketId {
        self.id
    }

    /// From when it no longer works, in seconds since 1970.
    #[must_use]
    pub const fn expires_s(&self) -> u64 {
        self.expires_s
    }

    /// Who came in with it.
    #[must_use]
    pub const fn used_by(&self) -> Option<NodeId> {
        self.used_by
    }

    /// The form to store, under a key made of [`id`](Self::id).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encoding::append(Vec::new(), VERSION, self)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`DecodeInvite`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeInvite> {
        encoding::whole(VERSION, bytes).ok_or(DecodeInvite)
    }
}

impl Redeemed {
    /// What must be durable before [`stored`](Self::stored) is called.
    #[must_use]
    pub const fn record(&self) -> &InviteRecord {
        &self.record
    }

    /// Says that [`record`](Self::record) is durable.
    #[must_use]
    pub const fn stored(self) -> Admission {
        Admission {
            subject: self.subject,
        }
    }
}

impl Admission {
    /// The node to admit.
    #[must_use]
    pub const fn subject(&self) -> NodeId {
        self.subject
    }

    /// Makes the credential; `request.subject` is overruled by the node that redeemed the ticket.
    ///
    /// # Errors
    /// Any [`IssueCredential`].
    pub fn certify(
        self,
        inviter: &Keypair,
        own: &Credential,
        request: CertificateRequest,
    ) -> Result<Credential, IssueCredential> {
        own.issue_by_node(
            inviter,
            CertificateRequest {
                subject: self.subject,
                ..request
            },
        )
    }
}

/// The version of the stored form.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::admission::MAY_ADMIT;

    const ID: TicketId = TicketId::from_bytes([1; 16]);
    const ALICE: NodeId = NodeId::from_bytes([7; 32]);
    const BOB: NodeId = NodeId::from_bytes([8; 32]);

    fn secret(byte: u8) -> TicketSecret {
        TicketSecret::from_bytes([byte; 32])
    }

    fn book() -> Invites {
        let mut invites = Invites::default();
        invites.issue(ID, &secret(1), 10, 100).unwrap();
        invites
    }

    #[test]
    fn ticket_admits_one_node_and_that_node_again() {
        let mut invites = book();
        let redeemed = invites.redeem(ID, &secret(1), ALICE, 20).unwrap();
        assert_eq!(redeemed.record().used_by(), Some(ALICE));
        assert_eq!(redeemed.stored().subject(), ALICE);
        assert_eq!(
            invites.redeem(ID, &secret(1), BOB, 21).unwrap_err(),
            RefuseTicket::Used
        );
        assert!(invites.redeem(ID, &secret(1), ALICE, 22).is_ok());
    }

    #[test]
    fn used_ticket_stays_used_after_a_restart() {
        let mut invites = book();
        let stored = invites
            .redeem(ID, &secret(1), ALICE, 20)
            .unwrap()
            .record()
            .encode();
        let mut restarted = Invites::from_records([InviteRecord::decode(&stored).unwrap()]);
        assert_eq!(
            restarted.redeem(ID, &secret(1), BOB, 21).unwrap_err(),
            RefuseTicket::Used
        );
    }

    #[test]
    fn each_refusal_is_named_and_changes_nothing() {
        let mut invites = book();
        let other = TicketId::from_bytes([2; 16]);
        let refusals = [
            (
                invites.redeem(other, &secret(1), ALICE, 20),
                RefuseTicket::Unknown,
            ),
            (
                invites.redeem(ID, &secret(2), ALICE, 20),
                RefuseTicket::WrongSecret,
            ),
            (
                invites.redeem(ID, &secret(1), ALICE, 100),
                RefuseTicket::Expired,
            ),
        ];
        for (answer, expected) in refusals {
            assert_eq!(answer.unwrap_err(), expected);
        }
        assert!(invites.redeem(ID, &secret(1), BOB, 20).is_ok());
    }

    #[test]
    fn full_book_refuses_until_invites_expire() {
        let mut invites = Invites::default();
        let id = |n: u64| TicketId::from_bytes((u128::from(n)).to_be_bytes());
        for n in 0..Invites::OPEN_MAX as u64 {
            invites.issue(id(n), &secret(1), 10, 100).unwrap();
        }
        assert_eq!(
            invites.issue(id(5_000), &secret(1), 99, 200),
            Err(IssueInvite::Full)
        );
        assert!(invites.issue(id(5_000), &secret(1), 100, 200).is_ok());
        assert_eq!(invites.records().count(), 1);
        assert_eq!(
            invites.issue(id(5_000), &secret(1), 100, 200),
            Err(IssueInvite::Exists)
        );
    }

    #[test]
    fn admission_certifies_only_who_redeemed() {
        let (mesh, inviter) = (
            Keypair::from_secret(&[1; 32]),
            Keypair::from_secret(&[2; 32]),
        );
        let request = |subject, roles| CertificateRequest {
            subject,
            name: "n".into(),
            issued_s: 1,
            expires_s: None,
            roles,
        };
        let own = Credential::issue_by_mesh(&mesh, request(inviter.node_id(), MAY_ADMIT)).unwrap();
        let admission = book().redeem(ID, &secret(1), ALICE, 20).unwrap().stored();
        let credential = admission.certify(&inviter, &own, request(BOB, 0)).unwrap();
        assert_eq!(credential.verify(mesh.mesh_id(), ALICE, 20), Ok(()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..150)) {
            if let Ok(record) = InviteRecord::decode(&bytes) {
                prop_assert_eq!(InviteRecord::decode(&record.encode()), Ok(record));
            }
        }
    }
}
