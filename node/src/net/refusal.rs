//! Why a connection is refused; also the byte that says so on the wire.

use crate::admission::RejectCredential;

/// Why a connection between two nodes was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RefuseReason {
    /// The credential is of another mesh.
    OtherMesh,
    /// The credential does not prove membership.
    BadCredential,
    /// A certificate in it has expired, or the clocks of the two nodes differ: ask for a new one, or set the clock.
    Expired,
    /// There is no protocol version that both speak: update the older program.
    Version,
    /// Another process with the same identity is connected and answers: this node's key or disk was copied.
    DuplicateIdentity,
    /// There are as many links as allowed: try again later, or another node.
    Busy,
    /// The first frame was no hello.
    Malformed,
    /// The two nodes are connected already by a connection that is kept. Not a fault; not told to the application.
    Redundant,
    /// No hello came in time. Never on the wire.
    Timeout,
}

impl RefuseReason {
    /// All reasons, in the order of their codes.
    pub const ALL: [Self; 9] = [
        Self::OtherMesh,
        Self::BadCredential,
        Self::Expired,
        Self::Version,
        Self::DuplicateIdentity,
        Self::Busy,
        Self::Malformed,
        Self::Redundant,
        Self::Timeout,
    ];

    /// The byte on the wire, from 1.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::OtherMesh => 1,
            Self::BadCredential => 2,
            Self::Expired => 3,
            Self::Version => 4,
            Self::DuplicateIdentity => 5,
            Self::Busy => 6,
            Self::Malformed => 7,
            Self::Redundant => 8,
            Self::Timeout => 9,
        }
    }

    /// The reason with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

impl From<&RejectCredential> for RefuseReason {
    fn from(reject: &RejectCredential) -> Self {
        match reject {
            RejectCredential::OtherMesh { .. } => Self::OtherMesh,
            RejectCredential::Expired { .. } => Self::Expired,
            RejectCredential::Empty
            | RejectCredential::ChainTooLong { .. }
            | RejectCredential::NotYours { .. }
            | RejectCredential::Name { .. }
            | RejectCredential::IssuerMayNotAdmit { .. }
            | RejectCredential::BrokenChain { .. }
            | RejectCredential::BadSignature { .. } => Self::BadCredential,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_places_in_the_list_and_others_mean_nothing() {
        for (at, reason) in RefuseReason::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(reason.code()), at + 1);
            assert_eq!(RefuseReason::from_code(reason.code()), Some(reason));
        }
        for code in [0, 10, 255] {
            assert_eq!(RefuseReason::from_code(code), None);
        }
    }
}
