//! What the system tells of processes; nothing where it is no Linux.

use std::fs;

/// What a process holds in memory.
pub(super) fn resident_mb(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kb: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kb / 1024.0)
}

/// The time that processes have spent on processors so far, in seconds.
pub(super) fn cpu_seconds(processes: &[u32]) -> f64 {
    processes
        .iter()
        .filter_map(|process| ticks(*process))
        .sum::<f64>()
        / TICKS_PER_SECOND
}

/// Its own and the system's in its name: fields 14 and 15, counted from behind its name, which may have spaces in it.
fn ticks(process: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Linux tells its times in this unit on all processors that Rust has.
const TICKS_PER_SECOND: f64 = 100.0;
