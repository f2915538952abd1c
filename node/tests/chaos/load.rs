//! Clients at work, and the judgement in the end.

use std::rc::Rc;
use std::time::Duration;

use futures::future::join_all;
use meshwork::Options;
use meshwork::sim::workload::{Client, Mix, Oracle, Placement, Seen, Workload, settle};
use meshwork_sync::Level;

use crate::door::Door;
use crate::stage;

/// What clients do.
pub(crate) struct Load {
    pub(crate) seed: u64,
    pub(crate) time: Duration,
    pub(crate) placement: Placement,
    pub(crate) clients_per_node: usize,
}

/// How long nodes may take to agree after the last fault.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);

impl Load {
    /// Lets clients work through each door, until the time is over.
    pub(crate) async fn work(&self, doors: &[Door]) -> Oracle {
        let oracle = Rc::new(Oracle::new(self.placement));
        let workload = Workload::new(self.seed, Mix::default(), Rc::clone(&oracle));
        let mut history = stage::history();
        let mut sessions = Vec::new();
        for client in 0..doors.len() * self.clients_per_node {
            let node = client % doors.len();
            let [number, place] = [client, node].map(|n| u32::try_from(n).unwrap());
            let mut session = workload.session(number, place);
            if let Some(trace) = history.take() {
                session = session.with_history(trace);
            }
            let door = doors[node].clone();
            sessions.push(async move { session.run(&door).await });
        }
        let end = async {
            doors[0].sleep(self.time).await;
            workload.stop();
        };
        futures::join!(join_all(sessions), end);
        println!("{}", oracle.tally());
        drop(workload);
        Rc::into_inner(oracle).unwrap()
    }
}

/// Everything is as it should be at these nodes, and the door shows it as it is.
pub(crate) async fn judge(oracle: &Oracle, nodes: &[(u32, &Door)], level: Level) {
    let live = oracle.violations();
    live.iter().for_each(|violation| println!("{violation}"));
    let options = Options::level(level);
    match settle(oracle, nodes, options, SETTLES_WITHIN).await {
        Ok(took) => println!("all nodes agree after {took:?}"),
        Err(unsettled) => panic!("{unsettled}"),
    }
    let broken = live.len();
    assert!(live.is_empty(), "{broken} promises were broken on the way");
    let tally = oracle.tally();
    assert!(tally.acknowledged > 100 && tally.read > 100, "{tally}");
    for key in oracle.keys() {
        for (_, door) in nodes {
            let shown = door.shown(&key, options).await.unwrap();
            let held = Seen::of(&door.object(&key, options).await.unwrap());
            assert_eq!(shown, held, "{key} in JSON and as it is held");
        }
    }
}
