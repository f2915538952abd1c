//! Three voters, as processes with doors, and within this process.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::{Method, Request};
use meshwork::Mesh;
use meshwork::setup::{self, SetupOptions};
use serde_json::Value as Json;
use serde_json::json;

use super::http2::Connections;
use super::load::{Failed, Group, Keys, VALUE};
use crate::cli::exit::{Exit, Failure};
use crate::demo::node::{Manner, Node, PATIENCE};
use crate::demo::stage::Stage;

/// Three processes.
#[derive(Debug)]
pub(super) struct Voters {
    nodes: Vec<Node>,
}

/// A client of their doors.
#[derive(Clone, Debug)]
pub(super) struct DoorKeys {
    connections: Connections,
    tokens: Vec<(SocketAddr, String)>,
    processes: Vec<u32>,
}

/// A client of nodes in this process.
#[derive(Clone, Debug)]
pub(super) struct HandleKeys {
    nodes: Vec<Mesh>,
    processes: Vec<u32>,
}

const VOTERS: Manner = Manner {
    mesh: "bench",
    set_up: &["--voter"],
    up: &[],
};

const NAMESPACE: &str = "bench";

impl Voters {
    pub(super) fn start(folder: &Path, stage: &Stage) -> Result<Self, Failure> {
        let nodes: Vec<Node> = (1..=3)
            .map(|number| Node::new(folder, number, VOTERS))
            .collect();
        let mut all = nodes.iter();
        if let Some(first) = all.next() {
            first.found()?;
            first.start(stage)?;
            for node in all {
                node.join(&first.invite()?)?;
                node.start(stage)?;
            }
            let name = json!({ "name": NAMESPACE });
            stage.until("the voters serve", PATIENCE, || {
                let door = first.door().ok()?;
                door.post("strong/namespaces", &name, PATIENCE).ok()
            })?;
        }
        let this = Self { nodes };
        this.wait(stage)?;
        Ok(this)
    }

    pub(super) fn processes(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(Node::process).collect()
    }
}

impl Group for Voters {
    type Client = DoorKeys;

    fn start_one(&mut self, number: usize, stage: &Stage) -> Result<(), Failure> {
        self.nodes
            .get(number)
            .map_or(Ok(()), |node| node.start(stage))
    }

    fn wait(&self, stage: &Stage) -> Result<(), Failure> {
        stage
            .until("all three vote", PATIENCE * 2, || self.leader())
            .map(drop)
    }

    fn leader(&self) -> Option<usize> {
        self.nodes.iter().position(|node| {
            let status = node
                .door()
                .and_then(|door| door.get("strong/status", PATIENCE));
            status.is_ok_and(|status| leads_all(&status, node.id()))
        })
    }

    fn kill(&mut self, number: usize) -> Result<(), Failure> {
        self.nodes.get(number).map_or(Ok(()), Node::kill)
    }

    async fn keys(&self) -> Result<DoorKeys, Failed> {
        let mut tokens = Vec::new();
        for node in &self.nodes {
            let read = |name| std::fs::read_to_string(node.folder().join(name));
            let url = read("door.addr").map_err(Failed::new)?;
            let address = url.trim().trim_start_matches("http://").parse();
            let token = read("door.token").map_err(Failed::new)?;
            let authorization = format!("Bearer {}", token.trim());
            tokens.push((address.map_err(Failed::new)?, authorization));
        }
        let nodes: Vec<SocketAddr> = tokens.iter().map(|(address, _)| *address).collect();
        Ok(DoorKeys {
            connections: Connections::open(&nodes).await?,
            tokens,
            processes: self.processes(),
        })
    }
}

/// Whether a node leads a group of three voters of which it has heard lately.
fn leads_all(status: &Json, node: &str) -> bool {
    let members = status.pointer("/members").and_then(Json::as_array);
    let is_there = |member: &&Json| {
        let text = |at| member.pointer(at).and_then(Json::as_str);
        text("/role") == Some("voter") && member.pointer("/heard") == Some(&Json::Bool(true))
    };
    let there = members.map_or(0, |members| members.iter().filter(is_there).count());
    status.pointer("/leader").and_then(Json::as_str) == Some(node) && there == 3
}

impl DoorKeys {
    async fn ask(
        &self,
        client: usize,
        (method, name): (Method, &str),
        body: &'static [u8],
    ) -> Result<Bytes, Failed> {
        let node = self.tokens.get(client % self.tokens.len());
        let (address, authorization) = node.ok_or_else(|| Failed("no node".into()))?;
        let uri = format!("http://{address}/v1/strong/keys/{NAMESPACE}/{name}?raw=1");
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("authorization", authorization)
            .body(Bytes::from_static(body))
            .map_err(Failed::new)?;
        Ok(self.connections.ask(client, request).await?.body)
    }
}

impl Keys for DoorKeys {
    async fn put(&self, client: usize, name: &str) -> Result<(), Failed> {
        self.ask(client, (Method::PUT, name), &VALUE)
            .await
            .map(drop)
    }

    async fn get(&self, client: usize, name: &str) -> Result<(), Failed> {
        let found = self.ask(client, (Method::GET, name), &[]).await?;
        expect(name, &found)
    }

    fn processes(&self) -> &[u32] {
        &self.processes
    }
}

fn expect(name: &str, found: &[u8]) -> Result<(), Failed> {
    let there = found == VALUE;
    there
        .then_some(())
        .ok_or_else(|| Failed(format!("{name} is not as it was written")))
}

impl HandleKeys {
    pub(super) async fn start(folder: &Path) -> Result<Self, Failed> {
        let options = SetupOptions {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            http: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            voter: true,
            ..SetupOptions::default()
        };
        let mut nodes: Vec<Mesh> = Vec::new();
        for number in 1..=3 {
            let folder = folder.join(format!("h{number}"));
            match nodes.first() {
                None => drop(setup::found(&folder, "bench", &options).map_err(Failed::new)?),
                Some(first) => {
                    until(async || !first.addresses().is_empty()).await?;
                    let ticket = first.invite(Duration::from_secs(60)).await;
                    let ticket = ticket.map_err(Failed::new)?;
                    let joined = setup::join(&folder, &ticket, &options, PATIENCE).await;
                    joined.map_err(Failed::new)?;
                }
            }
            let node = Mesh::builder(&folder).start().await;
            nodes.push(node.map_err(Failed::new)?);
        }
        let processes = vec![std::process::id()];
        let this = Self { nodes, processes };
        let first = this.node(0)?;
        let keys = first.strong(NAMESPACE).map_err(Failed::new)?;
        until(async || keys.create().await.is_ok()).await?;
        until(async || {
            let status = first.status().await;
            let members = status
                .map(|status| status.strong.members)
                .unwrap_or_default();
            members
                .iter()
                .filter(|member| member.role == "voter")
                .count()
                == 3
        })
        .await?;
        Ok(this)
    }

    pub(super) async fn stop(self) {
        for node in self.nodes {
            node.stop().await;
        }
    }

    fn node(&self, client: usize) -> Result<&Mesh, Failed> {
        let node = self.nodes.get(client % self.nodes.len());
        node.ok_or_else(|| Failed("no node".into()))
    }
}

impl Keys for HandleKeys {
    async fn put(&self, client: usize, name: &str) -> Result<(), Failed> {
        let keys = self.node(client)?.strong(NAMESPACE).map_err(Failed::new)?;
        keys.put(name, VALUE).await.map(drop).map_err(Failed::new)
    }

    async fn get(&self, client: usize, name: &str) -> Result<(), Failed> {
        let keys = self.node(client)?.strong(NAMESPACE).map_err(Failed::new)?;
        let found = keys.get(name).await.map_err(Failed::new)?;
        expect(name, &found.map(|found| found.value).unwrap_or_default())
    }

    /// This one, clients and all.
    fn processes(&self) -> &[u32] {
        &self.processes
    }
}

/// Asks again and again until it is so.
async fn until(mut is_so: impl AsyncFnMut() -> bool) -> Result<(), Failed> {
    let end = Instant::now() + PATIENCE;
    while !is_so().await {
        if Instant::now() > end {
            return Err(Failed(
                "the nodes in this process do not come together".into(),
            ));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        Self::from_error(Exit::Failed, &failed)
    }
}
