//! The line of text that invites somebody.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use meshwork_membership::NodeId;
use serde::{Deserialize, Serialize};
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, Zeroizing};

use super::MeshId;
use super::certificate::{NAME_BYTES_MAX, name_is_fit};
use super::keypair::{NoEntropy, random};

/// An invite: where the inviter is, who it is, and a secret that admits one node once.
///
/// As text it is `meshwork:` and base64url digits, 250 to 500 characters without spaces, with a checksum that
/// tells a typing error from a refusal. Whoever reads it may use it: send it as carefully as a password.
/// `Debug` hides the secret; `Display` is the ticket itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The mesh's name for people: 1 to 64 bytes, no control characters.
    pub mesh_name: String,
    /// The mesh.
    pub mesh: MeshId,
    /// Who invites; the connection is refused unless it proves to be this node.
    pub inviter: NodeId,
    /// Where the inviter was reachable, at most [`Ticket::ADDRESSES_MAX`].
    pub addresses: Vec<SocketAddr>,
    /// Which invite of the inviter's this is.
    pub id: TicketId,
    /// The secret.
    pub secret: TicketSecret,
    /// From when it no longer works, in seconds since 1970, by the inviter's clock.
    pub expires_s: u64,
}

/// Which of an inviter's invites; random, so that it tells nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TicketId([u8; 16]);

/// The secret of a ticket: compared in constant time, wiped when dropped, hidden by `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct TicketSecret([u8; 32]);

/// Why a text is no ticket. The giver's or the typist's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseTicket {
    /// It does not begin with `meshwork:`, has foreign characters, or its parts do not make a ticket.
    #[error("not a ticket")]
    Malformed,
    /// It is a ticket with a mistake in it: copy it again, whole.
    #[error("the ticket has a typing error or is not complete")]
    Checksum,
    /// A newer program wrote it: update this one.
    #[error("a ticket of version {version}, which this program does not know")]
    Version {
        /// Its version.
        version: u8,
    },
}

impl TicketId {
    /// The id with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// A new id.
    ///
    /// # Errors
    /// [`NoEntropy`] when the operating system has no random bytes.
    pub fn generate() -> Result<Self, NoEntropy> {
        random().map(|bytes| Self(*bytes))
    }
}

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketId({self})")
    }
}

impl TicketSecret {
    /// The secret with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A new secret.
    ///
    /// # Errors
    /// [`NoEntropy`] when the operating system has no random bytes.
    pub fn generate() -> Result<Self, NoEntropy> {
        random().map(|bytes| Self(*bytes))
    }

    /// What an inviter keeps of it.
    pub(super) fn hash(&self) -> [u8; 32] {
        blake3::derive_key("meshwork 2026 ticket secret", &self.0)
    }
}

impl Drop for TicketSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PartialEq for TicketSecret {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for TicketSecret {}

impl ConstantTimeEq for TicketSecret {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl fmt::Debug for TicketSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketSecret(..)")
    }
}

impl Ticket {
    /// The most addresses a ticket names.
    pub const ADDRESSES_MAX: usize = 8;

    fn is_fit(&self) -> bool {
        name_is_fit(&self.mesh_name) && self.addresses.len() <= Self::ADDRESSES_MAX
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = postcard::to_extend(self, vec![VERSION]).map(Zeroizing::new);
        let mut bytes = bytes.map_err(|_full| fmt::Error)?;
        let sum = checksum(&bytes);
        bytes.extend(sum);
        let digits = Zeroizing::new(BASE64URL_NOPAD.encode(&bytes));
        write!(f, "{PREFIX}{}", *digits)
    }
}

impl FromStr for Ticket {
    type Err = ParseTicket;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text
            .trim()
            .strip_prefix(PREFIX)
            .ok_or(ParseTicket::Malformed)?;
        if digits.len() > TEXT_BYTES_MAX {
            return Err(ParseTicket::Malformed);
        }
        let bytes = BASE64URL_NOPAD
            .decode(digits.as_bytes())
            .map(Zeroizing::new)
            .map_err(mistyped)?;
        let (covered, sum) = bytes
            .split_last_chunk::<4>()
            .ok_or(ParseTicket::Malformed)?;
        let (&version, rest) = covered.split_first().ok_or(ParseTicket::Malformed)?;
        if *sum != checksum(covered) {
            return Err(ParseTicket::Checksum);
        }
        if version != VERSION {
            return Err(ParseTicket::Version { version });
        }
        match postcard::take_from_bytes::<Self>(rest) {
            Ok((ticket, [])) if ticket.is_fit() => Ok(ticket),
            Ok(_) | Err(_) => Err(ParseTicket::Malformed),
        }
    }
}

/// A ticket cut short may end within a digit group; foreign characters cannot come from a missing end.
fn mistyped(error: data_encoding::DecodeError) -> ParseTicket {
    match error.kind {
        data_encoding::DecodeKind::Length | data_encoding::DecodeKind::Trailing => {
            ParseTicket::Checksum
        }
        data_encoding::DecodeKind::Symbol | data_encoding::DecodeKind::Padding => {
            ParseTicket::Malformed
        }
    }
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = *blake3::hash(bytes).as_bytes();
    [a, b, c, d]
}

const PREFIX: &str = "meshwork:";
const VERSION: u8 = 1;
/// Enough for the longest name and eight IPv6 addresses, twice over.
const TEXT_BYTES_MAX: usize = 1_024;
const _: () = assert!(NAME_BYTES_MAX < TEXT_BYTES_MAX);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ticket() -> Ticket {
        Ticket {
            mesh_name: "home".into(),
            mesh: MeshId::from_bytes([1; 32]),
            inviter: NodeId::from_bytes([2; 32]),
            addresses: vec![
                "192.0.2.1:4001".parse().unwrap(),
                "[2001:db8::1]:4001".parse().unwrap(),
            ],
            id: TicketId::from_bytes([3; 16]),
            secret: TicketSecret::from_bytes([4; 32]),
            expires_s: 1_800_000_000,
        }
    }

    #[test]
    fn text_round_trips_with_white_space_around() {
        let text = format!("  {}\n", ticket());
        assert_eq!(text.parse(), Ok(ticket()));
    }

    #[test]
    fn longest_ticket_fits_its_bound() {
        let mut long = ticket();
        long.mesh_name = "x".repeat(64);
        long.addresses = vec![
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"
                .parse()
                .unwrap();
            8
        ];
        long.expires_s = u64::MAX;
        assert_eq!(long.to_string().parse(), Ok(long));
    }

    #[test]
    fn every_single_typing_error_is_seen() {
        let text = ticket().to_string();
        for at in PREFIX.len()..text.len() {
            let mut typed = text.clone();
            let other = if &text[at..=at] == "A" { "B" } else { "A" };
            typed.replace_range(at..=at, other);
            assert_eq!(
                typed.parse::<Ticket>(),
                Err(ParseTicket::Checksum),
                "at {at}"
            );
        }
        for end in PREFIX.len() + 8..text.len() {
            assert_eq!(
                text[..end].parse::<Ticket>(),
                Err(ParseTicket::Checksum),
                "cut at {end}"
            );
        }
    }

    #[test]
    fn other_text_and_other_versions_are_told_apart() {
        for text in [
            "",
            "meshwork:",
            "http://x",
            "meshwork:!!!!",
            "meshwork:AAAA",
        ] {
            assert_eq!(
                text.parse::<Ticket>(),
                Err(ParseTicket::Malformed),
                "{text}"
            );
        }
        let mut bytes = vec![9, 1, 2, 3];
        bytes.extend(checksum(&bytes));
        let text = format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes));
        assert_eq!(
            text.parse::<Ticket>(),
            Err(ParseTicket::Version { version: 9 })
        );
    }

    #[test]
    fn unfit_names_and_too_many_addresses_are_refused() {
        let mut named = ticket();
        named.mesh_name = "\u{1b}[2J".into();
        let mut many = ticket();
        many.addresses = vec!["192.0.2.1:1".parse().unwrap(); 9];
        for ticket in [named, many] {
            assert_eq!(
                ticket.to_string().parse::<Ticket>(),
                Err(ParseTicket::Malformed)
            );
        }
    }

    #[test]
    fn debug_hides_the_secret() {
        let shown = format!("{:?}", ticket());
        assert!(shown.contains("TicketSecret(..)") && !shown.contains("4, 4, 4"));
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused(text in "(meshwork:)?[A-Za-z0-9_-]{0,120}") {
            prop_assert!(text.parse::<Ticket>().is_err());
        }

        #[test]
        fn any_checked_body_parses_or_is_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = vec![VERSION];
            bytes.extend(body);
            bytes.extend(checksum(&bytes));
            let text = format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes));
            if let Ok(ticket) = text.parse::<Ticket>() {
                prop_assert_eq!(ticket.to_string().parse(), Ok(ticket));
            }
        }
    }
}
