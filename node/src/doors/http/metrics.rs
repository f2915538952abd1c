//! `/metrics`: the text format of Prometheus, version 0.0.4.
//!
//! Written by hand, since nearly all figures are snapshots of what other parts count already: a registry would only be
//! filled anew for every page.

use std::fmt::{Display, Write};

use meshwork_sync::Counts;

use super::tally::{Answered, Tally, reason_name};
use crate::core::Status;
use crate::net::{NetStats, RefuseReason};
use crate::strong::StrongStatus;

/// What the page is labelled with.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page. Without a status the node has stopped, and only what the door itself knows is shown.
pub(super) fn page(
    status: Option<&Status>,
    net: &NetStats,
    tally: &Tally,
    started_s: u64,
) -> String {
    let mut page = Page::default();
    page.gauge(
        "process_start_time_seconds",
        "When the process opened its door, in seconds since 1970.",
        started_s,
    );
    page.family(
        "meshwork_build_info",
        GAUGE,
        "The release that runs; always 1.",
    )
    .labelled(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.gauge(
        "meshwork_up",
        "Whether the node behind the door runs.",
        u8::from(status.is_some()),
    );
    if let Some(status) = status {
        members_and_partitions(&mut page, status);
        holdings(&mut page, status);
        strong(&mut page, &status.strong);
        counts(&mut page, &status.counts);
    }
    network(&mut page, net);
    requests(&mut page, &tally.snapshot());
    page.text
}

fn members_and_partitions(page: &mut Page, status: &Status) {
    page.family(
        "meshwork_members",
        GAUGE,
        "Members that this node knows, itself included, by state.",
    );
    for state in ["alive", "suspect", "down", "left"] {
        let members = status
            .members
            .iter()
            .filter(|member| member.state == state)
            .count();
        page.labelled(&[("state", state)], members);
    }
    let placed = status
        .members
        .iter()
        .find(|member| member.me)
        .map_or(0, |me| me.partitions);
    page.family("meshwork_partitions", GAUGE, "Partitions here by state: held are placed here and complete, filling are placed here and still compared, leaving are handed over.")
        .labelled(&[("state", "held")], placed.saturating_sub(status.partitions_filling))
        .labelled(&[("state", "filling")], status.partitions_filling)
        .labelled(&[("state", "leaving")], status.partitions_leaving);
}

fn holdings(page: &mut Page, status: &Status) {
    page.gauge("meshwork_objects", "Objects held here.", status.objects);
    page.gauge(
        "meshwork_outbox_deltas",
        "Deltas that wait for peers.",
        status.outbox_deltas,
    );
    page.gauge(
        "meshwork_outbox_bytes",
        "Bytes of the deltas that wait for peers.",
        status.outbox_bytes,
    );
    page.gauge(
        "meshwork_store_failed",
        "Whether the store refuses writes.",
        u8::from(status.store_failure.is_some()),
    );
}

/// Nothing on a node that is no part of the strong group.
fn strong(page: &mut Page, status: &StrongStatus) {
    page.gauge(
        "meshwork_strong_out",
        "Whether this node takes no part in its strong group although it should.",
        u8::from(status.out.is_some()),
    );
    if status.role.is_empty() || status.role == "none" {
        return;
    }
    page.gauge(
        "meshwork_strong_term",
        "The strong group's term: it grows with each election.",
        status.term,
    );
    page.gauge(
        "meshwork_strong_revision",
        "Commands of the strong group applied here.",
        status.revision,
    );
    page.gauge(
        "meshwork_strong_log_bytes",
        "Bytes of the strong group's log here.",
        status.log_bytes,
    );
    let lag = status.members.iter().filter_map(|member| member.lag).max();
    if let Some(lag) = lag {
        page.gauge(
            "meshwork_strong_lag_entries",
            "Entries that the member furthest behind lacks; on the leader alone.",
            lag,
        );
    }
}

fn counts(page: &mut Page, counts: &Counts) {
    for (name, help, count) in COUNTS {
        page.family(&format!("meshwork_{name}_total"), COUNTER, help)
            .plain(count(counts));
    }
}

/// A counter's name, its help and where it is.
type Count = (&'static str, &'static str, fn(&Counts) -> u64);

/// The counters of the replication engine.
const COUNTS: &[Count] = &[
    ("writes", "Writes coordinated here and merged.", |counts| {
        counts.writes
    }),
    ("reads", "Reads answered here.", |counts| counts.reads),
    (
        "items_received",
        "Items merged that peers pushed.",
        |counts| counts.items_received,
    ),
    (
        "items_refused",
        "Items that peers pushed and this node refused.",
        |counts| counts.items_refused,
    ),
    (
        "items_refused_by_peers",
        "Items that this node pushed and peers refused.",
        |counts| counts.items_refused_by_peers,
    ),
    (
        "clock_ahead",
        "Stamps refused since they lay too far ahead of the clock.",
        |counts| counts.clock_ahead,
    ),
    (
        "clock_ahead_by_peers",
        "Own stamps that peers refused since they lay too far ahead of their clocks.",
        |counts| counts.clock_ahead_by_peers,
    ),
    (
        "read_repairs",
        "Objects sent to replicas that a read found behind.",
        |counts| counts.read_repairs,
    ),
    (
        "comparisons",
        "Comparisons with peers carried through.",
        |counts| counts.comparisons,
    ),
    (
        "differences",
        "Differences that comparisons found.",
        |counts| counts.differences,
    ),
    (
        "listings",
        "Comparisons that fell back to listing.",
        |counts| counts.listings,
    ),
    (
        "damaged_records",
        "Damaged records met in the store.",
        |counts| counts.damaged,
    ),
    (
        "malformed_messages",
        "Messages refused as malformed.",
        |counts| counts.malformed,
    ),
    (
        "timeouts",
        "Requests that ran into their deadline.",
        |counts| counts.timeouts,
    ),
];

fn network(page: &mut Page, net: &NetStats) {
    page.gauge("meshwork_net_links", "Members connected now.", net.links);
    page.family(
        "meshwork_net_bytes_total",
        COUNTER,
        "Bytes of frames to and from members.",
    )
    .labelled(&[("direction", "in")], net.bytes_in)
    .labelled(&[("direction", "out")], net.bytes_out);
    page.family(
        "meshwork_net_frames_total",
        COUNTER,
        "Frames to and from members.",
    )
    .labelled(&[("direction", "in")], net.frames_in)
    .labelled(&[("direction", "out")], net.frames_out);
    page.family("meshwork_net_dials_total", COUNTER, "Dials begun.")
        .plain(net.dials);
    page.family(
        "meshwork_net_dials_failed_total",
        COUNTER,
        "Dials that did not reach whom they meant.",
    )
    .plain(net.dials_failed);
    page.family(
        "meshwork_net_handshakes_dropped_total",
        COUNTER,
        "Unproved connections dropped to make room for newer ones.",
    )
    .plain(net.handshakes_dropped);
    page.family(
        "meshwork_net_refused_total",
        COUNTER,
        "Connections that this node refused, by reason.",
    );
    by_reason(page, &net.refused);
    page.family(
        "meshwork_net_refused_by_peers_total",
        COUNTER,
        "Connections that others refused to this node, by reason.",
    );
    by_reason(page, &net.refused_by_peers);
}

/// All reasons, since a series that appears with its first event hides that event from `rate()`.
fn by_reason(page: &mut Page, counted: &[(RefuseReason, u64)]) {
    for reason in RefuseReason::ALL {
        let count = counted.iter().find(|(found, _)| *found == reason);
        page.labelled(
            &[("reason", reason_name(reason))],
            count.map_or(0, |(_, count)| *count),
        );
    }
}

fn requests(page: &mut Page, answered: &Answered) {
    page.family(
        "meshwork_http_requests_total",
        COUNTER,
        "Requests answered by the HTTP door, by route class and status.",
    );
    for ((route, status), count) in &answered.requests {
        page.labelled(
            &[("route", route.name()), ("status", &status.to_string())],
            count,
        );
    }
    page.family(
        "meshwork_http_request_duration_seconds",
        "summary",
        "Time until answers of the HTTP door began, by route class.",
    );
    for (route, (count, sum)) in &answered.took {
        let labels = [("route", route.name())];
        page.sample("_sum", &labels, sum.as_secs_f64());
        page.sample("_count", &labels, count);
    }
}

/// A page that is being written.
#[derive(Default)]
struct Page {
    text: String,
    family: String,
}

impl Page {
    /// Begins a family of samples.
    fn family(&mut self, name: &str, kind: &str, help: &str) -> &mut Self {
        name.clone_into(&mut self.family);
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
        self
    }

    /// A family of one gauge.
    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, GAUGE, help).plain(value);
    }

    fn plain(&mut self, value: impl Display) -> &mut Self {
        self.sample("", &[], value)
    }

    fn labelled(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        self.sample("", labels, value)
    }

    /// Labels are ours, with nothing in them that must be escaped.
    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, label)| format!("{name}=\"{label}\""))
            .collect();
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        let family = std::mem::take(&mut self.family);
        self.line(format_args!("{family}{suffix}{labels} {value}"));
        self.family = family;
        self
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a string takes any text");
    }
}

const GAUGE: &str = "gauge";
const COUNTER: &str = "counter";

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    use axum::http::StatusCode;

    use super::*;
    use crate::doors::http::tally::Route;

    /// The series of a page, checked against the rules of the format and the conventions for names.
    fn parse(page: &str) -> BTreeMap<String, f64> {
        let mut series = BTreeMap::new();
        let mut families = BTreeSet::new();
        let (mut family, mut kind) = ("", "");
        for line in page.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                family = help.split_once(' ').expect("a help text").0;
                assert!(families.insert(family), "{family} is there twice");
            } else if let Some(typed) = line.strip_prefix("# TYPE ") {
                let (name, found) = typed.split_once(' ').expect("a type");
                assert_eq!(name, family);
                assert!(["counter", "gauge", "summary"].contains(&found));
                assert_eq!(found == "counter", name.ends_with("_total"), "{name}");
                kind = found;
            } else {
                let (name, value) = line.rsplit_once(' ').expect("a value");
                let (base, labels) = name.split_at(name.find('{').unwrap_or(name.len()));
                let suffix = base.strip_prefix(family).expect("a sample of its family");
                assert!(
                    suffix.is_empty() || kind == "summary" && ["_sum", "_count"].contains(&suffix)
                );
                assert!(
                    base.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                    "{base}"
                );
                check_labels(labels);
                let before = series.insert(name.to_owned(), value.parse().expect("a number"));
                assert_eq!(before, None, "{name} is there twice");
            }
        }
        series
    }

    fn check_labels(labels: &str) {
        if labels.is_empty() {
            return;
        }
        let inner = labels
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        for label in inner.expect("braces").split(',') {
            let (name, value) = label.split_once('=').expect("a label");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            let value = value
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'));
            assert!(!value.expect("quotes").contains(['"', '\\', '\n']));
        }
    }

    #[test]
    fn the_page_keeps_to_the_format() {
        let tally = Tally::default();
        tally.note(Route::Keys, StatusCode::OK, Duration::from_millis(1500));
        tally.note(
            Route::Keys,
            StatusCode::NOT_FOUND,
            Duration::from_millis(500),
        );
        let net = NetStats {
            refused: vec![(RefuseReason::Expired, 3)],
            ..NetStats::default()
        };
        let status = Status {
            members: Vec::new(),
            partitions_filling: 2,
            partitions_leaving: 1,
            objects: 7,
            outbox_deltas: 4,
            outbox_bytes: 400,
            handed_over: true,
            strong: StrongStatus {
                role: "voter",
                revision: 9,
                ..StrongStatus::default()
            },
            clock_ahead_by_peers: 0,
            frames_refused: 0,
            store_failure: Some("full".into()),
            counts: Counts::default(),
        };
        let series = parse(&page(Some(&status), &net, &tally, 1_700_000_000));
        assert_eq!(series["meshwork_objects"], 7.0);
        assert_eq!(series["meshwork_store_failed"], 1.0);
        assert_eq!(series["meshwork_strong_revision"], 9.0);
        assert_eq!(series["process_start_time_seconds"], 1.7e9);
        assert_eq!(
            series["meshwork_net_refused_total{reason=\"expired\"}"],
            3.0
        );
        assert_eq!(series["meshwork_net_refused_total{reason=\"busy\"}"], 0.0);
        let took = "meshwork_http_request_duration_seconds";
        assert_eq!(series[&format!("{took}_sum{{route=\"keys\"}}")], 2.0);
        assert_eq!(series[&format!("{took}_count{{route=\"keys\"}}")], 2.0);
        let stopped = parse(&page(None, &net, &tally, 0));
        assert_eq!(stopped["meshwork_up"], 0.0);
        assert!(!stopped.contains_key("meshwork_objects"));
    }
}
