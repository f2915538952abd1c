//! The demo with real processes, short.
#![cfg(feature = "program")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::Command;

use serde_json::Value as Json;

fn demo(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_meshwork"))
        .arg("demo")
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn a_crash_a_split_a_join_and_a_leave_lose_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let keep = folder.path().join("nodes");
    let output = demo(&["--json", "--seconds", "8", "--keep", keep.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let report: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["holds"], true);
    assert_eq!(report["writes"]["lost"], 0);
    assert!(report["writes"]["acknowledged"].as_u64().unwrap() > 50);
    let nodes = report["nodes"].as_array().unwrap();
    for node in nodes.iter().filter(|node| node["part"] != "left") {
        for kind in ["document", "counters", "sets", "registers"] {
            assert_eq!(node[kind], true, "{kind} at {}", node["name"]);
        }
        assert!(node["bytes_in"].as_u64().unwrap() > 0);
    }
    assert_eq!(nodes.len(), 6);
    assert!(keep.join("n1").join("member").exists());
}

#[test]
fn a_file_that_is_no_history_is_refused_before_any_node_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace.json");
    std::fs::write(&file, "{}").unwrap();
    let keep = folder.path().join("nodes");
    let output = demo(&[
        "--trace",
        file.to_str().unwrap(),
        "--keep",
        keep.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(6));
    assert!(!keep.exists());
}
