//! Tickets, from both sides.

use super::*;

/// An inviter that answers tickets from its book, in a task.
async fn inviter() -> (Ticket, JoinHandle<()>) {
    let mut home = Node::member(1).await;
    let (secret, mut book) = (TicketSecret::from_bytes([5; 32]), Invites::default());
    let id = TicketId::from_bytes([1; 16]);
    book.issue(id, &secret, 10, FAR_FUTURE_S).unwrap();
    book.issue(TicketId::from_bytes([2; 16]), &secret, 10, 20)
        .unwrap();
    let ticket = Ticket {
        mesh_name: "home".into(),
        mesh: key(100).mesh_id(),
        inviter: home.id,
        addresses: vec![home.addr],
        id,
        secret,
        expires_s: FAR_FUTURE_S,
    };
    let own = certify(&key(100), &key(1), None);
    let serve = async move {
        while let Some(event) = home.events.recv().await {
            if let NetEvent::JoinRequest {
                ticket,
                secret,
                subject,
                name,
                answer,
            } = event
            {
                let grant = book
                    .redeem(ticket, &secret, subject, 1_000)
                    .map(|redeemed| {
                        let (issued_s, expires_s, roles) = (1_000, None, 0);
                        let request = CertificateRequest {
                            subject,
                            name,
                            issued_s,
                            expires_s,
                            roles,
                        };
                        let credential = redeemed.stored().certify(&key(1), &own, request).unwrap();
                        JoinGrant {
                            credential,
                            mesh_name: "home".into(),
                        }
                    });
                answer.send(grant).unwrap();
            }
        }
    };
    (ticket, tokio::spawn(serve))
}

#[tokio::test]
async fn ticket_brings_a_credential_once() {
    let (ticket, serving) = inviter().await;
    let joined = join_mesh(&key(2), &ticket, "laptop", DEADLINE)
        .await
        .unwrap();
    assert_eq!(
        (joined.mesh_name.as_str(), joined.inviter),
        ("home", ticket.inviter)
    );
    assert_eq!(joined.credential.leaf().unwrap().name(), "laptop");
    let mut member = config(2, 2);
    member.credential = joined.credential;
    let mut member = Node::start(member).await;
    member
        .net
        .set_addresses(ticket.inviter, ticket.addresses.clone());
    member.net.want(ticket.inviter);
    member.up(ticket.inviter).await;
    let used = join_mesh(&key(3), &ticket, "second", DEADLINE).await;
    assert!(
        matches!(used, Err(JoinMesh::Refused(RefuseTicket::Used))),
        "{used:?}"
    );
    serving.abort();
}

#[tokio::test]
async fn bad_tickets_are_refused_by_name() {
    let (ticket, serving) = inviter().await;
    let mut wrong = ticket.clone();
    wrong.secret = TicketSecret::from_bytes([6; 32]);
    let mut expired = ticket.clone();
    expired.id = TicketId::from_bytes([2; 16]);
    let mut unknown = ticket.clone();
    unknown.id = TicketId::from_bytes([3; 16]);
    let refusals = [
        (wrong, RefuseTicket::WrongSecret),
        (expired, RefuseTicket::Expired),
        (unknown, RefuseTicket::Unknown),
    ];
    for (ticket, expected) in refusals {
        match join_mesh(&key(2), &ticket, "n", DEADLINE).await {
            Err(JoinMesh::Refused(refusal)) => assert_eq!(refusal, expected),
            other => panic!("{other:?}"),
        }
    }
    let unfit = join_mesh(&key(2), &ticket, "\u{1b}[2J", DEADLINE).await;
    assert!(matches!(unfit, Err(JoinMesh::Name)));
    let mut nowhere = ticket.clone();
    nowhere.addresses.clear();
    assert!(matches!(
        join_mesh(&key(2), &nowhere, "n", DEADLINE).await,
        Err(JoinMesh::Nowhere)
    ));
    let mut impostor = ticket;
    impostor.inviter = key(9).node_id();
    let found = Some(key(1).node_id());
    match join_mesh(&key(2), &impostor, "n", DEADLINE).await {
        Err(JoinMesh::WrongPeer { found: who }) => assert_eq!(who, found),
        other => panic!("{other:?}"),
    }
    serving.abort();
}

#[tokio::test]
async fn garbage_instead_of_a_ticket_is_dropped() {
    let mut home = Node::member(1).await;
    let (raw, mut stream) = Raw::open(&key(3), &home, Protocol::Join).await;
    let raw = raw.drive();
    stream
        .write_all(&framed(Kind::Join, &[0xff; 300]))
        .await
        .unwrap();
    stream.flush().await.unwrap();
    assert!(rest_of(&mut stream).await.is_empty());
    assert!(home.events.try_recv().is_none());
    raw.abort();
}
