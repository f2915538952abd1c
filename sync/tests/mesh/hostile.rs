//! A member that says anything at all.

use meshwork_crdt::{CausalContext, Merges, Object, Op, ReplicaId, Stamp};
use meshwork_dht::Partition;
use meshwork_sync::reconcile::{Reply, Request, Root, ShortId};
use meshwork_sync::{Config, Item, Key, Level, Message, PartitionSet, Prefix, Read, Refusal, Step};
use proptest::prelude::*;

use crate::sim::{Sim, id, secs};

fn key() -> impl Strategy<Value = Key> {
    (0u8..6).prop_map(|n| Key::new("k", &[n]).unwrap())
}

fn object() -> impl Strategy<Value = Vec<u8>> {
    let own = (1u64..9, 1u8..4, 0u64..9).prop_map(|(counter, replica, seen)| {
        let stamp = Stamp {
            dot: meshwork_crdt::Dot::new(ReplicaId::from_bytes([replica; 8]), counter),
            claim_after: Some(seen.min(counter - 1)),
            hlc: meshwork_crdt::Hlc::default(),
        };
        let op = Op::Put(vec![replica; 9]);
        let delta = Object::new().apply(&stamp, &op, &Merges::default());
        delta.unwrap().encode()
    });
    prop_oneof![8 => own, 1 => proptest::collection::vec(any::<u8>(), 0..40)]
}

fn partitions() -> impl Strategy<Value = PartitionSet> {
    proptest::collection::btree_set(0u16..4096, 0..80).prop_map(|numbers| {
        PartitionSet::from(&numbers.into_iter().filter_map(Partition::new).collect())
    })
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let id = any::<u64>().prop_map(ShortId::from_u64);
    prop_oneof![
        any::<u32>().prop_map(|differences| Request::Probe {
            root: Root::default(),
            differences
        }),
        (any::<u32>(), any::<u32>()).prop_map(|(from, symbols)| Request::More {
            seen: Root::default(),
            from,
            symbols
        }),
        proptest::collection::vec(id, 0..9).prop_map(|ids| Request::Want { ids }),
        Just(Request::List {
            after: None,
            until: None
        }),
    ]
    .prop_map(|request| request.to_bytes())
}

fn reply() -> impl Strategy<Value = Vec<u8>> {
    let id = any::<u64>().prop_map(ShortId::from_u64);
    let page = proptest::collection::vec(id, 0..9).prop_map(|ids| Reply::Page { ids, last: None });
    let other = Just(Reply::TooDifferent {
        root: Root::default(),
    });
    prop_oneof![Just(Reply::Same), other, page].prop_map(|reply| reply.to_bytes())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (partitions(), request()).prop_map(|(partitions, request)| Step::Ask {
            partitions,
            request
        }),
        (partitions(), reply()).prop_map(|(strays, reply)| Step::Reply { reply, strays }),
        Just(Step::Sent),
        Just(Step::Stop),
    ]
}

/// Ids that the node drew lately are near these.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![9 => 0u64..40, 1 => any::<u64>()]
}

fn message() -> impl Strategy<Value = Message> {
    let item = (key(), object()).prop_map(|(key, object)| Item { key, object });
    let refusal = (any::<u32>(), Just(Refusal::Storage));
    prop_oneof![
        (number(), proptest::collection::vec(item, 0..4))
            .prop_map(|(id, items)| Message::Push { id, items }),
        (number(), proptest::collection::vec(refusal, 0..3))
            .prop_map(|(id, refused)| Message::PushAck { id, refused }),
        (number(), key()).prop_map(|(id, key)| Message::Get {
            id,
            key,
            have: CausalContext::default().encode()
        }),
        (number(), any::<bool>(), any::<bool>(), object(), object()).prop_map(
            |(id, complete, last, object, version)| Message::Got {
                id,
                complete,
                last,
                object,
                version
            }
        ),
        (number(), step()).prop_map(|(session, step)| Message::Reconcile { session, step }),
        proptest::collection::vec(key(), 0..70).prop_map(|keys| Message::Subscribe {
            prefixes: keys
                .iter()
                .map(|key| Prefix::parse(&key.to_string()).unwrap())
                .collect()
        }),
        (key(), any::<[u8; 32]>()).prop_map(|(key, digest)| Message::Changed { key, digest }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_message_of_a_peer_stops_a_node_or_holds_up_its_requests(
        messages in proptest::collection::vec((message(), 0u64..400), 1..60),
    ) {
        let mut sim = Sim::new(1, 2, Config::default());
        sim.start(0);
        sim.nodes[0].view = crate::sim::view(0..2);
        sim.on(0, |core| core.handle_connected(meshwork_membership::Time::ZERO, id(1)));
        sim.run_for(secs(1));
        for (n, (message, wait_ms)) in messages.into_iter().enumerate() {
            let bytes = message.encode();
            let (now, wall_ms) = (sim.now, sim.wall_ms(0));
            sim.on(0, |core| drop(core.handle_message(now, wall_ms, id(1), &bytes)));
            if n % 5 == 0 {
                let level = [Level::Local, Level::All][n % 2];
                let read = Read {
                    key: Key::new("k", &[1]).unwrap(),
                    since: CausalContext::default(),
                    level,
                    timeout: secs(2),
                };
                sim.read(0, n as u64, read);
            }
            sim.run_for(core::time::Duration::from_millis(wait_ms));
        }
        let asked = sim.reads_asked;
        sim.run_for(secs(3));
        let answers = sim.answers.iter();
        let found = answers.filter(|(_, o)| matches!(o, meshwork_sync::Output::Found { .. }));
        prop_assert_eq!(found.count() as u64, asked);
    }

    #[test]
    fn no_bytes_of_a_peer_stop_a_node(bytes: Vec<Vec<u8>>) {
        let mut sim = Sim::new(1, 2, Config::default());
        sim.start(0);
        for mut bytes in bytes {
            if let Some(first) = bytes.first_mut() {
                *first = meshwork_sync::WIRE_VERSION;
            }
            let (now, wall_ms) = (sim.now, sim.wall_ms(0));
            sim.on(0, |core| drop(core.handle_message(now, wall_ms, id(1), &bytes)));
        }
    }
}
