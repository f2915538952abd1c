//! Processes that stand still while others go on: what they say and write when they run again.
#![cfg(feature = "program")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

#[path = "program/site.rs"]
#[expect(dead_code, reason = "the tests of the program use all of it")]
mod site;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value as Json, json};

use crate::site::{PATIENCE, Site, eventually};

/// A place that is free, and the node's for good: after a restart of all of them they find each other there.
fn place() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().to_string()
}

/// Nodes that vote, once all of them do.
fn voters(count: usize) -> Vec<Site> {
    let mut first = Site::empty();
    let home = ["init", "--mesh", "home", "--name", "n0", "--voter"];
    let at = ["--http", "127.0.0.1:0", "--listen"];
    first.ok(&[&home[..], &at, &[&place()]].concat());
    first.up();
    let mut sites = vec![first];
    for n in 1..count {
        let mut site = Site::empty();
        let (ticket, name) = (sites[0].invite(), format!("n{n}"));
        let join = ["join", &ticket, "--name", &name, "--voter"];
        site.ok(&[&join[..], &at, &[&place()]].concat());
        site.up();
        sites.push(site);
    }
    for site in &sites {
        eventually("all of them vote", || {
            let status = status(site);
            let members = status["members"].as_array()?;
            let voters = members.iter().filter(|member| member["role"] == "voter");
            (voters.count() == count && status["leader"].is_string()).then_some(())
        });
    }
    sites
}

fn status(site: &Site) -> Json {
    site.json(&["strong", "status", "--json"])
}

/// The one that leads, and one that does not.
fn leader_and_other(sites: &[Site]) -> (&Site, &Site) {
    let leader = status(&sites[0])["leader"].as_str().unwrap().to_owned();
    let leads = |site: &&Site| site.json(&["status", "--json"])["id"] == leader;
    let other = sites.iter().find(|site| !leads(site)).unwrap();
    (sites.iter().find(leads).unwrap(), other)
}

/// Writes once the others have elected one of them.
fn put_in_the_end(site: &Site, value: &str) {
    eventually("the others go on", || {
        let put = site.run(&["put", "bank/account", value]);
        put.status.success().then_some(())
    });
}

/// A namespace that all of them know for a strong one.
fn bank(sites: &[Site]) {
    sites[0].ok(&["namespace", "create", "bank", "--strong"]);
    for site in sites {
        eventually("it has heard of the namespace", || {
            let known = site.ok(&["namespace", "list"]);
            (known == "bank\n").then_some(())
        });
    }
}

/// Three voters that all know of it.
fn voters_with_an_account() -> Vec<Site> {
    let sites = voters(3);
    bank(&sites);
    sites[0].ok(&["put", "bank/account", "old"]);
    sites
}

/// Begins a transaction whose answer may be long in coming.
fn begin_txn(site: &Site, transaction: &Json) -> Child {
    let mut txn = site.command(&["txn", "-"]);
    let txn = txn.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut txn = txn.stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = txn.stdin.take().unwrap();
    stdin.write_all(transaction.to_string().as_bytes()).unwrap();
    txn
}

/// Takes a lock, and says under which token, while the command goes on.
fn hold(site: &Site, ttl: &str) -> (Child, u64) {
    let lock = ["lock", "jobs/a", "--ttl", ttl, "--wait", "15s"];
    let mut lock = site.command(&lock);
    let mut holder = lock.stdout(Stdio::piped()).spawn().unwrap();
    let mut token = String::new();
    let mut lines = BufReader::new(holder.stdout.take().unwrap());
    lines.read_line(&mut token).unwrap();
    (holder, token.trim().parse().unwrap())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writes {
    IfHeld,
    Anyway,
}

fn write(value: &str, token: u64, writes: Writes) -> Json {
    let conditions = match writes {
        Writes::IfHeld => json!([{"lock": "jobs/a", "token": token}]),
        Writes::Anyway => json!([]),
    };
    json!({"if": conditions, "then": [{"put": "bank/account", "value": value}]})
}

/// A holder is paused beyond the end of its lock, and writes when it runs again, after the next holder has written. Says what is kept.
fn paused(first: &Site, second: &Site, writes: Writes) -> String {
    let (mut holder, old) = hold(second, "1s");
    second.signal("-STOP");
    let (mut next, new) = hold(first, "10s");
    assert!(new > old);
    let written = begin_txn(first, &write("second", new, Writes::IfHeld));
    let written = written.wait_with_output().unwrap();
    let written: Json = serde_json::from_slice(&written.stdout).unwrap();
    assert_eq!(written["succeeded"], true);
    let late = begin_txn(second, &write("first", old, writes));
    second.signal("-CONT");
    assert!(late.wait_with_output().unwrap().status.success());
    let told = eventually("the first holder is told", || holder.try_wait().unwrap());
    assert!(!told.success());
    let kept = first.ok(&["get", "bank/account"]);
    next.kill().unwrap();
    next.wait().unwrap();
    kept
}

#[test]
fn a_holder_that_was_paused_is_stopped_by_its_token_and_by_nothing_else() {
    let mut sites = voters(1);
    sites.push(Site::joined("other", &sites[0].invite()));
    bank(&sites);
    let [first, second] = &sites[..] else {
        panic!("two nodes");
    };
    assert_eq!(paused(first, second, Writes::IfHeld), "second\n");
    // What the token was for: without it the write of the next holder is lost.
    assert_eq!(paused(first, second, Writes::Anyway), "first\n");
}

/// A read that its node will find when it runs again.
fn begin_read(site: &Site) -> TcpStream {
    let read = |name: &str| fs::read_to_string(site.folder().join(name)).unwrap();
    let (address, token) = (read("door.addr"), read("door.token"));
    let address = address.trim().trim_start_matches("http://");
    let head = format!(
        "GET /v1/strong/keys/bank/account HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Authorization: Bearer {}\r\n\r\n",
        token.trim()
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[test]
fn a_leader_that_stood_still_answers_no_read_with_what_it_knew() {
    let sites = voters_with_an_account();
    let (leader, other) = leader_and_other(&sites);
    leader.signal("-STOP");
    put_in_the_end(other, "new");
    let reads: Vec<TcpStream> = (0..20).map(|_| begin_read(leader)).collect();
    leader.signal("-CONT");
    let mut found = 0;
    for mut read in reads {
        let mut answer = String::new();
        read.read_to_string(&mut answer).unwrap();
        assert!(!answer.contains("\"old\""), "{answer}");
        found += u32::from(answer.starts_with("HTTP/1.1 200") && answer.contains("\"new\""));
    }
    println!("{found} reads were answered in time");
    assert_eq!(leader.ok(&["get", "bank/account"]), "new\n");
}

/// Traces a process; `None` where none may be traced.
fn trace(site: &Site, args: &[&str]) -> Option<Child> {
    let pid = site.node.as_ref()?.id().to_string();
    let mut strace = Command::new("strace");
    let strace = strace.args(["-f", "-qq", "-p", &pid]).args(args).spawn();
    let mut strace = strace.ok()?;
    let attached = eventually("it is traced", || {
        let told = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let traced = !told.contains("TracerPid:\t0\n");
        let ended = strace.try_wait().unwrap().is_some();
        (traced || ended).then_some(traced)
    });
    attached.then_some(strace)
}

/// Lets every flush of a process fail from now on.
fn fail_flushes(site: &Site) -> Option<Child> {
    let inject = "inject=fdatasync,fsync:error=EIO";
    let flushes = ["-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e"];
    trace(site, &[&flushes[..], &[inject]].concat())
}

#[test]
fn a_voter_whose_disk_fails_votes_and_acknowledges_no_more() {
    let sites = voters_with_an_account();
    let (leader, other) = leader_and_other(&sites);
    let Some(mut strace) = fail_flushes(leader) else {
        eprintln!("SKIPPED: strace is missing, or may trace nothing");
        return;
    };
    put_in_the_end(other, "new");
    let out = eventually("it says that it is out", || {
        status(leader)["out"].as_str().map(str::to_owned)
    });
    assert!(out.contains("restart"), "{out}");
    assert_ne!(
        status(other)["leader"],
        leader.json(&["status", "--json"])["id"]
    );
    let (_, said) = leader.fails(&["put", "notes/here", "x"]);
    assert!(said.contains("restart the node on a sound disk"), "{said}");
    // What it asks of the others needs no disk of its own.
    assert_eq!(leader.ok(&["get", "bank/account"]), "new\n");
    leader.signal("-KILL");
    strace.wait().unwrap();
}

/// Makes every flush wait for a while before it happens, and notes what is written.
fn delay_flushes(site: &Site) -> Option<Child> {
    let log = written(site);
    let writes = ["-y", "-s", "0", "-e", "trace=write,fdatasync", "-e"];
    let to = [
        "inject=fdatasync:delay_enter=50ms",
        "-o",
        log.to_str().unwrap(),
    ];
    trace(site, &[&writes[..], &to].concat())
}

fn written(site: &Site) -> PathBuf {
    site.root.path().join("written")
}

/// What was written to journals after the last flush of each, by what `strace` noted, in bytes.
fn unflushed(noted: &str) -> BTreeMap<PathBuf, u64> {
    let mut bytes = BTreeMap::new();
    // A call that others interrupt is noted in two lines.
    let mut begun = BTreeMap::new();
    for line in noted.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let call = call.trim_start();
        let what = if call.starts_with("<...") {
            begun.remove(thread)
        } else {
            let file = call
                .split_once('<')
                .and_then(|(_, file)| file.split_once('>'));
            file.map(|(file, _)| (call.starts_with("write("), file))
        };
        let Some((writes, file)) = what.filter(|(_, file)| file.ends_with(".jnl")) else {
            continue;
        };
        let came = call.rsplit_once(" = ").map(|(_, came)| {
            let count = came.split(' ').next().unwrap_or_default();
            count.parse::<u64>()
        });
        match came {
            Some(Ok(count)) if writes => *bytes.entry(PathBuf::from(file)).or_default() += count,
            Some(Ok(_)) => drop(bytes.remove(Path::new(file))),
            // The power went.
            Some(Err(_)) => {}
            None => drop(begun.insert(thread, (writes, file))),
        }
    }
    bytes
}

/// Takes from the disk what no flush has covered: all of it, or one part of so many, as when the power goes while it is written.
fn forget_unflushed(site: &Site, share: u64) {
    for (journal, bytes) in unflushed(&fs::read_to_string(written(site)).unwrap()) {
        let file = fs::File::options().write(true).open(&journal).unwrap();
        let kept = file.metadata().unwrap().len() - bytes / share;
        file.set_len(kept).unwrap();
    }
}

/// Each term has one leader at most.
fn note_leaders(sites: &[Site], leaders: &mut BTreeMap<u64, String>) {
    for site in sites {
        let status = status(site);
        if let Some(leader) = status["leader"].as_str() {
            let term = status["term"].as_u64().unwrap();
            let known = leaders.entry(term).or_insert_with(|| leader.to_owned());
            assert_eq!(known, leader, "two lead in term {term}");
        }
    }
}

#[test]
fn what_was_acknowledged_is_there_after_the_power_went_everywhere() {
    let mut sites = voters_with_an_account();
    let mut acknowledged = Vec::new();
    let mut leaders = BTreeMap::new();
    for (round, share) in [1, 2, 1, 3].into_iter().enumerate() {
        let straces: Option<Vec<Child>> = sites.iter().map(delay_flushes).collect();
        let Some(straces) = straces else {
            eprintln!("SKIPPED: strace is missing, or may trace nothing");
            return;
        };
        for n in 0..=round + 2 {
            let key = format!("bank/{round}-{n}");
            sites[n % 3].ok(&["put", &key, "here"]);
            acknowledged.push(key);
        }
        // At this moment: what is on one disk at least is still on its way to others.
        for site in &mut sites {
            site.node.as_mut().unwrap().kill().unwrap();
        }
        for (site, mut strace) in sites.iter_mut().zip(straces) {
            site.ended();
            strace.wait().unwrap();
            forget_unflushed(site, share);
            site.up();
        }
        eventually("they have elected one of them", || {
            let mut all = sites.iter();
            all.all(|site| status(site)["leader"].is_string())
                .then_some(())
        });
        note_leaders(&sites, &mut leaders);
        for key in &acknowledged {
            let found = sites[round % 3].ok(&["get", key]);
            assert_eq!(found, "here\n", "{key} in round {round}");
        }
    }
}
