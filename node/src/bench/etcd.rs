//! Three processes of etcd, and clients that speak gRPC to them.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use hyper::Request;
use serde_json::Value as Json;

use super::http2::Connections;
use super::load::{Failed, Group, Keys, VALUE};
use crate::cli::exit::{Exit, Failure};
use crate::demo::stage::Stage;

/// A cluster of three, on loopback.
#[derive(Debug)]
pub(super) struct Etcd {
    members: Vec<Member>,
    folder: PathBuf,
}

#[derive(Debug)]
struct Member {
    name: String,
    clients: SocketAddr,
    peers: SocketAddr,
    child: Option<Child>,
}

/// A client of it.
#[derive(Clone, Debug)]
pub(super) struct EtcdKeys {
    connections: Connections,
    processes: Vec<u32>,
}

/// How long a member may take to serve.
const PATIENCE: Duration = Duration::from_secs(30);

impl Etcd {
    /// The version of the program, where there is one.
    pub(super) fn version() -> Option<String> {
        let said = Command::new("etcd").arg("--version").output().ok()?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let version = said.lines().next()?.rsplit(' ').next()?;
        Some(version.to_owned())
    }

    pub(super) fn start(folder: &Path, stage: &Stage) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::from_error(Exit::Failed, &error);
        let ports = free_ports().map_err(failed)?;
        let (clients, peers) = ports.split_at(3);
        let both = (1..).zip(clients.iter().zip(peers));
        let members = both.map(|(number, (clients, peers))| Member {
            name: format!("e{number}"),
            clients: *clients,
            peers: *peers,
            child: None,
        });
        let members = members.collect();
        let folder = folder.to_owned();
        let mut this = Self { members, folder };
        for number in 0..this.members.len() {
            this.start_one(number, stage)?;
        }
        this.wait(stage)?;
        Ok(this)
    }

    pub(super) fn processes(&self) -> Vec<u32> {
        let children = self
            .members
            .iter()
            .filter_map(|member| member.child.as_ref());
        children.map(Child::id).collect()
    }
}

impl Group for Etcd {
    type Client = EtcdKeys;

    fn start_one(&mut self, number: usize, _stage: &Stage) -> Result<(), Failure> {
        let url = |address: SocketAddr| format!("http://{address}");
        let all = self.members.iter();
        let all = all.map(|member| format!("{}={}", member.name, url(member.peers)));
        let all = all.collect::<Vec<_>>().join(",");
        let Some(member) = self.members.get_mut(number) else {
            return Ok(());
        };
        let log = fs::File::create(self.folder.join(format!("{}.log", member.name)));
        let log = log.map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        let child = Command::new("etcd")
            .arg("--data-dir")
            .arg(self.folder.join(&member.name))
            .args(["--name", &member.name])
            .args(["--listen-client-urls", &url(member.clients)])
            .args(["--advertise-client-urls", &url(member.clients)])
            .args(["--listen-peer-urls", &url(member.peers)])
            .args(["--initial-advertise-peer-urls", &url(member.peers)])
            .args(["--initial-cluster", &all])
            .args(["--heartbeat-interval", "100", "--election-timeout", "1000"])
            .args(["--logger", "zap", "--log-level", "error"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| {
                Failure::new(Exit::Failed, format!("etcd cannot be started: {error}"))
            })?;
        member.child = Some(child);
        Ok(())
    }

    fn wait(&self, stage: &Stage) -> Result<(), Failure> {
        let what = format!("etcd serves; its logs are in {}", self.folder.display());
        stage.until(&what, PATIENCE, || self.leader()).map(drop)
    }

    fn leader(&self) -> Option<usize> {
        let told: Option<Vec<(String, String)>> = self.members.iter().map(Member::leader).collect();
        let told = told?;
        let (_, leader) = told.first()?;
        let agree = told.iter().all(|(_, other)| other == leader);
        let place = told.iter().position(|(id, _)| id == leader);
        place.filter(|_| agree)
    }

    fn kill(&mut self, number: usize) -> Result<(), Failure> {
        if let Some(member) = self.members.get_mut(number) {
            member.kill();
        }
        Ok(())
    }

    async fn keys(&self) -> Result<EtcdKeys, Failed> {
        let nodes: Vec<SocketAddr> = self.members.iter().map(|member| member.clients).collect();
        let connections = Connections::open(&nodes).await?;
        Ok(EtcdKeys {
            connections,
            processes: self.processes(),
        })
    }
}

impl Member {
    /// Its own id, and that of the leader as it knows it.
    fn leader(&self) -> Option<(String, String)> {
        let url = format!("http://{}/v3/maintenance/status", self.clients);
        let agent = ureq::Agent::config_builder()
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(1)))
            .build()
            .new_agent();
        let mut answer = agent.post(&url).send("{}").ok()?;
        let body = answer.body_mut().read_to_vec().ok()?;
        let said: Json = serde_json::from_slice(&body).ok()?;
        let text = |at| Some(said.pointer(at)?.as_str()?.to_owned());
        Some((text("/header/member_id")?, text("/leader")?))
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; then there is nothing to kill.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.members.iter_mut().for_each(Member::kill);
    }
}

impl EtcdKeys {
    /// A unary call: gRPC over HTTP/2, <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.
    async fn call(&self, client: usize, method: &str, message: &[u8]) -> Result<Bytes, Failed> {
        let mut body = BytesMut::with_capacity(5 + message.len());
        body.put_u8(0);
        body.put_u32(u32::try_from(message.len()).map_err(Failed::new)?);
        body.put(message);
        let request = Request::post(format!("http://etcd/etcdserverpb.KV/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(body.freeze())
            .map_err(Failed::new)?;
        let mut answer = self.connections.ask(client, request).await?;
        if answer
            .trailers
            .get("grpc-status")
            .is_none_or(|status| status != "0")
        {
            return Err(Failed(format!("{:?}", answer.trailers)));
        }
        answer.body.advance(5.min(answer.body.len()));
        Ok(answer.body)
    }
}

impl Keys for EtcdKeys {
    async fn put(&self, client: usize, name: &str) -> Result<(), Failed> {
        let mut message = Vec::new();
        field(&mut message, 1, name.as_bytes());
        field(&mut message, 2, &VALUE);
        self.call(client, "Put", &message).await.map(drop)
    }

    async fn get(&self, client: usize, name: &str) -> Result<(), Failed> {
        let mut message = Vec::new();
        field(&mut message, 1, name.as_bytes());
        let found = self.call(client, "Range", &message).await?;
        let there = found.windows(VALUE.len()).any(|bytes| bytes == VALUE);
        there
            .then_some(())
            .ok_or_else(|| Failed(format!("{name} is not there")))
    }

    fn processes(&self) -> &[u32] {
        &self.processes
    }
}

/// Six, which were all held until all were known, so that no two are the same.
fn free_ports() -> io::Result<Vec<SocketAddr>> {
    let held: io::Result<Vec<_>> = (0..6).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    held?.iter().map(TcpListener::local_addr).collect()
}

/// A field of bytes in the encoding of Protocol Buffers; keys and values here are shorter than 128 bytes.
fn field(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    message.push(number << 3 | 2);
    message.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX) & 0x7f);
    message.extend(bytes);
}
