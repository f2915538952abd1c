//! What happens to the mesh while everybody writes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use meshwork_dht::{Placement, Position, Seat, View};
use meshwork_membership::NodeId;
use serde_json::Value as Json;

use super::check;
use super::ledger::Ledger;
use super::load::NAMESPACE;
use super::node::{Node, PATIENCE};
use super::stage::Stage;
use crate::cli::exit::{Exit, Failure};

/// The scene and the actors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Story<'a> {
    pub(super) nodes: &'a [Node],
    pub(super) stage: &'a Stage,
    pub(super) ledger: &'a Ledger,
}

/// How long the mesh took for what.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    /// From the kill until the first, and the last, of the other nodes no longer took the victim for alive.
    pub(super) death_noticed: [Duration; 2],
    /// From the start of the victim's second life until all took it for alive.
    pub(super) back: Duration,
    /// From the end of the split until every node showed all that had been acknowledged on either side.
    pub(super) converged: Duration,
    /// From the ticket until the new node held its share.
    pub(super) joined: Duration,
    /// From the request to leave until the process had handed over and ended.
    pub(super) left: Duration,
}

/// How many nodes there are to begin with.
pub(super) const FOUNDERS: usize = 5;
/// How many there are ever.
pub(super) const NODES: usize = 6;
/// The two authors' nodes: on different sides of the split.
pub(super) const WRITERS: [usize; 2] = [1, 3];
/// Whose plug is pulled.
pub(super) const VICTIM: usize = 4;
/// Who leaves.
pub(super) const LEAVER: usize = 5;
/// Who joins.
pub(super) const NEWCOMER: usize = 6;
/// Who lets the newcomer in.
const HOST: usize = 2;
/// The smaller side of the split; the others are the larger.
const SMALL_SIDE: [usize; 2] = [1, 2];
const SPLIT: Duration = Duration::from_secs(4);
/// What lies between one misfortune and the next.
const CALM: Duration = Duration::from_secs(1);

impl<'a> Story<'a> {
    /// Founds the mesh and lets the other founders join it.
    pub(super) fn gather(&self) -> Result<(), Failure> {
        let first = self.node(1)?;
        first.found()?;
        first.start(self.stage)?;
        for number in 2..=FOUNDERS {
            let node = self.node(number)?;
            node.join(&first.invite()?)?;
            node.start(self.stage)?;
        }
        self.stage.until("all nodes see each other", PATIENCE, || {
            self.is_settled().then_some(())
        })?;
        self.stage.tell(format_args!(
            "{FOUNDERS} nodes are up, each a process of its own"
        ));
        Ok(())
    }

    /// The name of a document with copies on both writers' nodes and on the one that will be killed: nothing is spared. Names are tried
    /// until one is placed so, by the same computation with which every node finds replicas.
    pub(super) fn choose_document(&self) -> Result<String, Failure> {
        let mut view = View::default();
        let mut wanted = BTreeSet::new();
        for number in 1..=FOUNDERS {
            let node = self.node(number)?;
            let id: NodeId = node
                .id()
                .parse()
                .ok()
                .ok_or_else(|| failure("a node's id is no id"))?;
            view.nodes.insert(id, Seat::new("", 1));
            if WRITERS.contains(&number) || number == VICTIM {
                wanted.insert(id);
            }
        }
        let placement = Placement::new(&view, wanted.len());
        let fits = |name: &String| {
            let partition = Position::of(NAMESPACE, name.as_bytes()).partition();
            let replicas: BTreeSet<NodeId> =
                placement.replicas(partition).iter().copied().collect();
            replicas == wanted
        };
        let name = (1..10_000).map(|n| format!("story-{n}")).find(fits);
        name.ok_or_else(|| failure("no name is placed on the three nodes that it should be on"))
            .map(|name| format!("{NAMESPACE}/{name}"))
    }

    /// Everything that goes wrong, one after the other.
    pub(super) fn play(&self, document: &str) -> Result<Times, Failure> {
        let mut times = Times::default();
        self.stage.pause(CALM)?;
        times.death_noticed = self.kill()?;
        self.stage.pause(CALM)?;
        times.back = self.restart()?;
        self.stage.pause(CALM)?;
        times.converged = self.split_and_heal(document)?;
        times.joined = self.join()?;
        times.left = self.leave()?;
        Ok(times)
    }

    fn kill(&self) -> Result<[Duration; 2], Failure> {
        let victim = self.node(VICTIM)?;
        self.stage
            .tell(format_args!("kill -9 for {}", victim.name()));
        victim.kill()?;
        let (killed, mut first) = (Instant::now(), None);
        let all = self
            .stage
            .until("all nodes notice the death", PATIENCE, || {
                let others = self.open();
                let noticed = others
                    .iter()
                    .filter(|node| self.state_at(node, victim) != "alive")
                    .count();
                if noticed > 0 {
                    first.get_or_insert(killed.elapsed());
                }
                (noticed == others.len()).then(|| killed.elapsed())
            })?;
        self.stage
            .tell(format_args!("all others noticed after {}", seconds(all)));
        Ok([first.unwrap_or(all), all])
    }

    fn restart(&self) -> Result<Duration, Failure> {
        let victim = self.node(VICTIM)?;
        let start = Instant::now();
        victim.start(self.stage)?;
        self.stage
            .until("all nodes see the restarted one", PATIENCE, || {
                self.is_settled().then_some(())
            })?;
        let back = start.elapsed();
        self.stage.tell(format_args!(
            "{} is back, and welcomed by all after {}",
            victim.name(),
            seconds(back)
        ));
        Ok(back)
    }

    fn split_and_heal(&self, document: &str) -> Result<Duration, Failure> {
        let open = self.open();
        let (small, large): (Vec<&Node>, Vec<&Node>) = open
            .iter()
            .partition(|node| SMALL_SIDE.contains(&node.number));
        let names = |side: &[&Node]| {
            side.iter()
                .map(|node| node.name())
                .collect::<Vec<_>>()
                .join(" ")
        };
        self.stage
            .tell(format_args!("split: {} | {}", names(&small), names(&large)));
        small.iter().try_for_each(|node| node.cut(&large))?;
        large.iter().try_for_each(|node| node.cut(&small))?;
        self.stage.pause(SPLIT)?;
        for (here, there) in [(&small, &large), (&large, &small)] {
            let crossing = here
                .iter()
                .any(|node| there.iter().any(|other| is_linked(node, other)));
            if crossing {
                return Err(failure("the split left a link between its sides"));
            }
        }
        let books = self.ledger.books();
        let mut version = meshwork_crdt::CausalContext::default();
        for number in WRITERS {
            let door = self.node(number)?.door()?;
            version.join(check::document_object(&door, document, "local")?.version());
        }
        let healed = Instant::now();
        open.iter().try_for_each(|node| node.cut(&[]))?;
        self.stage.tell("healed");
        let mut behind = open.clone();
        self.stage.until(
            "both sides of the split show the same",
            2 * PATIENCE,
            || {
                behind.retain(|node| {
                    !check::is_caught_up(node, &books, document, &version)
                        .is_ok_and(|caught_up| caught_up)
                });
                behind.is_empty().then_some(())
            },
        )?;
        let converged = healed.elapsed();
        self.stage.tell(format_args!(
            "both sides show each other's writes after {}",
            seconds(converged)
        ));
        Ok(converged)
    }

    fn join(&self) -> Result<Duration, Failure> {
        let newcomer = self.node(NEWCOMER)?;
        self.stage
            .tell(format_args!("{} joins with a ticket", newcomer.name()));
        let start = Instant::now();
        newcomer.join(&self.node(HOST)?.invite()?)?;
        newcomer.start(self.stage)?;
        self.stage
            .until("the new node holds its share", 2 * PATIENCE, || {
                self.is_settled().then_some(())
            })?;
        let joined = start.elapsed();
        self.stage.tell(format_args!(
            "{} holds its share after {}",
            newcomer.name(),
            seconds(joined)
        ));
        Ok(joined)
    }

    fn leave(&self) -> Result<Duration, Failure> {
        let leaver = self.node(LEAVER)?;
        self.stage.tell(format_args!("{} leaves", leaver.name()));
        leaver.remember_traffic();
        let start = Instant::now();
        if !leaver.leave(self.stage)? {
            return Err(failure("the leaving node did not hand everything over"));
        }
        let left = start.elapsed();
        self.stage.until("all nodes know who left", PATIENCE, || {
            self.open()
                .iter()
                .all(|node| self.state_at(node, leaver) == "left")
                .then_some(())
        })?;
        self.stage.tell(format_args!(
            "{} handed over and left after {}",
            leaver.name(),
            seconds(left)
        ));
        Ok(left)
    }

    /// The nodes that run, as far as the story goes.
    pub(super) fn open(&self) -> Vec<&'a Node> {
        self.nodes.iter().filter(|node| node.is_open()).collect()
    }

    /// The node with a number.
    pub(super) fn node(&self, number: usize) -> Result<&'a Node, Failure> {
        let index = number.checked_sub(1);
        index
            .and_then(|index| self.nodes.get(index))
            .ok_or_else(|| failure("there is no such node"))
    }

    /// Whether all nodes that run see each other alive, are connected, and have nothing to move.
    fn is_settled(&self) -> bool {
        let open = self.open();
        open.iter().all(|node| {
            let status = node.status().unwrap_or_default();
            let nothing = |name| status.pointer(name).and_then(Json::as_u64) == Some(0);
            nothing("/status/partitions_filling")
                && nothing("/status/partitions_leaving")
                && open.iter().all(|other| {
                    let member = member(&status, other);
                    let linked = other.number == node.number || flag(member, "connected");
                    linked && state(member) == "alive"
                })
        })
    }

    /// What one node takes another for; empty when it cannot be asked or does not know it.
    fn state_at(&self, node: &Node, other: &Node) -> String {
        // Who does not answer has noticed nothing.
        match node.status() {
            Ok(status) => state(member(&status, other)).to_owned(),
            Err(_) => "alive".to_owned(),
        }
    }
}

fn is_linked(node: &Node, other: &Node) -> bool {
    node.status()
        .is_ok_and(|status| flag(member(&status, other), "connected"))
}

fn member<'a>(status: &'a Json, node: &Node) -> Option<&'a Json> {
    let members = status.pointer("/status/members")?.as_array()?;
    members
        .iter()
        .find(|member| member.get("id").and_then(Json::as_str) == Some(node.id()))
}

fn state(member: Option<&Json>) -> &str {
    member
        .and_then(|member| member.get("state")?.as_str())
        .unwrap_or_default()
}

fn flag(member: Option<&Json>, name: &str) -> bool {
    member.and_then(|member| member.get(name)?.as_bool()) == Some(true)
}

/// A time for people.
pub(super) fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn failure(message: &str) -> Failure {
    Failure::new(Exit::Failed, message)
}
