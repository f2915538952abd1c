//! Compares what a node shows with what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meshwork_crdt::{CausalContext, Limits, Object};
use serde_json::Value as Json;

use super::commits::{Commit, Commits};
use super::ledger::Books;
use super::load::NAMESPACE;
use super::node::Node;
use crate::cli::client::Door;
use crate::cli::exit::{Exit, Failure};

/// What the document must be in the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    /// As `namespace/name`.
    pub(super) document: &'a str,
    pub(super) text: &'a str,
    pub(super) commits: &'a Commits,
}

/// How one node's view differs from the books.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    pub(super) document: Finding,
    pub(super) counters: Finding,
    pub(super) sets: Finding,
    pub(super) registers: Finding,
    /// One of the missing elements, to know what to look for.
    pub(super) example: Option<String>,
    /// Everything that was shown, so that nodes can be compared.
    pub(super) shown: BTreeMap<String, BTreeSet<String>>,
}

/// How one kind of key differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Finding {
    /// Acknowledged and not there.
    pub(super) lost: u64,
    /// There, and never written.
    pub(super) invented: u64,
    /// Whether the document is another text than it should be.
    pub(super) other_text: bool,
}

impl Finding {
    pub(super) const fn is_good(&self) -> bool {
        self.lost == 0 && self.invented == 0 && !self.other_text
    }
}

impl Findings {
    pub(super) const fn is_good(&self) -> bool {
        self.document.is_good()
            && self.counters.is_good()
            && self.sets.is_good()
            && self.registers.is_good()
    }

    /// What is wrong, in words; nothing when all is good.
    pub(super) fn complaints(&self) -> Vec<String> {
        let kinds = [
            ("document", self.document),
            ("counters", self.counters),
            ("sets", self.sets),
            ("registers", self.registers),
        ];
        let wrong = kinds.into_iter().filter(|(_, finding)| !finding.is_good());
        wrong
            .map(
                |(
                    kind,
                    Finding {
                        lost,
                        invented,
                        other_text,
                    },
                )| {
                    let text = if other_text { ", another text" } else { "" };
                    let example = self.example.as_deref().filter(|_| kind == "sets");
                    let example =
                        example.map_or_else(String::new, |example| format!(", such as {example}"));
                    format!("{kind}: {lost} missing{example}, {invented} never written{text}")
                },
            )
            .collect()
    }

    pub(super) const fn lost(&self) -> u64 {
        self.document.lost + self.counters.lost + self.sets.lost + self.registers.lost
    }
}

/// How long one read may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads everything through one node.
pub(super) fn examine(
    node: &Node,
    books: &Books,
    expected: Expected<'_>,
    level: &str,
) -> Result<Findings, Failure> {
    let door = node.door()?;
    let mut findings = Findings::default();
    for (name, sum) in &books.counters {
        let value = shown(&door, name, "counter", level)?;
        let total = value
            .iter()
            .filter_map(|text| text.parse::<i64>().ok())
            .sum();
        findings.counters.lost += sum.lost(total);
        findings.counters.invented += sum.invented(total);
        findings.shown.insert(name.clone(), value);
    }
    for (name, elements) in &books.sets {
        let present = shown(&door, name, "set", level)?;
        findings.sets.lost += elements.lost(&present);
        let missing = elements.acknowledged.difference(&present).next();
        findings.example = findings
            .example
            .take()
            .or_else(|| missing.map(|element| format!("{element} in {name}")));
        findings.sets.invented += elements.invented(&present);
        findings.shown.insert(name.clone(), present);
    }
    for (name, sequence) in &books.registers {
        let present = shown(&door, name, "register", level)?;
        let siblings = numbers(&present);
        findings.registers.lost += sequence.lost(&siblings);
        findings.registers.invented += sequence.invented(&siblings);
        findings.shown.insert(name.clone(), present);
    }
    findings.document = examine_document(&door, expected, level)?;
    Ok(findings)
}

fn examine_document(door: &Door, expected: Expected<'_>, level: &str) -> Result<Finding, Failure> {
    let object = document_object(door, expected.document, level)?;
    let (mut found, mut invented) = (BTreeSet::new(), 0);
    for (_, chunk) in object
        .as_document()
        .into_iter()
        .flat_map(|document| document.chunks())
    {
        match expected.commits.find(chunk) {
            Some(Commit { author, number }) => drop(found.insert((author, number))),
            None => invented += 1,
        }
    }
    let lost = expected.commits.len().saturating_sub(found.len()) as u64;
    let path = format!(
        "docs/{}?level={level}&timeout_ms={}",
        expected.document,
        PATIENCE.as_millis()
    );
    // A text with something missing need not be built to know that it is another.
    let other_text = lost > 0 || {
        let answer = door.get(&path, PATIENCE)?;
        answer.get("text").and_then(Json::as_str) != Some(expected.text)
    };
    Ok(Finding {
        lost,
        invented,
        other_text,
    })
}

/// Whether a node shows all that was acknowledged by some moment. Counters are not looked at: what was added since hides what is missing.
pub(super) fn is_caught_up(
    node: &Node,
    books: &Books,
    document: &str,
    version: &CausalContext,
) -> Result<bool, Failure> {
    let door = node.door()?;
    for (name, elements) in &books.sets {
        if elements.lost(&shown(&door, name, "set", "one")?) > 0 {
            return Ok(false);
        }
    }
    for (name, sequence) in &books.registers {
        if sequence.lost(&numbers(&shown(&door, name, "register", "one")?)) > 0 {
            return Ok(false);
        }
    }
    Ok(document_object(&door, document, "one")?
        .version()
        .is_superset(version))
}

/// The document as nodes keep it: all its chunks.
pub(super) fn document_object(door: &Door, document: &str, level: &str) -> Result<Object, Failure> {
    let path = format!(
        "docs/{document}/missing?level={level}&timeout_ms={}",
        PATIENCE.as_millis()
    );
    let bytes = match door.post_bytes(&path, &CausalContext::default().encode(), PATIENCE) {
        Ok(bytes) if bytes.is_empty() => return Ok(Object::new()),
        Err(failure) if failure.exit == Exit::NotFound => return Ok(Object::new()),
        other => other?,
    };
    Object::decode(&bytes, &Limits::DEFAULT)
        .map_err(|error| Failure::from_error(Exit::Failed, &error))
}

/// What a node shows for one key: a counter's value, a set's elements, a register's concurrent values; nothing where the key is absent.
fn shown(door: &Door, name: &str, kind: &str, level: &str) -> Result<BTreeSet<String>, Failure> {
    let path = format!(
        "keys/{NAMESPACE}/{name}?level={level}&timeout_ms={}",
        PATIENCE.as_millis()
    );
    let answer = match door.get(&path, PATIENCE) {
        Err(failure) if failure.exit == Exit::NotFound => return Ok(BTreeSet::new()),
        other => other?,
    };
    let values = answer.get("values").and_then(Json::as_array);
    let of_kind = |value: &&Json| value.get("kind").and_then(Json::as_str) == Some(kind);
    let Some(value) = values.into_iter().flatten().find(of_kind) else {
        return Ok(BTreeSet::new());
    };
    let mut texts = BTreeSet::new();
    for part in [value.get("value"), value.get("siblings")]
        .into_iter()
        .flatten()
    {
        match part {
            Json::Array(all) => texts.extend(all.iter().map(text)),
            one @ (Json::Null
            | Json::Bool(_)
            | Json::Number(_)
            | Json::String(_)
            | Json::Object(_)) => {
                texts.insert(text(one));
            }
        }
    }
    Ok(texts)
}

fn text(json: &Json) -> String {
    json.as_str()
        .map_or_else(|| json.to_string(), str::to_owned)
}

fn numbers(texts: &BTreeSet<String>) -> BTreeSet<u64> {
    // What is no number was never written: 0 is no value that anybody writes.
    texts.iter().map(|text| text.parse().unwrap_or(0)).collect()
}
