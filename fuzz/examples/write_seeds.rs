//! Writes the seeds under `corpus/`, the same each time: `cargo run --example write_seeds`.
//!
//! Decoders get real encodings. Histories get bytes from a hash: any bytes are one, and a fuzzer does the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use meshwork_crdt::{ActorSeed, CausalContext, Dot, Hlc, Kind, Object, Op, ReplicaId, Stamp, Text};
use meshwork_dht::Partition;
use meshwork_fuzz::admission::{
    CertificateRequest, Credential, Invites, Keypair, MAY_ADMIT, Ticket, TicketId, TicketSecret,
};
use meshwork_fuzz::net::refusal::RefuseReason;
use meshwork_fuzz::net::wire::{Hello, JoinGrant, JoinMessage, Reply, Welcome, encode_join_answer};
use meshwork_fuzz::writing::{Writer, merges};
use meshwork_fuzz::{TARGETS, pieces};
use meshwork_membership::{Meta, NodeId, Remembered, State};
use meshwork_sync::PartitionSet;
use meshwork_sync::reconcile::{
    self, CodedSymbol, Encoder, Initiator, Request, Response, ShortId, Sketch,
};

type Seeds = BTreeMap<&'static str, Vec<Vec<u8>>>;

fn main() -> std::io::Result<()> {
    let mut seeds = Seeds::new();
    objects(&mut seeds);
    documents(&mut seeds);
    members(&mut seeds);
    identifiers(&mut seeds);
    reconciliation(&mut seeds);
    doors(&mut seeds);
    let [snapshot, backup] = meshwork_fuzz::strong::seeds();
    seeds.insert("strong_snapshot", vec![snapshot]);
    seeds.insert("strong_backup", vec![backup]);
    for (target, _) in TARGETS {
        let seeds = seeds.remove(target).unwrap_or_else(|| histories(target));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(target);
        std::fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    assert!(seeds.is_empty(), "seeds of no target: {:?}", seeds.keys());
    Ok(())
}

fn histories(target: &str) -> Vec<Vec<u8>> {
    let history = |length: usize| {
        let mut bytes = vec![0; length];
        blake3::Hasher::new()
            .update(target.as_bytes())
            .finalize_xof()
            .fill(&mut bytes);
        bytes
    };
    [64, 256, 1_024].map(history).to_vec()
}

fn objects(seeds: &mut Seeds) {
    let field = |name: &[u8], op: Op| Op::Field {
        name: name.to_vec(),
        kind: op.kind().unwrap_or(Kind::Map),
        op: Box::new(op),
    };
    let several = [
        vec![Op::Enable, Op::Disable, Op::Enable],
        vec![Op::Add(5), Op::Add(-7)],
        vec![Op::Put(b"value".to_vec()), Op::Put(b"later".to_vec())],
        vec![
            Op::Insert(b"a".to_vec()),
            Op::Insert(b"b".to_vec()),
            Op::Remove(b"a".to_vec()),
        ],
        vec![
            field(b"count", Op::Add(1)),
            field(b"inner", field(b"tags", Op::Insert(b"x".to_vec()))),
            Op::RemoveField {
                name: b"count".to_vec(),
                kind: Kind::Counter,
            },
        ],
        vec![
            Op::Merge {
                tag: 0,
                payload: vec![5],
            },
            Op::Merge {
                tag: 0,
                payload: vec![2],
            },
        ],
        vec![Op::Chunk(b"not a change".to_vec()), Op::Delete],
        vec![Op::Switch(true), Op::Switch(false)],
        vec![Op::Increase(7), Op::Increase(1)],
        vec![Op::Max(-7), Op::Max(300)],
        vec![Op::Gather(b"a".to_vec()), Op::Gather(b"b".to_vec())],
        vec![Op::Admit(b"a".to_vec()), Op::Ban(b"a".to_vec())],
        vec![Op::PutFenced {
            token: 3,
            value: b"held".to_vec(),
        }],
        vec![Op::Deposit(9), Op::Withdraw(4)],
        vec![
            Op::InsertAfter {
                after: None,
                value: b"last".to_vec(),
            },
            Op::InsertAfter {
                after: None,
                value: b"first".to_vec(),
            },
        ],
    ];
    let mut encoded = Vec::new();
    let mut versions = Vec::new();
    for ops in several {
        let mut both = Object::new();
        for number in [1, 2] {
            let object = written(number, &ops);
            encoded.push(object.encode());
            versions.push(object.version().encode());
            both.join(&object);
        }
        encoded.push(both.encode());
        versions.push(CausalContext::from_dots([]).encode());
    }
    encoded.extend(hostile());
    let together = |parts: &[Vec<u8>]| pieces::join(parts.iter().map(Vec::as_slice));
    seeds.insert(
        "object_merge_hostile",
        encoded.chunks(3).map(together).collect(),
    );
    seeds.insert("context_decode", versions.chunks(2).map(together).collect());
    seeds.insert("object_decode", encoded);
}

/// States made to hurt, as in `crdt/tests/hostile.rs`.
fn hostile() -> Vec<Vec<u8>> {
    let replica = ReplicaId::from_bytes([1; 8]);
    let stamp = |counter, hlc| Stamp {
        dot: Dot::new(replica, counter),
        claim_after: Some(0),
        hlc,
    };
    let put = |stamp| {
        let delta = Object::new().apply(&stamp, &Op::Put(b"x".to_vec()), &merges());
        delta.expect("nothing is there").encode()
    };
    let header = [&[1, 1][..], &replica.to_bytes(), &[1, 0, 0, 0]].concat();
    vec![
        put(stamp(1 << 63, Hlc::default())),
        put(stamp(1, Hlc::from_bits(u64::MAX))),
        // Maps in maps, deeper than any limit.
        [&header[..], &[1, 5], &[1, 5, 0].repeat(100)].concat(),
        // A million replicas, and a set of 2^64 - 1 elements.
        [&[1, 0xc0, 0x84, 0x3d][..], &[0; 64]].concat(),
        [&header[..], &[1, 4], &[0xff; 9], &[1]].concat(),
    ]
}

fn written(number: u8, ops: &[Op]) -> Object {
    let mut writer = Writer::new(number);
    writer.skip(number);
    let mut object = Object::new();
    for op in ops {
        let stamp = writer.stamp(number == 1, number);
        let delta = object
            .apply(&stamp, op, &merges())
            .expect("the operations fit each other");
        writer.wrote();
        object.join(&delta);
    }
    object
}

fn documents(seeds: &mut Seeds) {
    let open = |number: u8| {
        let seed = ActorSeed::new(ReplicaId::from_bytes([number; 8]), 1);
        Text::open(&Default::default(), &CausalContext::new(), seed)
    };
    let mut chunks = Vec::new();
    for number in [1, 2] {
        let mut text = open(number);
        for word in ["Hello ", "world", "🌍"] {
            text.splice(text.len() / 2, 0, word)
                .expect("the middle is inside");
            chunks.extend(text.commit());
        }
        text.splice(0, 3, "").expect("there is enough");
        chunks.extend(text.commit());
    }
    let whole: Vec<Vec<u8>> = chunks
        .iter()
        .map(|chunk| [&[0], chunk.as_slice()].concat())
        .collect();
    // Magic, checksum and type take 9 bytes; the length of these short changes takes one or two.
    let content = |chunk: &Vec<u8>| {
        let length = chunk
            .iter()
            .skip(9)
            .take_while(|byte| **byte >= 0x80)
            .count()
            + 1;
        [&[1], &chunk[9 + length..]].concat()
    };
    let contents: Vec<Vec<u8>> = chunks.iter().map(content).collect();
    let together = |parts: &[Vec<u8>]| pieces::join(parts.iter().map(Vec::as_slice));
    let seeds = seeds.entry("document_chunks").or_default();
    seeds.extend(whole.chunks(4).chain(contents.chunks(4)).map(together));
    seeds.push(together(&[[&[0], pack().as_slice()].concat()]));
}

/// A chunk in which a store packed its commits.
fn pack() -> Vec<u8> {
    let mut writer = Writer::new(1);
    let mut object = Object::new();
    for session in 1..1_000 {
        let document = object.as_document().cloned().unwrap_or_default();
        let seed = ActorSeed::new(ReplicaId::from_bytes([1; 8]), session);
        let mut text = Text::open(&document, object.version(), seed);
        text.splice(0, 0, "x").expect("the start is inside");
        let op = text.commit_to(&document).expect("something was edited");
        if let Op::Pack { chunk, .. } = op {
            return chunk;
        }
        let delta = object.apply(&writer.stamp(true, 0), &op, &merges());
        object.join(&delta.expect("the dot is new"));
        writer.wrote();
    }
    unreachable!("commits are packed once they are many")
}

fn members(seeds: &mut Seeds) {
    let remembered = |number: u8| Remembered {
        id: NodeId::from_bytes([number; 32]),
        incarnation: number.into(),
        state: [State::Alive, State::Down, State::Left][usize::from(number % 3)],
        gone_for: Duration::from_secs(60 * u64::from(number)),
        meta: Meta {
            name: format!("node-{number}"),
            addresses: vec!["/ip4/192.0.2.1/udp/4001/quic-v1".into()],
            weight: 64,
            ..Meta::default()
        },
    };
    let entries: Vec<Vec<u8>> = (0..6).map(|number| remembered(number).encode()).collect();
    let together = |parts: &[Vec<u8>]| pieces::join(parts.iter().map(Vec::as_slice));
    seeds.insert(
        "membership_remembered",
        entries.chunks(2).map(together).collect(),
    );
}

fn identifiers(seeds: &mut Seeds) {
    let texts = [
        "notes/2026/today",
        "n/",
        "custom:7",
        "quorum",
        "00000000000000ff",
        "4095",
        "abababababababababababababababababababababababababababababababab",
    ];
    let mut all: Vec<Vec<u8>> = texts.map(|text| text.as_bytes().to_vec()).to_vec();
    for step in [1, 2, 700] {
        let some: BTreeSet<Partition> = Partition::all().step_by(step).collect();
        all.push(postcard::to_allocvec(&PartitionSet::from(&some)).expect("a vector grows"));
    }
    seeds.insert("keys_and_partitions", all);
}

fn reconciliation(seeds: &mut Seeds) {
    let ids = |range: std::ops::Range<u64>| {
        range.map(|n| ShortId::from_u64(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    };
    let (mine, theirs): (Sketch, Sketch) = (ids(0..9).collect(), ids(4..15).collect());
    let (_, probe) = Initiator::new(mine.root(), 3);
    let Response::Reply(symbols) = reconcile::respond(&probe, &theirs) else {
        unreachable!("the first symbols are in the sketch");
    };
    let requests = [
        probe,
        Request::More {
            seen: theirs.root(),
            from: 20,
            symbols: 40,
        },
        Request::Want {
            ids: ids(0..3).collect(),
        },
        Request::List {
            after: None,
            until: None,
        },
    ];
    let replies = [
        reconcile::Reply::Same,
        symbols,
        reconcile::Reply::TooDifferent {
            root: theirs.root(),
        },
        reconcile::Reply::Page {
            ids: ids(0..3).collect(),
            last: None,
        },
    ];
    let mut messages: Vec<Vec<u8>> = requests.iter().map(Request::to_bytes).collect();
    messages.extend(replies.iter().map(reconcile::Reply::to_bytes));
    let together = |parts: &[Vec<u8>]| pieces::join(parts.iter().map(Vec::as_slice));
    seeds.insert(
        "reconcile_messages",
        messages.chunks(2).map(together).collect(),
    );

    let flight = |plus: u64, minus: u64| {
        let (mut encoder, mut other) = (Encoder::new(0..32), Encoder::new(0..32));
        encoder.extend(ids(0..plus));
        other.extend(ids(100..100 + minus));
        let both = encoder.symbols().iter().zip(other.symbols());
        both.flat_map(|(symbol, other)| {
            let mut symbol: CodedSymbol = *symbol;
            symbol.subtract(other);
            <[u8; CodedSymbol::BYTES]>::from(symbol)
        })
        .collect()
    };
    seeds.insert(
        "reconcile_decoder",
        vec![flight(1, 0), flight(5, 5), flight(0, 12), flight(60, 0)],
    );
}

fn doors(seeds: &mut Seeds) {
    let mesh = Keypair::from_secret(&[1; 32]);
    let node = Keypair::from_secret(&[2; 32]);
    let request = |subject: NodeId, roles| CertificateRequest {
        subject,
        name: "node".into(),
        issued_s: 1_790_000_000,
        expires_s: Some(1_800_000_000),
        roles,
    };
    let first =
        Credential::issue_by_mesh(&mesh, request(node.node_id(), MAY_ADMIT)).expect("a fit name");
    let other = Keypair::from_secret(&[3; 32]).node_id();
    let second = first
        .issue_by_node(&node, request(other, 0))
        .expect("it may admit");
    seeds.insert("credential_decode", vec![first.encode(), second.encode()]);

    let (id, secret) = (
        TicketId::from_bytes([4; 16]),
        TicketSecret::from_bytes([5; 32]),
    );
    let mut invites = Invites::default();
    let open = invites
        .issue(id, &secret, 1, 1_800_000_000)
        .expect("there is room");
    let used = invites.redeem(id, &secret, other, 2).expect("it is open");
    seeds.insert("invite_decode", vec![open.encode(), used.record().encode()]);

    let ticket = Ticket {
        mesh_name: "home".into(),
        mesh: mesh.mesh_id(),
        inviter: node.node_id(),
        addresses: ["192.0.2.1:4001", "[2001:db8::1]:4001"]
            .map(|at| at.parse().expect("an address"))
            .to_vec(),
        id,
        secret: TicketSecret::from_bytes([5; 32]),
        expires_s: 1_800_000_000,
    };
    seeds.insert(
        "ticket_parse",
        vec![ticket.to_string().into_bytes(), b"meshwork:".to_vec()],
    );

    let hello = Hello {
        version_min: 1,
        version_max: 1,
        instance: 9,
        credential: first.clone(),
    };
    let welcome = Welcome {
        version: 1,
        instance: 9,
        credential: second.clone(),
    };
    let join = JoinMessage {
        ticket: id,
        secret,
        name: "laptop".into(),
    };
    let grant = JoinGrant {
        credential: first,
        mesh_name: "home".into(),
    };
    seeds.insert(
        "door_frames",
        vec![
            hello.encode(),
            Reply::Welcome(welcome).encode(),
            Reply::Refused(RefuseReason::Busy).encode(),
            join.encode(),
            encode_join_answer(&Ok(grant)),
        ],
    );
}
