//! Processes: started, stopped, killed, frozen; and what their nodes want done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use meshwork_membership::{Event as MemberEvent, Meta, NodeId};
use meshwork_sync::{Batch, says_complete};
use rand::Rng;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::custody::Decided;
use super::disk::Ended as DiskEnded;
use super::machine::{Asked, Process};
use super::network::{Carried, IDLE_TIMEOUT};
use super::queue::{Event, Local, ms};
use super::violation::Violation;
use super::world::Inner;
use crate::core::{Class, Node, NodeSetup, Output, roles};
use crate::driver::{Command, Desk, InviteError, Leaving, Running, reply};
use crate::mesh::{Ended, Mesh};
use crate::net::NetLimits;

/// Commands that wait for a node.
const COMMANDS: usize = 1_024;
/// The same in all simulated meshes.
const MESH_KEY: [u8; 32] = [7; 32];

impl Inner {
    pub(crate) fn start(&mut self, machine: usize) {
        if self.machines[machine].is_up() || self.machines[machine].retired {
            return;
        }
        let setup = self.node_setup(machine);
        let store = self.store(machine);
        let node = match Node::open(setup, store, self.now) {
            Ok(node) => node,
            Err(error) => {
                return self.violate(Violation::NotConverged {
                    seconds: 0,
                    what: format!("n{machine} does not start: {error}"),
                });
            }
        };
        let (commands, received) = mpsc::channel(COMMANDS);
        let (ended, report) = watch::channel(None);
        let first_session = self.process_rng.next_u64();
        let target = &mut self.machines[machine];
        target.run += 1;
        let running = Running {
            id: target.id,
            mesh_name: "simulated".into(),
            merges: self.merges.clone(),
            replica: target.replica,
            next_session: first_session.into(),
            net: None,
            stop: CancellationToken::new(),
            ended: report,
        };
        let mesh = Mesh {
            commands,
            running: Arc::new(running),
        };
        target.process = Some(Process {
            node,
            desk: Desk::default(),
            commands: received,
            mesh,
            ended,
            leaving: None,
            timer: None,
            wanted: BTreeMap::new(),
            dialling: BTreeSet::new(),
            writes: BTreeMap::new(),
            reads: BTreeMap::new(),
        });
        self.note(format_args!("n{machine} starts"));
        self.drain(machine);
    }

    fn node_setup(&mut self, machine: usize) -> NodeSetup {
        let (instance, random_seed) = (self.process_rng.next_u64(), self.process_rng.next_u64());
        let target = &self.machines[machine];
        // As on a ticket: where some member was when it was written.
        let seeds = self
            .machines
            .iter()
            .filter(|other| other.id != target.id && other.is_up())
            .take(2)
            .map(|other| (other.id, vec![other.address.clone()]))
            .collect();
        NodeSetup {
            id: target.id,
            meta: Meta {
                name: target.name.clone(),
                addresses: vec![target.address.clone()],
                zone: target.zone.clone(),
                weight: 64,
                // The strong group grows to five, and those who come in as others leave take their places.
                roles: roles::STORAGE | roles::VOTER,
                wire_min: meshwork_sync::WIRE_VERSION,
                wire_max: meshwork_sync::WIRE_VERSION,
                instance,
                replica: target.replica.to_bytes(),
            },
            replica: target.replica,
            mesh_key: MESH_KEY,
            origin: target.origin,
            founder: self.machines[0].id,
            config: self.config.clone(),
            merges: self.merges.clone(),
            seeds,
            random_seed,
        }
    }

    pub(crate) fn kill(&mut self, machine: usize) {
        if self.machines[machine].is_up() {
            self.note(format_args!("n{machine} is killed"));
            self.end_process(machine, Ended::Stopped);
            self.lose_links_of(machine, IDLE_TIMEOUT);
        }
    }

    pub(crate) fn stop(&mut self, machine: usize) {
        if !self.machines[machine].is_up() {
            return;
        }
        self.note(format_args!("n{machine} stops"));
        let now = self.now;
        self.on(machine, |process| process.node.handle_stop(now));
        // Its last batches are written before it ends.
        while !self.machines[machine].disk.is_idle() {
            self.disk_done(machine);
        }
        self.end_process(machine, Ended::Stopped);
        self.lose_links_of(machine, ms(1));
    }

    fn end_process(&mut self, machine: usize, why: Ended) {
        let target = &mut self.machines[machine];
        target.disk.crash(&mut self.disk_rng);
        target.decided = Decided::default();
        target.inbox.clear();
        target.paused = 0;
        if let Some(process) = target.process.take() {
            process.ended.send_replace(Some(why));
        }
        // The store is its own from now on, whoever it came from.
        if target.origin == meshwork_sync::Origin::Restored {
            target.origin = meshwork_sync::Origin::Joiner;
        }
    }

    pub(crate) fn pause(&mut self, machine: usize, time: Duration) {
        if let Some(run) = self.machines[machine].running() {
            self.note(format_args!("n{machine} freezes for {time:?}"));
            self.machines[machine].paused += 1;
            self.hear_of(machine);
            self.later_on(machine, run, time, Local::Resume);
        }
    }

    pub(crate) fn resume(&mut self, machine: usize) {
        let target = &mut self.machines[machine];
        target.paused = target.paused.saturating_sub(1);
        if target.paused > 0 {
            return;
        }
        let inbox = std::mem::take(&mut target.inbox);
        self.note(format_args!("n{machine} goes on"));
        self.hear_of(machine);
        for local in inbox {
            self.happen_to(machine, local);
        }
    }

    /// Plans something for a process.
    pub(crate) fn later_on(&mut self, machine: usize, run: u64, wait: Duration, local: Local) {
        let event = Event::To {
            machine,
            run,
            local,
        };
        self.queue.push(self.now + wait, event);
    }

    /// Calls a node, if it runs, and does what it says.
    pub(crate) fn on<T>(
        &mut self,
        machine: usize,
        call: impl FnOnce(&mut Process) -> T,
    ) -> Option<T> {
        let process = self.machines[machine].process.as_mut()?;
        let result = call(process);
        self.drain(machine);
        Some(result)
    }

    fn drain(&mut self, machine: usize) {
        while let Some(output) = self.machines[machine]
            .process
            .as_mut()
            .and_then(|process| process.node.poll_output())
        {
            self.carry_out(machine, output);
        }
        self.arm(machine);
    }

    /// Plans a process's next timeout.
    fn arm(&mut self, machine: usize) {
        let target = &mut self.machines[machine];
        let run = target.run;
        let Some(process) = &mut target.process else {
            return;
        };
        let Some(due) = process.poll_timeout() else {
            return;
        };
        let due = due.max(self.now);
        if process.timer.is_none_or(|planned| due < planned) {
            process.timer = Some(due);
            let wait = due.since(self.now);
            self.later_on(machine, run, wait, Local::Timer);
        }
    }

    fn carry_out(&mut self, machine: usize, output: Output) {
        match output {
            Output::Send { to, class, frame } => self.send(machine, to, class, frame),
            Output::Store { id, batch } => self.submit(machine, id, batch),
            Output::Want { peer, addresses } => self.want(machine, peer, addresses),
            Output::Unwant { peer } => {
                if let Some(process) = &mut self.machines[machine].process {
                    process.wanted.remove(&peer);
                }
            }
            Output::Member(event) => self.member_event(machine, event),
            Output::Refused { peer, by, reason } => {
                let peer = self.number(peer);
                self.note(format_args!(
                    "n{machine}: data refused by {by:?}, peer {peer:?}: {reason}"
                ));
            }
            Output::Kept { .. } => {}
            Output::Written { .. }
            | Output::Found { .. }
            | Output::Changed { .. }
            | Output::Strong { .. }
            | Output::SessionLost(_) => {
                self.judge(machine, &output);
                if let Some(process) = &mut self.machines[machine].process {
                    // The desk takes all of these.
                    drop(process.desk.answer(output));
                }
            }
        }
    }

    /// The number of the machine with this identity that runs, or that would.
    pub(crate) fn number(&self, id: NodeId) -> Option<usize> {
        let mut known = self.machines.iter().enumerate().filter(|(_, m)| m.id == id);
        known.next().map(|(number, _)| number)
    }

    fn send(&mut self, machine: usize, to: NodeId, class: Class, frame: Vec<u8>) {
        let bytes = frame.len();
        if bytes > NetLimits::DEFAULT.frame_bytes_max as usize {
            return self.violate(Violation::FrameTooLarge { machine, bytes });
        }
        let Some(to) = self.number(to) else { return };
        let Some(link) = self.network.up(machine, to) else {
            return;
        };
        let carried = Carried {
            from: machine,
            to,
            link,
            class,
            frame,
            garbage: false,
        };
        self.judge_sent(&carried);
        self.give_to_network(carried);
    }

    pub(crate) fn give_to_network(&mut self, carried: Carried) {
        let way = [carried.from, carried.to].map(|n| &self.machines[n].distance);
        let sent = self
            .network
            .send(&mut self.network_rng, self.now, way, carried);
        for (at, carried) in sent {
            self.queue.push(at, Event::Arrive(carried));
        }
    }

    fn submit(&mut self, machine: usize, id: u64, batch: Arc<Batch>) {
        self.judge_decisions(machine, &batch);
        let now = self.now;
        let target = &mut self.machines[machine];
        target.submitted = now;
        let run = target.run;
        if let Some(takes) = target.disk.submit(&mut self.disk_rng, id, batch) {
            self.later_on(machine, run, takes, Local::DiskDone);
            self.crash_within(machine, takes);
        }
    }

    pub(crate) fn disk_done(&mut self, machine: usize) {
        let now = self.now;
        let claims = self.machines[machine].disk.is_writing(says_complete);
        let ended = self.machines[machine].disk.end();
        let stored = ended
            .iter()
            .all(|ended| matches!(ended, DiskEnded::Stored(_)));
        for ended in ended {
            self.on(machine, |process| match ended {
                DiskEnded::Stored(id) => process.node.handle_stored(now, id),
                DiskEnded::Failed(id, failure) => {
                    process.node.handle_store_failed(now, id, failure);
                }
            });
        }
        if claims {
            self.judge_claims(machine);
        }
        let target = &mut self.machines[machine];
        let run = target.run;
        if let Some(takes) = target.disk.begin(&mut self.disk_rng) {
            self.later_on(machine, run, takes, Local::DiskDone);
        } else if stored {
            target.decided = Decided::default();
        }
    }

    /// A copy that was one of the replicas' while its write was under way may be counted, although it is none when the write is acknowledged.
    fn note_replicas(&mut self, machine: usize) {
        let target = &mut self.machines[machine];
        let own = target.id;
        if let Some(process) = &mut target.process {
            let placement = process.node.placement();
            for asked in process.writes.values_mut() {
                let partition = asked.key.position().partition();
                asked.at_replica |= placement.holds(own, partition);
            }
        }
    }

    fn member_event(&mut self, machine: usize, event: MemberEvent) {
        self.members_changed = self.now;
        self.note_replicas(machine);
        let about = |id| match self.number(id) {
            Some(number) => format!("n{number}"),
            None => format!("{id:.8}"),
        };
        let line = match event {
            MemberEvent::Joined(id) => format!("n{machine}: {} joined", about(id)),
            MemberEvent::Suspected(id) => format!("n{machine}: {} is suspected", about(id)),
            MemberEvent::Recovered(id) => format!("n{machine}: {} is back", about(id)),
            MemberEvent::Down(id) => format!("n{machine}: {} is down", about(id)),
            MemberEvent::Left(id) => format!("n{machine}: {} has left", about(id)),
            MemberEvent::Listed => format!("n{machine} has the list of its mesh"),
            MemberEvent::Expired(id) => format!("n{machine}: {} is forgotten", about(id)),
            MemberEvent::Changed(id) => format!("n{machine}: {} tells something new", about(id)),
            MemberEvent::Refuted { incarnation } => {
                format!("n{machine} refutes, incarnation {incarnation}")
            }
            MemberEvent::Impostor { .. } => format!("n{machine}: another has its identity"),
            _ => format!("n{machine}: {event:?}"),
        };
        self.note(line);
        if let MemberEvent::Impostor { .. } = event {
            self.note(format_args!(
                "n{machine} ends: another runs with its identity"
            ));
            self.end_process(machine, Ended::Impostor);
            self.lose_links_of(machine, ms(1));
        }
    }

    /// Takes in what applications asked of a node.
    pub(crate) fn take_commands(&mut self, machine: usize) {
        while !self.machines[machine].is_frozen()
            && let Some(process) = &mut self.machines[machine].process
        {
            if process.mesh.running.stop.is_cancelled() {
                return self.stop(machine);
            }
            let Ok(command) = process.commands.try_recv() else {
                return;
            };
            self.command(machine, command);
        }
    }

    fn command(&mut self, machine: usize, command: Command) {
        let now = self.now;
        let wall_ms = self.machines[machine].clock.now_ms(now);
        let own = self.machines[machine].id;
        self.on(machine, |process| {
            let Process { node, desk, .. } = process;
            match command {
                Command::Write { write, answer } => {
                    let placement = node.placement();
                    let partition = write.key.position().partition();
                    let asked = Asked {
                        key: write.key.clone(),
                        level: write.level,
                        since: now,
                        replicas: placement.replicas(partition).len(),
                        at_replica: placement.holds(own, partition),
                    };
                    let id = desk.write(node, (now, wall_ms), write, answer);
                    process.writes.insert(id, asked);
                }
                Command::Read { read, answer } => {
                    let key = read.key.clone();
                    let id = desk.read(node, now, read, answer);
                    process.reads.insert(id, key);
                }
                Command::Strong {
                    request,
                    timeout,
                    answer,
                } => desk.strong(node, (now, timeout), request, answer),
                Command::CloseSession { session } => desk.close_session(node, now, session),
                Command::OpenSession {
                    ttl,
                    timeout,
                    answer,
                } => desk.open_session(node, (now, timeout), ttl, answer),
                Command::Watch { prefix, answer } => desk.watch(node, prefix, answer),
                Command::ResetStrong { answer } => reply(answer, node.reset_strong(now)),
                Command::Status { answer } => reply(answer, node.status(now)),
                // Whoever is started is a member here.
                Command::Invite { answer, .. } => reply(answer, Err(InviteError::MayNotAdmit)),
                Command::Leave { patience, answer } => {
                    process.leaving = Some(Leaving::begin(node, now, patience, answer));
                }
            }
        });
    }

    pub(crate) fn timer(&mut self, machine: usize) {
        let now = self.now;
        // One that was due while the process was frozen is late.
        let due = |process: &Process| process.timer.is_some_and(|at| at <= now);
        if !self.machines[machine].process.as_ref().is_some_and(due) {
            return;
        }
        self.on(machine, |process| {
            process.timer = None;
            process.node.handle_timeout(now);
            process.desk.prune_watchers(&mut process.node);
            process.desk.prune_sessions(&mut process.node, now);
            if let Some(leaving) = &mut process.leaving {
                leaving.handle_timeout(&mut process.node, now);
            }
        });
        self.let_go(machine);
    }

    /// A node that has said goodbye ends; one whose data nobody took over is brought back.
    fn let_go(&mut self, machine: usize) {
        let Some(process) = &self.machines[machine].process else {
            return;
        };
        if process.leaving.as_ref().is_some_and(Leaving::is_over) {
            let handed_over = process.node.is_handed_over();
            self.machines[machine].retired = handed_over;
            self.stop(machine);
            if !handed_over {
                self.start(machine);
            }
        }
    }

    pub(crate) fn arrive(&mut self, carried: &Carried) {
        let Carried { from, to, link, .. } = *carried;
        if self.network.up(to, from) != Some(link) {
            return;
        }
        self.trace.frame(carried);
        self.note_asked(carried);
        let (now, id) = (self.now, self.machines[from].id);
        let wall_ms = self.machines[to].clock.now_ms(now);
        let taken = self.on(to, |process| {
            process
                .node
                .handle_frame(now, wall_ms, id, carried.class, &carried.frame)
        });
        if let Some(Err(error)) = taken
            && !carried.garbage
            && is_unreadable(&error)
        {
            let reason = error.to_string();
            self.violate(Violation::Unreadable { from, to, reason });
        }
    }
}

/// Whether a frame made no sense, rather than came late.
fn is_unreadable(error: &crate::core::RejectFrame) -> bool {
    use crate::core::RejectFrame;
    matches!(
        error,
        RejectFrame::Replication(meshwork_sync::RejectMessage::Decode(_))
            | RejectFrame::Membership(meshwork_membership::RejectMessage::Decode(_))
    )
}
