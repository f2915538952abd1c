//! Strong keys, locks and leaders as people use them: real processes on loopback.
#![cfg(feature = "program")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

#[path = "program/site.rs"]
#[expect(dead_code, reason = "the tests of the program use all of it")]
mod site;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use serde_json::{Value as Json, json};

use crate::site::{Site, eventually};

/// A node alone that votes, and leads.
fn voter() -> Site {
    let mut site = Site::empty();
    let home = ["init", "--mesh", "home", "--name", "one", "--voter"];
    let at = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    site.ok(&[&home[..], &at].concat());
    site.up();
    until_led(&site);
    site
}

fn until_led(site: &Site) {
    eventually("somebody leads", || {
        site.json(&["strong", "status", "--json"])["leader"]
            .as_str()
            .map(drop)
    });
}

fn transact(site: &Site, transaction: &Json) -> Json {
    let mut txn = site.command(&["txn", "-"]);
    let mut txn = txn
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = txn.stdin.take().unwrap();
    stdin.write_all(transaction.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = txn.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A command that goes on until it is told to end, and its first line.
fn begin(site: &Site, args: &[&str]) -> (Child, String) {
    let mut command = site.command(args);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    lines.read_line(&mut line).unwrap();
    (child, line.trim().to_owned())
}

fn interrupt(child: &Child) {
    let pid = child.id().to_string();
    let told = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(told.success());
}

fn code(child: &mut Child) -> Option<i32> {
    eventually("the command ends", || child.try_wait().unwrap()).code()
}

#[test]
fn strong_keys_change_only_as_expected() {
    let site = voter();
    assert_eq!(site.fails(&["namespace", "create", "bank"]).0, 2);
    assert_eq!(site.fails(&["cas", "bank/alice", "--absent", "1"]).0, 4);
    let create = ["namespace", "create", "bank", "--strong", "--json"];
    assert_eq!(site.json(&create)["created"], true);
    assert_eq!(site.json(&create)["created"], false);
    assert_eq!(site.ok(&["namespace", "list"]), "bank\n");

    site.ok(&["put", "bank/alice", "100"]);
    assert_eq!(site.ok(&["get", "bank/alice"]), "100\n");
    site.ok(&["cas", "bank/alice", "--expect", "100", "70"]);
    let (code, said) = site.fails(&["cas", "bank/alice", "--expect", "100", "60"]);
    assert!(code == 6 && said.contains("is 70"), "{said}");
    site.ok(&["cas", "bank/bob", "--absent", "-30"]);
    let (code, said) = site.fails(&["cas", "bank/none", "--expect", "1", "2"]);
    assert!(code == 6 && said.contains("no bank/none"), "{said}");

    let transaction = json!({
        "if": [{"key": "bank/alice", "value": "70"}, {"key": "bank/none", "value": null}],
        "then": [{"put": "bank/alice", "value": {"base64": "/w=="}}, {"delete": "bank/bob"}],
        "else": [{"get": "bank/alice"}],
    });
    let done = transact(&site, &transaction);
    assert_eq!(done["succeeded"], true);
    assert_eq!(done["found"][1]["value"], "-30");
    let not_done = transact(&site, &transaction);
    assert_eq!(not_done["succeeded"], false);
    assert_eq!(not_done["found"][0]["value"], json!({"base64": "/w=="}));
    assert_eq!(not_done["found"][0]["revision"], done["revision"]);

    assert_eq!(site.run(&["get", "bank/alice"]).stdout, b"\xff\n");
    site.ok(&["del", "bank/alice"]);
    assert_eq!(site.fails(&["get", "bank/alice"]).0, 4);
    assert_eq!(site.fails(&["incr", "bank/alice"]).0, 6);
}

#[test]
fn a_lock_is_held_while_its_command_runs() {
    let site = voter();
    let run = |script| {
        let lock = ["lock", "jobs/a", "--", "sh", "-c", script];
        site.run(&lock)
    };
    let first = run("echo $FENCING_TOKEN; exit 9");
    assert_eq!(first.status.code(), Some(9));
    let (mut holder, token) = begin(&site, &["lock", "jobs/a", "--note", "me"]);
    let first = String::from_utf8(first.stdout).unwrap();
    assert!(token.parse::<u64>().unwrap() > first.trim().parse().unwrap());
    assert_eq!(site.fails(&["lock", "jobs/a", "--no-wait"]).0, 5);
    assert_eq!(site.fails(&["lock", "jobs/a", "--wait", "50ms"]).0, 5);
    let observed = site.json(&["elect", "jobs/a", "--observe", "--json"]);
    assert_eq!(observed["note"], "me");
    let held = json!({
        "if": [{"lock": "jobs/a", "token": token.parse::<u64>().unwrap()}],
    });
    assert_eq!(transact(&site, &held)["succeeded"], true);
    interrupt(&holder);
    assert_eq!(code(&mut holder), Some(0));
    assert!(run("true").status.success(), "it was given back");
    assert_eq!(transact(&site, &held)["succeeded"], false);
}

#[test]
fn ctrl_c_ends_the_command_before_the_lock_is_given_back() {
    let site = voter();
    let done = site.root.path().join("done");
    let script = format!(
        "trap 'sleep 0.3; touch {}; exit 3' TERM; echo begun; while :; do sleep 0.05; done",
        done.display()
    );
    let (mut holder, _) = begin(&site, &["lock", "jobs/a", "--", "sh", "-c", &script]);
    interrupt(&holder);
    let done = done.to_str().unwrap();
    site.ok(&["lock", "jobs/a", "--", "test", "-e", done]);
    assert_eq!(code(&mut holder), Some(3));
}

#[test]
fn a_lock_whose_node_is_gone_ends_its_command_and_is_free_in_time() {
    let mut site = voter();
    let pids = site.root.path().join("pids");
    let script = format!(
        "sleep 60 & echo $$ $! > {}; echo begun; wait",
        pids.display()
    );
    let lock = ["lock", "jobs/a", "--ttl", "1s", "--", "sh", "-c", &script];
    let (mut holder, _) = begin(&site, &lock);
    site.signal("-KILL");
    assert_eq!(code(&mut holder), Some(1));
    for pid in fs::read_to_string(pids).unwrap().split_whitespace() {
        assert!(!is_running(pid), "{pid} goes on without the lock");
    }
    site.ended();
    site.up();
    until_led(&site);
    site.ok(&["lock", "jobs/a", "--wait", "15s", "--", "true"]);
}

/// Who has ended and whom nobody asked how does not run.
fn is_running(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some(Some('Z' | 'X')))
}

#[test]
fn the_next_in_line_leads_on_another_node() {
    let first = voter();
    let second = Site::joined("two", &first.invite());
    first.ok(&["namespace", "create", "bank", "--strong"]);
    first.ok(&["put", "bank/alice", "100"]);
    eventually("the second node has heard of the namespace", || {
        let known = second.ok(&["namespace", "list"]);
        (known == "bank\n").then_some(())
    });
    assert_eq!(second.ok(&["get", "bank/alice"]), "100\n");
    second.ok(&["cas", "bank/alice", "--expect", "100", "70"]);
    assert_eq!(first.ok(&["get", "bank/alice"]), "70\n");

    assert_eq!(second.fails(&["elect", "svc/a", "--observe"]).0, 4);
    let (mut leader, said) = begin(&first, &["elect", "svc/a"]);
    assert!(said.starts_with("one leads svc/a"), "{said}");
    let next = ["elect", "svc/a", "--name", "b", "--", "sh", "-c"];
    let next = [&next[..], &["echo $FENCING_TOKEN; exit 4"]].concat();
    let mut next = second
        .command(&next)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    interrupt(&leader);
    assert_eq!(code(&mut leader), Some(0));
    assert_eq!(code(&mut next), Some(4));
}
