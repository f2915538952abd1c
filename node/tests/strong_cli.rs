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
use std::sync::mpsc::{Receiver, sync_channel};

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
fn numbers_and_ids_are_drawn_once() {
    let site = voter();
    assert_eq!(site.ok(&["strong", "sequence", "billing/a"]), "1\n");
    let more = ["strong", "sequence", "billing/a", "--count", "3"];
    assert_eq!(site.ok(&more), "2\n3\n4\n");
    let ids = site.ok(&["strong", "id", "--count", "1000"]) + &site.ok(&["strong", "id"]);
    let ids: Vec<u64> = ids.lines().map(|id| id.parse().unwrap()).collect();
    assert!(ids.len() == 1_001 && ids.is_sorted_by(|a, b| a < b));
    assert_eq!(site.fails(&["strong", "id", "--count", "0"]).0, 2);
}

#[test]
fn changes_of_strong_keys_and_leaders_are_followed() {
    let site = voter();
    site.ok(&["namespace", "create", "bank", "--strong"]);
    site.ok(&["put", "bank/alice", "1"]);
    let (mut watch, changes) = follow(&site, &["watch", "bank/"]);
    let (mut elect, leaders) = follow(&site, &["elect", "svc/a", "--follow"]);
    assert_eq!(line(&leaders), "nobody leads svc/a");
    // Until it watches, nothing can be seen to have been seen.
    let put = |value: &str| site.ok(&["put", "bank/alice", value]);
    let told = eventually("the watch has begun", || {
        put("2");
        changes.try_recv().ok()
    });
    assert_eq!(told, "bank/alice = 2");
    site.ok(&["del", "bank/alice"]);
    while line(&changes) != "bank/alice (deleted)" {}
    let (mut leader, _) = begin(&site, &["elect", "svc/a", "--name", "me"]);
    assert!(line(&leaders).starts_with("me leads svc/a (token "));
    interrupt(&leader);
    assert_eq!(code(&mut leader), Some(0));
    assert_eq!(line(&leaders), "nobody leads svc/a");
    for child in [&mut watch, &mut elect] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// A command that goes on, and its lines as they come.
fn follow(site: &Site, args: &[&str]) -> (Child, Receiver<String>) {
    let mut child = site.command(args).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (tell, told) = sync_channel(64);
    std::thread::spawn(move || {
        lines
            .map_while(Result::ok)
            .try_for_each(|line| tell.send(line))
    });
    (child, told)
}

fn line(lines: &Receiver<String>) -> String {
    lines.recv_timeout(site::PATIENCE).unwrap()
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

/// A node that joins and votes.
fn another_voter(name: &str, first: &Site) -> Site {
    let mut site = Site::empty();
    let ticket = first.invite();
    let join = ["join", &*ticket, "--name", name, "--voter"];
    let at = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    site.ok(&[&join[..], &at].concat());
    site.up();
    site
}

#[test]
fn a_voter_that_is_left_alone_says_what_it_has_and_how_old_that_is() {
    let mut first = voter();
    let mut second = another_voter("two", &first);
    let third = another_voter("three", &first);
    first.ok(&["namespace", "create", "bank", "--strong"]);
    first.ok(&["put", "bank/alice", "100"]);
    eventually("all three vote", || {
        let status = third.json(&["strong", "status", "--json"]);
        let members = status["members"].as_array().unwrap();
        let voters = members.iter().filter(|member| member["role"] == "voter");
        (voters.count() == 3).then_some(())
    });
    assert_eq!(third.ok(&["get", "bank/alice"]), "100\n");
    let stale = ["get", "bank/alice", "--stale", "--json"];
    let fresh = third.json(&stale);
    assert_eq!(fresh["value"], "100");
    assert!(fresh["state_revision"].as_u64().unwrap() >= fresh["revision"].as_u64().unwrap());
    for site in [&mut first, &mut second] {
        site.signal("-KILL");
        site.ended();
    }
    eventually("it is alone, and says so", || {
        let (code, _) = third.fails(&["get", "bank/alice", "--timeout", "300ms"]);
        assert_eq!(code, 5);
        let age = third.json(&stale)["age_ms"].as_u64().unwrap();
        (age > 2_000).then_some(())
    });
    let shown = third.run(&["get", "bank/alice", "--stale"]);
    assert_eq!(shown.stdout, b"100\n");
    let said = String::from_utf8(shown.stderr).unwrap();
    assert!(said.contains("as of revision"), "{said}");
    assert_eq!(third.fails(&["get", "bank/bob", "--stale"]).0, 4);
    let (code, said) = third.fails(&["get", "notes/today", "--stale"]);
    assert!(code == 4 && said.contains("no strong namespace"), "{said}");
}

#[test]
fn what_was_backed_up_is_there_in_a_new_mesh_and_tokens_go_on() {
    let old = voter();
    let other = Site::joined("two", &old.invite());
    old.ok(&["namespace", "create", "bank", "--strong"]);
    let long = "7".repeat(100_000);
    for n in 0..8 {
        old.ok(&["put", &format!("bank/{n}"), &long]);
    }
    for _ in 0..3 {
        old.ok(&["lock", "jobs/a", "--", "true"]);
    }
    let (mut holder, token) = begin(&old, &["lock", "jobs/a"]);
    let token: u64 = token.parse().unwrap();
    let file = old.root.path().join("bank.strong");
    let path = file.to_str().unwrap();
    // A node that does not vote asks the one that does.
    eventually("the second node has heard of the group", || {
        let heard = other.ok(&["namespace", "list"]) == "bank\n";
        heard.then_some(())
    });
    let written = other.json(&["strong", "backup", path, "--json"]);
    assert_eq!(written["keys"], 8);
    assert_eq!(written["token"], token);
    let refused = other.fails(&["strong", "backup", path]);
    assert!(
        refused.0 == 6 && refused.1.contains("--force"),
        "{refused:?}"
    );
    old.ok(&["strong", "backup", path, "--force"]);
    interrupt(&holder);
    assert_eq!(code(&mut holder), Some(0));

    let (code, said) = old.fails(&["strong", "restore", path]);
    assert!(code == 6 && said.contains("holds something"), "{said}");
    let new = voter();
    let damaged = old.root.path().join("damaged");
    let mut bytes = fs::read(&file).unwrap();
    bytes[400_000] ^= 1;
    fs::write(&damaged, &bytes).unwrap();
    let (code, said) = new.fails(&["strong", "restore", damaged.to_str().unwrap()]);
    assert!(code == 6 && said.contains("damaged"), "{said}");

    let restored = new.json(&["strong", "restore", path, "--json"]);
    let revision = |json: &Json| json["revision"].as_u64().unwrap();
    assert!(revision(&restored) > revision(&written));
    assert_eq!(new.ok(&["get", "bank/7"]), format!("{long}\n"));
    assert_eq!(new.ok(&["namespace", "list"]), "bank\n");
    let next = fencing_token(&new);
    assert!(next > token, "{next} after {token}");
    let (code, said) = new.fails(&["strong", "restore", path]);
    assert!(code == 6 && said.contains("holds something"), "{said}");
}

#[test]
fn an_only_voter_whose_folder_was_restored_begins_anew_from_a_backup() {
    let mut voter = voter();
    let other = Site::joined("two", &voter.invite());
    voter.ok(&["namespace", "create", "bank", "--strong"]);
    voter.ok(&["put", "bank/alice", "100"]);
    let backup = voter.root.path().join("bank.strong");
    let backup = backup.to_str().unwrap();
    voter.ok(&["strong", "backup", backup]);
    let (code, said) = voter.fails(&["strong", "reset", "--yes"]);
    assert!(code == 6 && said.contains("has a part"), "{said}");
    eventually("both have heard of each other and the group", || {
        let heard = other.ok(&["namespace", "list"]) == "bank\n";
        (heard && voter.alive() == 2).then_some(())
    });
    voter.signal("-INT");
    assert!(voter.ended().success());
    let older = voter.root.path().join("older");
    let folder = voter.folder();
    let copied = Command::new("cp")
        .arg("-a")
        .args([&folder, &older])
        .status();
    assert!(copied.unwrap().success());

    voter.up();
    until_led(&voter);
    let token = fencing_token(&voter);
    voter.signal("-KILL");
    voter.ended();
    fs::remove_dir_all(&folder).unwrap();
    fs::rename(&older, &folder).unwrap();
    voter.up();
    let status = voter.json(&["strong", "status", "--json"]);
    let out = status["out"].as_str().unwrap();
    assert!(out.contains("meshwork strong reset"), "{out}");
    let (code, said) = voter.fails(&["strong", "reset"]);
    assert!(code == 6 && said.contains("--yes"), "{said}");
    voter.ok(&["strong", "reset", "--yes"]);
    until_led(&voter);
    // Nobody writes past the group what it does not hold yet.
    eventually("the other node follows", || {
        let (code, said) = other.fails(&["put", "bank/alice", "1"]);
        assert_ne!(code, 0, "{said}");
        said.contains("namespace").then_some(())
    });
    voter.ok(&["strong", "restore", backup]);
    assert_eq!(other.ok(&["get", "bank/alice"]), "100\n");
    assert!(fencing_token(&other) > token);
}

/// Of a lock that nobody holds.
fn fencing_token(site: &Site) -> u64 {
    let lock = ["lock", "jobs/a", "--no-wait", "--"];
    let command = ["sh", "-c", "echo $FENCING_TOKEN"];
    let token = site.ok(&[&lock[..], &command].concat());
    token.trim().parse().unwrap()
}
