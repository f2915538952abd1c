//! `meshwork demo`: a small mesh of real processes on this machine, and everything that should not hurt it.
//!
//! Five nodes; three copies of each key. Two authors write one document, each through a node of its own, and one client at each node
//! adds to counters, inserts into sets and puts registers, at all levels. Meanwhile one node is killed and restarted, the mesh is
//! split and healed, a sixth node joins and one leaves. In the end every node must show what was acknowledged, and nothing else.

mod author;
mod check;
mod commits;
mod ledger;
mod load;
pub(crate) mod node;
mod replay;
mod report;
pub(crate) mod stage;
mod story;
mod typing;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use meshwork::traces::Trace;

use crate::cli::exit::{Exit, Failure};
use crate::cli::output;
use author::{Desk, Script};
use check::{Expected, Findings};
use commits::Commits;
use ledger::Ledger;
use node::{Manner, Node};
use report::{Report, Results};
use stage::Stage;
use story::{NODES, Story, Times, WRITERS};
use typing::Typist;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  meshwork demo
  meshwork demo --trace friendsforever.json.gz

Nothing outside a temporary folder is touched, and no node of yours. The nodes listen on 127.0.0.1 only.
The exit code is 0 only if every node ends with exactly what was acknowledged.")]
pub(crate) struct DemoArgs {
    /// Replay this recorded history of two authors, from github.com/josephg/editing-traces (.json or .json.gz)
    ///
    /// Without it two simulated authors type a short text.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Make the nodes' folders and logs here, and keep them
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// How long the simulated authors type
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600), conflicts_with = "trace")]
    seconds: u64,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What the authors do, and the text that it leads to.
#[derive(Debug)]
struct Play {
    scripts: [Script; 2],
    end: String,
}

/// Where the nodes live.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    keep: bool,
}

/// Links can be cut, and who is gone is found out soon.
const DEMO: Manner = Manner {
    mesh: "demo",
    set_up: &[],
    up: &["--allow-faults", "--loopback-timing"],
};

/// How long the last deltas may take to reach everybody, once nobody writes any more.
const SETTLE: Duration = Duration::from_secs(30);

pub(crate) fn run(args: &DemoArgs) -> Result<(), Failure> {
    let play = Play::new(args)?;
    let folder = Folder::new(args.keep.as_deref())?;
    let stage = Stage::new();
    let nodes: Vec<Node> = (1..=NODES)
        .map(|number| Node::new(&folder.path, number, DEMO))
        .collect();
    let performed = perform(play, &nodes, &stage);
    stage.close();
    drop(nodes);
    let logs = format!("the nodes' logs are in {}", folder.path.display());
    let report = performed.map_err(|failure| match failure.hint {
        None => failure.hint(logs.clone()),
        Some(_) => failure,
    })?;
    if args.json {
        output::json(&report)?;
    } else {
        output::line(output::plain(&report.text()))?;
    }
    if !report.holds {
        return Err(Failure::new(Exit::Failed, "not everything is as it should be").hint(logs));
    }
    folder.close()
}

/// Plays it all. Returns what was found, good or bad.
fn perform(play: Play, nodes: &[Node], stage: &Stage) -> Result<Report, Failure> {
    let (ledger, commits) = (Ledger::default(), Commits::default());
    let story = Story {
        nodes,
        stage,
        ledger: &ledger,
    };
    story.gather()?;
    let document = story.choose_document()?;
    let expected = Expected {
        document: &document,
        text: &play.end,
        commits: &commits,
    };
    let times = work(story, play.scripts, expected)?;
    let quiet = Instant::now();
    stage.tell("nobody writes any more; comparing all nodes");
    let findings = compare(story, expected)?;
    Ok(Report::new(Results {
        nodes,
        findings,
        books: &ledger.books(),
        document: &document,
        characters: play.end.chars().count(),
        commits: commits.len(),
        waits: commits.waits(),
        times,
        settled: quiet.elapsed(),
        total: stage.elapsed(),
    }))
}

/// Lets everybody write while the story goes on.
fn work(story: Story<'_>, scripts: [Script; 2], expected: Expected<'_>) -> Result<Times, Failure> {
    let (stage, done) = (story.stage, AtomicBool::new(false));
    thread::scope(|scope| {
        let mut authors = Vec::new();
        for (number, (script, writer)) in scripts.into_iter().zip(WRITERS).enumerate() {
            let desk = Desk {
                number,
                node: story.node(writer)?,
                document: expected.document,
                commits: expected.commits,
                stage,
            };
            authors
                .push(scope.spawn(move || author::run(desk, script).inspect_err(|_| stage.stop())));
        }
        for node in story.nodes {
            let (ledger, done) = (story.ledger, &done);
            scope.spawn(move || load::run(node, ledger, stage, done));
        }
        stage.tell("two authors and five clients write; the sixth waits for its node");
        let played = story.play(expected.document).inspect_err(|_| stage.stop());
        let mut ends = Vec::new();
        for author in authors {
            ends.push(
                author
                    .join()
                    .unwrap_or_else(|_| Err(Failure::new(Exit::Failed, "an author panicked"))),
            );
        }
        done.store(true, Ordering::Relaxed);
        let times = most_telling(played, &mut ends)?;
        for end in ends {
            if end? != expected.text {
                return Err(Failure::new(
                    Exit::Failed,
                    "an author's own text ends otherwise than it should",
                ));
            }
        }
        Ok(times)
    })
}

/// Of several failures the one that made the others stop.
fn most_telling(
    played: Result<Times, Failure>,
    ends: &mut Vec<Result<String, Failure>>,
) -> Result<Times, Failure> {
    let is_cause = |failure: &Failure| failure.message != stage::interrupted().message;
    match played {
        Err(failure) if !is_cause(&failure) => {
            let cause = ends.drain(..).filter_map(Result::err).find(is_cause);
            Err(cause.unwrap_or(failure))
        }
        other => other,
    }
}

/// Waits until every node shows the right things by itself, then reads once more from all copies together.
fn compare(story: Story<'_>, expected: Expected<'_>) -> Result<Vec<(usize, Findings)>, Failure> {
    let (books, open) = (story.ledger.books(), story.open());
    let examine = |level: &str| -> Result<Vec<(usize, Findings)>, Failure> {
        let one = |node: &&Node| Ok((node.number, check::examine(node, &books, expected, level)?));
        open.iter().map(one).collect()
    };
    let mut tell_at = Instant::now() + PATIENT;
    // What is not as it should be by the end is told node by node.
    let settled = story
        .stage
        .until("all nodes show what was acknowledged", SETTLE, || {
            let all = examine("one").ok()?;
            let first = all.first().map(|(_, findings)| findings.shown.clone())?;
            let differ = all.iter().any(|(_, findings)| findings.shown != first);
            let complaints: Vec<String> = all
                .iter()
                .flat_map(|(number, findings)| {
                    findings
                        .complaints()
                        .into_iter()
                        .map(move |c| format!("n{number} {c}"))
                })
                .collect();
            if complaints.is_empty() && !differ {
                return Some(());
            }
            if Instant::now() > tell_at {
                tell_at = Instant::now() + PATIENT;
                story.stage.tell(format_args!(
                    "not yet the same everywhere: {}",
                    complaints.join("; ")
                ));
            }
            None
        });
    match settled {
        Ok(()) => examine("all"),
        Err(failure) if story.stage.stopped() => Err(failure),
        Err(_) => examine("one"),
    }
}

impl Play {
    fn new(args: &DemoArgs) -> Result<Self, Failure> {
        let Some(path) = &args.trace else {
            return Ok(Self::typing(Duration::from_secs(args.seconds)));
        };
        let refuse = |error: &dyn std::error::Error| {
            Failure::from_error(Exit::Refused, error)
                .hint(format!("the file is {}", path.display()))
        };
        let trace = Trace::open(path).map_err(|error| refuse(&error))?;
        let end = trace.end.clone();
        let [first, second] = replay::parts(trace).map_err(|error| refuse(&error))?;
        Ok(Self {
            scripts: [Script::Replay(first), Script::Replay(second)],
            end,
        })
    }

    fn typing(time: Duration) -> Self {
        let scripts = [0, 1].map(|number| {
            let typist = Typist::new(number, SEED);
            let strokes = u32::try_from(typist.left()).unwrap_or(u32::MAX).max(1);
            Script::Type {
                typist,
                period: time / strokes,
            }
        });
        Self {
            scripts,
            end: typing::TEXT.to_owned(),
        }
    }
}

/// After this long people want to hear why nothing goes on.
const PATIENT: Duration = Duration::from_secs(2);

/// Decides where the typists' fingers slip.
const SEED: u64 = 7;

impl Folder {
    fn new(keep: Option<&Path>) -> Result<Self, Failure> {
        let path = keep.map_or_else(
            || std::env::temp_dir().join(format!("meshwork-demo-{}", std::process::id())),
            Path::to_path_buf,
        );
        let failure = |error| {
            Failure::new(
                Exit::Failed,
                format!("{} cannot be used: {error}", path.display()),
            )
        };
        fs::create_dir_all(&path).map_err(failure)?;
        let path = path.canonicalize().map_err(failure)?;
        if fs::read_dir(&path).map_err(failure)?.next().is_some() {
            return Err(Failure::new(
                Exit::Refused,
                format!("{} is not empty", path.display()),
            ));
        }
        Ok(Self {
            path,
            keep: keep.is_some(),
        })
    }

    /// Takes the folder away, unless it is to be kept. What went wrong stays to be looked at.
    fn close(self) -> Result<(), Failure> {
        if self.keep {
            return Ok(());
        }
        fs::remove_dir_all(&self.path).map_err(|error| {
            Failure::new(
                Exit::Failed,
                format!("{} cannot be removed: {error}", self.path.display()),
            )
        })
    }
}
