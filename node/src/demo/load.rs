//! Writes everywhere: one client at each node that adds, inserts and puts for as long as the demo goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;
use ureq::http::Method;

use super::ledger::{Answer, Entry, Ledger};
use super::node::Node;
use super::stage::Stage;
use crate::cli::client::Door;

/// Where the demo's keys are.
pub(super) const NAMESPACE: &str = "demo";
/// Counters and sets that all clients share.
const SHARED: u64 = 3;
/// Between two writes of one client: the point is what becomes of them, not how many there are.
const PERIOD: Duration = Duration::from_millis(25);
/// How long a write may take before its fate is unknown.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// How far writes reach, in turn.
const LEVELS: [&str; 4] = ["local", "one", "quorum", "one"];

/// Writes to one node until `done`. While the node is down the client waits; what it was told before stays in the ledger.
pub(super) fn run(node: &Node, ledger: &Ledger, stage: &Stage, done: &AtomicBool) {
    let mut door = None;
    let mut round = 0;
    while !done.load(Ordering::Relaxed) && !stage.stopped() {
        thread::sleep(PERIOD);
        if !node.is_open() {
            door = None;
            continue;
        }
        if door.is_none() {
            door = node.door().ok();
        }
        if let Some(open) = &door {
            round += 1;
            let answer = write(open, node, ledger, round);
            stage.writes().set_position(ledger.acknowledged());
            if answer == Answer::Unknown {
                door = None;
            }
        }
    }
}

fn write(door: &Door, node: &Node, ledger: &Ledger, round: u64) -> Answer {
    let shared = round / 3 % SHARED;
    let name = node.name();
    let entry = match round % 3 {
        0 => Entry::Add {
            counter: format!("counter-{shared}"),
            amount: 1 + i64::from(round.is_multiple_of(2)),
        },
        1 => Entry::Insert {
            set: format!("set-{shared}"),
            element: format!("{name}-{round}"),
        },
        _ => Entry::Put {
            register: format!("register-{name}"),
            value: round,
        },
    };
    let level = usize::try_from(round / 3)
        .ok()
        .and_then(|turn| LEVELS.get(turn % LEVELS.len()));
    let path = |key: &str| {
        let (level, timeout_ms) = (level.unwrap_or(&"one"), PATIENCE.as_millis());
        format!("keys/{NAMESPACE}/{key}?level={level}&timeout_ms={timeout_ms}")
    };
    let result = match &entry {
        Entry::Add { counter, amount } => door.post(
            &path(counter),
            &json!({"op": "add", "amount": amount}),
            PATIENCE,
        ),
        Entry::Insert { set, element } => door.post(
            &path(set),
            &json!({"op": "insert", "element": element}),
            PATIENCE,
        ),
        Entry::Put { register, value } => door.send(
            Method::PUT,
            &path(register),
            value.to_string().as_bytes(),
            PATIENCE,
        ),
    };
    // Never tried again: an increment that was answered with an error may have been counted.
    let answer = if result.is_ok() {
        Answer::Acknowledged
    } else {
        Answer::Unknown
    };
    ledger.note(entry, answer);
    answer
}
