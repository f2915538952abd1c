//! Names of things, as people type them and as peers send them.

use meshwork_crdt::{Kind, ReplicaId};
use meshwork_dht::{Partition, Position};
use meshwork_membership::NodeId;
use meshwork_sync::{Key, Level, PartitionSet, Prefix};

/// Any text is a key, prefix or id that says itself again, or is refused; any bytes are a set of partitions that exist, or are refused.
pub fn keys_and_partitions(bytes: &[u8]) {
    partition_set(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    keys(text);
    macro_rules! says_itself {
        ($($what:ty),+) => {
            $(if let Ok(value) = text.parse::<$what>() {
                assert_eq!(value.to_string().parse(), Ok(value));
            })+
        };
    }
    says_itself!(Kind, Level, NodeId, Partition, Position, ReplicaId);
}

fn partition_set(bytes: &[u8]) {
    let Ok(set) = postcard::from_bytes::<PartitionSet>(bytes) else {
        return;
    };
    let partitions = set.partitions();
    let again = PartitionSet::from(&partitions);
    assert_eq!(again.partitions(), partitions);
    let encoded = postcard::to_allocvec(&again).expect("a vector grows as needed");
    assert!(encoded.len() <= 515, "{} bytes", encoded.len());
    assert_eq!(postcard::from_bytes::<PartitionSet>(&encoded), Ok(again));
}

fn keys(text: &str) {
    if let Ok(key) = Key::parse(text) {
        assert_eq!(Key::new(key.namespace(), key.name()).as_ref(), Ok(&key));
        assert_eq!(
            format!("{}/", key.namespace()),
            text[..=key.namespace().len()]
        );
        assert_eq!(key.position(), Position::of(key.namespace(), key.name()));
        let partition = key.position().partition();
        assert!((partition.first()..=partition.last()).contains(&key.position()));
        assert!(
            key.to_string().is_ascii(),
            "nothing that could forge a line of a log"
        );
    }
    let (prefix, key) = (Prefix::parse(text), Key::parse(text));
    if let (Ok(prefix), Ok(key)) = (prefix, key) {
        assert!(prefix.covers(&key), "a key is its own prefix");
    }
}
