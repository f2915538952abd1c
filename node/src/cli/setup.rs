//! Making a data folder into a node: by founding a mesh, or by a ticket.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use meshwork::admission::{RefuseTicket, Ticket};
use meshwork::net::JoinMesh;
use meshwork::setup::{self, Member, SetUp, SetupOptions};
use serde_json::json;

use super::exit::{Exit, Failure};
use super::output;
use super::values::read_stdin;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  meshwork init --mesh home
  meshwork init --mesh home --name cellar --zone house --dir /srv/meshwork

Whoever has the mesh key can let anybody in: keep a copy of the file mesh.key somewhere safe.
Name, zone, addresses and more can be changed later in settings.toml.")]
pub(crate) struct InitArgs {
    /// The new mesh's name
    #[arg(long, value_name = "NAME")]
    mesh: String,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  meshwork join meshwork:AbC...
  ssh cellar meshwork invite | meshwork join -

A ticket lets one node in, until it expires. If joining breaks off, the same ticket may be used
here again.")]
pub(crate) struct JoinArgs {
    /// The ticket from `meshwork invite`; `-` reads it from standard input
    ticket: String,
    /// When to give up
    #[arg(long, default_value = "20s", value_parser = humantime::parse_duration, value_name = "TIME")]
    timeout: Duration,
    #[command(flatten)]
    node: NodeArgs,
}

/// What a new node is told about itself.
#[derive(Debug, Args)]
struct NodeArgs {
    /// This node's name; the host's name if left out
    #[arg(long)]
    name: Option<String>,
    /// What this node stands or falls with, such as a house or a rack; copies are spread over zones
    #[arg(long)]
    zone: Option<String>,
    /// Where to listen for other nodes (UDP); 0.0.0.0:7117 or another free port if left out
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// Where to listen for programs on this machine (TCP); 127.0.0.1:7118 or another free port if left out
    #[arg(long, value_name = "IP:PORT")]
    http: Option<SocketAddr>,
    /// Let this node vote on strong keys and locks: for machines that stay on, not for laptops
    #[arg(long)]
    voter: bool,
    /// Print what was made, as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn init(folder: &Path, args: &InitArgs) -> Result<(), Failure> {
    let member = setup::found(folder, &args.mesh, &args.node.options()).map_err(failure)?;
    if args.node.json {
        return json(folder, &member);
    }
    let (shown, name) = (folder.display(), output::one_line(&member.settings.name));
    let mesh = output::one_line(&member.mesh_name);
    output::line(format_args!("Founded mesh {mesh} with node {name}."))?;
    output::line(format_args!(
        "  mesh key   {shown}/mesh.key   keep a copy somewhere safe"
    ))?;
    output::line(format_args!(
        "  node key   {shown}/node.key   never copy it to another machine"
    ))?;
    output::line(format_args!("  store      {shown}/store"))?;
    output::line(format_args!("  settings   {shown}/settings.toml"))?;
    output::line(format_args!("  node id    {}", member.keypair.node_id()))?;
    next()
}

pub(crate) fn join(folder: &Path, args: &JoinArgs) -> Result<(), Failure> {
    let ticket = match args.ticket.as_str() {
        "-" => String::from_utf8_lossy(&read_stdin()?).into_owned(),
        ticket => ticket.to_owned(),
    };
    let ticket: Ticket = ticket.parse().map_err(|error| {
        Failure::from_error(Exit::Usage, &error)
            .hint("copy the whole line that `meshwork invite` printed, from `meshwork:` to its end")
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    let options = args.node.options();
    let joining = setup::join(folder, &ticket, &options, args.timeout);
    let member = runtime.block_on(joining).map_err(failure)?;
    if args.node.json {
        return json(folder, &member);
    }
    output::line(format_args!(
        "Joined mesh {} as {}.",
        output::one_line(&member.mesh_name),
        output::one_line(&member.settings.name)
    ))?;
    output::line(format_args!("  folder     {}", folder.display()))?;
    output::line(format_args!("  node id    {}", member.keypair.node_id()))?;
    next()
}

fn next() -> Result<(), Failure> {
    output::line("Next: `meshwork up` starts the node.")
}

fn json(folder: &Path, member: &Member) -> Result<(), Failure> {
    output::json(&json!({
        "mesh": member.mesh_name,
        "name": member.settings.name,
        "id": member.keypair.node_id().to_string(),
        "folder": folder.display().to_string(),
        "listen": member.settings.listen.to_string(),
        "http": member.settings.http.to_string(),
    }))
}

impl NodeArgs {
    fn options(&self) -> SetupOptions {
        SetupOptions {
            name: self.name.clone(),
            zone: self.zone.clone(),
            listen: self.listen,
            http: self.http,
            voter: self.voter,
        }
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that `map_err` wants"
)]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the rest is the machine's fault"
)]
fn failure(error: SetUp) -> Failure {
    let (exit, hint) = match &error {
        SetUp::Name => (Exit::Usage, ""),
        SetUp::Member { .. } => (Exit::Refused, ""),
        SetUp::Join(JoinMesh::Refused(RefuseTicket::Unavailable)) => (
            Exit::Unavailable,
            "try again later: the ticket is still good",
        ),
        SetUp::Join(JoinMesh::Refused(_)) => (
            Exit::Refused,
            "ask for a new ticket: `meshwork invite` on a member",
        ),
        SetUp::Join(JoinMesh::Unreachable { .. } | JoinMesh::Broken | JoinMesh::Timeout) => (
            Exit::Unavailable,
            "does `meshwork up` run on the machine that made the ticket, and does its firewall let UDP in? The ticket is still good",
        ),
        _ => (Exit::Failed, ""),
    };
    let failure = Failure::from_error(exit, &error);
    if hint.is_empty() {
        failure
    } else {
        failure.hint(hint)
    }
}
