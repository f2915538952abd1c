//! `meshwork sim`: whole meshes in a simulator, seed after seed.

use std::num::NonZero;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::exit::{Exit, Failure};
use super::output;
#[cfg(feature = "planted")]
use meshwork::sim::Bug;
use meshwork::sim::{FaultKind, Keep, Outcome, Plan, Shrunken};
use meshwork::traces::Trace;

#[derive(Debug, Args)]
#[command(after_help = "\
A seed decides everything: when messages arrive, what clients write, which faults there are and when. The same seed is the same
run, byte for byte. During a run no write may be acknowledged before it is durable where its level says, no client may see what
it must not; when the faults have stopped, all nodes must agree and hold every acknowledged write, and nothing deleted may be back.
What clients saw of each strong key must be explained by one order (Wing and Gong), no number of a sequence may be drawn twice, fencing
tokens grow, and nobody writes what a lock protects under an older one. In the end the strong group answers every node within 30 s, unless a
majority of its voters has lost its disks.

Examples:
  meshwork sim                                   one seed, five nodes, all faults
  meshwork sim --seeds 1000                      a thousand seeds, on all cores
  meshwork sim --seed 7 --nodes 3 --minutes 30 --faults kill,split,pause
  meshwork sim --seed 7 --only 3,12              the same run with two of its faults
  meshwork sim --seed 7 --timeline               what happened, line by line

Faults:
  kill crash stop pause storm rolling            processes: killed, killed in a flush, stopped, frozen, all killed, restarted one by one
  split one-way flap weather far move            network: cut, deaf, cut again and again, lossy, slow, at another address
  slow-disk full-disk failed-flush bit-flip      disks: slow, full, failing once, damaged
  old-copy lost-disk clone                       disks: restored from an old copy, lost, copied to a new node
  jump drift                                     clocks: jumping, too fast or too slow
  join leave                                     members: new ones, and ones that go for good")]
pub(crate) struct SimArgs {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds, one after the other
    #[arg(long, default_value = "1")]
    seeds: NonZero<u64>,
    /// Nodes at the beginning
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=50))]
    nodes: u8,
    /// Clients of strong keys, sequences and locks; 0 for none
    #[arg(long, default_value_t = Plan::STRONG_CLIENTS)]
    strong_clients: u32,
    /// How long there are load and faults, in virtual minutes
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    minutes: u32,
    /// Kinds of faults: all, none, or names with commas between
    #[arg(long, default_value = "all", value_parser = parse_faults)]
    faults: Faults,
    /// Of the seed's faults only these, counted from 0 as a failure prints them
    #[arg(long, value_delimiter = ',', conflicts_with = "seeds")]
    only: Option<Vec<usize>>,
    /// End load and faults after so many virtual seconds already, and leave the rest of the run as it is
    #[arg(long)]
    until: Option<u64>,
    /// Print what happened, line by line, also when all was well
    #[arg(long, conflicts_with = "seeds")]
    timeline: bool,
    /// Write every event to this file, a line each
    #[arg(long, value_name = "FILE", conflicts_with = "seeds")]
    trace: Option<PathBuf>,
    /// An editing history of one author, which one client types: the file of a collection such as josephg/editing-traces
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Runs at the same time; as many as there are cores when left out
    #[arg(long)]
    threads: Option<NonZero<usize>>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Plant one bug after the other, and say after how many seeds each is found; with `--plant` that one alone
    #[cfg(feature = "planted")]
    #[arg(long)]
    planted: bool,
    /// Plant this bug
    #[cfg(feature = "planted")]
    #[arg(long, value_name = "NAME", value_parser = super::planted::parse_bug)]
    plant: Option<Bug>,
}

/// Kinds of faults as named on the command line.
#[derive(Debug, Clone)]
struct Faults(Vec<FaultKind>);

fn parse_faults(text: &str) -> Result<Faults, String> {
    match text {
        "all" => Ok(Faults(FaultKind::ALL.to_vec())),
        "none" => Ok(Faults(Vec::new())),
        names => {
            let kinds = names.split(',').map(|name| name.trim().parse());
            let kinds: Result<Vec<FaultKind>, _> = kinds.collect();
            kinds.map(Faults).map_err(|error| {
                let all: Vec<&str> = FaultKind::ALL.iter().map(|kind| kind.name()).collect();
                format!("{error}; there are: all, none, {}", all.join(", "))
            })
        }
    }
}

/// Runs that may be spent on making a failure smaller.
const SHRINK_RUNS_MAX: usize = 120;

/// A run that broke a promise.
type Failed = (Plan, Outcome);

/// What all seeds together came to.
#[derive(Debug, Default)]
struct Sum {
    seeds: u64,
    virtual_time: Duration,
    events: u64,
    acknowledged: u64,
    read: u64,
    strong: u64,
    granted: u64,
    strong_served: u64,
    slowest: Duration,
}

pub(crate) fn run(args: &SimArgs) -> Result<(), Failure> {
    // A panic of a node is reported with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    #[cfg(feature = "planted")]
    if args.planted {
        return args.find_planted();
    }
    let begun = Instant::now();
    let history = args.history()?;
    let typed = history.clone().map(Rc::new);
    let (sum, failed) = match args.seeds.get() {
        1 => args.run_seed(typed.as_ref())?,
        _ => args.run_seeds(history.as_ref()),
    };
    match failed {
        Some((plan, outcome)) => Err(args.explain(&plan, outcome, typed.as_ref())),
        None => report(args, &sum, begun.elapsed()),
    }
}

impl SimArgs {
    fn plan(&self, seed: u64) -> Plan {
        let lasts = Duration::from_secs(60 * u64::from(self.minutes));
        let mut plan = Plan::of_seed(seed, usize::from(self.nodes), lasts, &self.faults.0);
        plan.strong_clients = self.strong_clients;
        if let Some(only) = &self.only {
            plan = plan.keeping(only);
        }
        #[cfg(feature = "planted")]
        {
            plan.bug = self.plant;
        }
        if let Some(until) = self.until {
            plan.lasts = Duration::from_secs(until);
        }
        plan
    }

    /// Runs at the same time.
    fn threads(&self) -> usize {
        let threads = self
            .threads
            .or_else(|| thread::available_parallelism().ok());
        threads.map_or(1, NonZero::get)
    }

    /// Plants one bug after the other; seeds as many as asked for, or as many as a bug may take.
    #[cfg(feature = "planted")]
    fn find_planted(&self) -> Result<(), Failure> {
        let seeds = match self.seeds.get() {
            1 => super::planted::SEEDS_MAX,
            seeds => seeds,
        };
        let seeds = self.seed..self.seed.saturating_add(seeds);
        let bugs = self
            .plant
            .map_or_else(|| Bug::ALL.to_vec(), |bug| vec![bug]);
        super::planted::run(&bugs, &seeds, self.threads(), |seed| self.plan(seed))
    }

    /// Runs one seed, and shows of it what was asked for.
    fn run_seed(&self, history: Option<&Rc<Trace>>) -> Result<(Sum, Option<Failed>), Failure> {
        let plan = self.plan(self.seed);
        let keep = match self.trace {
            Some(_) => Keep::Everything,
            None => Keep::Timeline,
        };
        let outcome = plan.run(history, keep);
        self.show(&outcome)?;
        let mut sum = Sum::default();
        sum.add(&outcome);
        let failed = outcome.violation.is_some().then_some((plan, outcome));
        Ok((sum, failed))
    }

    /// Runs seeds on several threads until one fails.
    fn run_seeds(&self, history: Option<&Trace>) -> (Sum, Option<Failed>) {
        let threads = self.threads();
        let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let (send, results) = mpsc::sync_channel(threads);
        let bar = progress(self.seeds.get());
        let mut sum = Sum::default();
        let mut failed = None;
        thread::scope(|scope| {
            for _ in 0..threads {
                let (send, next, stop) = (send.clone(), &next, &stop);
                scope.spawn(move || {
                    let history = history.cloned().map(Rc::new);
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= self.seeds.get() || stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let plan = self.plan(self.seed.wrapping_add(number));
                        let outcome = plan.run(history.as_ref(), Keep::Timeline);
                        if send.send((plan, outcome)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(send);
            for (plan, outcome) in results {
                bar.inc(1);
                sum.add(&outcome);
                if outcome.violation.is_some() && failed.is_none() {
                    stop.store(true, Ordering::Relaxed);
                    failed = Some((plan, outcome));
                }
            }
        });
        bar.finish_and_clear();
        (sum, failed)
    }

    /// What one client types.
    fn history(&self) -> Result<Option<Trace>, Failure> {
        let Some(path) = &self.history else {
            return Ok(None);
        };
        let trace = Trace::open(path).map_err(|error| {
            let failure = Failure::from_error(Exit::Failed, &error);
            let message = format!("{}: {}", path.display(), failure.message);
            Failure::new(Exit::Failed, message)
        })?;
        if trace.agents > 1 {
            let message = format!("{} has several authors", path.display());
            return Err(Failure::new(Exit::Usage, message));
        }
        Ok(Some(trace))
    }

    fn show(&self, outcome: &Outcome) -> Result<(), Failure> {
        if let Some(path) = &self.trace {
            std::fs::write(path, &outcome.trace).map_err(|error| {
                let message = format!("{} cannot be written: {error}", path.display());
                Failure::new(Exit::Failed, message)
            })?;
        }
        if self.timeline {
            for line in &outcome.timeline {
                output::line(line)?;
            }
        }
        Ok(())
    }

    /// What failed, in its smallest form, and how to see it again.
    fn explain(&self, plan: &Plan, outcome: Outcome, history: Option<&Rc<Trace>>) -> Failure {
        let Some(violation) = outcome.violation.clone() else {
            return Failure::new(Exit::Failed, "a good run was to be explained".to_owned());
        };
        let shrunken = plan.shrink(outcome, history, SHRINK_RUNS_MAX);
        let mut text = format!("seed {} broke a promise: {violation}\n", plan.seed);
        if let Some(shrunken) = shrunken {
            text += &self.smallest(plan, &shrunken);
        }
        Failure::new(Exit::Failed, text)
    }

    fn smallest(&self, plan: &Plan, shrunken: &Shrunken) -> String {
        let mut text = String::new();
        let Shrunken {
            plan: small,
            kept,
            outcome,
            runs,
        } = shrunken;
        text += &format!(
            "\nWith {} of its {} faults and {} s of load (found in {runs} runs)",
            kept.len(),
            plan.faults.len(),
            small.lasts.as_secs(),
        );
        if let Some(violation) = &outcome.violation {
            text += &format!(": {violation}");
        }
        for (place, planned) in kept.iter().zip(&small.faults) {
            text += &format!("\n  {place:>4}  {:>9.3?}  {}", planned.at, planned.fault);
        }
        let last = outcome.timeline.len().saturating_sub(TIMELINE_LINES);
        text += "\n\nThe last of what happened:";
        for line in outcome.timeline.iter().skip(last) {
            text += &format!("\n  {line}");
        }
        #[cfg(feature = "planted")]
        let planted = self
            .plant
            .map(|bug| format!(" --plant {}", bug.name()))
            .unwrap_or_default();
        #[cfg(not(feature = "planted"))]
        let planted = "";
        let only: Vec<String> = kept.iter().map(usize::to_string).collect();
        let only = if only.is_empty() {
            "--faults none".to_owned()
        } else {
            format!("{}--only {}", self.faults_named(), only.join(","))
        };
        let history = self.history.as_ref();
        let history =
            history.map_or_else(String::new, |path| format!(" --history {}", path.display()));
        let strong = if self.strong_clients == Plan::STRONG_CLIENTS {
            String::new()
        } else {
            format!(" --strong-clients {}", self.strong_clients)
        };
        text += &format!(
            "\n\nAgain: meshwork sim --seed {} --nodes {} --minutes {} {only} --until {}{strong}{history}{planted} --timeline",
            plan.seed,
            self.nodes,
            self.minutes,
            small.lasts.as_secs(),
        );
        text
    }

    fn faults_named(&self) -> String {
        if self.faults.0.len() == FaultKind::ALL.len() {
            return String::new();
        }
        let names: Vec<&str> = self.faults.0.iter().map(|kind| kind.name()).collect();
        format!("--faults {} ", names.join(","))
    }
}

/// Lines of the timeline that a failure prints.
const TIMELINE_LINES: usize = 40;

impl Sum {
    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.virtual_time += outcome.lasted;
        self.events += outcome.events;
        self.acknowledged += outcome.tally.acknowledged;
        self.read += outcome.tally.read;
        self.strong += outcome.strong.answered;
        self.granted += outcome.strong.granted;
        self.strong_served += u64::from(outcome.strong_served);
        self.slowest = self.slowest.max(outcome.converged.unwrap_or_default());
    }
}

fn report(args: &SimArgs, sum: &Sum, took: Duration) -> Result<(), Failure> {
    let seconds = took.as_secs_f64();
    let speed = sum.virtual_time.as_secs_f64() / seconds.max(1e-9);
    if args.json {
        return output::json(&json!({
            "first_seed": args.seed,
            "seeds": sum.seeds,
            "nodes": args.nodes,
            "virtual_seconds": sum.virtual_time.as_secs(),
            "seconds": seconds,
            "virtual_seconds_per_second": speed,
            "events": sum.events,
            "writes_acknowledged": sum.acknowledged,
            "reads": sum.read,
            "strong_answered": sum.strong,
            "locks_granted": sum.granted,
            "strong_served_seeds": sum.strong_served,
            "slowest_to_agree_seconds": sum.slowest.as_secs(),
        }));
    }
    output::line(format_args!(
        "{} seeds from {}: every promise kept.\n\
         {} writes acknowledged, {} reads; {} events in {} virtual seconds, {:.1} s here ({speed:.0} times real time).\n\
         {} strong requests answered, {} locks granted; the strong group served in the end of {} seeds.\n\
         Slowest to agree after the last fault: {} s.",
        sum.seeds,
        args.seed,
        sum.acknowledged,
        sum.read,
        sum.events,
        sum.virtual_time.as_secs(),
        seconds,
        sum.strong,
        sum.granted,
        sum.strong_served,
        sum.slowest.as_secs(),
    ))
}

fn progress(seeds: u64) -> ProgressBar {
    let bar = ProgressBar::new(seeds);
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} seeds, {eta} left");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}
