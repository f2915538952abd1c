//! A data folder, and the program run on it.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

/// How long anything may take before the test fails. Nothing waits for it when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A data folder, and the node that runs on it.
pub(crate) struct Site {
    pub(crate) root: tempfile::TempDir,
    pub(crate) node: Option<Child>,
    /// The network namespace that its commands run in; the test's own when left out.
    pub(crate) namespace: Option<String>,
}

impl Site {
    /// A folder with nothing in it.
    pub(crate) fn empty() -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
            node: None,
            namespace: None,
        }
    }

    /// The first node of a mesh, running.
    pub(crate) fn founded(name: &str) -> Self {
        let mut site = Self::empty();
        site.ok(&[
            "init",
            "--mesh",
            "home",
            "--name",
            name,
            "--listen",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
        ]);
        site.up();
        site
    }

    /// A node that joined with a ticket, running.
    pub(crate) fn joined(name: &str, ticket: &str) -> Self {
        let mut site = Self::empty();
        let joined = site.join(name, ticket);
        assert!(joined.status.success(), "{joined:?}");
        site.up();
        site
    }

    pub(crate) fn join(&self, name: &str, ticket: &str) -> Output {
        self.run(&[
            "join",
            ticket,
            "--name",
            name,
            "--listen",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
        ])
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.root.path().join("data")
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        // Another build of the program can be tried by its path.
        let built = env!("CARGO_BIN_EXE_meshwork");
        let program = std::env::var("MESHWORK_TEST_PROGRAM").unwrap_or(built.into());
        let program = program.as_str();
        let mut command = match &self.namespace {
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace, program]);
                command
            }
            None => Command::new(program),
        };
        command.args(args).env("MESHWORK_DIR", self.folder());
        command
            .env_remove("MESHWORK_LOG")
            .env("EDITOR", "false")
            .env_remove("VISUAL");
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that must do well, and gives what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must fail, and gives its exit code and what it said.
    pub(crate) fn fails(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), said)
    }

    pub(crate) fn json(&self, args: &[&str]) -> Json {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    /// Starts the node, and waits until it has introduced itself.
    pub(crate) fn up(&mut self) {
        let mut child = self
            .command(&["up", "--log", "warn"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let introduced = lines
            .map_while(Result::ok)
            .any(|line| line.contains("Ctrl-C"));
        assert!(introduced, "the node ended before it had started");
        self.node = Some(child);
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.node.as_ref().unwrap().id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits until the node has ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut node = self.node.take().unwrap();
        eventually("the node ends", || node.try_wait().unwrap())
    }

    /// How many members it holds for alive, itself included.
    pub(crate) fn alive(&self) -> usize {
        let status = self.json(&["status", "--json"]);
        let members = status["status"]["members"].as_array().unwrap();
        members
            .iter()
            .filter(|member| member["state"] == "alive")
            .count()
    }

    pub(crate) fn invite(&self) -> String {
        self.ok(&["invite", "--expires", "10m"]).trim().to_owned()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut node) = self.node.take() {
            drop(node.kill());
            drop(node.wait());
        }
    }
}

/// Asks again and again until there is an answer.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "it took too long until {what}");
        sleep(Duration::from_millis(20));
    }
}
