//! What strangers show at the door: credentials, tickets, the first frames.

use crate::admission::{Credential, InviteRecord, Invites, MeshId, Ticket};
use crate::net::wire::{Header, Hello, JoinMessage, Reply, decode_join_answer, encode_join_answer};

/// Any bytes are a credential that says itself again, or are refused; none that was not signed proves anything.
pub fn credential_decode(bytes: &[u8]) {
    let Ok(credential) = Credential::decode(bytes) else {
        return;
    };
    assert!(bytes.len() <= Credential::BYTES_MAX);
    assert_eq!(
        Credential::decode(&credential.encode()).as_ref(),
        Ok(&credential)
    );
    let Some(leaf) = credential.leaf() else {
        return;
    };
    if credential.verify(leaf.mesh(), leaf.subject(), 0).is_ok() {
        let control = |text: &str| text.chars().any(char::is_control);
        let mut certificates = credential.certificates().iter();
        assert!(
            !certificates.any(|one| control(one.name())),
            "a verified name is fit for a log"
        );
    }
    let nobody = MeshId::from_bytes([0xee; 32]);
    let verified = credential.verify(nobody, leaf.subject(), 0);
    assert!(verified.is_err(), "nobody has that mesh's key");
}

/// Any bytes are an invite record that says itself again, or are refused.
pub fn invite_decode(bytes: &[u8]) {
    if let Ok(record) = InviteRecord::decode(bytes) {
        assert_eq!(InviteRecord::decode(&record.encode()).as_ref(), Ok(&record));
        let book = Invites::from_records([record.clone(), record]);
        assert_eq!(book.records().count(), 1, "one ticket, one record");
    }
}

/// Any text is a ticket that says itself again, or is refused.
pub fn ticket_parse(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(ticket) = text.parse::<Ticket>() {
        assert_eq!(ticket.to_string().parse().as_ref(), Ok(&ticket));
        assert!(ticket.addresses.len() <= Ticket::ADDRESSES_MAX);
    }
}

/// Any bytes are one of the first frames, or are refused.
pub fn door_frames(bytes: &[u8]) {
    if let Some(header) = bytes.first_chunk()
        && let Ok(decoded) = Header::decode(*header, 4_096)
    {
        assert_eq!(decoded.encode(), *header);
        assert!(decoded.bytes <= 4_096);
    }
    if let Ok(hello) = Hello::decode(bytes) {
        assert_eq!(Hello::decode(&hello.encode()).as_ref(), Ok(&hello));
    }
    if let Ok(reply) = Reply::decode(bytes) {
        assert_eq!(Reply::decode(&reply.encode()).as_ref(), Ok(&reply));
    }
    if let Ok(join) = JoinMessage::decode(bytes) {
        assert_eq!(JoinMessage::decode(&join.encode()).as_ref(), Ok(&join));
    }
    if let Ok(answer) = decode_join_answer(bytes) {
        assert_eq!(decode_join_answer(&encode_join_answer(&answer)), Ok(answer));
    }
}
