//! One author: an editor of its own, and a node that carries its changes to the other author.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use meshwork_crdt::{
    ActorSeed, ApplyOp, CausalContext, Dot, EditText, Hlc, Limits, Merges, Object, Op, ReplicaId,
    Stamp, Text,
};

use super::commits::{Commit, Commits};
use super::node::Node;
use super::replay::Part;
use super::stage::{Stage, interrupted};
use super::typing::Typist;
use crate::cli::client::Door;
use crate::cli::exit::{Exit, Failure};

/// What an author does.
#[derive(Debug)]
pub(super) enum Script {
    /// Its part of a recorded history: each step at exactly the state that it was made on.
    Replay(Part),
    /// Typing, one commit in each period, at whatever state has arrived.
    Type {
        /// The fingers.
        typist: Typist,
        /// The pace.
        period: Duration,
    },
}

/// Where an author works.
#[derive(Clone, Copy, Debug)]
pub(super) struct Desk<'a> {
    /// 0 or 1.
    pub(super) number: usize,
    pub(super) node: &'a Node,
    /// The document, as `namespace/name`.
    pub(super) document: &'a str,
    pub(super) commits: &'a Commits,
    pub(super) stage: &'a Stage,
}

/// An author at work.
///
/// The editor's own object knows commits by their author and number; under which dots the mesh keeps them does not matter to it.
#[derive(Debug)]
struct Author<'a> {
    desk: Desk<'a>,
    door: Option<Door>,
    text: Text,
    object: Object,
    /// Commits of its own.
    own: u64,
    /// Commits of the other that are in the text.
    taken: u64,
    /// Commits of the other that have arrived and are not.
    arrived: BTreeMap<u64, Vec<u8>>,
    /// What its node has sent so far.
    seen: CausalContext,
    bar: ProgressBar,
}

/// How long a request about the document may take before it is sent again.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an author waits for the other, a split included.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// Between questions for news: as long as at first, growing to the second.
const POLL: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(10)];

/// Does all of a script, then waits for the rest of the other's. Returns the text that this author ends with.
pub(super) fn run(desk: Desk<'_>, script: Script) -> Result<String, Failure> {
    let mut author = Author::new(desk);
    let worked = match script {
        Script::Replay(part) => author.replay(part),
        Script::Type { typist, period } => author.type_out(typist, period),
    };
    worked?;
    desk.commits.end(desk.number, author.own);
    let end = Instant::now() + WAIT_MAX;
    let theirs = loop {
        if let Some(theirs) = desk.commits.ended(author.other()) {
            break theirs;
        }
        if desk.stage.stopped() || Instant::now() > end {
            return Err(interrupted());
        }
        thread::sleep(Duration::from_millis(20));
    };
    author.follow(theirs)?;
    author.bar.finish();
    Ok(author.text.text())
}

impl<'a> Author<'a> {
    fn new(desk: Desk<'a>) -> Self {
        let object = Object::new();
        let seed = ActorSeed::new(replica(desk.number), 1);
        Self {
            desk,
            door: None,
            text: Text::open(&Default::default(), object.version(), seed),
            object,
            own: 0,
            taken: 0,
            arrived: BTreeMap::new(),
            seen: CausalContext::default(),
            bar: desk.stage.author(desk.number),
        }
    }

    const fn other(&self) -> usize {
        1 - self.desk.number
    }

    fn replay(&mut self, part: Part) -> Result<(), Failure> {
        let commits = part.steps.iter().filter(|step| step.commits).count();
        self.bar.set_length(commits as u64);
        for step in part.steps {
            self.follow(step.needs)?;
            for patch in step.patches {
                self.text
                    .splice(patch.at, patch.delete, &patch.insert)
                    .map_err(does_not_fit)?;
            }
            if step.commits {
                self.commit()?;
            }
        }
        Ok(())
    }

    fn type_out(&mut self, mut typist: Typist, period: Duration) -> Result<(), Failure> {
        self.bar.set_length(typist.left() as u64);
        if typist.needs_outline() {
            self.follow(1)?;
        }
        let mut due = Instant::now();
        while typist.go_on(&mut self.text).map_err(does_not_fit)? {
            self.commit()?;
            due += period;
            // An author who cannot hear the other types on.
            self.listen_until(due)?;
            let newest = self.arrived.keys().last().copied();
            self.take(newest.unwrap_or_default())?;
        }
        Ok(())
    }

    /// Asks for news at least once, and again and again until then.
    fn listen_until(&mut self, due: Instant) -> Result<(), Failure> {
        loop {
            self.ask();
            if self.desk.stage.stopped() {
                return Err(interrupted());
            }
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let [_, longest] = POLL;
            thread::sleep(left.min(longest));
        }
    }

    /// Writes what was edited to the node.
    fn commit(&mut self) -> Result<(), Failure> {
        let Some(chunk) = self.text.commit() else {
            return Ok(());
        };
        self.own += 1;
        let commit = Commit {
            author: self.desk.number,
            number: self.own,
        };
        self.desk.commits.announce(&chunk, commit);
        self.join(commit, chunk.clone()).map_err(too_large)?;
        self.send(&chunk)?;
        self.desk.commits.acknowledged(&chunk);
        self.bar.inc(1);
        Ok(())
    }

    /// Until the node acknowledges it: writing a change twice is writing it once.
    fn send(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        let end = Instant::now() + WAIT_MAX;
        let path = self.path("chunks", "local");
        loop {
            let sent = match self.door() {
                Ok(door) => door.post_bytes(&path, chunk, PATIENCE),
                Err(failure) => Err(failure),
            };
            match sent {
                Ok(_) => return Ok(()),
                Err(failure) if failure.exit == Exit::Refused || Instant::now() > end => {
                    return Err(failure);
                }
                Err(_) => self.door = None,
            }
            self.desk.stage.pause(Duration::from_millis(50))?;
        }
    }

    /// Waits until exactly so many commits of the other are in the text, and takes them in one batch.
    fn follow(&mut self, needed: u64) -> Result<(), Failure> {
        let (start, mut wait) = (Instant::now(), POLL[0]);
        while self.has() < needed {
            let news = self.ask();
            if news {
                wait = POLL[0];
                continue;
            }
            if start.elapsed() > WAIT_MAX {
                let (has, node) = (self.has(), self.desk.node.name());
                let message =
                    format!("only {has} of {needed} commits of the other author reached {node}");
                return Err(Failure::new(Exit::Failed, message));
            }
            if self.desk.stage.stopped() {
                return Err(interrupted());
            }
            thread::sleep(wait);
            wait = (wait * 2).min(POLL[1]);
        }
        self.take(needed)
    }

    /// How many commits of the other are here without a gap.
    fn has(&self) -> u64 {
        let waiting = self.arrived.keys().zip(self.taken + 1..);
        self.taken + waiting.take_while(|(number, next)| *number == next).count() as u64
    }

    /// Takes the other's commits up to a number, as far as they are here without a gap.
    fn take(&mut self, upto: u64) -> Result<(), Failure> {
        let before = self.taken;
        while self.taken < upto
            && let Some(chunk) = self.arrived.remove(&(self.taken + 1))
        {
            self.taken += 1;
            let commit = Commit {
                author: self.other(),
                number: self.taken,
            };
            self.join(commit, chunk).map_err(too_large)?;
        }
        if let (Some(document), true) = (self.object.as_document(), self.taken > before) {
            self.text.absorb(document, self.object.version());
        }
        Ok(())
    }

    /// Asks the node for what it has beyond what it has sent. Returns whether there was anything of the other's.
    fn ask(&mut self) -> bool {
        let path = self.path("missing", "one");
        let have = self.seen.encode();
        let answer = match self.door() {
            Ok(door) => door.post_bytes(&path, &have, PATIENCE),
            Err(failure) => Err(failure),
        };
        let delta = match &answer {
            Ok(bytes) if bytes.is_empty() => return false,
            Ok(bytes) => Object::decode(bytes, &Limits::DEFAULT).ok(),
            Err(failure) if failure.exit == Exit::NotFound => return false,
            Err(_) => None,
        };
        let Some(delta) = delta else {
            self.door = None;
            return false;
        };
        self.seen.join(delta.version());
        let before = self.arrived.len();
        for (_, chunk) in delta
            .as_document()
            .into_iter()
            .flat_map(|document| document.chunks())
        {
            let commit = self.desk.commits.find(chunk);
            if let Some(Commit { author, number }) = commit
                && author == self.other()
                && number > self.taken
            {
                self.desk.commits.arrived(chunk);
                self.arrived.insert(number, chunk.to_vec());
            }
        }
        self.arrived.len() > before
    }

    fn join(&mut self, commit: Commit, chunk: Vec<u8>) -> Result<(), ApplyOp> {
        let stamp = Stamp {
            dot: Dot::new(replica(commit.author), commit.number),
            claim_after: Some(commit.number - 1),
            hlc: Hlc::default(),
        };
        let delta = self
            .object
            .apply(&stamp, &Op::Chunk(chunk), &Merges::default())?;
        self.object.join(&delta);
        Ok(())
    }

    fn door(&mut self) -> Result<&Door, Failure> {
        if self.door.is_none() {
            self.door = Some(self.desk.node.door()?);
        }
        self.door.as_ref().ok_or_else(interrupted)
    }

    fn path(&self, resource: &str, level: &str) -> String {
        let (document, timeout_ms) = (self.desk.document, PATIENCE.as_millis());
        format!("docs/{document}/{resource}?level={level}&timeout_ms={timeout_ms}")
    }
}

/// Authors are ordered as in the history, which decides where concurrent insertions at one place go.
fn replica(author: usize) -> ReplicaId {
    ReplicaId::from_bytes((author as u64 + 1).to_be_bytes())
}

fn does_not_fit(error: EditText) -> Failure {
    Failure::from_error(Exit::Failed, &error)
        .hint("the history does not fit the text that it makes")
}

fn too_large(error: ApplyOp) -> Failure {
    Failure::from_error(Exit::Failed, &error)
}
