//! Prints how evenly partitions are placed, what a change of view moves, and how long that takes to compute.
//!
//! `cargo run --release -p meshwork-dht --example placement_figures`

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that measures"
)]

use std::time::Instant;

use meshwork_dht::{MovePlan, Partition, Placement, Seat, View};
use meshwork_membership::NodeId;

fn main() {
    println!(
        "nodes zones  fullest  emptiest  join moves/least  leave moves/least  place ms  plan ms"
    );
    for (nodes, zones) in [
        (5, 1),
        (5, 5),
        (50, 1),
        (50, 5),
        (50, 2),
        (200, 10),
        (1000, 1),
        (1000, 20),
    ] {
        print_row(nodes, zones);
    }
}

fn print_row(nodes: u64, zones: u64) {
    let view = equal_nodes(nodes, zones);
    let larger = equal_nodes(nodes + 1, zones);
    let started = Instant::now();
    let placement = Placement::new(&view, REPLICATION_FACTOR);
    let placed = started.elapsed();
    let grown = Placement::new(&larger, REPLICATION_FACTOR);
    let started = Instant::now();
    let join = MovePlan::between(&placement, &grown);
    let planned = started.elapsed();
    let leave = MovePlan::between(&grown, &placement);

    let replicas = (Partition::COUNT * REPLICATION_FACTOR) as f64;
    let fair = REPLICATION_FACTOR as f64 / nodes as f64;
    let loads = || placement.nodes().map(|node| placement.share(node) / fair);
    let least = replicas / (nodes + 1) as f64;
    println!(
        "{nodes:5} {zones:5}  {:7.3}  {:8.3}  {:16.3}  {:17.3}  {:8.1}  {:7.1}",
        loads().fold(0.0, f64::max),
        loads().fold(f64::INFINITY, f64::min),
        join.copies() as f64 / least,
        leave.copies() as f64 / least,
        placed.as_secs_f64() * 1e3,
        planned.as_secs_f64() * 1e3,
    );
}

fn equal_nodes(nodes: u64, zones: u64) -> View {
    let seat = |number: u64| {
        let mut bytes = [0; NodeId::BYTES];
        for (byte, digit) in bytes.iter_mut().zip(number.to_le_bytes()) {
            *byte = digit;
        }
        (
            NodeId::from_bytes(bytes),
            Seat::new(format!("zone-{}", number % zones), 1),
        )
    };
    (0..nodes).map(seat).collect()
}

const REPLICATION_FACTOR: usize = 3;
