use std::collections::BTreeSet;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::Seat;

fn node(number: u64) -> NodeId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    NodeId::from_bytes(bytes)
}

fn view(seats: impl IntoIterator<Item = (u64, String, u16)>) -> View {
    let seats = seats.into_iter();
    seats
        .map(|(number, zone, weight)| (node(number), Seat::new(zone, weight)))
        .collect()
}

/// `count` nodes of weight 1 in one zone, of a mesh that `seed` names.
fn equal_nodes(seed: u64, count: u64) -> View {
    view((0..count).map(|i| {
        (
            seed.wrapping_mul(1_000_003).wrapping_add(i),
            String::new(),
            1,
        )
    }))
}

fn any_view(nodes_max: usize) -> impl Strategy<Value = View> {
    btree_map(any::<u64>(), (0u8..6, 0u16..4), 0..nodes_max).prop_map(|seats| {
        view(
            seats
                .into_iter()
                .map(|(number, (zone, weight))| (number, zone.to_string(), weight)),
        )
    })
}

fn zone_counts(view: &View, nodes: &[NodeId]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for node in nodes {
        *counts.entry(view.nodes[node].zone.clone()).or_default() += 1;
    }
    counts
}

/// Replicas that `new` has and `old` has not.
fn gained(old: &Placement, new: &Placement) -> Vec<(Partition, NodeId)> {
    let gained_of = |partition| {
        let nodes = new.replicas(partition).iter().copied();
        nodes
            .filter(move |node| !old.holds(*node, partition))
            .map(move |node| (partition, node))
    };
    Partition::all().flat_map(gained_of).collect()
}

#[test]
fn placement_of_a_known_view_never_changes() {
    let view = view((0..7).map(|i| (i, format!("zone-{}", i % 3), if i % 2 == 0 { 1 } else { 2 })));
    let placement = Placement::new(&view, 3);
    let mut hasher = blake3::Hasher::new();
    for node in Partition::all().flat_map(|partition| placement.replicas(partition)) {
        hasher.update(node.as_bytes());
    }
    assert_eq!(
        hasher.finalize().to_hex().as_str(),
        "830646fa69248015cb1027eb940d233bf8f8d28eefa7f4161532f5f6948c7617"
    );
    assert_eq!(format!("{:016x}", placement.epoch()), "fe2091de65744e94");
}

#[test]
fn nobody_holds_anything_in_an_empty_view_or_with_factor_zero() {
    for placement in [
        Placement::new(&View::default(), 3),
        Placement::new(&equal_nodes(1, 4), 0),
    ] {
        assert!(Partition::all().all(|partition| placement.replicas(partition).is_empty()));
    }
}

#[test]
fn fullest_of_fifty_equal_nodes_holds_at_most_1_35_shares() {
    for seed in 0..8 {
        let view = equal_nodes(seed, 50);
        let placement = Placement::new(&view, 3);
        let fullest = placement
            .nodes()
            .map(|node| placement.share(node))
            .fold(0.0, f64::max);
        assert!(fullest <= 1.35 * 3.0 / 50.0, "seed {seed}: {fullest}");
    }
}

#[test]
fn joining_node_gains_at_most_1_2_shares_and_moves_nothing_else() {
    for seed in 0..8 {
        let (small, large) = (equal_nodes(seed, 50), equal_nodes(seed, 51));
        let (small, large) = (Placement::new(&small, 3), Placement::new(&large, 3));
        let joiner = large.nodes().find(|node| !small.knows(*node)).unwrap();
        let gained = gained(&small, &large);
        assert!(gained.iter().all(|(_, node)| *node == joiner));
        let least = (Partition::COUNT * 3) as f64 / 51.0;
        assert!(
            gained.len() as f64 <= 1.2 * least,
            "seed {seed}: {} of {least}",
            gained.len()
        );
    }
}

#[test]
fn weights_are_respected_in_proportion() {
    for heavy in [2u16, 5, 10] {
        let seats = (0..60).map(|i| (i, String::new(), if i < 6 { heavy * 100 } else { 100 }));
        let placement = Placement::new(&view(seats), 1);
        let of_heavy: f64 = (0..6).map(|i| placement.share(node(i))).sum();
        let weight = 6.0 * f64::from(heavy);
        let fair = weight / (weight + 54.0);
        assert!(
            (of_heavy / fair - 1.0).abs() < 0.1,
            "{heavy}: {of_heavy} of {fair}"
        );
    }
}

#[test]
fn node_of_weight_zero_is_known_and_holds_nothing() {
    let view = view([
        (1, String::new(), 0),
        (2, String::new(), 1),
        (3, String::new(), 1),
    ]);
    let placement = Placement::new(&view, 3);
    assert!(placement.knows(node(1)));
    assert!(placement.partitions_of(node(1)).is_empty());
    assert_eq!(placement.replicas(Partition::new(7).unwrap()).len(), 2);
}

#[test]
fn every_field_of_a_view_and_the_factor_change_the_digest() {
    let base = [(1, "a".to_owned(), 1), (2, "b".to_owned(), 1)];
    let mut others = vec![base.clone(), base.clone(), base.clone()];
    others[0][0].0 = 3;
    others[1][0].1 = "c".to_owned();
    others[2][0].2 = 2;
    let mut digests: BTreeSet<_> = others
        .into_iter()
        .map(|seats| *Placement::new(&view(seats), 3).digest())
        .collect();
    digests.insert(*Placement::new(&view(base.clone()), 3).digest());
    digests.insert(*Placement::new(&view(base), 2).digest());
    assert_eq!(digests.len(), 5);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn replicas_are_distinct_seated_and_as_many_as_can_be(view in any_view(24), factor in 0usize..6) {
        let placement = Placement::new(&view, factor);
        let seated = view.nodes.values().filter(|seat| seat.weight > 0).count();
        for partition in Partition::all() {
            let replicas = placement.replicas(partition);
            let distinct: BTreeSet<_> = replicas.iter().collect();
            prop_assert_eq!(distinct.len(), factor.min(seated));
            prop_assert_eq!(replicas.len(), distinct.len());
            prop_assert!(replicas.iter().all(|node| view.nodes[node].weight > 0));
        }
    }

    #[test]
    fn lists_by_node_and_by_partition_say_the_same(view in any_view(16), factor in 0usize..5) {
        let placement = Placement::new(&view, factor);
        for node in placement.nodes() {
            let held: Vec<_> =
                Partition::all().filter(|partition| placement.holds(node, *partition)).collect();
            prop_assert_eq!(placement.partitions_of(node), held);
        }
    }

    #[test]
    fn replicas_are_as_even_over_zones_as_these_allow(view in any_view(24), factor in 1usize..6) {
        let placement = Placement::new(&view, factor);
        let seated: Vec<NodeId> =
            view.nodes.iter().filter(|(_, seat)| seat.weight > 0).map(|(node, _)| *node).collect();
        let room = zone_counts(&view, &seated);
        for partition in Partition::all() {
            let used = zone_counts(&view, placement.replicas(partition));
            let most = used.values().max().copied().unwrap_or(0);
            for (zone, room) in &room {
                let here = used.get(zone).copied().unwrap_or(0);
                prop_assert!(here + 1 >= most || here == *room, "{:?} of {:?}", used, room);
            }
        }
    }

    #[test]
    fn one_more_node_is_the_only_one_that_gains(
        view in any_view(24), joiner: u64, zone in 0u8..7, weight in 1u16..4, factor in 1usize..5,
    ) {
        let joiner = node(joiner);
        let mut larger = view.clone();
        prop_assume!(larger.nodes.insert(joiner, Seat::new(zone.to_string(), weight)).is_none());
        let (small, large) = (Placement::new(&view, factor), Placement::new(&larger, factor));
        let gained = gained(&small, &large);
        prop_assert!(gained.iter().all(|(_, node)| *node == joiner));
        prop_assert_eq!(gained.len(), large.partitions_of(joiner).len());
    }

    #[test]
    fn one_node_less_moves_only_what_it_held(view in any_view(24), at: usize, factor in 1usize..5) {
        prop_assume!(!view.nodes.is_empty());
        let leaver = *view.nodes.keys().nth(at % view.nodes.len()).unwrap();
        let mut smaller = view.clone();
        smaller.nodes.remove(&leaver);
        let (large, small) = (Placement::new(&view, factor), Placement::new(&smaller, factor));
        let gained = gained(&large, &small);
        prop_assert!(gained.iter().all(|(partition, _)| large.holds(leaver, *partition)));
        prop_assert!(gained.len() <= large.partitions_of(leaver).len());
    }

    #[test]
    fn order_of_learning_does_not_matter(numbers in vec((any::<u64>(), 0u8..3, 0u16..3), 0..12), factor in 0usize..4) {
        let unique: BTreeMap<u64, (u8, u16)> = numbers.iter().map(|(n, z, w)| (*n, (*z, *w))).collect();
        let seats = |(number, (zone, weight)): (&u64, &(u8, u16))| (*number, zone.to_string(), *weight);
        let forwards = Placement::new(&view(unique.iter().map(seats)), factor);
        let backwards = Placement::new(&view(unique.iter().rev().map(seats)), factor);
        prop_assert_eq!(forwards.epoch(), backwards.epoch());
        prop_assert_eq!(forwards, backwards);
    }
}
