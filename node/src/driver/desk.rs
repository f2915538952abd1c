//! What handles wait for: the same for the real driver and for the simulator's.

use std::collections::BTreeMap;
use std::time::Duration;

use meshwork_membership::Time;
use meshwork_sync::{Found, Prefix, Read, ReadError, RequestId, Write, WriteError, Written};
use tokio::sync::{oneshot, watch};

use super::{Session, reply};
use crate::core::{Node, Output};
use crate::strong::{Outcome, Request, SessionId, StrongDone, StrongError, StrongRequest};
use crate::watch::{Watch, Watcher};

/// Hands requests to the core, and its answers to whoever asked.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    next_request: RequestId,
    writes: BTreeMap<RequestId, oneshot::Sender<Result<Written, WriteError>>>,
    reads: BTreeMap<RequestId, oneshot::Sender<Result<Found, ReadError>>>,
    strong: BTreeMap<RequestId, oneshot::Sender<Result<StrongDone, StrongError>>>,
    opens: BTreeMap<RequestId, oneshot::Sender<Result<Session, StrongError>>>,
    /// Who is told when a session ends.
    sessions: BTreeMap<SessionId, watch::Sender<bool>>,
    watchers: Vec<(Prefix, Watcher)>,
}

/// How long to try to close a session that nobody holds; after that its time runs out.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

impl Desk {
    pub(crate) fn write(
        &mut self,
        node: &mut Node,
        (now, wall_ms): (Time, u64),
        write: Write,
        answer: oneshot::Sender<Result<Written, WriteError>>,
    ) -> RequestId {
        self.next_request += 1;
        self.writes.insert(self.next_request, answer);
        node.write(now, wall_ms, self.next_request, write);
        self.next_request
    }

    pub(crate) fn read(
        &mut self,
        node: &mut Node,
        now: Time,
        read: Read,
        answer: oneshot::Sender<Result<Found, ReadError>>,
    ) -> RequestId {
        self.next_request += 1;
        self.reads.insert(self.next_request, answer);
        node.read(now, self.next_request, read);
        self.next_request
    }

    pub(crate) fn strong(
        &mut self,
        node: &mut Node,
        (now, timeout): (Time, Duration),
        request: StrongRequest,
        answer: oneshot::Sender<Result<StrongDone, StrongError>>,
    ) {
        self.next_request += 1;
        self.strong.insert(self.next_request, answer);
        node.ask(now, self.next_request, request, timeout);
    }

    pub(crate) fn open_session(
        &mut self,
        node: &mut Node,
        (now, timeout): (Time, Duration),
        ttl: Duration,
        answer: oneshot::Sender<Result<Session, StrongError>>,
    ) {
        self.next_request += 1;
        self.opens.insert(self.next_request, answer);
        let open = StrongRequest::Open { ttl };
        node.ask(now, self.next_request, open, timeout);
    }

    /// Hands a session to whoever opened it. Where nobody waits for it any more, it is closed with the next look.
    fn opened(
        &mut self,
        answer: oneshot::Sender<Result<Session, StrongError>>,
        result: Result<StrongDone, StrongError>,
    ) {
        let result = result.and_then(|done| {
            let StrongDone::Done(Outcome::Opened { session }) = done else {
                return Err(StrongError::Unknown);
            };
            let (told, lost) = watch::channel(false);
            self.sessions.insert(session, told);
            Ok((session, lost))
        });
        reply(answer, result);
    }

    /// Closes a session, once.
    pub(crate) fn close_session(&mut self, node: &mut Node, now: Time, session: SessionId) {
        if self.sessions.remove(&session).is_some() {
            self.next_request += 1;
            let close = StrongRequest::In(session, Request::Close);
            node.ask(now, self.next_request, close, CLOSE_TIMEOUT);
        }
    }

    /// Closes the sessions that nobody holds any more, and of which the desk was not told.
    pub(crate) fn prune_sessions(&mut self, node: &mut Node, now: Time) {
        let dropped = self.sessions.iter().filter(|(_, told)| told.is_closed());
        for session in dropped.map(|(session, _)| *session).collect::<Vec<_>>() {
            self.close_session(node, now, session);
        }
    }

    pub(crate) fn watch(
        &mut self,
        node: &mut Node,
        prefix: Prefix,
        answer: oneshot::Sender<Watch>,
    ) {
        let (watcher, watch) = crate::watch::pair();
        node.watch(prefix.clone());
        self.watchers.push((prefix, watcher));
        reply(answer, watch);
    }

    /// Answers whoever waits for an output of the core; gives back what is for nobody here.
    pub(crate) fn answer(&mut self, output: Output) -> Option<Output> {
        match output {
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
            Output::Strong { id, result } => {
                if let Some(answer) = self.strong.remove(&id) {
                    reply(answer, result);
                } else if let Some(answer) = self.opens.remove(&id) {
                    self.opened(answer, result);
                }
            }
            Output::SessionLost(session) => {
                if let Some(told) = self.sessions.remove(&session) {
                    told.send_replace(true);
                }
            }
            Output::Changed { key, .. } => {
                for (prefix, watcher) in &self.watchers {
                    if prefix.covers(&key) {
                        watcher.tell(&key);
                    }
                }
            }
            Output::Send { .. }
            | Output::Store { .. }
            | Output::Kept { .. }
            | Output::Refused { .. }
            | Output::Want { .. }
            | Output::Unwant { .. }
            | Output::Member(_) => return Some(output),
        }
        None
    }

    /// Ends the watches that nobody listens to any more.
    pub(crate) fn prune_watchers(&mut self, node: &mut Node) {
        for (prefix, _) in self.watchers.extract_if(.., |(_, w)| w.is_closed()) {
            node.unwatch(&prefix);
        }
    }
}
