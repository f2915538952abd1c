//! Nodes, and what they are given.

use std::net::UdpSocket;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use meshwork::traces::Trace;

use crate::bridge::Bridge;
use crate::site::{Site, eventually};

/// So many nodes that see each other and hold everything, each on a machine of its own if there is a bridge.
pub(crate) fn found(nodes: usize, bridge: Option<&Bridge>) -> Vec<Site> {
    let mut sites: Vec<Site> = Vec::new();
    for node in 0..nodes {
        let mut site = Site::empty();
        join(&mut site, node, sites.first(), bridge);
        sites.push(site);
    }
    await_rest(&sites.iter().collect::<Vec<_>>());
    sites
}

/// Sets a node up and starts it: one that lets others in, or one that `by` lets in.
pub(crate) fn join(site: &mut Site, node: usize, by: Option<&Site>, bridge: Option<&Bridge>) {
    site.namespace = bridge.map(|bridge| bridge.namespace(node));
    let address = bridge.map_or("127.0.0.1".into(), |bridge| bridge.address(node));
    // The same over restarts: nodes that all come back elsewhere cannot find each other.
    let port = bridge.map_or_else(free_port, |_| 7_117);
    let (name, listen) = (format!("n{node}"), format!("{address}:{port}"));
    let ticket = by.map(Site::invite);
    let begin = match &ticket {
        None => ["init", "--mesh", "chaos"].to_vec(),
        Some(ticket) => ["join", ticket].to_vec(),
    };
    let places = ["--name", &name, "--listen", &listen];
    let door = ["--http", "127.0.0.1:0"];
    site.ok(&[&begin[..], &places, &door].concat());
    site.up();
}

/// Waits until nodes see each other and no others, and nothing is on its way between them.
pub(crate) fn await_rest(sites: &[&Site]) {
    for site in sites {
        eventually("all see each other and nothing is left to deliver", || {
            let status = site.json(&["status", "--json"]);
            let busy = ["outbox_deltas", "partitions_filling", "partitions_leaving"];
            let idle = |what: &str| status["status"][what] == 0;
            (site.alive() == sites.len() && busy.into_iter().all(idle)).then_some(())
        });
    }
}

fn free_port() -> u16 {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    socket.local_addr().unwrap().port()
}

/// A history that one author typed, where the collection is at hand.
pub(crate) fn history() -> Option<Rc<Trace>> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
    let given = std::env::var_os("MESHWORK_DATA").map(PathBuf::from);
    let roots = [given, Some(beside.into())].into_iter().flatten();
    let mut paths = roots.map(|root| root.join("editing-traces/sveltecomponent.json.gz"));
    let trace = paths.find_map(|path| Trace::open(&path).ok());
    if trace.is_none() {
        println!("SKIPPED: no editing history in MESHWORK_DATA or ../shared/data");
    }
    trace.map(Rc::new)
}

/// The seed to repeat, or a new one; and for how long.
pub(crate) fn wishes(seconds: u64) -> (u64, Duration) {
    let number = |variable: &str| {
        let text = std::env::var(variable).ok();
        text.map(|text| text.parse::<u64>().unwrap())
    };
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let seed = number("MESHWORK_CHAOS_SEED").unwrap_or(since.subsec_nanos().into());
    let seconds = number("MESHWORK_CHAOS_SECONDS").unwrap_or(seconds);
    println!("MESHWORK_CHAOS_SEED={seed} MESHWORK_CHAOS_SECONDS={seconds}");
    (seed, Duration::from_secs(seconds))
}
