//! Locks from the command line.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use meshwork_sync::Key;

use super::client::Door;
use super::exit::Failure;
use super::hold::{Held, Wait, Wanted};
use super::{key, output};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  meshwork lock jobs/nightly --ttl 15s -- ./backup.sh /srv
  meshwork lock jobs/nightly --no-wait -- ./backup.sh     only if nobody else does it
  meshwork lock site/content --shared --wait 30s -- ./publish.sh
  meshwork lock jobs/nightly                              holds it until Ctrl-C

Needs a group of voters: `meshwork strong status`. A lock needs no namespace; who comes first gets
it first. The command finds the fencing token in FENCING_TOKEN: every grant has a greater one than
all before it, so let what the lock protects refuse lower ones than it has seen, or check the token
in `meshwork txn`. Without a command the token is printed.

When the lock is lost, the command and all that it has started get SIGTERM, and SIGKILL after 2 s.
Ctrl-C ends the command first and gives the lock back then. The command reads nothing from the
terminal. If this program itself is killed with SIGKILL, the lock is given back and the command
goes on: the token is what stops it.

Exit codes: that of the command; 5 if the lock was not got in time, 1 if it was lost.")]
pub(crate) struct LockArgs {
    /// The lock: namespace/name
    #[arg(value_parser = key::parse)]
    lock: Key,
    /// How long the lock outlives this node when it is cut off: 1s to 24h
    #[arg(long, default_value = "15s", value_parser = ttl, value_name = "TIME")]
    ttl: Duration,
    /// How long to wait for it; without end if left out
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    wait: Option<Duration>,
    /// Do not wait: give up if others hold it
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
    /// Hold it beside others that share it
    #[arg(long)]
    shared: bool,
    /// What others can read while it is held
    #[arg(long, default_value = "", hide_default_value = true)]
    note: String,
    /// What to run while the lock is held
    #[arg(last = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(folder: &Path, args: &LockArgs) -> Result<ExitCode, Failure> {
    let wanted = Wanted {
        lock: &args.lock,
        ttl: args.ttl,
        wait: match args.wait {
            Some(time) => Wait::For(time),
            None if args.no_wait => Wait::No,
            None => Wait::Forever,
        },
        shared: args.shared,
        note: &args.note,
    };
    let held = Held::take(&Door::open(folder)?, &wanted)?;
    if !args.command.is_empty() {
        return held.run(&args.command);
    }
    output::line(held.token)?;
    output::person(format_args!("holding {}; Ctrl-C gives it back", args.lock));
    held.until_asked()
}

/// How long a lock may outlive its holder's node.
pub(crate) fn ttl(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match time {
        _ if time < TTL_MIN => Err("must not be shorter than 1s".into()),
        _ if time > TTL_MAX => Err("must not be longer than 24h".into()),
        _ => Ok(time),
    }
}

const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_has_both_ends() {
        assert_eq!(ttl("1s"), Ok(TTL_MIN));
        assert_eq!(ttl("1day"), Ok(TTL_MAX));
        for wrong in ["999ms", "25h", "0s", "soon"] {
            assert!(ttl(wrong).is_err(), "{wrong}");
        }
    }
}
