//! The event loop: drain what the core wants, wait for whatever comes first, hand it in, repeat.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshwork_membership::{Event, NodeId, Time};
use meshwork_sync::{Batch, Refusal, Refuser, StoreFailure};
use tokio::sync::{mpsc, watch};

use super::admit::{Admit, Visitor};
use super::clock::Clock;
use super::desk::Desk;
use super::leaving::Leaving;
use super::{Command, Shared, reply};
use crate::admission::Invites;
use crate::core::{Class, Node, Output};
use crate::mesh::Ended;
use crate::net::{self, Net, NetEvent, NetEvents, RefuseReason};
use crate::setup::Member;
use crate::store::{self, Committer, DataDir, Outcome, SubmitBatch};
use crate::wall;

/// Owns the core and everything it acts through.
#[derive(Debug)]
pub(crate) struct Driver {
    node: Node,
    member: Member,
    admit: Admit,
    running: Shared,
    net: Net,
    committer: Committer,
    /// For the disk, in order.
    to_store: Vec<(u64, Arc<Batch>)>,
    _dir: DataDir,
    clock: Clock,
    desk: Desk,
    leaving: Option<Leaving>,
    doubted_since: Option<Instant>,
    ended: Option<Ended>,
}

/// Events and commands handed in at one go before the core's outputs are drained. More makes larger batches; with less the disk gets the
/// first of many writers' changes while the others are still worked on, so neither waits for the other.
const BURST: usize = 64;
/// A node that is refused as a duplicate for so long, and connected to nobody, is one.
const DOUBT_MAX: Duration = Duration::from_secs(8);

impl Driver {
    #[expect(clippy::too_many_arguments, reason = "called once, by the builder")]
    pub(crate) fn new(
        node: Node,
        member: Member,
        invites: Invites,
        running: Shared,
        net: Net,
        committer: Committer,
        dir: DataDir,
        clock: Clock,
    ) -> Self {
        Self {
            node,
            member,
            admit: Admit::new(invites),
            running,
            net,
            committer,
            to_store: Vec::new(),
            _dir: dir,
            clock,
            desk: Desk::default(),
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
            self.act().await;
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
        self.act().await;
        drop((commands, events));
        self.net.shutdown().await;
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
        self.clock.now()
    }

    fn wake_at(&self) -> Instant {
        let leaving = self.leaving.as_ref().map(Leaving::poll_timeout);
        let due = self.node.poll_timeout().into_iter().chain(leaving).min();
        self.clock.instant_of(due.unwrap_or(Time(u64::MAX)))
    }

    fn handle_timeout(&mut self) {
        let now = self.now();
        self.node.handle_timeout(now);
        self.desk.prune_watchers(&mut self.node);
        self.desk.prune_sessions(&mut self.node, now);
        if let Some(leaving) = &mut self.leaving {
            leaving.handle_timeout(&mut self.node, now);
        }
    }

    /// Carries out everything that the core wants done. What others are told leaves before this node's disk is woken: a leader waits for the
    /// disks of a majority, and theirs are further away.
    async fn act(&mut self) {
        let sent = self.drain();
        if sent && !self.to_store.is_empty() {
            tokio::task::yield_now().await;
        }
        self.submit();
    }

    /// Hands out all that the core wants done but what is to be stored. Says whether others were told something.
    fn drain(&mut self) -> bool {
        let mut sent = false;
        while let Some(output) = self.node.poll_output() {
            let Some(output) = self.desk.answer(output) else {
                continue;
            };
            match output {
                Output::Send { to, class, frame } => {
                    // A frame that cannot be sent is lost; the cores ask or send again.
                    if let Err(error) = self.net.send(to, net_class(class), frame.into()) {
                        tracing::trace!(peer = %to, %error, "a frame was not sent");
                    }
                    sent = true;
                }
                Output::Store { id, batch } => self.to_store.push((id, batch)),
                Output::Kept { id } => self.admit.kept(id, &self.member),
                Output::Refused { peer, by, reason } => note_refusal(peer, by, reason),
                Output::Want { peer, addresses } => {
                    let addresses: Vec<SocketAddr> = addresses
                        .iter()
                        .filter_map(|address| address.parse().ok())
                        .collect();
                    self.net.set_addresses(peer, addresses);
                    self.net.want(peer);
                }
                Output::Unwant { peer } => self.net.unwant(peer),
                Output::Member(event) => self.note_member(event),
                Output::Written { .. }
                | Output::Found { .. }
                | Output::Changed { .. }
                | Output::Strong { .. }
                | Output::SessionLost(_) => {
                    unreachable!("the desk takes answers")
                }
            }
        }
        sent
    }

    fn submit(&mut self) {
        for (id, batch) in self.to_store.drain(..) {
            match self.committer.submit(id, batch) {
                Ok(()) => {}
                // The core has at most two batches under way, far below the queue; the other refusals end the store.
                Err(SubmitBatch::Busy { .. }) => {
                    self.ended = Some(Ended::Store("its queue is full".into()));
                }
                Err(error) => self.ended = Some(Ended::Store(error.to_string())),
            }
        }
    }

    fn handle_outcome(&mut self, outcome: Outcome) {
        let now = self.now();
        match outcome {
            Outcome::Stored { id } => self.node.handle_stored(now, id),
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
        let mut listening = self.net.listening();
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
            if since.elapsed() > DOUBT_MAX && self.net.connected().is_empty() {
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
                let at = (now, wall::now_ms());
                self.desk.write(&mut self.node, at, write, answer);
            }
            Command::Read { read, answer } => {
                self.desk.read(&mut self.node, now, read, answer);
            }
            Command::Strong {
                request,
                timeout,
                answer,
            } => self
                .desk
                .strong(&mut self.node, (now, timeout), request, answer),
            Command::CloseSession { session } => {
                self.desk.close_session(&mut self.node, now, session);
            }
            Command::OpenSession {
                ttl,
                timeout,
                answer,
            } => {
                let patience = (now, timeout);
                self.desk
                    .open_session(&mut self.node, patience, ttl, answer);
            }
            Command::Watch { prefix, answer } => self.desk.watch(&mut self.node, prefix, answer),
            Command::ResetStrong { answer } => reply(answer, self.node.reset_strong(now)),
            Command::Status { answer } => reply(answer, self.node.status(now)),
            Command::Invite { valid_for, answer } => {
                self.admit
                    .invite(&mut self.node, &self.member, valid_for, answer);
            }
            Command::Leave { patience, answer } => {
                let leaving = Leaving::begin(&mut self.node, now, patience, answer);
                self.leaving = Some(leaving);
            }
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
