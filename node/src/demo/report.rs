//! The result: for people a table, for programs JSON.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanBytes;
use serde::Serialize;

use super::check::{Finding, Findings};
use super::commits::Waits;
use super::ledger::Books;
use super::node::{Node, Traffic};
use super::story::{LEAVER, NEWCOMER, Times, VICTIM, WRITERS};

/// What the demo found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether everything is as it should be.
    pub(super) holds: bool,
    pub(super) nodes: Vec<NodeReport>,
    pub(super) document: DocumentReport,
    pub(super) writes: WritesReport,
    pub(super) seconds: TimesReport,
}

/// One node.
#[derive(Debug, Serialize)]
pub(super) struct NodeReport {
    pub(super) name: String,
    /// What happened to it.
    pub(super) part: &'static str,
    /// Whether each kind of key was as it should be; absent for the node that left.
    pub(super) document: Option<bool>,
    pub(super) counters: Option<bool>,
    pub(super) sets: Option<bool>,
    pub(super) registers: Option<bool>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct DocumentReport {
    pub(super) key: String,
    pub(super) characters: usize,
    pub(super) commits: usize,
    /// From a commit's acknowledgement at its author's node to its arrival at the other author, through the other's node.
    pub(super) arrival_ms_median: f64,
    pub(super) arrival_ms_p99: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct WritesReport {
    pub(super) acknowledged: u64,
    /// Answered with an error, or not at all: may have happened.
    pub(super) unknown: u64,
    /// Acknowledged writes that some node did not show in the end, document commits included; the most of any node.
    pub(super) lost: u64,
    /// Whether all nodes showed exactly the same values.
    pub(super) all_nodes_agree: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct TimesReport {
    pub(super) death_noticed_by_first: f64,
    pub(super) death_noticed_by_all: f64,
    pub(super) back_after_restart: f64,
    pub(super) converged_after_split: f64,
    pub(super) joined_and_filled: f64,
    pub(super) handed_over_and_left: f64,
    pub(super) settled_at_the_end: f64,
    pub(super) total: f64,
}

/// What a report is made from.
#[derive(Debug)]
pub(super) struct Results<'a> {
    pub(super) nodes: &'a [Node],
    /// By node number.
    pub(super) findings: Vec<(usize, Findings)>,
    pub(super) books: &'a Books,
    pub(super) document: &'a str,
    pub(super) characters: usize,
    pub(super) commits: usize,
    pub(super) waits: Waits,
    pub(super) times: Times,
    pub(super) settled: Duration,
    pub(super) total: Duration,
}

impl Report {
    pub(super) fn new(results: Results<'_>) -> Self {
        let Results {
            findings,
            books,
            times,
            ..
        } = &results;
        let nodes = results
            .nodes
            .iter()
            .map(|node| NodeReport::new(node, findings))
            .collect();
        let first = findings.first().map(|(_, findings)| &findings.shown);
        let all_nodes_agree = findings
            .iter()
            .all(|(_, findings)| Some(&findings.shown) == first);
        let good = findings.iter().all(|(_, findings)| findings.is_good());
        let [noticed_first, noticed_all] = times.death_noticed;
        Self {
            holds: good && all_nodes_agree && !findings.is_empty() && books.acknowledged > 0,
            nodes,
            document: DocumentReport {
                key: results.document.to_owned(),
                characters: results.characters,
                commits: results.commits,
                arrival_ms_median: millis(results.waits.median),
                arrival_ms_p99: millis(results.waits.p99),
            },
            writes: WritesReport {
                acknowledged: books.acknowledged,
                unknown: books.unknown,
                lost: findings
                    .iter()
                    .map(|(_, findings)| findings.lost())
                    .max()
                    .unwrap_or(0),
                all_nodes_agree,
            },
            seconds: TimesReport {
                death_noticed_by_first: noticed_first.as_secs_f64(),
                death_noticed_by_all: noticed_all.as_secs_f64(),
                back_after_restart: times.back.as_secs_f64(),
                converged_after_split: times.converged.as_secs_f64(),
                joined_and_filled: times.joined.as_secs_f64(),
                handed_over_and_left: times.left.as_secs_f64(),
                settled_at_the_end: results.settled.as_secs_f64(),
                total: results.total.as_secs_f64(),
            },
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let Self {
            document,
            writes,
            seconds,
            ..
        } = self;
        let agree = if writes.all_nodes_agree {
            "all nodes show the same"
        } else {
            "NODES DIFFER"
        };
        let lines = [
            self.table(),
            String::new(),
            format!(
                "document      {}: {} characters, {} commits by two authors; a commit reached the other author {:.1} ms after its acknowledgement (99%: {:.0} ms)",
                document.key,
                document.characters,
                document.commits,
                document.arrival_ms_median,
                document.arrival_ms_p99
            ),
            format!(
                "other writes  {} acknowledged, {} with unknown outcome; {agree}",
                writes.acknowledged, writes.unknown
            ),
            format!("lost          {} acknowledged writes", writes.lost),
            format!(
                "kill -9       noticed by the first node after {:.2} s, by all after {:.2} s",
                seconds.death_noticed_by_first, seconds.death_noticed_by_all
            ),
            format!(
                "split         converged {:.2} s after it healed",
                seconds.converged_after_split
            ),
            format!(
                "join, leave   filled after {:.2} s, handed over after {:.2} s",
                seconds.joined_and_filled, seconds.handed_over_and_left
            ),
            format!("all in all    {:.1} s", seconds.total),
        ];
        lines.join("\n")
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header([
            "node",
            "part",
            "document",
            "counters",
            "sets",
            "registers",
            "received",
            "sent",
        ]);
        for node in &self.nodes {
            table.add_row([
                node.name.clone(),
                node.part.to_owned(),
                mark(node.document).to_owned(),
                mark(node.counters).to_owned(),
                mark(node.sets).to_owned(),
                mark(node.registers).to_owned(),
                HumanBytes(node.bytes_in).to_string(),
                HumanBytes(node.bytes_out).to_string(),
            ]);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for right in [6, 7] {
            if let Some(column) = table.column_mut(right) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.trim_fmt()
    }
}

impl NodeReport {
    fn new(node: &Node, findings: &[(usize, Findings)]) -> Self {
        let found = findings.iter().find(|(number, _)| *number == node.number);
        let good =
            |pick: fn(&Findings) -> Finding| found.map(|(_, findings)| pick(findings).is_good());
        let Traffic {
            bytes_in,
            bytes_out,
        } = node.traffic();
        Self {
            name: node.name(),
            part: part(node.number),
            document: good(|findings| findings.document),
            counters: good(|findings| findings.counters),
            sets: good(|findings| findings.sets),
            registers: good(|findings| findings.registers),
            bytes_in,
            bytes_out,
        }
    }
}

fn part(number: usize) -> &'static str {
    match number {
        VICTIM => "killed, restarted",
        LEAVER => "left",
        NEWCOMER => "joined",
        number if WRITERS.contains(&number) => "author",
        _ => "",
    }
}

const fn mark(good: Option<bool>) -> &'static str {
    match good {
        Some(true) => "ok",
        Some(false) => "WRONG",
        None => "-",
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
