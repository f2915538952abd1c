//! What the first frames say, and what stands before every frame. Pure; nothing here trusts a length.

use serde::{Deserialize, Serialize};

use super::refusal::RefuseReason;
use crate::admission::{Credential, RefuseTicket, TicketId, TicketSecret, name_is_fit};

/// What a frame is; the first byte of its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes for the application.
    Payload,
    /// Asks for a [`Pong`](Self::Pong); empty.
    Ping,
    /// Shows that the peer still reads; empty.
    Pong,
    /// A dialler's [`Hello`].
    Hello,
    /// The answer to it: a [`Reply`].
    Reply,
    /// A dialler found the listener's credential wanting; one [`RefuseReason`] code.
    Refused,
    /// A stranger's [`JoinMessage`].
    Join,
    /// The answer to it.
    JoinAnswer,
}

/// The five bytes before every frame: its kind, and its length as a little-endian `u32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub kind: Kind,
    /// Bytes that follow.
    pub bytes: u32,
}

/// The first frame of a member: about 200 bytes for each certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The oldest protocol version it speaks.
    pub version_min: u16,
    /// The newest.
    pub version_max: u16,
    /// Which process of the node it is.
    pub instance: u64,
    /// Its proof of membership.
    pub credential: Credential,
}

/// The answer to a [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Come in.
    Welcome(Welcome),
    /// Stay out.
    Refused(RefuseReason),
}

/// What a member says to a member whose [`Hello`] it accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The protocol version of this link: the newest that both speak.
    pub version: u16,
    /// Which process of the node it is.
    pub instance: u64,
    /// Its proof of membership.
    pub credential: Credential,
}

/// A stranger's request to come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinMessage {
    /// The ticket's id.
    pub ticket: TicketId,
    /// The ticket's secret.
    pub secret: TicketSecret,
    /// The name that it would like, fit for a certificate; the inviter decides.
    pub name: String,
}

/// What somebody who comes in by ticket is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinGrant {
    /// Its proof of membership.
    pub credential: Credential,
    /// The mesh's name for people.
    pub mesh_name: String,
}

/// Bytes of a peer that are not what their place asks for. The peer's fault; drop it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeFrame {
    /// No such kind of frame.
    #[error("no frame has kind {kind}")]
    Kind {
        /// The first byte.
        kind: u8,
    },
    /// Longer than this place allows; nothing was allocated for it.
    #[error("a frame of {bytes} bytes where {bytes_max} are allowed")]
    TooLarge {
        /// What its header says.
        bytes: u32,
        /// What is allowed.
        bytes_max: u32,
    },
    /// There is no protocol version that both sides speak.
    #[error("the peer speaks versions {version_min} to {version_max}")]
    Version {
        /// The peer's oldest.
        version_min: u16,
        /// The peer's newest.
        version_max: u16,
    },
    /// The contents are malformed.
    #[error("malformed contents")]
    Malformed,
}

/// The only protocol version so far.
pub(super) const VERSION: u16 = 1;
/// The largest frame before membership is proved.
pub(super) const HANDSHAKE_BYTES_MAX: u32 = 4_096;
/// The largest frame of the ticket exchange.
pub(super) const JOIN_BYTES_MAX: u32 = 64 << 10;

impl Header {
    /// Length on the wire.
    pub const BYTES: usize = 5;

    /// The header as it is sent.
    #[must_use]
    pub const fn encode(self) -> [u8; Self::BYTES] {
        let [a, b, c, d] = self.bytes.to_le_bytes();
        [self.kind.code(), a, b, c, d]
    }

    /// Reads a header and checks the length that it claims, before anything is allocated.
    ///
    /// # Errors
    /// [`DecodeFrame::Kind`] and [`DecodeFrame::TooLarge`].
    pub fn decode(encoded: [u8; Self::BYTES], bytes_max: u32) -> Result<Self, DecodeFrame> {
        let [kind, a, b, c, d] = encoded;
        let bytes = u32::from_le_bytes([a, b, c, d]);
        let kind = Kind::from_code(kind).ok_or(DecodeFrame::Kind { kind })?;
        match bytes > bytes_max {
            true => Err(DecodeFrame::TooLarge { bytes, bytes_max }),
            false => Ok(Self { kind, bytes }),
        }
    }
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Payload,
        Self::Ping,
        Self::Pong,
        Self::Hello,
        Self::Reply,
        Self::Refused,
        Self::Join,
        Self::JoinAnswer,
    ];

    const fn code(self) -> u8 {
        match self {
            Self::Payload => 0,
            Self::Ping => 1,
            Self::Pong => 2,
            Self::Hello => 3,
            Self::Reply => 4,
            Self::Refused => 5,
            Self::Join => 6,
            Self::JoinAnswer => 7,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

impl Hello {
    /// The frame's contents. The versions come first, at fixed places, in every version.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.version_min.to_le_bytes().to_vec();
        bytes.extend(self.version_max.to_le_bytes());
        append(&(self.instance, &self.credential), bytes)
    }

    /// Reads a hello of a version that we speak.
    ///
    /// # Errors
    /// [`DecodeFrame::Version`], before anything else is looked at; [`DecodeFrame::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeFrame> {
        let (&[a, b, c, d], rest) = bytes.split_first_chunk().ok_or(DecodeFrame::Malformed)?;
        let (version_min, version_max) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        if !(version_min..=version_max).contains(&VERSION) {
            return Err(DecodeFrame::Version {
                version_min,
                version_max,
            });
        }
        let (instance, credential) = whole(rest)?;
        Ok(Self {
            version_min,
            version_max,
            instance,
            credential,
        })
    }
}

impl Reply {
    /// The frame's contents.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Refused(reason) => vec![0, reason.code()],
            Self::Welcome(welcome) => append(welcome, vec![1]),
        }
    }

    /// Reads the answer to our hello.
    ///
    /// # Errors
    /// [`DecodeFrame::Malformed`], also for a version that we did not offer.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeFrame> {
        match bytes {
            [0, code] => RefuseReason::from_code(*code)
                .map(Self::Refused)
                .ok_or(DecodeFrame::Malformed),
            [1, rest @ ..] => match whole::<Welcome>(rest)? {
                welcome if welcome.version == VERSION => Ok(Self::Welcome(welcome)),
                _ => Err(DecodeFrame::Malformed),
            },
            _ => Err(DecodeFrame::Malformed),
        }
    }
}

impl JoinMessage {
    /// The frame's contents.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        append(self, Vec::new())
    }

    /// Reads a stranger's request.
    ///
    /// # Errors
    /// [`DecodeFrame::Malformed`], also for a name that no certificate may bear.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeFrame> {
        whole::<Self>(bytes)
            .ok()
            .filter(|message| name_is_fit(&message.name))
            .ok_or(DecodeFrame::Malformed)
    }
}

/// The contents of the answer to a [`JoinMessage`].
#[must_use]
pub fn encode_join_answer(answer: &Result<JoinGrant, RefuseTicket>) -> Vec<u8> {
    append(answer, Vec::new())
}

/// Reads what [`encode_join_answer`] wrote.
///
/// # Errors
/// [`DecodeFrame::Malformed`].
pub fn decode_join_answer(bytes: &[u8]) -> Result<Result<JoinGrant, RefuseTicket>, DecodeFrame> {
    whole(bytes)
}

fn append<T: Serialize>(value: &T, bytes: Vec<u8>) -> Vec<u8> {
    postcard::to_extend(value, bytes).expect("a vector takes any number of bytes")
}

fn whole<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DecodeFrame> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(DecodeFrame::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use meshwork_membership::NodeId;
    use proptest::prelude::*;

    use super::*;
    use crate::admission::{CertificateRequest, Keypair};

    fn credential() -> Credential {
        let request = CertificateRequest {
            subject: NodeId::from_bytes([1; 32]),
            name: "n".into(),
            issued_s: 1,
            expires_s: None,
            roles: 0,
        };
        Credential::issue_by_mesh(&Keypair::from_secret(&[1; 32]), request).unwrap()
    }

    #[test]
    fn messages_round_trip_and_refuse_a_byte_more_or_less() {
        let hello = Hello {
            version_min: 1,
            version_max: 3,
            instance: 9,
            credential: credential(),
        };
        let mut bytes = hello.encode();
        assert_eq!(Hello::decode(&bytes), Ok(hello));
        assert_eq!(
            Hello::decode(&bytes[..bytes.len() - 1]),
            Err(DecodeFrame::Malformed)
        );
        bytes.push(0);
        assert_eq!(Hello::decode(&bytes), Err(DecodeFrame::Malformed));
        let welcome = Welcome {
            version: 1,
            instance: 7,
            credential: credential(),
        };
        for reply in [Reply::Welcome(welcome), Reply::Refused(RefuseReason::Busy)] {
            assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
        }
    }

    #[test]
    fn hello_of_a_later_version_is_told_so_whatever_follows() {
        let refused = DecodeFrame::Version {
            version_min: 2,
            version_max: 3,
        };
        assert_eq!(Hello::decode(&[2, 0, 3, 0, 0xff, 0xff]), Err(refused));
    }

    #[test]
    fn header_that_claims_4_gib_is_refused() {
        let refused = DecodeFrame::TooLarge {
            bytes: u32::MAX,
            bytes_max: 1 << 20,
        };
        assert_eq!(
            Header::decode([0, 255, 255, 255, 255], 1 << 20),
            Err(refused)
        );
        assert_eq!(
            Header::decode([99, 0, 0, 0, 0], 1),
            Err(DecodeFrame::Kind { kind: 99 })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(hello) = Hello::decode(&bytes) {
                prop_assert!(Hello::decode(&hello.encode()).is_ok());
            }
            if let Ok(reply) = Reply::decode(&bytes) {
                prop_assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
            }
            if let Ok(message) = JoinMessage::decode(&bytes) {
                prop_assert!((1..=64).contains(&message.name.len()));
            }
            if let Ok(Ok(grant)) = decode_join_answer(&bytes) {
                prop_assert!(grant.mesh_name.len() <= bytes.len());
            }
        }

        #[test]
        fn any_header_fits_or_is_refused(encoded: [u8; 5], bytes_max: u32) {
            if let Ok(header) = Header::decode(encoded, bytes_max) {
                prop_assert!(header.bytes <= bytes_max);
                prop_assert_eq!(header.encode(), encoded);
            }
        }
    }
}
