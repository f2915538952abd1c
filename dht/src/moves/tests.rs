use proptest::collection::btree_map;
use proptest::prelude::*;

use super::*;
use crate::{Seat, View};

fn node(number: u8) -> NodeId {
    NodeId::from_bytes([number; 32])
}

fn any_view() -> impl Strategy<Value = View> {
    btree_map(0u8..20, (0u8..4, 0u16..3), 0..12).prop_map(|seats| {
        let seat = |(number, (zone, weight)): (u8, (u8, u16))| {
            (node(number), Seat::new(zone.to_string(), weight))
        };
        seats.into_iter().map(seat).collect()
    })
}

fn equal_nodes(numbers: impl IntoIterator<Item = u8>) -> View {
    numbers
        .into_iter()
        .map(|number| (node(number), Seat::new("", 1)))
        .collect()
}

#[test]
fn partition_that_lost_more_copies_comes_first() {
    let old = Placement::new(&equal_nodes(0..12), 3);
    let new = Placement::new(&equal_nodes((0..12).skip(2)), 3);
    let plan = MovePlan::between(&old, &new);
    let survivors: Vec<usize> = plan.steps().iter().map(|step| step.survivors).collect();
    assert!(survivors.is_sorted());
    assert_eq!((survivors.first(), survivors.last()), (Some(&1), Some(&2)));
}

#[test]
fn smaller_factor_only_drops() {
    let view = equal_nodes(0..6);
    let plan = MovePlan::between(&Placement::new(&view, 3), &Placement::new(&view, 2));
    assert_eq!((plan.copies(), plan.drops(), plan.orphans()), (0, 4096, 0));
}

#[test]
fn partitions_of_a_mesh_that_vanished_are_orphans_with_its_nodes_as_sources() {
    let (old, new) = (equal_nodes([1]), equal_nodes([2]));
    let plan = MovePlan::between(&Placement::new(&old, 3), &Placement::new(&new, 3));
    assert_eq!(plan.orphans(), Partition::COUNT);
    assert!(
        plan.steps()
            .iter()
            .all(|step| step.sources == [node(1)] && step.to == [node(2)])
    );
}

#[test]
fn summary_counts_what_the_steps_say() {
    let (old, new) = (equal_nodes(0..3), equal_nodes(0..4));
    let plan = MovePlan::between(&Placement::new(&old, 3), &Placement::new(&new, 3));
    let copies = plan.copies();
    assert_eq!(
        plan.to_string(),
        format!(
            "{copies} partitions change: {copies} copies to 1 nodes, {copies} drops, 0 without a surviving copy"
        )
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn plan_applied_to_the_old_placement_gives_the_new_one(
        old in any_view(), new in any_view(), factors in (0usize..5, 0usize..5),
    ) {
        let (old, new) = (Placement::new(&old, factors.0), Placement::new(&new, factors.1));
        let plan = MovePlan::between(&old, &new);
        let mut holders: BTreeMap<Partition, BTreeSet<NodeId>> = Partition::all()
            .map(|partition| (partition, old.replicas(partition).iter().copied().collect()))
            .collect();
        for step in plan.steps() {
            let holders = holders.get_mut(&step.partition).unwrap();
            for node in &step.to {
                prop_assert!(holders.insert(*node));
            }
            for node in &step.drop_from {
                prop_assert!(holders.remove(node));
            }
        }
        for (partition, holders) in holders {
            prop_assert_eq!(holders, new.replicas(partition).iter().copied().collect());
        }
    }

    #[test]
    fn sources_are_all_old_holders_and_the_living_come_first(
        old in any_view(), new in any_view(), factor in 0usize..5,
    ) {
        let (old, new) = (Placement::new(&old, factor), Placement::new(&new, factor));
        for step in MovePlan::between(&old, &new).steps() {
            let all: BTreeSet<_> = step.sources.iter().collect();
            prop_assert_eq!(all, old.replicas(step.partition).iter().collect());
            let (living, gone) = step.sources.split_at(step.survivors);
            prop_assert!(living.iter().all(|node| new.knows(*node)));
            prop_assert!(!gone.iter().any(|node| new.knows(*node)));
        }
    }

    #[test]
    fn gains_and_losses_are_the_difference_of_holdings(
        old in any_view(), new in any_view(), factor in 0usize..5, number in 0u8..20,
    ) {
        let (old, new) = (Placement::new(&old, factor), Placement::new(&new, factor));
        let plan = MovePlan::between(&old, &new);
        let set = |partitions: &[Partition]| partitions.iter().copied().collect::<BTreeSet<_>>();
        let before = set(old.partitions_of(node(number)));
        let after = set(new.partitions_of(node(number)));
        prop_assert_eq!(plan.gains(node(number)).collect::<BTreeSet<_>>(), &after - &before);
        prop_assert_eq!(plan.losses(node(number)).collect::<BTreeSet<_>>(), &before - &after);
        prop_assert!(MovePlan::between(&new, &new).is_empty());
    }
}
