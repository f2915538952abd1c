//! One node on this machine: a folder, a process of this same program, and its HTTP door.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::stage::Stage;
use crate::cli::client::Door;
use crate::cli::exit::{Exit, Failure};

/// A member of a mesh on this machine, running or not.
#[derive(Debug)]
pub(crate) struct Node {
    /// From 1.
    pub(crate) number: usize,
    manner: Manner,
    folder: PathBuf,
    log: PathBuf,
    id: OnceLock<String>,
    child: Mutex<Option<Child>>,
    open: AtomicBool,
    earlier: Mutex<Traffic>,
}

/// What a mesh on this machine is for decides how its nodes are set up and run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// The mesh's name.
    pub(crate) mesh: &'static str,
    /// What is said to `init` and `join` besides.
    pub(crate) set_up: &'static [&'static str],
    /// What is said to `up` besides.
    pub(crate) up: &'static [&'static str],
}

/// Bytes that a node received from and sent to other nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

/// How long a node may take to start, stop or answer about itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// For questions that a node answers at once.
const SHORT: Duration = Duration::from_secs(5);

impl Node {
    /// A node that is nowhere yet; its folder and log will be in `folder`.
    pub(crate) fn new(folder: &Path, number: usize, manner: Manner) -> Self {
        Self {
            number,
            manner,
            folder: folder.join(format!("n{number}")),
            log: folder.join(format!("n{number}.log")),
            id: OnceLock::new(),
            child: Mutex::new(None),
            open: AtomicBool::new(false),
            earlier: Mutex::new(Traffic::default()),
        }
    }

    /// Its name for people.
    pub(crate) fn name(&self) -> String {
        format!("n{}", self.number)
    }

    /// Founds the mesh.
    pub(crate) fn found(&self) -> Result<(), Failure> {
        self.set_up(&["init", "--mesh", self.manner.mesh])
    }

    /// Makes the folder of a node that joins with a ticket.
    pub(crate) fn join(&self, ticket: &str) -> Result<(), Failure> {
        self.set_up(&["join", ticket])
    }

    fn set_up(&self, command: &[&str]) -> Result<(), Failure> {
        let (name, any) = (self.name(), "127.0.0.1:0");
        let done = self
            .program()?
            .args(command)
            .args(["--name", &*name, "--listen", any, "--http", any, "--json"])
            .args(self.manner.set_up)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| self.failure("cannot be set up", &error))?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            let message = format!("{name} cannot be set up: {}", said.trim());
            return Err(Failure::new(Exit::Failed, message));
        }
        let json: Json = serde_json::from_slice(&done.stdout).unwrap_or_default();
        let id = json.get("id").and_then(Json::as_str).unwrap_or_default();
        self.id.get_or_init(|| id.to_owned());
        Ok(())
    }

    /// Starts the process, and waits until its door is open.
    pub(crate) fn start(&self, stage: &Stage) -> Result<(), Failure> {
        // What a killed process left would lead to whoever has its port now.
        drop(fs::remove_file(self.folder.join("door.addr")));
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.map_err(|error| self.failure("has no log", &error))?;
        let also = log
            .try_clone()
            .map_err(|error| self.failure("has no log", &error))?;
        let child = self
            .program()?
            .args(["up", "--stop-at-eof"])
            .args(self.manner.up)
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(also)
            .spawn()
            .map_err(|error| self.failure("cannot be started", &error))?;
        *self.child() = Some(child);
        let what = format!(
            "{} starts; its log says why: {}",
            self.name(),
            self.log.display()
        );
        stage.until(&what, PATIENCE, || self.status().ok())?;
        self.open.store(true, Ordering::Release);
        Ok(())
    }

    fn program(&self) -> Result<Command, Failure> {
        let path =
            std::env::current_exe().map_err(|error| self.failure("has no program", &error))?;
        let mut command = Command::new(path);
        command
            .env_remove("MESHWORK_DIR")
            .env_remove("MESHWORK_LOG");
        command.arg("--dir").arg(&self.folder);
        Ok(command)
    }

    /// Kills the process as if its plug was pulled.
    pub(crate) fn kill(&self) -> Result<(), Failure> {
        self.remember_traffic();
        let mut child = self.child();
        if let Some(mut child) = child.take() {
            child
                .kill()
                .map_err(|error| self.failure("cannot be killed", &error))?;
            child
                .wait()
                .map_err(|error| self.failure("cannot be waited for", &error))?;
        }
        self.open.store(false, Ordering::Release);
        Ok(())
    }

    /// Lets the node hand its data over and leave the mesh. Returns whether all was handed over and the process ended well.
    pub(crate) fn leave(&self, stage: &Stage) -> Result<bool, Failure> {
        self.open.store(false, Ordering::Release);
        let body = json!({"patience_s": PATIENCE.as_secs()});
        let answer = self.door()?.post("leave", &body, PATIENCE)?;
        let what = format!("{} stops after it left", self.name());
        let status = stage.until(&what, PATIENCE, || self.exit_status())?;
        let handed_over = answer.get("handed_over").and_then(Json::as_bool) == Some(true);
        Ok(handed_over && status.success())
    }

    fn exit_status(&self) -> Option<ExitStatus> {
        self.child().as_mut()?.try_wait().ok().flatten()
    }

    /// Its process, while it runs.
    pub(crate) fn process(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its door, opened anew: a restarted node has another address.
    pub(crate) fn door(&self) -> Result<Door, Failure> {
        Door::open(&self.folder)
    }

    /// Whether it runs and takes requests, as far as the demo has seen to it.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Its id; empty before it is set up.
    pub(crate) fn id(&self) -> &str {
        self.id.get().map_or("", String::as_str)
    }

    /// What it knows about its mesh and itself.
    pub(crate) fn status(&self) -> Result<Json, Failure> {
        self.door()?.get("status", SHORT)
    }

    /// A ticket for one more node.
    pub(crate) fn invite(&self) -> Result<String, Failure> {
        let answer = self
            .door()?
            .post("invites", &json!({"valid_for_s": 600}), SHORT)?;
        let ticket = answer.get("ticket").and_then(Json::as_str);
        ticket
            .map(str::to_owned)
            .ok_or_else(|| Failure::new(Exit::Failed, "there is no ticket"))
    }

    /// Behaves as if the links to these nodes were cut, and no others.
    pub(crate) fn cut(&self, from: &[&Self]) -> Result<(), Failure> {
        let ids: Vec<&str> = from.iter().map(|node| node.id()).collect();
        self.door()?
            .post("faults/cut", &json!({"nodes": ids}), SHORT)
            .map(drop)
    }

    /// What it moved in all its lives, as far as it could be asked.
    pub(crate) fn traffic(&self) -> Traffic {
        let now = self.traffic_of_this_life();
        let earlier = *self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        Traffic {
            bytes_in: earlier.bytes_in + now.bytes_in,
            bytes_out: earlier.bytes_out + now.bytes_out,
        }
    }

    /// To be called before a life ends, since its counts end with it.
    pub(crate) fn remember_traffic(&self) {
        let sum = self.traffic();
        *self.earlier.lock().unwrap_or_else(PoisonError::into_inner) = sum;
    }

    fn traffic_of_this_life(&self) -> Traffic {
        let status = self.status().unwrap_or_default();
        let count = |name| {
            status
                .pointer(name)
                .and_then(Json::as_u64)
                .unwrap_or_default()
        };
        Traffic {
            bytes_in: count("/net/bytes_in"),
            bytes_out: count("/net/bytes_out"),
        }
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&self, what: &str, error: &io::Error) -> Failure {
        Failure::new(Exit::Failed, format!("{} {what}: {error}", self.name()))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child().take() {
            // It may have ended by itself; then there is nothing to kill.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
