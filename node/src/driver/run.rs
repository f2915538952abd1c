//! The event loop: drain what the core wants, wait for whatever comes first, hand it in, repeat.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshwork_membership::{Event, NodeId, Time};
use meshwork_sync::{
    Batch, Found, Prefix, ReadError, Refusal, Refuser, RequestId, StoreFailure, WriteError, Written,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::admit::{Admit, Visitor};
use super::{Command, Shared, reply};
use crate::admission::Invites;
use crate::core::{Class, Node, Output};
use crate::mesh::Ended;
use crate::net::{self, NetEvent, NetEvents, RefuseReason};
use crate::setup::Member;
use crate::store::{self, Committer, DataDir, Outcome, SubmitBatch};
use crate::wall;
use crate::watch::Watcher;

/// Owns the core and everything it acts through.
#[derive(Debug)]
pub(crate) struct Driver {
    node: Node,
    member: Member,
    admit: Admit,
    running: Shared,
    committer: Committer,
    _dir: DataDir,
    started: Instant,
    next_request: RequestId,
    writes: BTreeMap<RequestId, oneshot::Sender<Result<Written, WriteError>>>,
    reads: BTreeMap<RequestId, oneshot::Sender<Result<Found, ReadError>>>,
    watchers: Vec<(Prefix, Watcher)>,
    leaving: Option<Leaving>,
    doubted_since: Option<Instant>,
    ended: Option<Ended>,
}

/// A node on its way out of the mesh.
#[derive(Debug)]
struct Leaving {
    deadline: Instant,
    answer: Option<oneshot::Sender<bool>>,
    said_goodbye: Option<Instant>,
}

/// Events and commands handed in at one go before the core's outputs are drained. More makes larger batches; with less the disk gets the
/// first of many writers' changes while the others are still worked on, so neither waits for the other.
const BURST: usize = 64;
/// How often a leaving node looks whether it may go.
const LEAVE_POLL: Duration = Duration::from_millis(100);
/// How long the goodbye has to spread.
const GOODBYE: Duration = Duration::from_secs(1);
/// A node that is refused as a duplicate for so long, and connected to nobody, is one.
const DOUBT_MAX: Duration = Duration::from_secs(8);

impl Driver {
    #[expect(clippy::too_many_arguments, reason = "called once, by the builder")]
    pub(crate) fn new(
        node: Node,
        member: Member,
        invites: Invites,
        running: Shared,
        committer: Committer,
        dir: DataDir,
        started: Instant,
    ) -> Self {
        Self {
            node,
            member,
            admit: Admit::new(invites),
            running,
            committer,
            _dir: dir,
            started,
            next_request: 0,
            writes: BTreeMap::new(),
            reads: BTreeMap::new(),
            watchers: Vec::new(),
            leaving: None,
            doubted_since: None,
            ended: None,
        }
    }

    /// Drives the node until it is stopped, then closes everything in order.
    pub(crate) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut events: NetEvents,
        mut outcomes: mpsc::Receiver<Outcome>,
        report: watch::Sender<Option<Ended>>,
    ) {
        let stop = self.running.stop.clone();
        while self.ended.is_none() {
            self.drain();
            let wake = self.wake_at();
            tokio::select! {
                biased;
                () = stop.cancelled() => self.ended = Some(Ended::Stopped),
                outcome = outcomes.recv() => match outcome {
                    Some(outcome) => self.handle_outcome(outcome),
                    None => self.ended = Some(Ended::Store("the storage thread is gone".into())),
                },
                event = events.recv() => match event {
                    Some(event) => self.handle_event(event),
                    None => self.ended = Some(Ended::Stopped),
                },
                command = commands.recv() => match command {
                    Some(command) => self.handle_command(command),
                    None => self.ended = Some(Ended::Stopped),
                },
                () = tokio::time::sleep_until(wake.into()) => self.handle_timeout(),
            }
            // What is ready by now goes into the same batch.
            for _ in 0..BURST {
                let mut idle = true;
                if let Ok(outcome) = outcomes.try_recv() {
                    self.handle_outcome(outcome);
                    idle = false;
                }
                if let Some(event) = events.try_recv() {
                    self.handle_event(event);
                    idle = false;
                }
                if let Ok(command) = commands.try_recv() {
                    self.handle_command(command);
                    idle = false;
                }
                if idle {
                    break;
                }
            }
        }
        self.close(commands, events, outcomes, &report).await;
    }

    async fn close(
        mut self,
        commands: mpsc::Receiver<Command>,
        events: NetEvents,
        mut outcomes: mpsc::Receiver<Outcome>,
        report: &watch::Sender<Option<Ended>>,
    ) {
        self.node.handle_stop(self.now());
        self.drain();
        drop((commands, events));
        self.running.net.shutdown().await;
        let committer = self.committer;
        let closing = tokio::task::spawn_blocking(move || committer.close());
        // The storage thread answers what it still stores, and would wait for ever if nobody took it.
        while outcomes.recv().await.is_some() {}
        match closing.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the store did not close cleanly"),
            Err(error) => tracing::warn!(%error, "closing the store was interrupted"),
        }
        drop(self.node);
        drop(self._dir);
        report.send_replace(self.ended.or(Some(Ended::Stopped)));
    }

    fn now(&self) -> Time {
        Time(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn wake_at(&self) -> Instant {
        let node = self.node.poll_timeout().map_or(self.started + IDLE, |at| {
            self.started + Duration::from_micros(at.0)
        });
        match self.leaving {
            Some(_) => node.min(Instant::now() + LEAVE_POLL),
            None => node,
        }
    }

    fn handle_timeout(&mut self) {
        let now = self.now();
        self.node.handle_timeout(now);
        self.prune_watchers();
        self.go_on_leaving();
    }

    /// Carries out everything that the core wants done.
    fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Send { to, class, frame } => {
                    // A frame that cannot be sent is lost; the cores ask or send again.
                    if let Err(error) = self.running.net.send(to, net_class(class), frame.into()) {
                        tracing::trace!(peer = %to, %error, "a frame was not sent");
                    }
                }
                Output::Store { id, batch } => self.submit(id, batch),
                Output::Written { id, result } => {
                    if let Some(answer) = self.writes.remove(&id) {
                        reply(answer, result);
                    }
                }
                Output::Found { id, result } => {
                    if let Some(answer) = self.reads.remove(&id) {
                        reply(answer, result);
                    }
                }
                Output::Kept { id } => self.admit.kept(id, &self.member),
                Output::Changed { key, .. } => {
                    for (prefix, watcher) in &self.watchers {
                        if prefix.covers(&key) {
                            watcher.tell(&key);
                        }
                    }
                }
                Output::Refused { peer, by, reason } => note_refusal(peer, by, reason),
                Output::Want { peer, addresses } => {
                    let addresses: Vec<SocketAddr> = addresses
                        .iter()
                        .filter_map(|address| address.parse().ok())
                        .collect();
                    self.running.net.set_addresses(peer, addresses);
                    self.running.net.want(peer);
                }
                Output::Unwant { peer } => self.running.net.unwant(peer),
                Output::Member(event) => self.note_member(event),
            }
        }
    }

    fn submit(&mut self, id: u64, batch: Arc<Batch>) {
        match self.committer.submit(id, batch) {
            Ok(()) => {}
            // The core has at most two batches under way, far below the queue; the other refusals end the store.
            Err(SubmitBatch::Busy { .. }) => {
                self.ended = Some(Ended::Store("its queue is full".into()));
            }
            Err(error) => self.ended = Some(Ended::Store(error.to_string())),
        }
    }

    fn handle_outcome(&mut self, outcome: Outcome) {
        let now = self.now();
        match outcome {
            Outcome::Stored { id } => self.node.handle_stored(id),
            Outcome::StoreFailed { id, reason } => {
                tracing::error!(%reason, "the store did not take a batch");
                match reason {
                    // The one that it followed has been dealt with already.
                    store::StoreFailure::Skipped { .. } => {}
                    store::StoreFailure::Full { .. } | store::StoreFailure::NotRecovered { .. } => {
                        self.node.handle_store_failed(now, id, StoreFailure::Full);
                        self.committer.resume_after(id);
                    }
                    store::StoreFailure::ReadOnly { reason } => {
                        let failure = StoreFailure::Broken { reason };
                        self.node.handle_store_failed(now, id, failure);
                    }
                }
            }
        }
    }

    fn handle_event(&mut self, event: NetEvent) {
        let now = self.now();
        match event {
            NetEvent::Listening(_) | NetEvent::ListeningEnded(_) => self.advertise(),
            NetEvent::Up { peer, addr, .. } => {
                tracing::debug!(%peer, %addr, "connected");
                self.doubted_since = None;
                self.node.handle_connected(now, peer);
            }
            NetEvent::Down { peer, reason } => {
                tracing::debug!(%peer, ?reason, "disconnected");
                self.node.handle_disconnected(now, peer);
            }
            NetEvent::Frame { peer, class, bytes } => self.handle_frame(now, peer, class, &bytes),
            NetEvent::JoinRequest {
                ticket,
                secret,
                subject,
                name,
                answer,
            } => {
                let visitor = Visitor {
                    ticket,
                    secret,
                    subject,
                    name,
                };
                self.admit.visit(&mut self.node, visitor, answer);
            }
            NetEvent::RefusedPeer { peer, addr, reason } => {
                tracing::warn!(%peer, %addr, ?reason, "a connection was refused");
            }
            NetEvent::RefusedByPeer { peer, addr, reason } => self.refused(peer, addr, reason),
            NetEvent::DialFailed { peer, reason } => {
                tracing::trace!(%peer, ?reason, "a member was not reached");
            }
        }
    }

    fn handle_frame(&mut self, now: Time, peer: NodeId, class: net::Class, bytes: &Bytes) {
        let class = match class {
            net::Class::Gossip => Class::Gossip,
            net::Class::Data => Class::Data,
            net::Class::Bulk => Class::Bulk,
        };
        if let Err(error) = self
            .node
            .handle_frame(now, wall::now_ms(), peer, class, bytes)
        {
            tracing::debug!(%peer, %error, "a frame was refused");
        }
    }

    /// Tells the members where this node listens, unless its settings say otherwise.
    fn advertise(&mut self) {
        if !self.member.settings.advertise.is_empty() {
            return;
        }
        let mut meta = self.node.meta().clone();
        let mut listening = self.running.net.listening();
        // Others reach this node by its loopback address only from the same machine: last choice.
        listening.sort_by_key(|address| address.ip().is_loopback());
        meta.addresses = listening
            .iter()
            .map(SocketAddr::to_string)
            .take(meshwork_membership::Meta::ADDRESSES_MAX)
            .collect();
        let now = self.now();
        if let Err(error) = self.node.set_meta(now, meta) {
            tracing::warn!(%error, "this node's addresses cannot be told");
        }
    }

    fn refused(&mut self, peer: NodeId, addr: SocketAddr, reason: RefuseReason) {
        tracing::warn!(%peer, %addr, ?reason, "a member refused this node");
        if reason == RefuseReason::DuplicateIdentity {
            let since = *self.doubted_since.get_or_insert_with(Instant::now);
            if since.elapsed() > DOUBT_MAX && self.running.net.connected().is_empty() {
                self.ended = Some(Ended::Impostor);
            }
        }
    }

    fn note_member(&mut self, event: Event) {
        if let Event::Impostor { instance } = event {
            tracing::error!(instance, "another process runs with this node's identity");
            self.ended = Some(Ended::Impostor);
        } else {
            tracing::info!(?event, "the members have changed");
        }
    }

    fn handle_command(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Write { write, answer } => {
                self.next_request += 1;
                self.writes.insert(self.next_request, answer);
                self.node
                    .write(now, wall::now_ms(), self.next_request, write);
            }
            Command::Read { read, answer } => {
                self.next_request += 1;
                self.reads.insert(self.next_request, answer);
                self.node.read(now, self.next_request, read);
            }
            Command::Watch { prefix, answer } => {
                let (watcher, watch) = crate::watch::pair();
                self.node.watch(prefix.clone());
                self.watchers.push((prefix, watcher));
                reply(answer, watch);
            }
            Command::Status { answer } => reply(answer, self.node.status(now)),
            Command::Invite { valid_for, answer } => {
                self.admit
                    .invite(&mut self.node, &self.member, valid_for, answer);
            }
            Command::Leave { patience, answer } => {
                self.node.retire(now);
                self.leaving = Some(Leaving {
                    deadline: Instant::now() + patience,
                    answer: Some(answer),
                    said_goodbye: None,
                });
            }
        }
    }

    fn go_on_leaving(&mut self) {
        let now = self.now();
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        match leaving.said_goodbye {
            None if self.node.is_handed_over() || Instant::now() >= leaving.deadline => {
                leaving.said_goodbye = Some(Instant::now());
                self.node.leave(now);
            }
            Some(at) if at.elapsed() >= GOODBYE => {
                if let Some(answer) = leaving.answer.take() {
                    reply(answer, self.node.is_handed_over());
                }
            }
            None => self.node.hand_over(now),
            Some(_) => {}
        }
    }

    fn prune_watchers(&mut self) {
        let (open, closed) = core::mem::take(&mut self.watchers)
            .into_iter()
            .partition(|(_, w)| !w.is_closed());
        self.watchers = open;
        let closed: Vec<(Prefix, Watcher)> = closed;
        for (prefix, _) in closed {
            self.node.unwatch(&prefix);
        }
    }
}

fn note_refusal(peer: NodeId, by: Refuser, reason: Refusal) {
    match (by, reason) {
        (Refuser::Us, _) => tracing::warn!(%peer, %reason, "data of a member was refused"),
        (Refuser::Peer, Refusal::ClockAhead) => tracing::error!(
            %peer,
            "a member refuses what this node writes, since this node's clock is ahead: set it, restart the node, and write again"
        ),
        (Refuser::Peer, _) => tracing::warn!(%peer, %reason, "a member refused data of this node"),
    }
}

const fn net_class(class: Class) -> net::Class {
    match class {
        Class::Gossip => net::Class::Gossip,
        Class::Data => net::Class::Data,
        Class::Bulk => net::Class::Bulk,
    }
}

/// Longest sleep of a node that waits for nothing.
const IDLE: Duration = Duration::from_secs(3_600);
