//! The result: for people tables, for programs JSON.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::Way;
use super::load::{Round, What, median, middle};
use super::processes::resident_mb;

/// What was measured.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// The rival's version, where it was measured.
    pub(super) rival: Option<String>,
    rows: Vec<Row>,
    /// Resident memory of each process, in MB.
    memory: Vec<Memory>,
    /// What all processes together take of one processor while nobody asks anything.
    idle_cpu: Vec<IdleCpu>,
    /// From the death of a leader to the first put, in milliseconds.
    failovers: Vec<Failover>,
}

#[derive(Debug, Serialize)]
struct Row {
    clients: u16,
    what: What,
    way: Way,
    /// Of all rounds.
    median: Round,
}

#[derive(Debug, Serialize)]
struct Memory {
    way: Way,
    when: When,
    mb: Vec<f64>,
}

#[derive(Debug, Serialize)]
struct IdleCpu {
    way: Way,
    percent: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum When {
    Idle,
    Loaded,
}

#[derive(Debug, Serialize)]
struct Failover {
    way: Way,
    ms: f64,
}

impl Report {
    pub(super) fn rounds(&mut self, clients: u16, what: What, way: Way, rounds: Vec<Round>) {
        let median = median(&rounds);
        self.rows.push(Row {
            clients,
            what,
            way,
            median,
        });
    }

    /// Looks at processes that nobody has asked anything yet, and notes the share of a processor that all of them have used together.
    pub(super) fn idle(&mut self, way: Way, processes: &[u32], cpu: f64) {
        self.remember(way, When::Idle, processes);
        if !processes.is_empty() {
            let percent = cpu * 100.0;
            self.idle_cpu.push(IdleCpu { way, percent });
        }
    }

    /// Looks at them after the load.
    pub(super) fn loaded(&mut self, way: Way, processes: &[u32]) {
        self.remember(way, When::Loaded, processes);
    }

    fn remember(&mut self, way: Way, when: When, processes: &[u32]) {
        let mb: Vec<f64> = processes.iter().filter_map(|id| resident_mb(*id)).collect();
        if !mb.is_empty() {
            self.memory.push(Memory { way, when, mb });
        }
    }

    pub(super) fn failover(&mut self, way: Way, took: Duration) {
        let ms = took.as_secs_f64() * 1e3;
        self.failovers.push(Failover { way, ms });
    }

    /// Tables, with a ratio beside whatever has a rival.
    pub(super) fn text(&self) -> String {
        let rival = self.rival.as_ref().map(|version| format!("etcd {version}"));
        let rival = rival.unwrap_or_else(|| "etcd".into());
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        let times = ["p50, p99 ms", "CPU µs"];
        let mut header = vec!["clients", "", "door/s"];
        header.extend(times);
        header.push(&rival);
        header.extend(times);
        header.extend(["door ×", "handle/s"]);
        header.extend(times);
        header.push("handle ×");
        table.set_header(header);
        let mut doors = self
            .rows
            .iter()
            .filter(|row| row.way == Way::Door)
            .collect::<Vec<_>>();
        doors.sort_by_key(|row| row.what);
        for row in doors {
            let other = |way| self.find(row, way);
            let (etcd, handle) = (other(Way::Etcd), other(Way::Handle));
            let what = match row.what {
                What::Puts => "puts",
                What::Reads => "reads",
            };
            let mut cells = vec![row.clients.to_string(), what.to_owned()];
            cells.extend(shown(Some(row.median)));
            cells.extend(shown(etcd));
            cells.push(ratio(Some(row.median), etcd));
            cells.extend(shown(handle));
            cells.push(ratio(handle, etcd));
            table.add_row(cells);
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut lines = vec![table.trim_fmt()];
        lines.extend(self.rest(Way::Door, "ours"));
        lines.extend(self.rest(Way::Etcd, &rival));
        lines.join("\n")
    }

    fn find(&self, like: &Row, way: Way) -> Option<Round> {
        let mut rows = self.rows.iter();
        let found =
            rows.find(|row| (row.clients, row.what, row.way) == (like.clients, like.what, way));
        found.map(|row| row.median)
    }

    /// What there is one of, not one for each number of clients.
    fn rest(&self, way: Way, name: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let failovers = self.failovers.iter().filter(|one| one.way == way);
        let ms: Vec<f64> = failovers.map(|one| one.ms).collect();
        if !ms.is_empty() {
            let (count, median) = (ms.len(), middle(ms.iter().copied()));
            let least = ms.iter().copied().fold(f64::MAX, f64::min);
            let most = ms.iter().copied().fold(0.0, f64::max);
            lines.push(format!(
                "{name}: leader killed to first put: median of {count} {median:.0} ms, {least:.0} to {most:.0}"
            ));
        }
        for memory in self.memory.iter().filter(|memory| memory.way == way) {
            let when = match memory.when {
                When::Idle => "at rest",
                When::Loaded => "after the load",
            };
            let mb: Vec<String> = memory.mb.iter().map(|mb| format!("{mb:.0}")).collect();
            let mb = mb.join(", ");
            lines.push(format!("{name}: resident memory {when}: {mb} MB"));
        }
        for idle in self.idle_cpu.iter().filter(|idle| idle.way == way) {
            let percent = idle.percent;
            lines.push(format!(
                "{name}: all three at rest: {percent:.1} % of one processor"
            ));
        }
        lines
    }
}

fn shown(round: Option<Round>) -> [String; 3] {
    round.map_or_else(
        || ["-".into(), "-".into(), "-".into()],
        |round| {
            [
                format!("{:.0}", round.per_second),
                format!("{:.2}, {:.2}", round.p50_ms, round.p99_ms),
                format!("{:.0}", round.cpu_us),
            ]
        },
    )
}

fn ratio(ours: Option<Round>, theirs: Option<Round>) -> String {
    let ratio = ours.zip(theirs);
    ratio.map_or_else(
        || "-".into(),
        |(ours, theirs)| format!("{:.2}", ours.per_second / theirs.per_second),
    )
}
