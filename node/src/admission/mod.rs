//! Who may come in: keys, certificates, tickets. Pure but for the key files.
//!
//! A mesh is an ed25519 key pair. Whoever holds a certificate that chains to it is a member. A member whose
//! certificate says so may admit others, so the mesh key itself can stay in a drawer. An invite is a [`Ticket`]: one line
//! of text with a secret that works once.
//!
//! Everything that arrives from outside is decoded by [`Credential::decode`], [`Ticket::from_str`](std::str::FromStr)
//! and [`InviteRecord::decode`]: bounded, total, and without effect when refused.

mod certificate;
mod encoding;
mod invites;
mod keypair;
mod ticket;

pub(crate) use certificate::name_is_fit;
pub use certificate::{
    Certificate, CertificateRequest, Credential, DecodeCredential, IssueCredential, Issuer,
    MAY_ADMIT, MeshId, RejectCredential,
};
pub use invites::{
    Admission, DecodeInvite, InviteRecord, Invites, IssueInvite, Redeemed, RefuseTicket,
};
pub(crate) use keypair::random;
pub use keypair::{KeyFile, KeyPurpose, Keypair, NoEntropy};
pub use ticket::{ParseTicket, Ticket, TicketId, TicketSecret};
