//! What happens to the nodes, and when.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::bridge::Bridge;
use crate::site::Site;

/// Something that befalls a node for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Killed, and started again.
    Kill,
    /// Stopped in good order, and started again.
    Stop,
    /// Frozen, as by a laptop's lid.
    Freeze,
    /// Its cable is pulled.
    Unplug,
}

/// A fault of one node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned {
    node: usize,
    fault: Fault,
    from: Duration,
    to: Duration,
}

/// What a seed does to so many nodes in a time. Faults of one node do not overlap; those of different nodes do.
pub(crate) fn plan(seed: u64, nodes: usize, time: Duration, faults: &[Fault]) -> Vec<Planned> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut planned = Vec::new();
    for node in 0..nodes {
        let mut at = Duration::ZERO;
        loop {
            let from = at + Duration::from_millis(rng.random_range(500..8_000));
            let to = from + Duration::from_millis(rng.random_range(100..5_000));
            if to > time {
                break;
            }
            let fault = faults[rng.random_range(0..faults.len())];
            planned.push(Planned {
                node,
                fault,
                from,
                to,
            });
            at = to;
        }
    }
    planned
}

/// Carries a plan out. All is well again when it returns.
pub(crate) fn carry_out(
    plan: &[Planned],
    sites: &mut [Site],
    bridge: Option<&Bridge>,
    start: Instant,
) {
    let begins = plan.iter().map(|planned| (planned.from, planned, true));
    let ends = plan.iter().map(|planned| (planned.to, planned, false));
    let mut steps: Vec<(Duration, &Planned, bool)> = begins.chain(ends).collect();
    steps.sort_by_key(|(at, planned, _)| (*at, planned.node));
    for (at, Planned { node, fault, .. }, begins) in steps {
        sleep(at.saturating_sub(start.elapsed()));
        let place = Place {
            site: &mut sites[*node],
            bridge,
            node: *node,
        };
        let (what, step): (_, fn(Fault, Place<'_>)) = match begins {
            true => ("begins", begin),
            false => ("ends", end),
        };
        let before = start.elapsed().as_secs_f64();
        step(*fault, place);
        let after = start.elapsed().as_secs_f64();
        println!("{before:.3}s to {after:.3}s: {fault:?} of node {node} {what}");
    }
}

/// A node and what it is connected by.
struct Place<'a> {
    site: &'a mut Site,
    bridge: Option<&'a Bridge>,
    node: usize,
}

fn begin(fault: Fault, Place { site, bridge, node }: Place<'_>) {
    match fault {
        Fault::Kill => {
            site.signal("-KILL");
            assert!(!site.ended().success());
        }
        Fault::Stop => {
            site.signal("-TERM");
            assert!(site.ended().success(), "node {node} did not stop well");
        }
        Fault::Freeze => site.signal("-STOP"),
        Fault::Unplug => bridge.unwrap().set_link(node, "down"),
    }
}

fn end(fault: Fault, Place { site, bridge, node }: Place<'_>) {
    match fault {
        Fault::Kill | Fault::Stop => site.up(),
        Fault::Freeze => site.signal("-CONT"),
        Fault::Unplug => bridge.unwrap().set_link(node, "up"),
    }
}
