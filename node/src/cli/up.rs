//! Running the node.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;

use clap::Args;
use meshwork::core::NodeConfig;
use meshwork::doors::http::{Http, HttpConfig};
use meshwork::setup::{LoadMember, Member};
use meshwork::store::OpenDataDir;
use meshwork::{Ended, Mesh, StartMesh};

use super::exit::{Exit, Failure};
use super::signals::Signals;
use super::{logging, output};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  meshwork up
  meshwork up --dir /srv/meshwork --log info --log-json

Ctrl-C or SIGTERM stops it cleanly; a second Ctrl-C at once. A node that is killed loses
nothing that it acknowledged. --listen and --http go before settings.toml, for this run only.")]
pub(crate) struct UpArgs {
    /// Where to listen for other nodes (UDP)
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// Where to listen for programs on this machine (TCP)
    #[arg(long, value_name = "IP:PORT")]
    http: Option<SocketAddr>,
    /// What to log: a level, or levels by module
    #[arg(long, default_value = logging::DEFAULT, env = "MESHWORK_LOG", value_name = "FILTER")]
    log: String,
    /// Log one JSON object a line
    #[arg(long)]
    log_json: bool,
    /// Let programs with the token cut links, for demonstrations and tests of partitions
    #[arg(long, hide = true)]
    allow_faults: bool,
    /// Use the short periods that suit several nodes on one machine
    #[arg(long, hide = true)]
    loopback_timing: bool,
    /// Stop when standard input ends, so as not to outlive whoever holds its other end
    #[arg(long, hide = true)]
    stop_at_eof: bool,
}

pub(crate) fn run(folder: &Path, args: &UpArgs) -> Result<(), Failure> {
    let form = if args.log_json {
        logging::Form::Json
    } else {
        logging::Form::Text
    };
    logging::start(&args.log, form)?;
    if args.stop_at_eof {
        stop_at_eof()?;
    }
    // Looked at before anything is made, so that a mistyped folder is not created.
    let member = Member::load(folder).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .enable_all()
        .build()
        .map_err(|error| Failure::from_error(Exit::Failed, &error))?
        .block_on(serve(folder, &member, args))
}

/// Half the processors, and one at least. The others are for the disk's thread and for the kernel's part of the network; a worker more than
/// there is work for is woken for nothing with every message.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |all| (all.get() / 2).max(1))
}

async fn serve(folder: &Path, member: &Member, args: &UpArgs) -> Result<(), Failure> {
    let mut builder = Mesh::builder(folder);
    if let Some(listen) = args.listen {
        builder = builder.listen(listen);
    }
    if args.loopback_timing {
        builder = builder.config(NodeConfig {
            membership: meshwork_membership::Config::loopback(),
            ..NodeConfig::default()
        });
    }
    let mut signals = Signals::listen()?;
    let mesh = builder
        .start()
        .await
        .map_err(|error| failure(folder, &error))?;
    let config = HttpConfig {
        folder: folder.to_path_buf(),
        listen: args.http.unwrap_or(member.settings.http),
        faults: args.allow_faults,
    };
    let door = match Http::start(mesh.clone(), config) {
        Ok(door) => door,
        Err(error) => {
            mesh.stop().await;
            return Err(Failure::from_error(Exit::Failed, &error));
        }
    };
    introduce(folder, &mesh, member, &door.url())?;
    let ended = tokio::select! {
        () = signals.next() => {
            output::note("stopping; press Ctrl-C again to stop at once");
            Ended::Stopped
        }
        ended = mesh.ended() => ended,
    };
    // The door first, so that requests under way are still answered.
    let stopped = async {
        door.stop().await;
        mesh.stop().await;
    };
    tokio::select! {
        () = signals.next() => Err(Failure::new(Exit::Failed, "stopped at once")),
        () = stopped => end(&ended),
    }
}

/// Sends this process what asks it to stop, once standard input has ended.
fn stop_at_eof() -> Result<(), Failure> {
    let wait = || {
        // Whatever comes is of no interest; an error is an end too.
        drop(io::copy(&mut io::stdin().lock(), &mut io::sink()));
        let me = rustix::process::getpid();
        if let Err(error) = rustix::process::kill_process(me, rustix::process::Signal::TERM) {
            tracing::error!(%error, "the process cannot stop itself");
        }
    };
    let thread = thread::Builder::new()
        .name("stop-at-eof".into())
        .spawn(wait);
    thread
        .map(drop)
        .map_err(|error| Failure::from_error(Exit::Failed, &error))
}

fn introduce(folder: &Path, mesh: &Mesh, member: &Member, http: &str) -> Result<(), Failure> {
    let (name, mesh_name) = (&member.settings.name, mesh.mesh_name());
    output::line(format_args!(
        "node      {} ({})",
        output::one_line(name),
        mesh.id()
    ))?;
    output::line(format_args!("mesh      {}", output::one_line(mesh_name)))?;
    output::line(format_args!("folder    {}", folder.display()))?;
    for address in mesh.addresses() {
        output::line(format_args!("listens   {address} (UDP)"))?;
    }
    output::line(format_args!("http      {http}"))?;
    output::line("next      meshwork invite    a ticket for one more machine")?;
    output::line("          meshwork status    who is here, and what they hold")?;
    output::line("          Ctrl-C             stops this node; its data stays")
}

/// How the program ends when the node ended by itself.
fn end(ended: &Ended) -> Result<(), Failure> {
    if *ended == Ended::Stopped {
        return Ok(());
    }
    Err(Failure::from_error(Exit::Failed, ended))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the others say themselves what to do"
)]
fn failure(folder: &Path, error: &StartMesh) -> Failure {
    let failure = Failure::from_error(Exit::Failed, error);
    match error {
        StartMesh::Folder(OpenDataDir::InUse { .. }) => failure.hint(format!(
            "the node runs already: see `meshwork status --dir {}`",
            folder.display()
        )),
        StartMesh::Member(LoadMember::Settings(_)) => {
            failure.hint("edit settings.toml, or delete it to go back to the defaults")
        }
        _ => failure,
    }
}
