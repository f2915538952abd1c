//! Membership: a chain of certificates from a node up to the mesh key.

use std::fmt;
use std::str::FromStr;

use meshwork_membership::{NodeId, ParseNodeId};
use serde::{Deserialize, Serialize};

use super::keypair::verify;
use super::{Keypair, encoding};

/// A mesh's identity: the ed25519 public key that its certificates chain to. Shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MeshId([u8; 32]);

/// The role bit that lets a member issue certificates of its own.
pub const MAY_ADMIT: u32 = 1;

/// What a certificate is asked to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRequest {
    /// The node that becomes a member.
    pub subject: NodeId,
    /// Its name for people: at most 64 bytes, without control characters. Need not be unique.
    pub name: String,
    /// When it is issued, in seconds since 1970.
    pub issued_s: u64,
    /// From when it no longer holds, in seconds since 1970; `None` for never.
    pub expires_s: Option<u64>,
    /// Role bits, such as [`MAY_ADMIT`]; bits that a version does not know are kept and ignored.
    pub roles: u32,
}

/// Who signed a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Issuer {
    /// The mesh key itself.
    Mesh,
    /// A member with [`MAY_ADMIT`]; its own certificate follows in the chain.
    Node(NodeId),
}

/// One signed statement that a node is a member; about 170 bytes on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    body: Body,
    /// Two halves, since serde knows arrays up to 32 bytes.
    signature: [[u8; 32]; 2],
}

/// What is signed, behind [`DOMAIN`], in postcard's encoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    mesh: MeshId,
    subject: NodeId,
    name: String,
    issued_s: u64,
    expires_s: Option<u64>,
    roles: u32,
    issuer: Issuer,
}

/// A node's proof of membership: its certificate first, then its issuer's, up to the one that the mesh key signed.
///
/// # Examples
/// ```
/// use meshwork::admission::{CertificateRequest, Credential, Keypair, MAY_ADMIT};
///
/// let (mesh, node) = (Keypair::from_secret(&[1; 32]), Keypair::from_secret(&[2; 32]));
/// let request = CertificateRequest {
///     subject: node.node_id(),
///     name: "laptop".into(),
///     issued_s: 1_000,
///     expires_s: None,
///     roles: MAY_ADMIT,
/// };
/// let credential = Credential::issue_by_mesh(&mesh, request)?;
/// assert_eq!(credential.verify(mesh.mesh_id(), node.node_id(), 2_000), Ok(()));
/// # Ok::<(), meshwork::admission::IssueCredential>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential(Vec<Certificate>);

/// Why a credential could not be issued; the caller's mistake, nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssueCredential {
    /// The name is empty, over 64 bytes, or holds control characters.
    #[error("a name has 1 to 64 bytes and no control characters")]
    Name,
    /// The issuer's own credential is full: ask a member nearer to the mesh key.
    #[error(
        "the chain would have more than {} certificates",
        Credential::CERTIFICATES_MAX
    )]
    ChainTooLong,
    /// The issuer's own certificate lacks [`MAY_ADMIT`], or is of another node.
    #[error("the issuer may not admit others")]
    MayNotAdmit,
}

/// Why a credential does not prove membership. The peer's fault, or the clock's when it says [`Expired`](Self::Expired).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RejectCredential {
    /// There is no certificate in it.
    #[error("no certificate")]
    Empty,
    /// More certificates than [`Credential::CERTIFICATES_MAX`].
    #[error("{certificates} certificates, more than a chain may have")]
    ChainTooLong {
        /// How many there are.
        certificates: usize,
    },
    /// A certificate is of another mesh.
    #[error("a certificate of another mesh, {mesh:.8}")]
    OtherMesh {
        /// That mesh.
        mesh: MeshId,
    },
    /// The first certificate is of another node than the one that showed it.
    #[error("a certificate of another node, {subject:.8}")]
    NotYours {
        /// Whose it is.
        subject: NodeId,
    },
    /// A certificate in the chain no longer holds: ask for a new one, or look at the clock.
    #[error("the certificate of {subject:.8} expired at {expired_s}, it is {now_s}")]
    Expired {
        /// Whose it is.
        subject: NodeId,
        /// When it ended, in seconds since 1970.
        expired_s: u64,
        /// The verifier's clock.
        now_s: u64,
    },
    /// A certificate's name is empty, too long, or holds control characters.
    #[error("the certificate of {subject:.8} has a malformed name")]
    Name {
        /// Whose it is.
        subject: NodeId,
    },
    /// An issuer in the chain has no [`MAY_ADMIT`].
    #[error("{issuer:.8} may not admit others")]
    IssuerMayNotAdmit {
        /// That issuer.
        issuer: NodeId,
    },
    /// The chain does not lead to the mesh key: an issuer's certificate is missing, of another node, or superfluous.
    #[error("the chain breaks at the certificate of {subject:.8}")]
    BrokenChain {
        /// Whose certificate names an issuer that does not follow.
        subject: NodeId,
    },
    /// A signature is not the issuer's.
    #[error("the signature on the certificate of {subject:.8} is wrong")]
    BadSignature {
        /// Whose certificate it is on.
        subject: NodeId,
    },
}

/// The bytes are no credential: too long, or not in its format. The peer's or the disk's fault; nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a credential")]
pub struct DecodeCredential;

impl MeshId {
    /// The identity with this public key.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The public key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for MeshId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        NodeId::from_bytes(self.0).fmt(f)
    }
}

impl fmt::Debug for MeshId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MeshId({self:.8})")
    }
}

impl FromStr for MeshId {
    type Err = ParseNodeId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<NodeId>().map(|id| Self(*id.as_bytes()))
    }
}

impl Certificate {
    /// The mesh that it speaks of.
    #[must_use]
    pub const fn mesh(&self) -> MeshId {
        self.body.mesh
    }

    /// The member.
    #[must_use]
    pub const fn subject(&self) -> NodeId {
        self.body.subject
    }

    /// The member's name for people; without control characters once verified.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.body.name
    }

    /// When it was issued, in seconds since 1970, by the issuer's clock. For people; verifying ignores it.
    #[must_use]
    pub const fn issued_s(&self) -> u64 {
        self.body.issued_s
    }

    /// From when it no longer holds, in seconds since 1970.
    #[must_use]
    pub const fn expires_s(&self) -> Option<u64> {
        self.body.expires_s
    }

    /// Role bits.
    #[must_use]
    pub const fn roles(&self) -> u32 {
        self.body.roles
    }

    /// Who signed it.
    #[must_use]
    pub const fn issuer(&self) -> Issuer {
        self.body.issuer
    }

    fn sign(body: Body, key: &Keypair) -> Self {
        let signature = key.sign(&body.signed_bytes());
        let (low, high) = signature.split_at(32);
        let half = |bytes: &[u8]| bytes.try_into().expect("half of 64 bytes is 32");
        Self {
            signature: [half(low), half(high)],
            body,
        }
    }

    fn check(&self, now_s: u64) -> Result<(), RejectCredential> {
        let subject = self.body.subject;
        if !name_is_fit(&self.body.name) {
            return Err(RejectCredential::Name { subject });
        }
        match self.body.expires_s {
            Some(expired_s) if expired_s <= now_s => Err(RejectCredential::Expired {
                subject,
                expired_s,
                now_s,
            }),
            Some(_) | None => Ok(()),
        }
    }

    fn check_signature(&self, signer: &[u8; 32]) -> Result<(), RejectCredential> {
        let mut signature = [0; 64];
        for (to, from) in signature.iter_mut().zip(self.signature.as_flattened()) {
            *to = *from;
        }
        match verify(signer, &self.body.signed_bytes(), &signature) {
            true => Ok(()),
            false => Err(RejectCredential::BadSignature {
                subject: self.body.subject,
            }),
        }
    }
}

impl Body {
    fn new(mesh: MeshId, issuer: Issuer, request: CertificateRequest) -> Self {
        let CertificateRequest {
            subject,
            name,
            issued_s,
            expires_s,
            roles,
        } = request;
        Self {
            mesh,
            subject,
            name,
            issued_s,
            expires_s,
            roles,
            issuer,
        }
    }

    fn signed_bytes(&self) -> Vec<u8> {
        encoding::append(DOMAIN.to_vec(), VERSION, self)
    }
}

impl Credential {
    /// The longest chain: three members may have passed the right on between the mesh key and the last one.
    pub const CERTIFICATES_MAX: usize = 4;
    /// The largest encoded form; four certificates with the longest names have about 1,000 bytes.
    pub const BYTES_MAX: usize = 2_048;

    /// Admits a node with the mesh key.
    ///
    /// # Errors
    /// [`IssueCredential::Name`].
    pub fn issue_by_mesh(
        mesh: &Keypair,
        request: CertificateRequest,
    ) -> Result<Self, IssueCredential> {
        if !name_is_fit(&request.name) {
            return Err(IssueCredential::Name);
        }
        let body = Body::new(mesh.mesh_id(), Issuer::Mesh, request);
        Ok(Self(vec![Certificate::sign(body, mesh)]))
    }

    /// Admits a node as a member that may: `self` is the credential of `node`, the issuer.
    ///
    /// Expiry is checked by whoever verifies: what is issued here holds no longer than any certificate above it.
    ///
    /// # Errors
    /// Any [`IssueCredential`].
    pub fn issue_by_node(
        &self,
        node: &Keypair,
        request: CertificateRequest,
    ) -> Result<Self, IssueCredential> {
        let own = self.leaf().filter(|own| own.subject() == node.node_id());
        let own = own.filter(|own| own.roles() & MAY_ADMIT != 0);
        let own = own.ok_or(IssueCredential::MayNotAdmit)?;
        if !name_is_fit(&request.name) {
            return Err(IssueCredential::Name);
        }
        if self.0.len() >= Self::CERTIFICATES_MAX {
            return Err(IssueCredential::ChainTooLong);
        }
        let body = Body::new(own.mesh(), Issuer::Node(node.node_id()), request);
        let mut chain = vec![Certificate::sign(body, node)];
        chain.extend(self.0.iter().cloned());
        Ok(Self(chain))
    }

    /// The member's own certificate.
    #[must_use]
    pub fn leaf(&self) -> Option<&Certificate> {
        self.0.first()
    }

    /// All certificates, the member's own first.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.0
    }

    /// The member that the mesh key itself admitted, and from whom all others in the chain have their right: who founded the mesh.
    #[must_use]
    pub fn founder(&self) -> Option<NodeId> {
        self.0.last().map(Certificate::subject)
    }

    /// When the first certificate of the chain ends, in seconds since 1970.
    #[must_use]
    pub fn expires_s(&self) -> Option<u64> {
        self.0.iter().filter_map(Certificate::expires_s).min()
    }

    /// Whether this proves that `subject` is a member of `mesh` at `now_s` (seconds since 1970).
    ///
    /// Cheap checks come first; at most four signatures are verified, about 50 µs each.
    ///
    /// # Errors
    /// The first [`RejectCredential`] that applies.
    pub fn verify(
        &self,
        mesh: MeshId,
        subject: NodeId,
        now_s: u64,
    ) -> Result<(), RejectCredential> {
        let certificates = self.0.len();
        if certificates > Self::CERTIFICATES_MAX {
            return Err(RejectCredential::ChainTooLong { certificates });
        }
        let leaf = self.leaf().ok_or(RejectCredential::Empty)?;
        if let Some(other) = self.0.iter().find(|one| one.mesh() != mesh) {
            return Err(RejectCredential::OtherMesh { mesh: other.mesh() });
        }
        if leaf.subject() != subject {
            return Err(RejectCredential::NotYours {
                subject: leaf.subject(),
            });
        }
        self.0
            .iter()
            .try_for_each(|certificate| certificate.check(now_s))?;
        self.verify_links(mesh)
    }

    fn verify_links(&self, mesh: MeshId) -> Result<(), RejectCredential> {
        let issuers = self.0.iter().skip(1).map(Some).chain([None]);
        for (certificate, above) in self.0.iter().zip(issuers) {
            let broken = RejectCredential::BrokenChain {
                subject: certificate.subject(),
            };
            let signer = match (certificate.issuer(), above) {
                (Issuer::Mesh, None) => *mesh.as_bytes(),
                (Issuer::Node(issuer), Some(above)) if above.subject() == issuer => {
                    if above.roles() & MAY_ADMIT == 0 {
                        return Err(RejectCredential::IssuerMayNotAdmit { issuer });
                    }
                    *issuer.as_bytes()
                }
                (Issuer::Mesh | Issuer::Node(_), _) => return Err(broken),
            };
            certificate.check_signature(&signer)?;
        }
        Ok(())
    }

    /// The form that is kept on disk and shown to peers.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encoding::append(Vec::new(), VERSION, self)
    }

    /// Reads what [`encode`](Self::encode) wrote. The result is well formed, not verified.
    ///
    /// # Errors
    /// [`DecodeCredential`] for anything else, in time and memory proportional to [`BYTES_MAX`](Self::BYTES_MAX).
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeCredential> {
        if bytes.len() > Self::BYTES_MAX {
            return Err(DecodeCredential);
        }
        encoding::whole(VERSION, bytes).ok_or(DecodeCredential)
    }
}

/// Whether a name can be shown in a terminal or a log line as it is.
pub(crate) fn name_is_fit(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// The longest name of a member or a mesh.
pub(super) const NAME_BYTES_MAX: usize = 64;

/// Keeps these signatures apart from any other that the same keys make; [`VERSION`] follows.
const DOMAIN: &[u8] = b"meshwork certificate\0";

/// The version of the encoded and of the signed form.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(seed: u8) -> Keypair {
        Keypair::from_secret(&[seed; 32])
    }

    fn request(subject: &Keypair, roles: u32) -> CertificateRequest {
        CertificateRequest {
            subject: subject.node_id(),
            name: "n".into(),
            issued_s: 10,
            expires_s: Some(100),
            roles,
        }
    }

    /// Node 2 admitted by the mesh (key 1), 3 by 2, and so on.
    fn chain(length: u8) -> Credential {
        let mut credential =
            Credential::issue_by_mesh(&key(1), request(&key(2), MAY_ADMIT)).unwrap();
        for node in 2..=length {
            let asked = request(&key(node + 1), MAY_ADMIT);
            credential = credential.issue_by_node(&key(node), asked).unwrap();
        }
        credential
    }

    fn verify_at(credential: &Credential, node: u8, now_s: u64) -> Result<(), RejectCredential> {
        credential.verify(key(1).mesh_id(), key(node).node_id(), now_s)
    }

    #[test]
    fn chains_of_one_to_four_prove_membership() {
        for length in 1..=4 {
            let credential = chain(length);
            assert_eq!(verify_at(&credential, length + 1, 50), Ok(()));
            assert_eq!(Credential::decode(&credential.encode()), Ok(credential));
        }
        let full = chain(4).issue_by_node(&key(5), request(&key(6), 0));
        assert_eq!(full, Err(IssueCredential::ChainTooLong));
    }

    #[test]
    fn longest_credential_fits_its_bound() {
        let mut asked = request(&key(2), u32::MAX);
        (asked.name, asked.issued_s, asked.expires_s) = ("x".repeat(64), u64::MAX, Some(u64::MAX));
        let mut credential = Credential::issue_by_mesh(&key(1), asked.clone()).unwrap();
        for node in 2..=4 {
            asked.subject = key(node + 1).node_id();
            credential = credential.issue_by_node(&key(node), asked.clone()).unwrap();
        }
        assert!(credential.encode().len() <= Credential::BYTES_MAX);
    }

    #[test]
    fn each_fault_has_its_own_answer() {
        let good = chain(2);
        let other_mesh = good.verify(key(9).mesh_id(), key(3).node_id(), 50);
        assert_eq!(
            other_mesh,
            Err(RejectCredential::OtherMesh {
                mesh: key(1).mesh_id()
            })
        );
        let subject = key(3).node_id();
        assert_eq!(
            verify_at(&good, 4, 50),
            Err(RejectCredential::NotYours { subject })
        );
        let expired = RejectCredential::Expired {
            subject,
            expired_s: 100,
            now_s: 100,
        };
        assert_eq!(verify_at(&good, 3, 100), Err(expired));
        assert_eq!(
            verify_at(&Credential(Vec::new()), 3, 1),
            Err(RejectCredential::Empty)
        );
        let long = Credential(vec![good.0[0].clone(); 5]);
        let too_long = RejectCredential::ChainTooLong { certificates: 5 };
        assert_eq!(verify_at(&long, 3, 1), Err(too_long));
        let cut = Credential(vec![good.0[0].clone()]);
        assert_eq!(
            verify_at(&cut, 3, 1),
            Err(RejectCredential::BrokenChain { subject })
        );
        let mut padded = chain(1);
        padded.0.push(good.0[1].clone());
        let subject = key(2).node_id();
        assert_eq!(
            verify_at(&padded, 2, 1),
            Err(RejectCredential::BrokenChain { subject })
        );
    }

    #[test]
    fn member_without_the_role_admits_nobody() {
        let plain = Credential::issue_by_mesh(&key(1), request(&key(2), 0)).unwrap();
        let refused = plain.issue_by_node(&key(2), request(&key(3), 0));
        assert_eq!(refused, Err(IssueCredential::MayNotAdmit));
        let body = Body::new(
            key(1).mesh_id(),
            Issuer::Node(key(2).node_id()),
            request(&key(3), 0),
        );
        let forged = Credential(vec![Certificate::sign(body, &key(2)), plain.0[0].clone()]);
        let issuer = key(2).node_id();
        assert_eq!(
            verify_at(&forged, 3, 50),
            Err(RejectCredential::IssuerMayNotAdmit { issuer })
        );
    }

    #[test]
    fn any_changed_field_breaks_the_signature() {
        let changes: [fn(&mut Body); 4] = [
            |body| body.name.push('x'),
            |body| body.roles |= 2,
            |body| body.expires_s = None,
            |body| body.issued_s += 1,
        ];
        for change in changes {
            let mut credential = chain(1);
            change(&mut credential.0[0].body);
            let subject = key(2).node_id();
            assert_eq!(
                verify_at(&credential, 2, 50),
                Err(RejectCredential::BadSignature { subject })
            );
        }
    }

    #[test]
    fn names_that_could_forge_a_log_line_are_refused() {
        for name in ["", "a\nb", "\u{1b}[2J", &"x".repeat(65)] {
            let mut asked = request(&key(2), 0);
            asked.name = name.into();
            let body = Body::new(key(1).mesh_id(), Issuer::Mesh, asked.clone());
            let signed = Credential(vec![Certificate::sign(body, &key(1))]);
            let subject = key(2).node_id();
            assert_eq!(
                verify_at(&signed, 2, 50),
                Err(RejectCredential::Name { subject })
            );
            assert_eq!(
                Credential::issue_by_mesh(&key(1), asked),
                Err(IssueCredential::Name)
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(credential) = Credential::decode(&bytes) {
                prop_assert!(credential.verify(key(1).mesh_id(), key(2).node_id(), 50).is_err());
            }
        }

        #[test]
        fn one_flipped_bit_never_verifies(at in 0usize..2_000, bit in 0u8..8) {
            let mut bytes = chain(2).encode();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            if let Ok(credential) = Credential::decode(&bytes) {
                prop_assert!(verify_at(&credential, 3, 50).is_err());
            }
        }
    }
}
