//! Placement and move plans, for any two views.

use std::collections::BTreeSet;

use arbitrary::Arbitrary;
use meshwork_dht::{MovePlan, Partition, Placement, Seat, View};
use meshwork_membership::NodeId;

/// Two views of a mesh of up to eight nodes.
#[derive(Arbitrary, Debug)]
pub struct Views {
    replication_factor: u8,
    before: [Option<(u8, u16)>; 8],
    after: [Option<(u8, u16)>; 8],
}

/// Every partition has as many distinct replicas as there can be, and the plan between two placements leads from one to the other.
pub fn placement_moves(views: Views) {
    let factor = usize::from(views.replication_factor % 6);
    let (old, new) = (
        placement(&views.before, factor),
        placement(&views.after, factor),
    );
    let plan = MovePlan::between(&old, &new);
    let mut held: Vec<BTreeSet<NodeId>> = Partition::all().map(|at| replicas(&old, at)).collect();
    for step in plan.steps() {
        let holders = &mut held[step.partition.index()];
        assert!(
            step.sources.iter().all(|node| holders.contains(node)),
            "sources hold it"
        );
        step.to
            .iter()
            .for_each(|node| assert!(holders.insert(*node), "nobody is sent what it has"));
        step.drop_from
            .iter()
            .for_each(|node| assert!(holders.remove(node), "only holders drop"));
    }
    let wanted: Vec<BTreeSet<NodeId>> = Partition::all().map(|at| replicas(&new, at)).collect();
    assert_eq!(held, wanted, "the plan leads to the new placement");
    assert_eq!(plan.is_empty(), plan.copies() + plan.drops() == 0);
}

fn placement(seats: &[Option<(u8, u16)>; 8], factor: usize) -> Placement {
    let seats = (0_u8..).zip(seats).filter_map(|(number, seat)| {
        seat.map(|(zone, weight)| {
            (
                NodeId::from_bytes([number; 32]),
                Seat::new(format!("{}", zone % 3), weight),
            )
        })
    });
    let view: View = seats.collect();
    let able = view.nodes.values().filter(|seat| seat.weight > 0).count();
    let placement = Placement::new(&view, factor);
    for partition in Partition::all() {
        let replicas = replicas(&placement, partition);
        assert_eq!(
            replicas.len(),
            placement.replicas(partition).len(),
            "replicas are distinct"
        );
        assert_eq!(
            replicas.len(),
            able.min(factor),
            "as many replicas as there can be"
        );
        assert!(
            replicas
                .iter()
                .all(|node| placement.holds(*node, partition))
        );
    }
    placement
}

fn replicas(placement: &Placement, partition: Partition) -> BTreeSet<NodeId> {
    placement.replicas(partition).iter().copied().collect()
}
