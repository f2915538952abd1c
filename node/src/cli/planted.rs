//! `meshwork sim --planted`: whether the simulator finds bugs that were put in on purpose.

use std::ops::Range;
use std::time::Instant;

use meshwork::sim::{Bug, Hunt, Plan, hunt};

use super::exit::{Exit, Failure};
use super::output;

/// A bug has to be found within so many seeds.
pub(crate) const SEEDS_MAX: u64 = 200;

pub(crate) fn parse_bug(text: &str) -> Result<Bug, String> {
    let found = Bug::ALL.iter().find(|bug| bug.name() == text);
    found.copied().ok_or_else(|| {
        let all: Vec<&str> = Bug::ALL.iter().map(|bug| bug.name()).collect();
        format!("there is no bug `{text}`; there are: {}", all.join(", "))
    })
}

/// Plants these bugs in turn, and prints a line for each.
pub(crate) fn run(
    bugs: &[Bug],
    seeds: &Range<u64>,
    threads: usize,
    plan: impl Fn(u64) -> Plan + Sync,
) -> Result<(), Failure> {
    output::line(format_args!(
        "{:<28} {:>5}  {:<18} {:>7}  breaks the promise that",
        "planted bug", "seeds", "found as", "seconds"
    ))?;
    let mut missed = Vec::new();
    for bug in bugs {
        let begun = Instant::now();
        let found = hunt(*bug, seeds.clone(), threads, &plan);
        show(&found, begun.elapsed().as_secs_f64())?;
        if found.caught.is_none() {
            missed.push(bug.name());
        }
    }
    if missed.is_empty() {
        return output::line(format_args!("all {} are found", bugs.len()));
    }
    let count = seeds.end - seeds.start;
    let text = format!("not found in {count} seeds: {}", missed.join(", "));
    Err(Failure::new(Exit::Failed, text))
}

fn show(found: &Hunt, seconds: f64) -> Result<(), Failure> {
    let Hunt {
        bug,
        caught,
        fail_anyway,
    } = found;
    let (after, kind) = match caught {
        Some(caught) => (caught.seeds.to_string(), caught.violation.kind()),
        None => ("-".to_owned(), "not found"),
    };
    output::line(format_args!(
        "{:<28} {after:>5}  {kind:<18} {seconds:>7.1}  {}",
        bug.name(),
        bug.promise()
    ))?;
    if !fail_anyway.is_empty() {
        output::line(format_args!(
            "  these seeds fail without it too: {fail_anyway:?}"
        ))?;
    }
    Ok(())
}
