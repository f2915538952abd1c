//! What every node does for those who ask on it: it finds the leader, keeps sessions alive, asks again, and gives up in time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use meshwork_membership::{NodeId, Time};
use meshwork_sync::{Key, Prefix, RequestId};

use super::command::{Command, Outcome, Refusal, Request, Revision, SessionId};
use super::deadlines::Deadlines;
use super::leader::PARKED_FOR;
use super::message::{Ask, Changes, Finding, Query, Reply, Seen, Turn};
use super::stale::Stale;

/// What an application asks of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StrongRequest {
    /// A linearizable read.
    Read(Query),
    /// Something done once, in a session that the node keeps for all who need none of their own.
    Do(Request),
    /// A session that the node keeps alive until it is closed.
    Open {
        /// How long it lives when this node is gone.
        ttl: Duration,
    },
    /// Something done once, in a session that was opened here.
    In(SessionId, Request),
    /// What becomes of a session that waits for a lock.
    Turn(SessionId, Key),
    /// The next changes under a prefix after a revision; none when there were none for a while.
    Changes(Prefix, Revision),
    /// A read of what some voter or learner has applied, without the group.
    Stale(Query),
    /// Who holds a lock when it is not as it was seen any more; [`StrongError::Unavailable`] when it still is.
    Holder(Key, Seen),
}

/// What came of a [`StrongRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StrongDone {
    /// Of a read.
    Found(Finding),
    /// Of something that was done.
    Done(Outcome),
    /// Of waiting for a lock.
    Turn(Turn),
    /// Of waiting for changes; `None` when there were too many to remember or to tell: read anew what is watched.
    Changes(Option<Changes>),
    /// Of a read without the group.
    Stale(Stale<Finding>),
}

/// A strong request did not come to an end as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StrongError {
    /// No node of this mesh may vote, or none was ever heard of.
    #[error(
        "this mesh has no strong group, or this node has not heard of it: start a node that was set up with --voter, \
         and see that this one can reach it"
    )]
    NoGroup,
    /// No leader was reached in time, or it was too busy. Nothing has changed.
    #[error("the strong group was not reached in time: nothing has changed; try again")]
    Unavailable,
    /// The leader was lost after it was asked: it may have been done, or not.
    #[error("the answer was lost: whether it was done is not known; read before you try again")]
    Unknown,
    /// Too much is under way on this node. Nothing has changed.
    #[error("too many strong requests are under way on this node: nothing has changed; try again")]
    Busy,
    /// The group refused it. Nothing has changed, but see [`Refusal::SessionExpired`].
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// What the client wants done.
#[derive(Debug)]
pub(crate) enum Wish {
    /// A question to be sent, or handed to the group here.
    Ask(NodeId, u64, Ask),
    /// A request has come to its end.
    Done(RequestId, Result<StrongDone, StrongError>),
    /// A session of this node has ended, and its locks with it.
    Lost(SessionId),
}

/// Requests of this node and its sessions.
#[derive(Debug)]
pub(crate) struct Client {
    me: NodeId,
    retry: Duration,
    next_ask: u64,
    asks: BTreeMap<u64, Pending>,
    /// When each is asked again.
    again: Deadlines<u64>,
    leader: Option<NodeId>,
    /// Where a leader may be, in the order in which they are tried.
    nodes: VecDeque<NodeId>,
    connected: BTreeSet<NodeId>,
    /// The session of those who need none of their own.
    own: Own,
    /// What waits for it.
    waiting: VecDeque<(RequestId, Request, Time)>,
    waiting_until: Deadlines<RequestId>,
    sessions: BTreeMap<SessionId, Kept>,
    /// When there is something to do about each.
    attend: Deadlines<SessionId>,
    wishes: VecDeque<Wish>,
}

#[derive(Debug)]
struct Pending {
    purpose: Purpose,
    ask: Ask,
    deadline: Time,
    sent_to: Option<NodeId>,
    /// When it was first sent.
    sent: Option<Time>,
    /// How many of its sendings may have been taken, for all that is known.
    open: u32,
}

#[derive(Debug, Clone, Copy)]
enum Purpose {
    Request(RequestId),
    /// In a session, under this number.
    InSession(RequestId, SessionId, u64),
    Open(RequestId, Duration),
    OpenOwn,
    KeepAlive,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    None,
    Opening,
    Open(SessionId),
}

/// A session that this node keeps alive.
#[derive(Debug)]
struct Kept {
    ttl: Duration,
    /// When the last question that the leader answered was sent.
    heard: Time,
    /// When it is told that the session lives.
    tell: Time,
    next: u64,
    unanswered: BTreeSet<u64>,
    /// Nobody wants it any more: it is not kept alive, whether the word of that arrives or not.
    closing: bool,
}

/// How long the node's own session lives when the node is gone.
const OWN_TTL: Duration = Duration::from_secs(60);

/// Requests of one session under way; the group keeps as many answers.
const IN_SESSION_MAX: usize = 1_000;

/// Requests under way on this node.
const ASKS_MAX: usize = 16_384;

/// How long a request waits for news of a group.
const GROUP_PATIENCE: Duration = Duration::from_secs(3);

/// The wait before the next node is tried when nobody knows who leads.
const TRY_NEXT: Duration = Duration::from_millis(50);

/// Shortest and longest life of a session without being heard of.
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_hours(24);

impl Client {
    /// `first_ask` is another in each run: an answer to a question of an earlier one must not be taken for one of this.
    pub(crate) fn new(me: NodeId, election_timeout: Duration, first_ask: u64) -> Self {
        Self {
            me,
            retry: election_timeout,
            next_ask: first_ask,
            asks: BTreeMap::new(),
            again: Deadlines::default(),
            leader: None,
            nodes: VecDeque::new(),
            connected: BTreeSet::new(),
            own: Own::None,
            waiting: VecDeque::new(),
            waiting_until: Deadlines::default(),
            sessions: BTreeMap::new(),
            attend: Deadlines::default(),
            wishes: VecDeque::new(),
        }
    }

    /// Where the group is found.
    pub(crate) fn set_nodes(&mut self, now: Time, nodes: impl IntoIterator<Item = NodeId>) {
        self.nodes = nodes.into_iter().collect();
        self.send_idle(now);
    }

    pub(crate) fn handle_connected(&mut self, now: Time, peer: NodeId) {
        self.connected.insert(peer);
        if self.nodes.contains(&peer) {
            self.send_idle(now);
        }
    }

    /// Asks what could be asked of nobody until now.
    fn send_idle(&mut self, now: Time) {
        let idle = self
            .asks
            .iter()
            .filter(|(_, pending)| pending.sent_to.is_none());
        for id in idle.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.send(now, id);
        }
    }

    pub(crate) fn handle_disconnected(&mut self, now: Time, peer: NodeId) {
        self.connected.remove(&peer);
        self.leader.take_if(|leader| *leader == peer);
        let lost = self
            .asks
            .iter()
            .filter(|(_, pending)| pending.sent_to == Some(peer));
        for id in lost.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.send(now, id);
        }
    }

    /// Takes a request; answered by [`Wish::Done`] with the same `id` before `deadline`.
    pub(crate) fn request(
        &mut self,
        now: Time,
        id: RequestId,
        request: StrongRequest,
        deadline: Time,
    ) {
        // It may be heard of in a moment.
        let deadline = match self.nodes.is_empty() {
            true => deadline.min(now + GROUP_PATIENCE),
            false => deadline,
        };
        if self.asks.len() + self.waiting.len() >= ASKS_MAX {
            return self.done(id, Err(StrongError::Busy));
        }
        let ask = match request {
            StrongRequest::Read(query) => Ask::Read(query),
            StrongRequest::Turn(session, lock) => Ask::Turn { session, lock },
            StrongRequest::Changes(prefix, after) => Ask::Changes { prefix, after },
            StrongRequest::Stale(query) => Ask::Stale(query),
            StrongRequest::Holder(lock, seen) => Ask::Holder { lock, seen },
            StrongRequest::Do(request) => {
                self.waiting.push_back((id, request, deadline));
                self.waiting_until.set(id, deadline);
                return self.use_own(now);
            }
            StrongRequest::In(session, request) => {
                return self.in_session(now, session, (id, request, deadline));
            }
            StrongRequest::Open { ttl } => {
                let ttl = ttl.clamp(TTL_MIN, TTL_MAX);
                return self.ask(now, Purpose::Open(id, ttl), open(ttl), deadline);
            }
        };
        self.ask(now, Purpose::Request(id), ask, deadline);
    }

    /// A leader's answer, or that of a node that takes it for somebody else.
    pub(crate) fn handle_reply(&mut self, now: Time, from: NodeId, id: u64, reply: Reply) {
        let answers = |pending: &Pending| pending.sent_to == Some(from);
        if !self.asks.get(&id).is_some_and(answers) {
            return;
        }
        if matches!(reply, Reply::NotLeader(_) | Reply::Busy)
            && let Some(pending) = self.asks.get_mut(&id)
        {
            pending.open = pending.open.saturating_sub(1);
        }
        match reply {
            Reply::NotLeader(leader) | Reply::Lost(leader) => {
                let other = |leader: &NodeId| *leader != from && self.connected.contains(leader);
                self.leader = leader.filter(other);
                if self.leader.is_some() {
                    self.send(now, id);
                } else {
                    self.ask_later(id, now + TRY_NEXT);
                }
            }
            Reply::Busy => self.ask_later(id, now + TRY_NEXT),
            Reply::Command(_)
            | Reply::Finding(_)
            | Reply::Ended(_)
            | Reply::Turn(_)
            | Reply::Changes(_)
            | Reply::Stale(_) => {
                if !matches!(reply, Reply::Stale(_)) {
                    self.leader = Some(from);
                }
                self.again.remove(&id);
                if let Some(pending) = self.asks.remove(&id) {
                    self.answered(now, pending, reply);
                }
            }
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) {
        while let Some(id) = self.again.pop_due(now) {
            let over = |pending: &Pending| pending.deadline <= now;
            if !self.asks.get(&id).is_some_and(over) {
                // Whoever did not answer may be gone.
                self.leader = None;
                self.send(now, id);
            } else if let Some(pending) = self.asks.remove(&id) {
                self.give_up(now, pending);
            }
        }
        while let Some(id) = self.waiting_until.pop_due(now) {
            self.waiting.retain(|(waits, _, _)| *waits != id);
            self.done(id, Err(self.unreached()));
        }
        self.keep_alive(now);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let times = [
            self.again.next(),
            self.attend.next(),
            self.waiting_until.next(),
        ];
        times.into_iter().flatten().min()
    }

    pub(crate) fn poll_wish(&mut self) -> Option<Wish> {
        self.wishes.pop_front()
    }

    fn done(&mut self, id: RequestId, result: Result<StrongDone, StrongError>) {
        self.wishes.push_back(Wish::Done(id, result));
    }

    fn ask(&mut self, now: Time, purpose: Purpose, ask: Ask, deadline: Time) {
        self.next_ask += 1;
        let pending = Pending {
            purpose,
            ask,
            deadline,
            sent_to: None,
            sent: None,
            open: 0,
        };
        self.asks.insert(self.next_ask, pending);
        self.send(now, self.next_ask);
    }

    fn send(&mut self, now: Time, id: u64) {
        let to = self.node_for(id);
        let Some(pending) = self.asks.get_mut(&id) else {
            return;
        };
        let patience = match pending.ask {
            Ask::Turn { .. } | Ask::Changes { .. } | Ask::Holder { .. } => PARKED_FOR + self.retry,
            Ask::Command(_) | Ask::Read(_) | Ask::KeepAlive(_) | Ask::Stale(_) => self.retry,
        };
        pending.sent_to = to;
        let again = (now + patience).min(pending.deadline);
        if let Some(to) = to {
            pending.sent.get_or_insert(now);
            pending.open += 1;
            self.wishes
                .push_back(Wish::Ask(to, id, pending.ask.clone()));
        }
        self.again.set(id, again);
    }

    /// This node votes, and has heard from a new leader: what another was asked may never be answered.
    pub(crate) fn handle_leader(&mut self, now: Time, leader: NodeId) {
        if !self.connected.contains(&leader) {
            return;
        }
        self.leader = Some(leader);
        let waits = |pending: &Pending| {
            let elsewhere = pending.sent_to.is_some_and(|to| to != leader);
            elsewhere && !matches!(pending.ask, Ask::Stale(_))
        };
        let asks = self.asks.iter().filter(|(_, pending)| waits(pending));
        for id in asks.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.send(now, id);
        }
    }

    fn ask_later(&mut self, id: u64, at: Time) {
        if let Some(pending) = self.asks.get_mut(&id) {
            pending.sent_to = None;
            self.again.set(id, at.min(pending.deadline));
        }
    }

    /// Where a question goes next. One that anybody in the group can answer stays here first if it can.
    fn node_for(&mut self, id: u64) -> Option<NodeId> {
        let begins =
            |pending: &Pending| matches!(pending.ask, Ask::Stale(_)) && pending.sent.is_none();
        let here = self.asks.get(&id).is_some_and(begins) && self.nodes.contains(&self.me);
        if here {
            return Some(self.me);
        }
        self.next_node()
    }

    /// The leader, or the next node that may know it.
    fn next_node(&mut self) -> Option<NodeId> {
        let reachable = |node: &NodeId| self.connected.contains(node);
        if let Some(leader) = self.leader.filter(reachable) {
            return Some(leader);
        }
        let place = self.nodes.iter().position(reachable)?;
        self.nodes.rotate_left(place + 1);
        self.nodes.back().copied()
    }

    fn answered(&mut self, now: Time, pending: Pending, reply: Reply) {
        let sent = pending.sent.unwrap_or(now);
        match (pending.purpose, reply) {
            (Purpose::Request(id), Reply::Finding(finding)) => {
                self.done(id, Ok(StrongDone::Found(finding)));
            }
            (Purpose::Request(id), Reply::Command(Err(refusal))) => {
                self.done(id, Err(refusal.into()));
            }
            (Purpose::Request(id), Reply::Turn(turn)) => self.done(id, Ok(StrongDone::Turn(turn))),
            (Purpose::Request(id), Reply::Changes(changes)) => {
                self.done(id, Ok(StrongDone::Changes(changes)));
            }
            (Purpose::Request(id), Reply::Stale(stale)) => {
                self.done(id, Ok(StrongDone::Stale(stale)));
            }
            (Purpose::InSession(id, session, number), Reply::Command(answer)) => {
                self.end_turn(session, number, sent);
                let expired = matches!(answer, Err(Refusal::SessionExpired { .. }));
                if expired && self.own == Own::Open(session) {
                    self.lose(session);
                    self.begin_again(id, pending);
                } else {
                    if expired {
                        self.lose(session);
                    } else if answer == Ok(Outcome::Closed) {
                        self.sessions.remove(&session);
                        self.attend.remove(&session);
                    }
                    self.done(id, answer.map(StrongDone::Done).map_err(StrongError::from));
                }
                self.use_own(now);
            }
            (Purpose::Open(id, ttl), Reply::Command(answer)) => {
                if let Ok(Outcome::Opened { session }) = &answer {
                    self.keep(*session, ttl, sent);
                }
                self.done(id, answer.map(StrongDone::Done).map_err(StrongError::from));
            }
            (Purpose::OpenOwn, Reply::Command(Ok(Outcome::Opened { session }))) => {
                self.keep(session, OWN_TTL, sent);
                self.own = Own::Open(session);
                self.use_own(now);
            }
            (Purpose::OpenOwn, Reply::Command(answer)) => {
                self.own = Own::None;
                self.waiting_until = Deadlines::default();
                for (id, _, _) in core::mem::take(&mut self.waiting) {
                    let refused = answer
                        .clone()
                        .err()
                        .map_or(StrongError::Busy, StrongError::from);
                    self.done(id, Err(refused));
                }
            }
            (Purpose::KeepAlive, Reply::Ended(ended)) => {
                let Ask::KeepAlive(sessions) = pending.ask else {
                    return;
                };
                for session in sessions {
                    if ended.contains(&session) {
                        self.lose(session);
                    } else {
                        self.change(session, |kept| kept.heard = kept.heard.max(sent));
                    }
                }
            }
            // An answer to another question: whoever gave it is no leader of ours.
            (purpose, _) => self.fail(now, purpose, StrongError::Unknown),
        }
    }

    /// A request for which the node's own session came too late: it is done in another, unless an earlier sending may have been.
    fn begin_again(&mut self, id: RequestId, pending: Pending) {
        let Ask::Command(Command::Request { request, .. }) = pending.ask else {
            return;
        };
        if pending.open > 1 {
            return self.done(id, Err(StrongError::Unknown));
        }
        self.waiting_until.set(id, pending.deadline);
        self.waiting.push_back((id, request, pending.deadline));
    }

    fn give_up(&mut self, now: Time, pending: Pending) {
        let unknown = matches!(pending.ask, Ask::Command(_)) && pending.open > 0;
        let error = if unknown {
            StrongError::Unknown
        } else {
            self.unreached()
        };
        self.fail(now, pending.purpose, error);
    }

    fn unreached(&self) -> StrongError {
        if self.nodes.is_empty() {
            StrongError::NoGroup
        } else {
            StrongError::Unavailable
        }
    }

    fn fail(&mut self, now: Time, purpose: Purpose, error: StrongError) {
        match purpose {
            Purpose::Request(id) | Purpose::Open(id, _) => self.done(id, Err(error)),
            Purpose::InSession(id, session, number) => {
                if let Some(kept) = self.sessions.get_mut(&session) {
                    kept.unanswered.remove(&number);
                }
                self.done(id, Err(error));
            }
            Purpose::OpenOwn => {
                self.own = Own::None;
                if !self.waiting.is_empty() {
                    self.use_own(now);
                }
            }
            Purpose::KeepAlive => {}
        }
    }

    /// Does what waits for the node's own session, and opens one if need be.
    fn use_own(&mut self, now: Time) {
        match self.own {
            Own::Opening => {}
            Own::None if self.waiting.is_empty() => {}
            Own::None => {
                self.own = Own::Opening;
                let deadline = now + OWN_TTL;
                self.ask(now, Purpose::OpenOwn, open(OWN_TTL), deadline);
            }
            Own::Open(session) => {
                while self.has_room(session)
                    && let Some(next) = self.waiting.pop_front()
                {
                    self.waiting_until.remove(&next.0);
                    self.in_session(now, session, next);
                }
            }
        }
    }

    fn has_room(&self, session: SessionId) -> bool {
        let kept = self.sessions.get(&session);
        kept.is_some_and(|kept| kept.unanswered.len() < IN_SESSION_MAX)
    }

    fn in_session(
        &mut self,
        now: Time,
        session: SessionId,
        (id, request, deadline): (RequestId, Request, Time),
    ) {
        let Some(kept) = self.sessions.get_mut(&session) else {
            let expired = Refusal::SessionExpired { session };
            return self.done(id, Err(expired.into()));
        };
        if kept.unanswered.len() >= IN_SESSION_MAX {
            return self.done(id, Err(StrongError::Busy));
        }
        kept.closing |= request == Request::Close;
        let sequence = kept.next;
        kept.next += 1;
        kept.unanswered.insert(sequence);
        let answered = kept.unanswered.first().map_or(0, |first| first - 1);
        let command = Command::Request {
            session,
            sequence,
            answered,
            request,
        };
        let purpose = Purpose::InSession(id, session, sequence);
        self.ask(now, purpose, Ask::Command(command), deadline);
    }

    fn end_turn(&mut self, session: SessionId, number: u64, sent: Time) {
        self.change(session, |kept| {
            kept.unanswered.remove(&number);
            kept.heard = kept.heard.max(sent);
            kept.tell = kept.tell.max(sent + kept.ttl / 3);
        });
    }

    /// Changes a session, and with it when there is something to do about it.
    fn change(&mut self, session: SessionId, change: impl FnOnce(&mut Kept)) {
        if let Some(kept) = self.sessions.get_mut(&session) {
            change(kept);
            self.attend.set(session, kept.tell.min(kept.ends()));
        }
    }

    fn keep(&mut self, session: SessionId, ttl: Duration, sent: Time) {
        let kept = Kept {
            ttl,
            heard: sent,
            tell: sent + ttl / 3,
            next: 1,
            unanswered: BTreeSet::new(),
            closing: false,
        };
        self.attend.set(session, kept.tell.min(kept.ends()));
        self.sessions.insert(session, kept);
    }

    /// Tells the leader of the sessions that live, and takes those that it cannot have heard of for lost.
    fn keep_alive(&mut self, now: Time) {
        let mut due = Vec::new();
        let mut shortest = TTL_MAX;
        while let Some(session) = self.attend.pop_due(now) {
            let Some(kept) = self.sessions.get(&session) else {
                continue;
            };
            let (ttl, ends) = (kept.ttl, kept.ends());
            if ends <= now {
                self.lose(session);
            } else if kept.closing {
                self.change(session, |kept| kept.tell = ends);
            } else {
                self.change(session, |kept| kept.tell = now + ttl / 3);
                shortest = shortest.min(ttl);
                due.push(session);
            }
        }
        if !due.is_empty() {
            // The next time tells them anew.
            let deadline = now + shortest / 3;
            self.ask(now, Purpose::KeepAlive, Ask::KeepAlive(due), deadline);
        }
    }

    /// A session has ended. What was asked in it and not answered may have been done.
    fn lose(&mut self, session: SessionId) {
        if self.sessions.remove(&session).is_none() {
            return;
        }
        self.attend.remove(&session);
        if self.own == Own::Open(session) {
            self.own = Own::None;
        }
        self.wishes.push_back(Wish::Lost(session));
        let of_it = |pending: &Pending| matches!(pending.purpose, Purpose::InSession(_, of, _) if of == session);
        let lost = self.asks.extract_if(.., |_, pending| of_it(pending));
        for (ask, pending) in lost.collect::<Vec<_>>() {
            self.again.remove(&ask);
            if let Purpose::InSession(id, _, _) = pending.purpose {
                self.done(id, Err(StrongError::Unknown));
            }
        }
    }
}

impl Kept {
    /// Until when it is sure to live: the leader counts from when it heard, which was not before it was told, by a clock that may be faster.
    fn ends(&self) -> Time {
        self.heard + (self.ttl - self.ttl / DRIFT)
    }
}

/// A session is taken for lost so small a part of its time before the leader may end it: until then two clocks may drift apart by one part in
/// twenty. Those of machines drift by less than one in a thousand. More would find more wrong clocks, and lose more sessions for nothing.
const DRIFT: u32 = 20;

fn open(ttl: Duration) -> Ask {
    let ttl_ms = u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX);
    Ask::Command(Command::Open { ttl_ms })
}
