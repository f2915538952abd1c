//! Real processes that are killed, stopped, frozen and cut off while clients go on working, and then must hold all they promised.
//!
//! `MESHWORK_CHAOS_SECONDS` makes it longer; `MESHWORK_CHAOS_SEED` repeats what is done and what befalls the nodes, though not how
//! threads and packets meet.
#![cfg(all(feature = "program", feature = "sim", target_os = "linux"))]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

#[path = "../program/bridge.rs"]
mod bridge;
mod door;
mod faults;
#[path = "../program/site.rs"]
#[expect(dead_code, reason = "the tests of the program need more of it")]
mod site;
mod wire;

use std::net::UdpSocket;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use meshwork::Options;
use meshwork::sim::workload::{Client, Mix, Oracle, Placement, Seen, Workload, settle};
use meshwork::traces::Trace;
use meshwork_sync::Level;

use crate::bridge::Bridge;
use crate::door::Door;
use crate::faults::Fault;
use crate::site::{Site, eventually};

/// As many as keys have copies: each node holds everything.
const NODES: usize = 3;
const CLIENTS_PER_NODE: usize = 2;
/// How long the nodes may take to agree after the last fault.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);

/// Nodes that see each other, each on a machine of its own if there is a bridge.
fn found(bridge: Option<&Bridge>) -> Vec<Site> {
    let mut sites: Vec<Site> = Vec::new();
    for node in 0..NODES {
        let mut site = Site::empty();
        site.namespace = bridge.map(|bridge| bridge.namespace(node));
        let address = bridge.map_or("127.0.0.1".into(), |bridge| bridge.address(node));
        // The same over restarts: nodes that all come back elsewhere cannot find each other.
        let port = bridge.map_or_else(free_port, |_| 7_117);
        let (name, listen) = (format!("n{node}"), format!("{address}:{port}"));
        let places = [
            "--name",
            &name,
            "--listen",
            &listen,
            "--http",
            "127.0.0.1:0",
        ];
        let ticket = sites.first().map(Site::invite);
        let begin = match &ticket {
            None => ["init", "--mesh", "chaos"].to_vec(),
            Some(ticket) => ["join", ticket].to_vec(),
        };
        site.ok(&[&begin[..], &places].concat());
        site.up();
        sites.push(site);
    }
    eventually("all see each other and hold everything", || {
        let whole = |site: &Site| {
            let status = site.json(&["status", "--json"]);
            site.alive() == NODES && status["status"]["partitions_filling"] == 0
        };
        sites.iter().all(whole).then_some(())
    });
    sites
}

fn free_port() -> u16 {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    socket.local_addr().unwrap().port()
}

/// A history that one author typed, where the collection is at hand.
fn history() -> Option<Rc<Trace>> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
    let roots = [
        std::env::var_os("MESHWORK_DATA").map(PathBuf::from),
        Some(beside.into()),
    ];
    let paths = roots.into_iter().flatten();
    let mut paths = paths.map(|root| root.join("editing-traces/sveltecomponent.json.gz"));
    let trace = paths.find_map(|path| Trace::open(&path).ok());
    if trace.is_none() {
        println!("SKIPPED: no editing history in MESHWORK_DATA or ../shared/data");
    }
    trace.map(Rc::new)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap())
}

#[test]
fn nodes_that_are_killed_stopped_frozen_and_cut_off_keep_what_they_promised() {
    let seed = number("MESHWORK_CHAOS_SEED").unwrap_or_else(|| {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        u64::from(since.subsec_nanos())
    });
    let time = Duration::from_secs(number("MESHWORK_CHAOS_SECONDS").unwrap_or(45));
    println!(
        "MESHWORK_CHAOS_SEED={seed} MESHWORK_CHAOS_SECONDS={}",
        time.as_secs()
    );
    let bridge = Bridge::build("c", NODES);
    let mut faults = vec![Fault::Kill, Fault::Stop, Fault::Freeze];
    match &bridge {
        Some(_) => faults.extend([Fault::Unplug; 2]),
        None => println!(
            "SKIPPED: cutting links, since namespaces are not permitted or `ip` is missing"
        ),
    }
    let mut sites = found(bridge.as_ref());
    let start = Instant::now();
    let doors: Vec<Door> = sites
        .iter()
        .map(|site| Door::new(site.folder(), site.namespace.clone(), start))
        .collect();
    let plan = faults::plan(seed, NODES, time, &faults);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let oracle = std::thread::scope(|scope| {
        let wrecker = scope.spawn(|| faults::carry_out(&plan, &mut sites, bridge.as_ref(), start));
        let oracle = runtime.block_on(work(seed, time, &doors));
        wrecker.join().unwrap();
        oracle
    });
    println!("{:.3}s: all faults are over", start.elapsed().as_secs_f64());
    runtime.block_on(judge(&oracle, &doors));
    for site in &sites {
        eventually("nothing is left to deliver", || {
            let status = site.json(&["status", "--json"]);
            let busy = ["outbox_deltas", "partitions_filling", "partitions_leaving"];
            let idle = |what: &str| status["status"][what] == 0;
            busy.into_iter().all(idle).then_some(())
        });
    }
}

/// Clients at every node, until the time is over.
async fn work(seed: u64, time: Duration, doors: &[Door]) -> Rc<Oracle> {
    let oracle = Rc::new(Oracle::new(Placement::Everywhere { nodes: NODES }));
    let workload = Workload::new(seed, Mix::default(), Rc::clone(&oracle));
    let mut history = history();
    let mut sessions = Vec::new();
    for client in 0..NODES * CLIENTS_PER_NODE {
        let node = client % NODES;
        let [number, place] = [client, node].map(|n| u32::try_from(n).unwrap());
        let mut session = workload.session(number, place);
        if let Some(trace) = history.take() {
            session = session.with_history(trace);
        }
        let door = doors[node].clone();
        sessions.push(async move { session.run(&door).await });
    }
    let end = async {
        doors[0].sleep(time).await;
        workload.stop();
    };
    futures::join!(join_all(sessions), end);
    println!("{}", oracle.tally());
    oracle
}

/// Everything is as it should be, and the door shows it as it is.
async fn judge(oracle: &Oracle, doors: &[Door]) {
    let live = oracle.violations();
    live.iter().for_each(|violation| println!("{violation}"));
    let nodes: Vec<(u32, &Door)> = (0..).zip(doors).collect();
    let options = Options::level(Level::Local);
    match settle(oracle, &nodes, options, SETTLES_WITHIN).await {
        Ok(took) => println!("all nodes agree after {took:?}"),
        Err(unsettled) => panic!("{unsettled}"),
    }
    assert!(
        live.is_empty(),
        "{} promises were broken on the way",
        live.len()
    );
    let tally = oracle.tally();
    assert!(tally.acknowledged > 100 && tally.read > 100, "{tally}");
    for key in oracle.keys() {
        for door in doors {
            let shown = door.shown(&key, options).await.unwrap();
            let held = Seen::of(&door.object(&key, options).await.unwrap());
            assert_eq!(shown, held, "{key} in JSON and as it is held");
        }
    }
}
