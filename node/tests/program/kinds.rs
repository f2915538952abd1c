//! Values of every kind from the command line.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::Stdio;

use serde_json::{Value as Json, json};

use crate::site::Site;

#[test]
fn a_list_is_written_reordered_and_shown() {
    let site = Site::founded("one");
    let list = |args: &[&str]| site.ok(&[&["list"], args].concat());
    let shown = || list(&["show", "tasks/x"]);
    list(&["add", "tasks/x", "tea", "call", "--", "-odd"]);
    list(&["add", "tasks/x", "up", "wash", "--at", "1"]);
    assert_eq!(shown(), "up\nwash\ntea\ncall\n-odd\n");
    list(&["move", "tasks/x", "1", "5"]);
    list(&["move", "tasks/x", "3", "1"]);
    assert_eq!(shown(), "call\nwash\ntea\n-odd\nup\n");
    let names = list(&["show", "tasks/x", "--names"]);
    let (tea, value) = names.lines().nth(2).unwrap().split_once("  ").unwrap();
    assert_eq!(value, "tea");
    list(&["move", "tasks/x", tea, "1"]);
    list(&["set", "tasks/x", tea, "green tea"]);
    list(&["rm", "tasks/x", "2", "4", "3"]);
    assert_eq!(shown(), "green tea\nup\n");
    assert_eq!(site.ok(&["get", "tasks/x"]), "green tea\nup\n");
    let whole = site.json(&["list", "show", "tasks/x", "--json"]);
    assert_eq!(
        whole["value"][0],
        json!({"element": tea, "value": "green tea"})
    );

    for (code, args) in [
        (4, &["list", "rm", "tasks/x", "3"][..]),
        (4, &["list", "set", "tasks/x", "nobody:7", "x"]),
        (4, &["list", "add", "tasks/x", "x", "--at", "0"]),
        (4, &["list", "show", "tasks/none"]),
    ] {
        assert_eq!(site.fails(args).0, code, "{args:?}");
    }
    site.ok(&["incr", "tasks/count"]);
    assert_eq!(site.fails(&["list", "add", "tasks/count", "x"]).0, 6);
    assert_eq!(shown(), "green tea\nup\n");
}

/// The operations that `meshwork op --help` lists, as (kind, operation), with what stands for an id put in.
fn listed(site: &Site) -> Vec<(String, Json)> {
    let help = site.ok(&["op", "--help"]);
    let lines = help.lines().filter(|line| !line.contains("meshwork op "));
    let mut kind = "";
    let mut listed = Vec::new();
    for (before, op) in lines.filter_map(|line| line.split_once("{\"op\"")) {
        if !before.trim().is_empty() {
            kind = before.trim();
        }
        let op = serde_json::from_str(&format!("{{\"op\"{op}")).unwrap();
        listed.push((kind.to_owned(), op));
    }
    listed
}

#[test]
fn every_operation_that_the_help_lists_does_what_it_says() {
    let site = Site::founded("one");
    let replica = site.json(&["status", "--json"])["status"]["members"][0]["replica"].clone();
    let key = |kind: &str| format!("kinds/{kind}");
    let element = |key: &str| {
        let list = site.json(&["list", "show", key, "--json"]);
        list["value"][0]["element"].clone()
    };
    let operations = listed(&site);
    let mut made = BTreeSet::new();
    for (kind, op) in &operations {
        let mut op = op.clone();
        for (_, value) in op.as_object_mut().unwrap() {
            match value.as_str() {
                Some("REPLICA") => *value = replica.clone(),
                Some("ELEMENT") => *value = element(&key(kind)),
                _ => {}
            }
        }
        site.ok(&["op", &key(kind), &op.to_string()]);
        if kind != "any" && made.insert(kind) {
            let shown = site.json(&["get", &key(kind), "--json"]);
            assert_eq!(shown["values"][0]["kind"], **kind, "{op}");
        }
    }
    let shown: BTreeMap<&str, &str> = [
        ("bounded-counter", "99\n"),
        ("custom:7", "\u{1}\u{2}\n"),
        ("dw-flag", "on\n"),
        ("fenced", "tea\n"),
        ("g-set", "red\n"),
        ("min", "-3\n"),
        ("rw-set", "ann\n"),
        ("sequence", "drink it\n"),
    ]
    .into();
    for (kind, value) in shown {
        assert_eq!(site.ok(&["get", &key(kind)]), value, "{kind}");
    }
    let described: Json =
        serde_json::from_str(include_str!("../../src/doors/openapi.json")).unwrap();
    let described = described["components"]["schemas"]["Op"]["oneOf"]
        .as_array()
        .unwrap();
    let described: BTreeSet<&str> = described
        .iter()
        .filter_map(|op| op["properties"]["op"]["const"].as_str())
        .collect();
    let listed: BTreeSet<&str> = operations
        .iter()
        .filter_map(|(_, op)| op["op"].as_str())
        .collect();
    assert_eq!(listed, described);
}

#[test]
fn an_operation_that_is_refused_says_why() {
    let site = Site::founded("one");
    let op = |key: &str, op: &str| site.fails(&["op", key, op]);
    site.ok(&["op", "seats/x", r#"{"op":"deposit","amount":2}"#]);
    let (code, said) = op("seats/x", r#"{"op":"withdraw","amount":3}"#);
    assert!(code == 6 && said.contains("rights for 2"), "{said}");
    let (code, said) = op("seats/x", "{'op':'deposit'}");
    assert!(code == 2 && said.contains("--help"), "{said}");
    let (code, said) = op("seats/x", r#"{"op":"explode"}"#);
    assert!(code == 6 && said.contains("put_fenced"), "{said}");
    let mut typed = site
        .command(&["op", "seats/max", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let number = br#"{"op":"max","number":9223372036854775807}"#;
    typed.stdin.take().unwrap().write_all(number).unwrap();
    let answer = typed.wait_with_output().unwrap();
    let answer: Json = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!(answer, json!({"acknowledged": 1}));
    assert_eq!(site.ok(&["get", "seats/max"]), "9223372036854775807\n");
}
