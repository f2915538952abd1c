//! The program as people run it: real processes on loopback, each with a data folder of its own.
#![cfg(feature = "program")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod bridge;
mod full_disk;
mod kinds;
mod namespaces;
mod site;

use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::site::{Site, eventually};

fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(name)
}

#[test]
fn every_kind_of_value_can_be_written_and_shown() {
    let site = Site::founded("one");
    site.ok(&["put", "notes/today", "buy tea"]);
    assert_eq!(site.ok(&["get", "notes/today"]), "buy tea\n");
    site.ok(&["incr", "stats/visits", "3"]);
    site.ok(&["incr", "stats/visits", "-1"]);
    assert_eq!(site.ok(&["get", "stats/visits"]), "2\n");
    site.ok(&["set", "add", "tags/x", "sea", "hills", "--", "-odd"]);
    site.ok(&["set", "rm", "tags/x", "hills"]);
    assert_eq!(site.ok(&["set", "show", "tags/x"]), "-odd\nsea\n");
    site.ok(&["map", "set", "profile/me", "city", "Lisbon"]);
    site.ok(&[
        "map",
        "set",
        "profile/me",
        "visits",
        "4",
        "--kind",
        "counter",
    ]);
    assert_eq!(site.ok(&["map", "get", "profile/me", "city"]), "Lisbon\n");
    assert_eq!(
        site.ok(&["map", "show", "profile/me"]),
        "city = Lisbon\nvisits = 4\n"
    );
    site.ok(&["map", "rm", "profile/me", "city"]);
    assert_eq!(site.fails(&["map", "get", "profile/me", "city"]).0, 4);
    site.ok(&["flag", "on", "lights/porch"]);
    assert_eq!(site.ok(&["flag", "show", "lights/porch"]), "on\n");
    site.ok(&["flag", "off", "lights/porch"]);
    site.ok(&["del", "notes/today"]);
    assert_eq!(site.fails(&["get", "notes/today"]).0, 4);
}

#[test]
fn names_and_values_may_be_any_text_or_bytes() {
    let site = Site::founded("one");
    let key = "notes/Größe #1?/100% & more";
    let path = site.root.path().join("value");
    std::fs::write(&path, [0xff, 0, b'\n', 0x1b]).unwrap();
    site.ok(&["put", key, "--file", path.to_str().unwrap()]);
    assert_eq!(
        site.run(&["get", key]).stdout,
        [0xff, 0, b'\n', 0x1b, b'\n']
    );
    let mut put = site
        .command(&["put", key, "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    put.stdin
        .take()
        .unwrap()
        .write_all("süß\n".as_bytes())
        .unwrap();
    assert!(put.wait().unwrap().success());
    assert_eq!(site.ok(&["get", key]), "süß\n");
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let mut site = Site::empty();
    let (code, said) = site.fails(&["get", "notes/today"]);
    assert!(code == 3 && said.contains("meshwork init"), "{said}");
    let (code, said) = site.fails(&["up"]);
    assert!(code == 1 && said.contains("meshwork init"), "{said}");
    assert!(!site.folder().exists(), "a mistyped folder is not made");
    site.ok(&[
        "init",
        "--mesh",
        "home",
        "--listen",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
    ]);
    assert_eq!(site.fails(&["init", "--mesh", "other"]).0, 6);
    let (code, said) = site.fails(&["status"]);
    assert!(code == 3 && said.contains("meshwork up"), "{said}");
    site.up();
    assert_eq!(site.fails(&["get", "no-slash"]).0, 2);
    assert_eq!(site.fails(&["get", "notes/none"]).0, 4);
    site.ok(&["incr", "notes/count"]);
    let (code, said) = site.fails(&["put", "notes/count", "x"]);
    assert_eq!(code, 6, "{said}");
    assert_eq!(site.fails(&["set", "show", "notes/count"]).0, 6);
    assert_eq!(site.fails(&["put", "notes/x", "y", "--timeout", "2h"]).0, 2);
}

#[test]
fn a_ticket_lets_one_machine_in_and_both_see_the_same() {
    let first = Site::founded("one");
    first.ok(&["put", "notes/today", "from one"]);
    let ticket = first.invite();
    let second = Site::joined("two", &ticket);
    eventually("the value arrives", || {
        let output = second.run(&["get", "notes/today", "--level", "local"]);
        (output.stdout == b"from one\n").then_some(())
    });
    second.ok(&["put", "notes/back", "from two", "--level", "all"]);
    assert_eq!(
        first.ok(&["get", "notes/back", "--level", "local"]),
        "from two\n"
    );
    let status = first.json(&["status", "--json"]);
    let names: Vec<&str> = status["status"]["members"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|member| member["name"].as_str())
        .collect();
    assert_eq!(names, ["one", "two"]);
    let shown = second.ok(&["status"]);
    assert!(
        shown.contains("two (here)") && shown.contains("one"),
        "{shown}"
    );
    let (code, said) = {
        let output = Site::empty().join("three", &ticket);
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    assert!(
        code == Some(6) && said.contains("hint:"),
        "a used ticket: {said}"
    );
}

#[test]
fn wrong_and_expired_tickets_are_refused() {
    let first = Site::founded("one");
    let ticket = first.ok(&["invite", "--expires", "1s"]);
    let ticket = ticket.trim();
    let asked = Instant::now();
    let site = Site::empty();
    for wrong in ["hello", &ticket[..ticket.len() - 9]] {
        assert_eq!(site.join("two", wrong).status.code(), Some(2), "{wrong}");
    }
    eventually("the ticket expires", || {
        (asked.elapsed() > Duration::from_millis(2_100)).then_some(())
    });
    let output = site.join("two", ticket);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
}

#[test]
fn a_killed_node_comes_back_with_what_it_had() {
    let mut site = Site::founded("one");
    site.ok(&["put", "notes/today", "kept", "--level", "local"]);
    site.signal("-KILL");
    assert!(!site.ended().success());
    assert!(file(&site.folder(), "door.addr").exists());
    let (code, said) = site.fails(&["get", "notes/today"]);
    assert!(code == 3 && said.contains("without cleaning up"), "{said}");
    site.up();
    assert_eq!(site.ok(&["get", "notes/today"]), "kept\n");
}

#[test]
fn ctrl_c_leaves_nothing_behind_and_ends_well() {
    for signal in ["-INT", "-TERM"] {
        let mut site = Site::founded("one");
        let address = std::fs::read_to_string(file(&site.folder(), "door.addr")).unwrap();
        assert!(address.starts_with("http://127.0.0.1:"), "{address}");
        site.signal(signal);
        assert!(site.ended().success());
        assert!(!file(&site.folder(), "door.addr").exists());
        assert_eq!(site.fails(&["status"]).0, 3);
    }
}

#[test]
fn a_folder_runs_one_node() {
    let site = Site::founded("one");
    let (code, said) = site.fails(&["up"]);
    let pid = site.node.as_ref().unwrap().id().to_string();
    assert!(code == 1 && said.contains(&pid), "{said}");
    site.ok(&["put", "notes/today", "still there"]);
}

#[test]
fn a_port_in_use_is_named() {
    let site = Site::empty();
    site.ok(&[
        "init",
        "--mesh",
        "home",
        "--listen",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
    ]);
    let taken = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let holder = UdpSocket::bind(&taken).unwrap();
    let (code, said) = site.fails(&["up", "--listen", &taken]);
    assert!(code == 1 && said.contains("--listen"), "{said}");
    drop(holder);
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let (code, said) = site.fails(&["up", "--http", &taken]);
    assert!(code == 1 && said.contains(&taken), "{said}");
    assert!(!file(&site.folder(), "door.addr").exists());
}

#[test]
fn changes_are_seen_as_they_happen() {
    let site = Site::founded("one");
    let mut watch = site
        .command(&["watch", "notes/", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(watch.stderr.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    assert!(said.starts_with("watching notes/"), "{said}");
    site.ok(&["put", "other/x", "unseen"]);
    site.ok(&["put", "notes/today", "seen"]);
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    let seen: Json = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&seen["key"], &seen["values"][0]["value"]),
        (&json!("notes/today"), &json!("seen"))
    );
    site.ok(&["del", "notes/today"]);
    let line = lines.next().unwrap().unwrap();
    let seen: Json = serde_json::from_str(&line).unwrap();
    assert_eq!(seen, json!({"key": "notes/today", "deleted": true}));
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn a_document_is_edited_from_scripts_and_in_an_editor() {
    let site = Site::founded("one");
    site.ok(&["doc", "edit", "notes/paper", "--append", "Grüße, world"]);
    let mut edit = site.command(&["doc", "edit", "notes/paper"]);
    edit.env("EDITOR", "sed -i s/world/mesh/");
    assert!(edit.status().unwrap().success());
    site.ok(&["doc", "edit", "notes/paper", "--append", "!"]);
    assert_eq!(site.ok(&["doc", "cat", "notes/paper"]), "Grüße, mesh!\n");
    assert_eq!(
        site.fails(&["doc", "edit", "notes/paper"]).0,
        1,
        "an editor that fails changes nothing"
    );
    assert_eq!(site.ok(&["doc", "cat", "notes/paper"]), "Grüße, mesh!\n");
    assert_eq!(site.fails(&["doc", "cat", "notes/none"]).0, 4);
}

#[test]
fn an_editing_history_becomes_a_document() {
    let site = Site::founded("one");
    let history = json!({"kind": "concurrent", "endContent": "hello, big world!", "numAgents": 2, "txns": [
        {"parents": [], "agent": 0, "patches": [[0, 0, "hello world"]]},
        {"parents": [0], "agent": 1, "patches": [[5, 0, ","]]},
        {"parents": [0], "agent": 0, "patches": [[6, 0, "big "], [15, 0, "!"]]},
    ]});
    let path = site.root.path().join("history.json");
    std::fs::write(&path, history.to_string()).unwrap();
    let path = path.to_str().unwrap();
    let imported = site.json(&["doc", "import", "notes/paper", path, "--json"]);
    assert_eq!(
        (&imported["edits"], &imported["authors"]),
        (&json!(4), &json!(2))
    );
    assert_eq!(
        site.ok(&["doc", "cat", "notes/paper"]),
        "hello, big world!\n"
    );
    assert_eq!(
        site.fails(&["doc", "import", "notes/paper", path]).0,
        6,
        "it is there already"
    );
    std::fs::write(path, history.to_string().replace("big world!", "other")).unwrap();
    assert_eq!(site.fails(&["doc", "import", "notes/other", path]).0, 6);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let site = Site::founded("one");
    let path = site.root.path().join("value");
    std::fs::write(&path, "x".repeat(400 << 10)).unwrap();
    site.ok(&["put", "notes/long", "--file", path.to_str().unwrap()]);
    let mut get = site.command(&["get", "notes/long"]);
    let mut get = get
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(get.stdout.take());
    let output = get.wait_with_output().unwrap();
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_node_that_leaves_says_whether_all_was_handed_over() {
    let mut first = Site::founded("one");
    let mut second = Site::joined("two", &first.invite());
    second.ok(&["put", "notes/today", "handed over", "--level", "local"]);
    second.ok(&["leave", "--patience", "20s"]);
    assert!(second.ended().success());
    assert_eq!(
        first.ok(&["get", "notes/today", "--level", "local"]),
        "handed over\n"
    );
    let (code, said) = first.fails(&["leave", "--patience", "1s"]);
    assert!(
        code == 5 && said.contains("keep the folder"),
        "nobody is left to take it: {said}"
    );
    assert!(first.ended().success());
}
