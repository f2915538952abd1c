//! The initiator's side of comparisons: anti-entropy, filling and handing over partitions are all this one exchange.
//!
//! One session at a time with each peer works through a stack of partition sets. A set whose difference is too large for the
//! symbols that are kept in memory is halved rather than scanned, so that nothing is read from the store but what differs.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use meshwork_dht::Partition;
use meshwork_membership::{NodeId, Time};

use crate::PartitionSet;
use crate::engine::{RejectMessage, Replication, Timer};
use crate::holdings::{Claim, Settled};
use crate::links::Purpose;
use crate::message::Step;
use crate::reconcile::{
    Compared, Encoder, Initiator, Listing, Outcome, Progress, Reply, Request, limits,
};
use crate::serve::Shipment;

/// Sessions that this node began.
#[derive(Debug, Default)]
pub(crate) struct Repair {
    sessions: BTreeMap<NodeId, Session>,
    /// How much differed last time.
    hints: BTreeMap<NodeId, u32>,
}

#[derive(Debug)]
struct Session {
    id: u64,
    todo: Vec<BTreeSet<Partition>>,
    set: BTreeSet<Partition>,
    /// Those of the set that the peer does not take for its own.
    strays: BTreeSet<Partition>,
    phase: Phase,
    differences: u32,
    /// Something of an earlier page of the set did not get across.
    short: bool,
    /// A set of it stays due.
    unsettled: bool,
    deadline: Time,
}

#[derive(Debug)]
enum Phase {
    Symbols(Box<Initiator>),
    Listing(Box<Listing>),
    /// Objects go both ways; over when both are done.
    Objects {
        mine: Shipment,
        pushing: bool,
        receiving: bool,
        /// Something did not get across: the set stays due.
        short: bool,
        then: Then,
    },
}

/// What follows once the objects of an outcome have been exchanged.
#[derive(Debug)]
enum Then {
    NextSet,
    NextPage(Box<Listing>),
}

/// A first flight for so many differences is kept in memory.
const HINT_MAX: u32 = 150;

/// What a session left unsettled is compared again after this long.
const COMPARE_AGAIN: Duration = Duration::from_millis(500);

/// A session that has not moved for so long is given up.
const SESSION_TIMEOUT: Duration = Duration::from_secs(30);

impl Replication {
    /// Compares with every connected peer that a filling or leaving partition waits for.
    pub(crate) fn compare_where_due(&mut self) {
        for peer in self.idle_peers() {
            let due = self.holdings.due_with(peer);
            self.begin_session(peer, due);
        }
    }

    /// Compares what is shared with every connected peer; of two peers the one with the smaller id begins.
    pub(crate) fn compare_with_all(&mut self) {
        for peer in self.idle_peers() {
            if self.me < peer {
                let shared = self.holdings.shared_with(peer);
                self.begin_session(peer, shared);
            }
        }
    }

    fn idle_peers(&self) -> Vec<NodeId> {
        let idle = |peer: &&NodeId| !self.repair.sessions.contains_key(peer);
        self.links.keys().filter(idle).copied().collect()
    }

    fn begin_session(&mut self, peer: NodeId, partitions: BTreeSet<Partition>) {
        if partitions.is_empty() || !self.index.is_built() || self.journal.failure().is_some() {
            return;
        }
        let session = Session {
            id: self.next_id(),
            todo: vec![partitions],
            set: BTreeSet::new(),
            strays: BTreeSet::new(),
            phase: Phase::Listing(Box::default()),
            differences: 0,
            short: false,
            unsettled: false,
            deadline: self.now,
        };
        self.repair.sessions.insert(peer, session);
        self.next_set(peer);
    }

    /// Goes on with the next set of a session, or ends it.
    fn next_set(&mut self, peer: NodeId) {
        let Some(mut session) = self.take_session(peer) else {
            return;
        };
        let Some(set) = session.todo.pop() else {
            self.counts.comparisons += 1;
            self.repair.hints.insert(peer, session.differences);
            // What stayed due changed while it was compared, or was refused: not at once again, and not as late as the next sweep.
            if session.unsettled {
                self.timers
                    .insert((self.now + COMPARE_AGAIN, Timer::CompareAgain));
            } else {
                self.compare_where_due();
            }
            return;
        };
        // More than the symbols that are kept in memory can show is not asked for at once.
        let hint = self.repair.hints.get(&peer).copied().unwrap_or(0);
        let hint = hint.min(HINT_MAX);
        let (initiator, request) = Initiator::new(self.sketch_of(&set).root(), hint);
        session.set = set;
        session.phase = Phase::Symbols(Box::new(initiator));
        self.ask_partitions(peer, session, &request);
    }

    fn ask_partitions(&mut self, peer: NodeId, session: Session, request: &Request) {
        let partitions = PartitionSet::from(&session.set);
        let step = Step::Ask {
            partitions,
            request: request.to_bytes(),
        };
        self.send_step(peer, session.id, step);
        self.keep_session(peer, session);
    }

    fn keep_session(&mut self, peer: NodeId, mut session: Session) {
        session.deadline = self.now + SESSION_TIMEOUT;
        self.timers
            .insert((session.deadline, Timer::Session(peer, session.id)));
        self.repair.sessions.insert(peer, session);
    }

    fn take_session(&mut self, peer: NodeId) -> Option<Session> {
        let session = self.repair.sessions.remove(&peer)?;
        self.timers
            .remove(&(session.deadline, Timer::Session(peer, session.id)));
        Some(session)
    }

    /// Ends a session without a result; what it was for stays due.
    pub(crate) fn end_session(&mut self, peer: NodeId) {
        self.take_session(peer);
    }

    pub(crate) fn end_sessions(&mut self) {
        for peer in self.links.keys().copied().collect::<Vec<_>>() {
            self.end_session(peer);
        }
    }

    pub(crate) fn session_timed_out(&mut self, peer: NodeId, id: u64) {
        if self
            .repair
            .sessions
            .get(&peer)
            .is_some_and(|session| session.id == id)
        {
            self.end_session(peer);
            self.compare_where_due();
        }
    }

    pub(crate) fn receive_step(
        &mut self,
        from: NodeId,
        id: u64,
        step: Step,
    ) -> Result<(), RejectMessage> {
        if let Step::Ask {
            partitions,
            request,
        } = step
        {
            return self.answer_ask(from, id, &partitions, &request);
        }
        // Steps of a session that was given up are late, not wrong.
        if self
            .repair
            .sessions
            .get(&from)
            .is_none_or(|session| session.id != id)
        {
            return Ok(());
        }
        let Some(mut session) = self.take_session(from) else {
            return Ok(());
        };
        match step {
            Step::Reply { reply, strays } => match Reply::from_bytes(&reply) {
                Ok(reply) => {
                    session.strays.extend(strays.partitions());
                    self.receive_reply(from, session, reply)
                }
                Err(_) => Err(RejectMessage::OverLimit {
                    what: "reconciliation reply",
                }),
            },
            Step::Sent | Step::Stop => {
                self.received_all(from, session, &step);
                Ok(())
            }
            Step::Ask { .. } => Ok(()),
        }
    }

    fn receive_reply(
        &mut self,
        peer: NodeId,
        mut session: Session,
        reply: Reply,
    ) -> Result<(), RejectMessage> {
        let sketch = self.sketch_of(&session.set);
        match &mut session.phase {
            Phase::Symbols(initiator) => {
                let progress = initiator
                    .handle_reply(reply, &sketch)
                    .ok()
                    .ok_or(RejectMessage::Unasked)?;
                self.go_on(peer, session, progress);
            }
            Phase::Listing(listing) => {
                let compared = listing
                    .handle_reply(reply)
                    .ok()
                    .ok_or(RejectMessage::Unasked)?;
                let Phase::Listing(listing) =
                    core::mem::replace(&mut session.phase, Phase::Listing(Box::default()))
                else {
                    return Ok(());
                };
                match compared {
                    Compared::More(outcome) => {
                        self.exchange(peer, session, &outcome, Then::NextPage(listing));
                    }
                    Compared::Done(outcome) => {
                        self.exchange(peer, session, &outcome, Then::NextSet)
                    }
                }
            }
            Phase::Objects { .. } => return Err(RejectMessage::Unasked),
        }
        Ok(())
    }

    fn go_on(&mut self, peer: NodeId, mut session: Session, progress: Progress) {
        match progress {
            Progress::Done(outcome) => self.exchange(peer, session, &outcome, Then::NextSet),
            Progress::Send(request) if self.in_memory(&request) || session.set.len() == 1 => {
                self.ask_partitions(peer, session, &request);
            }
            Progress::Encode(range) if session.set.len() == 1 => {
                let mut encoder = Encoder::new(range);
                for (_, id) in self.ids_after(&session.set.clone(), None, usize::MAX) {
                    encoder.insert(id);
                }
                if let Phase::Symbols(initiator) = &session.phase {
                    let progress = initiator.handle_encoded(&encoder);
                    self.go_on(peer, session, progress);
                }
            }
            Progress::Send(_) | Progress::Encode(_) => {
                // The difference is larger than what is kept in memory can show: look at each half by itself.
                let mut rest = core::mem::take(&mut session.set);
                let middle = rest.iter().nth(rest.len() / 2).copied();
                if let Some(middle) = middle {
                    session.todo.push(rest.split_off(&middle));
                }
                session.todo.push(rest);
                self.keep_session(peer, session);
                self.next_set(peer);
            }
            Progress::Fallback(_) => {
                self.counts.listings += 1;
                self.next_page(peer, session, Box::default());
            }
        }
    }

    /// Whether the symbols that a request asks for are kept in memory at the other side.
    #[expect(
        clippy::unused_self,
        reason = "reads as a question about this engine's protocol"
    )]
    const fn in_memory(&self, request: &Request) -> bool {
        match request {
            Request::More { from, symbols, .. } => from.saturating_add(*symbols) <= limits::PREFIX,
            Request::Probe { .. } | Request::Want { .. } | Request::List { .. } => true,
        }
    }

    fn next_page(&mut self, peer: NodeId, mut session: Session, mut listing: Box<Listing>) {
        let own = self.ids_after(&session.set.clone(), listing.after(), limits::IDS_MAX);
        let request = listing.request(own);
        session.phase = Phase::Listing(listing);
        self.ask_partitions(peer, session, &request);
    }

    /// Pushes what only this node has and asks for what only the peer has.
    fn exchange(&mut self, peer: NodeId, mut session: Session, outcome: &Outcome, then: Then) {
        if outcome.theirs.len() > limits::IDS_MAX {
            // More than one question may ask for: page by page instead.
            self.next_page(peer, session, Box::default());
            return;
        }
        session.differences = session.differences.saturating_add(outcome.differences());
        self.counts.differences += u64::from(outcome.differences());
        // Of partitions that are on their way out nothing is taken in.
        let wanted: Vec<_> = outcome
            .theirs
            .iter()
            .copied()
            .filter(|id| self.holdings.is_replica(id.partition()))
            .collect();
        // Those who do not hold a partition, as far as we know, need none of it.
        let given: Vec<_> = outcome
            .mine
            .iter()
            .copied()
            .filter(|id| self.holdings.placement().holds(peer, id.partition()))
            .collect();
        let positions = self.positions_of(&given);
        // What has changed since it was listed is another version by now, and is not found.
        let short = positions.len() < given.len();
        let mine = Shipment::new(positions);
        let partitions = PartitionSet::from(&session.set);
        for request in Request::wants(&wanted) {
            let partitions = partitions.clone();
            let step = Step::Ask {
                partitions,
                request: request.to_bytes(),
            };
            self.send_step(peer, session.id, step);
        }
        let receiving = !wanted.is_empty();
        session.phase = Phase::Objects {
            mine,
            pushing: true,
            receiving,
            short,
            then,
        };
        self.keep_session(peer, session);
        self.page_acknowledged(peer, 0);
    }

    /// The last push of a session is durable at the peer, all but `refused` items of it: go on with the next.
    pub(crate) fn page_acknowledged(&mut self, peer: NodeId, refused: usize) {
        let Some(mut session) = self.take_session(peer) else {
            return;
        };
        let Phase::Objects {
            mine,
            pushing,
            short,
            ..
        } = &mut session.phase
        else {
            self.keep_session(peer, session);
            return;
        };
        *short |= refused > 0;
        let items = self.next_push(mine);
        *pushing = !items.is_empty();
        let id = session.id;
        if items.is_empty() {
            self.exchanged(peer, session);
        } else {
            self.keep_session(peer, session);
            self.push(peer, Purpose::Repair(id), items);
        }
    }

    pub(crate) fn is_session(&self, peer: NodeId, id: u64) -> bool {
        self.repair
            .sessions
            .get(&peer)
            .is_some_and(|session| session.id == id)
    }

    /// The peer has sent what was wanted, or stopped.
    fn received_all(&mut self, peer: NodeId, mut session: Session, step: &Step) {
        let stopped = *step == Step::Stop;
        match &mut session.phase {
            Phase::Objects {
                receiving, short, ..
            } => {
                *receiving = false;
                *short |= stopped;
                self.exchanged(peer, session);
            }
            // A peer that does not answer now is asked again by the next sweep.
            Phase::Symbols(_) | Phase::Listing(_) if stopped => {}
            Phase::Symbols(_) | Phase::Listing(_) => self.keep_session(peer, session),
        }
    }

    /// Goes on once objects have gone both ways.
    fn exchanged(&mut self, peer: NodeId, mut session: Session) {
        match session.phase {
            Phase::Objects {
                pushing: false,
                receiving: false,
                short,
                then,
                ..
            } => match then {
                Then::NextPage(listing) => {
                    session.short |= short;
                    session.phase = Phase::Listing(Box::default());
                    self.next_page(peer, session, listing);
                }
                Then::NextSet => {
                    session.phase = Phase::Listing(Box::default());
                    let set = core::mem::take(&mut session.set);
                    let strays = core::mem::take(&mut session.strays);
                    let short = core::mem::take(&mut session.short) || short;
                    session.unsettled |= short;
                    self.keep_session(peer, session);
                    if !short {
                        self.settle(peer, &set, &strays);
                    }
                    self.next_set(peer);
                }
            },
            Phase::Objects { .. } | Phase::Symbols(_) | Phase::Listing(_) => {
                self.keep_session(peer, session);
            }
        }
    }

    /// Takes note of a set that was compared with a peer, which does not take `strays` for its own.
    fn settle(&mut self, peer: NodeId, set: &BTreeSet<Partition>, strays: &BTreeSet<Partition>) {
        let mut completed = false;
        for partition in set {
            let claim = if strays.contains(partition) {
                Claim::Stray
            } else {
                Claim::Replica
            };
            match self.holdings.compared(peer, *partition, claim) {
                Settled::Nothing => {}
                Settled::Complete => completed = true,
                Settled::Droppable => self.drop_partition(*partition),
                Settled::NotYet => {
                    if let Some(session) = self.repair.sessions.get_mut(&peer) {
                        session.unsettled = true;
                    }
                }
            }
        }
        if completed {
            self.record_complete();
        }
    }

    /// Forgets what is held of a partition that every replica has by now; what still waits for somebody stays.
    fn drop_partition(&mut self, partition: Partition) {
        let positions = match self.positions_in(partition) {
            Ok(positions) => positions,
            Err(error) => {
                self.store_broke(error);
                return;
            }
        };
        for position in positions {
            if self.outbox.holds(&position) {
                self.index.touch(partition, self.now);
                continue;
            }
            match self
                .objects
                .remove(&*self.store, &mut self.journal, &position)
            {
                Ok(digest) => self.index.replace(&position, digest.as_ref(), None),
                Err(error) => drop(self.store_broke(error)),
            }
        }
    }
}
