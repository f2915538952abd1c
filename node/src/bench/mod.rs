//! `meshwork bench`: a mesh on this machine under load, and a rival beside it in the same run.
//!
//! Rounds of what is compared take turns, so that whatever else the machine does disturbs all alike, and medians are shown.

mod etcd;
mod http2;
mod load;
mod ours;
mod processes;
mod report;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use tokio::runtime::Runtime;

use crate::cli::exit::{Exit, Failure};
use crate::cli::output;
use crate::demo::stage::{Stage, interrupted};
use etcd::Etcd;
use load::{Failed, Group, Keys, Round, What};
use ours::{HandleKeys, Voters};
use processes::cpu_seconds;
use report::Report;

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Strong keys: durable puts, linearizable reads, and how soon a lost leader is replaced
    Strong(StrongArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  meshwork bench strong
  meshwork bench strong --against etcd --folder /mnt/disk
  meshwork bench strong --clients 64 --rounds 3 --failovers 0 --json

Three voters run as processes on 127.0.0.1, and three more within this program; clients are spread over all of a group's nodes, and each
asks one thing after the other. A put is answered once a majority of the voters has it on its disks; a read sees every put that
was answered before it was asked. Values have 100 bytes. CPU is what a request costs in all processes of its group together; for the
nodes within this program their clients count with it. Doors are reached over HTTP/2, with as many connections to each node as to etcd's.

--against etcd runs three processes of etcd, from the package etcd-server, in the same folder with the same election timeout of 1 s. Where
etcd is missing this is said, and the rest is measured.")]
pub(crate) struct StrongArgs {
    /// What to measure beside it
    #[arg(long, value_enum)]
    against: Option<Rival>,
    /// How many clients ask at once; several numbers are measured one after the other
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 256], value_parser = clap::value_parser!(u16).range(1..=4096))]
    clients: Vec<u16>,
    /// How long a round lasts
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Rounds of each kind, of which the median is shown
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// How often a leader is killed, to see how soon something is written again
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=1000))]
    failovers: u16,
    /// Make the data folders here, on the disk to be measured, and remove them in the end
    ///
    /// Without it they are in the system's folder for temporary files, which may be no disk at all.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rival {
    Etcd,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    /// Our processes, through their doors.
    Door,
    /// Processes of etcd, by gRPC.
    Etcd,
    /// Our nodes in this process.
    Handle,
}

/// How long processes are watched that nobody asks anything.
const IDLE: Duration = Duration::from_secs(5);

pub(crate) fn run(command: &BenchCommand) -> Result<(), Failure> {
    let BenchCommand::Strong(args) = command;
    let stage = Stage::new();
    let measured = strong(args, &stage);
    stage.close();
    let report = measured?;
    if args.json {
        return output::json(&report);
    }
    output::line(report.text())
}

fn strong(args: &StrongArgs, stage: &Stage) -> Result<Report, Failure> {
    let failed = |error: std::io::Error| Failure::from_error(Exit::Failed, &error);
    let folder = match &args.folder {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let folder = folder.map_err(failed)?;
    let mut report = Report::default();
    stage.tell("three voters start, as processes");
    let mut voters = Voters::start(folder.path(), stage)?;
    let mut etcd = None;
    if args.against == Some(Rival::Etcd) {
        report.rival = Etcd::version();
        if let Some(version) = &report.rival {
            stage.tell(format_args!("etcd {version} starts, three times"));
            etcd = Some(Etcd::start(folder.path(), stage)?);
        } else {
            output::note(
                "skipped: there is no program `etcd` here (the package is called etcd-server)",
            );
        }
    }
    stage.tell("nobody asks anything");
    stage.pause(CALM)?;
    let ours = voters.processes();
    let theirs = etcd.as_ref().map(Etcd::processes).unwrap_or_default();
    let before = [&ours, &theirs].map(|all| cpu_seconds(all));
    stage.pause(IDLE)?;
    for ((way, all), before) in [(Way::Door, &ours), (Way::Etcd, &theirs)]
        .into_iter()
        .zip(before)
    {
        report.idle(way, all, (cpu_seconds(all) - before) / IDLE.as_secs_f64());
    }

    let runtime = Runtime::new().map_err(failed)?;
    stage.tell("three voters start, within this process");
    let handle = runtime.block_on(HandleKeys::start(folder.path()))?;
    let door = runtime.block_on(voters.keys())?;
    let rival = match &etcd {
        Some(etcd) => Some(runtime.block_on(etcd.keys())?),
        None => None,
    };
    for clients in &args.clients {
        let load = Load {
            stage,
            clients: usize::from(*clients),
            lasts: Duration::from_secs(args.seconds),
            rounds: args.rounds,
        };
        let ways = (&door, rival.as_ref(), &handle);
        for ((what, way), round) in runtime.block_on(load.measure(ways))? {
            report.rounds(*clients, what, way, round);
        }
    }
    runtime.block_on(handle.stop());
    report.loaded(Way::Door, &ours);
    report.loaded(Way::Etcd, &theirs);

    for number in 1..=args.failovers {
        stage.tell(format_args!(
            "leaders are killed, {number} of {}",
            args.failovers
        ));
        report.failover(Way::Door, lose_leader(&runtime, &mut voters, stage)?);
        if let Some(etcd) = &mut etcd {
            report.failover(Way::Etcd, lose_leader(&runtime, etcd, stage)?);
        }
    }
    // The processes end before their folders do.
    drop((voters, etcd));
    folder.close().map_err(failed)?;
    Ok(report)
}

/// One number of clients.
struct Load<'a> {
    stage: &'a Stage,
    clients: usize,
    lasts: Duration,
    rounds: u16,
}

type Rounds = BTreeMap<(What, Way), Vec<Round>>;

impl Load<'_> {
    async fn measure<D: Keys, E: Keys, H: Keys>(
        &self,
        (door, rival, handle): (&D, Option<&E>, &H),
    ) -> Result<Rounds, Failure> {
        load::fill(door, self.clients).await?;
        load::fill(handle, self.clients).await?;
        if let Some(rival) = rival {
            load::fill(rival, self.clients).await?;
        }
        let mut rounds = Rounds::new();
        for number in 1..=self.rounds {
            let (clients, all) = (self.clients, self.rounds);
            self.stage
                .tell(format_args!("{clients} clients, round {number} of {all}"));
            for what in [What::Puts, What::Reads] {
                let mut note = |way, round| {
                    rounds.entry((what, way)).or_default().push(round);
                };
                note(Way::Door, self.round(door, what).await?);
                if let Some(rival) = rival {
                    note(Way::Etcd, self.round(rival, what).await?);
                }
                note(Way::Handle, self.round(handle, what).await?);
            }
        }
        Ok(rounds)
    }

    async fn round<K: Keys>(&self, keys: &K, what: What) -> Result<Round, Failure> {
        if self.stage.stopped() {
            return Err(interrupted());
        }
        Ok(load::round(keys, what, self.clients, self.lasts).await?)
    }
}

/// Kills the leader, and says how soon something is written again.
fn lose_leader<G: Group>(
    runtime: &Runtime,
    group: &mut G,
    stage: &Stage,
) -> Result<Duration, Failure> {
    let leader = known(group.leader())?;
    let keys = runtime.block_on(group.keys())?;
    let killed = Instant::now();
    group.kill(leader)?;
    let took = runtime.block_on(load::first_put(&keys, next_to(leader), killed))?;
    group.start_one(leader, stage)?;
    group.wait(stage)?;
    stage.pause(CALM)?;
    Ok(took)
}

/// How long a group is left alone after it is whole again.
const CALM: Duration = Duration::from_secs(2);

fn known(leader: Option<usize>) -> Result<usize, Failed> {
    leader.ok_or_else(|| Failed("a group has lost its leader by itself".into()))
}

/// A client of another node than this one of three.
const fn next_to(node: usize) -> usize {
    (node + 1) % 3
}
