//! What only the leader does: it gathers commands into entries, reads as of now, counts the time of sessions, and answers.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use meshwork_membership::planted::{Bug, planted};
use meshwork_membership::{NodeId, Time};
use meshwork_sync::{Key, Prefix};

use super::backups::Backups;
use super::command::{Command, Found, Outcome, Refusal, Revision, SessionId, TooLarge, Wait};
use super::deadlines::Deadlines;
use super::gathered::{Gathered, Limit};
use super::group::Group;
use super::history::Change;
use super::keys::TRANSACTION_BYTES_MAX;
use super::message::{Ask, Changes, Finding, KEY_BYTES, LockHolder, Query, Reply, Seen, Turn};
use super::parked::{Parked, Waiting};
use super::sessions::Answer;
use super::stale::Stale;
use super::state::State;

/// Who waits for an answer: a node and its number for the question.
pub(crate) type Asker = (NodeId, u64);

/// Questions under way, and the time that sessions have left. Empty on all who do not lead.
#[derive(Debug, Default)]
pub(crate) struct Leader {
    /// Commands that came in since the last entry.
    inbox: Gathered<(Option<Asker>, Command)>,
    proposed: VecDeque<Proposed>,
    reads: Gathered<(Asker, Sure)>,
    /// The round that is under way, and what is answered when it ends: nothing that came in after it began.
    round: Option<(u64, Vec<(Asker, Sure)>)>,
    /// When a session ends that is not heard of before.
    leases: Deadlines<SessionId>,
    /// The patience of those who wait for a lock.
    patience: Deadlines<(SessionId, Key)>,
    /// Questions that are answered when something happens.
    parked: Parked,
    /// What has happened up to here is known to those above.
    followed: Revision,
    replies: VecDeque<(Asker, Reply)>,
    /// The term that all this is of; 0 while another leads.
    term: u64,
    /// When this was last at work.
    ran: Time,
}

#[derive(Debug)]
struct Proposed {
    index: u64,
    askers: Vec<Option<Asker>>,
}

/// What is answered once this leader is sure to have led after it was asked.
#[derive(Debug)]
enum Sure {
    Read(Query),
    /// One that leads no more may not say that a session lives: the time that another has given it since may be over before.
    KeepAlive(Vec<SessionId>),
}

/// Entries under way at one time: one that is being made durable, and the next one, on its way to the followers. With more each would hold
/// less, and cost as much.
const PIPELINE: usize = 2;

/// Commands that wait for the next entry.
const INBOX: Limit = Limit {
    count: 8_192,
    bytes: 16 << 20,
};

/// Commands in one entry, and the bytes of their values. With the longest commands it stays below what one message carries; a command that is
/// larger goes alone.
const ENTRY: Limit = Limit {
    count: 1_024,
    bytes: 512 << 10,
};

/// Reads and keep-alives that wait for a round.
const READS: Limit = Limit {
    count: 16_384,
    bytes: 16 << 20,
};

/// How many times as long as usual a leader that runs is not at work. Longer, and it was paused, or its clock was put forward.
const PAUSE: u32 = 3;

/// Questions that wait for something to happen.
const PARKED_MAX: usize = 16_384;

/// How long a question waits for something to happen before it is asked again.
pub(crate) const PARKED_FOR: Duration = Duration::from_secs(10);

/// Keys in an answer.
const LIST_MAX: u32 = 1_000;

impl Leader {
    /// Takes a question, and answers it when that is possible.
    pub(crate) fn ask(&mut self, now: Time, group: &Group, asker: Asker, ask: Ask) {
        let unasked = planted(Bug::StrongReadUnasked) && matches!(ask, Ask::Read(Query::Get(_)));
        let anybody = (unasked || matches!(ask, Ask::Stale(_))) && group.applied() > 0;
        if !anybody && !self.leads(group) {
            return self.reply(asker, Reply::NotLeader(leader_of(group)));
        }
        match ask {
            Ask::Command(command) => self.take(now, group.state(), asker, command),
            Ask::Read(query) if unasked => {
                let found = find(group.state(), query);
                self.reply(asker, found.map_or_else(refused, Reply::Finding));
            }
            Ask::Read(query) => self.take_sure(asker, query.bytes(), Sure::Read(query)),
            Ask::KeepAlive(sessions) => {
                for session in &sessions {
                    self.renew(now, group.state(), *session);
                }
                let bytes = sessions.len() * size_of::<SessionId>();
                self.take_sure(asker, bytes, Sure::KeepAlive(sessions));
            }
            Ask::Turn { session, lock } => {
                self.park(now, group.state(), asker, Waiting::Turn(session, lock));
            }
            Ask::Changes { prefix, after } => {
                self.park(now, group.state(), asker, Waiting::Changes(prefix, after));
            }
            Ask::Holder { lock, seen } => {
                self.park(now, group.state(), asker, Waiting::Holder(lock, seen));
            }
            Ask::Stale(query) => {
                let reply = stale(now, group, query);
                self.reply(asker, reply.unwrap_or_else(refused));
            }
        }
    }

    fn take_sure(&mut self, asker: Asker, bytes: usize, asked: Sure) {
        if self.reads.has_room(bytes, READS) {
            self.reads.push(bytes, (asker, asked));
        } else {
            self.reply(asker, Reply::Busy);
        }
    }

    /// Whether all of this is of the term that the group is in.
    fn leads(&self, group: &Group) -> bool {
        let standing = group.standing();
        standing.leads && self.term == standing.term
    }

    fn take(&mut self, now: Time, state: &State, asker: Asker, command: Command) {
        match &command {
            Command::Open { .. } => {}
            Command::Request { session, .. } => drop(self.renew(now, state, *session)),
            // No client says this.
            Command::Expire { .. } | Command::GiveUp { .. } | Command::Skip { .. } => return,
        }
        let bytes = command.bytes();
        if !self.inbox.has_room(bytes, INBOX) {
            return self.reply(asker, Reply::Busy);
        }
        // No key that a client can make; only a peer that lies has another.
        if !command.keys().all(|key| key.check().is_ok()) {
            return;
        }
        self.inbox.push(bytes, (Some(asker), command));
    }

    /// A session was heard of. `false`: it has ended, or is about to.
    fn renew(&mut self, now: Time, state: &State, session: SessionId) -> bool {
        let Some(ttl) = state.session_ttl(session) else {
            return false;
        };
        let lives = self.leases.contains(&session);
        if lives {
            self.leases.set(session, now + ttl);
        }
        lives
    }

    /// Leader or term have changed.
    pub(crate) fn turned(&mut self, now: Time, group: &Group) {
        let standing = group.standing();
        if self.term != standing.term || !standing.leads {
            self.resign(leader_of(group));
        }
        if !standing.leads || self.term == standing.term {
            return;
        }
        self.term = standing.term;
        self.ran = now;
        self.followed = group.state().revision();
        // A new leader knows nothing of when they were last heard of: each has all of its time again (Gray and Cheriton, "Leases", 1989).
        for (session, ttl) in group.state().sessions() {
            self.leases.set(session, now + ms(ttl));
        }
        for (lock, session, wait) in group.state().waiters() {
            self.be_patient(now, lock, session, wait);
        }
    }

    /// A group that follows on one that was lost says so before anything else.
    pub(crate) fn count_from(&mut self, group: &Group, count: u64) {
        if self.leads(group) && group.state().revision().0 < count {
            self.say(Command::Skip { count });
        }
    }

    /// What was asked here is to be asked elsewhere. Whether a command that is under way will be applied is open.
    pub(crate) fn resign(&mut self, leader: Option<NodeId>) {
        let old = core::mem::take(self);
        self.replies = old.replies;
        let inbox = old.inbox.into_items().filter_map(|(asker, _)| asker);
        let proposed = old.proposed.into_iter().flat_map(|entry| entry.askers);
        let round = old.round.into_iter().flat_map(|(_, reads)| reads);
        let reads = old.reads.into_items().chain(round);
        let reads = reads.map(|(asker, _)| asker);
        let parked = old.parked.askers();
        for asker in inbox.chain(reads).chain(parked) {
            self.reply(asker, Reply::NotLeader(leader));
        }
        for asker in proposed.flatten() {
            self.reply(asker, Reply::Lost(leader));
        }
    }

    /// An entry was applied: whoever asked for what is in it is answered.
    pub(crate) fn applied(
        &mut self,
        now: Time,
        state: &State,
        (index, term): (u64, u64),
        answers: Vec<Option<Answer>>,
    ) {
        // Those who follow apply it too, and answer nobody.
        if self.term == 0 {
            return;
        }
        self.begin_leases(now, state, &answers);
        let due = self.proposed.pop_front_if(|entry| entry.index <= index);
        let ours = due.filter(|entry| (entry.index, self.term) == (index, term));
        let askers = ours.map_or_else(Vec::new, |entry| entry.askers);
        for (asker, answer) in askers.into_iter().zip(answers) {
            if let (Some(asker), Some(answer)) = (asker, answer) {
                self.reply(asker, Reply::Command(answer));
            }
        }
        self.follow(now, state);
    }

    fn begin_leases(&mut self, now: Time, state: &State, answers: &[Option<Answer>]) {
        for answer in answers.iter().flatten() {
            if let Ok(Outcome::Opened { session }) = answer
                && let Some(ttl) = state.session_ttl(*session)
            {
                self.leases.set(*session, now + ttl);
            }
        }
    }

    /// Takes in what has happened: who waits begins to be impatient, and is answered when it is over.
    fn follow(&mut self, now: Time, state: &State) {
        let mut due = BTreeSet::new();
        let before = self.followed;
        if let Some(changes) = state.changes_after(before) {
            for (_, change) in changes {
                self.follow_line(now, state, change);
                due.extend(self.parked.touched_by(change));
            }
        } else {
            // More than is remembered, so that nothing is known of what was before.
            for (lock, session, wait) in state.waiters() {
                self.be_patient(now, lock, session, wait);
            }
            due.extend(self.parked.askers());
        }
        self.followed = state.revision();
        for asker in due {
            let waiting = self.parked.get(asker);
            if let Some(reply) = waiting.and_then(|waiting| answer(state, waiting, before)) {
                self.parked.remove(asker);
                self.reply(asker, reply);
            }
        }
    }

    fn follow_line(&mut self, now: Time, state: &State, change: &Change) {
        match change {
            Change::Queued { lock, session } => {
                if let Some(wait) = state.wait_of(*session, lock) {
                    self.be_patient(now, lock, *session, wait);
                }
            }
            // Who queues again later is as patient as he says then.
            Change::Granted { lock, session, .. }
            | Change::GaveUp { lock, session }
            | Change::Deadlocked { lock, session, .. } => {
                self.patience.remove(&(*session, lock.clone()));
            }
            Change::Key { .. } | Change::Released { .. } | Change::Ended { .. } => {}
        }
    }

    fn be_patient(&mut self, now: Time, lock: &Key, session: SessionId, wait: Wait) {
        let waiter = (session, lock.clone());
        if let Wait::Ms(wait) = wait
            && !self.patience.contains(&waiter)
        {
            self.patience.set(waiter, now + ms(wait));
        }
    }

    /// The round of reads that began under this number has ended.
    pub(crate) fn read(&mut self, now: Time, group: &Group, round: u64, backups: &mut Backups) {
        if let Some((_, reads)) = self.round.take_if(|(id, _)| *id == round) {
            for (asker, asked) in reads {
                let reply = match asked {
                    Sure::Read(Query::Backup) => {
                        let begun = backups.begin(now, asker, group);
                        begun.map_or(Reply::Busy, Reply::Finding)
                    }
                    Sure::Read(Query::BackupPart { backup, part }) => {
                        Reply::Finding(backups.part(now, asker, backup, part))
                    }
                    Sure::Read(query) => {
                        find(group.state(), query).map_or_else(refused, Reply::Finding)
                    }
                    Sure::KeepAlive(sessions) => {
                        let lives = |session: &SessionId| {
                            let known = group.state().session_ttl(*session).is_some();
                            known && self.leases.contains(session)
                        };
                        let ended = sessions.into_iter().filter(|session| !lives(session));
                        Reply::Ended(ended.collect())
                    }
                };
                self.reply(asker, reply);
            }
        }
    }

    /// Hands what has gathered to the group.
    pub(crate) fn flush(&mut self, now: Time, group: &mut Group) {
        if !self.leads(group) {
            return;
        }
        self.count_pause(now, group);
        while self.proposed.len() < PIPELINE && !self.inbox.is_empty() {
            let (askers, commands): (Vec<_>, Vec<_>) = self.inbox.take(ENTRY).into_iter().unzip();
            match group.propose(now, commands) {
                Ok(index) => self.proposed.push_back(Proposed { index, askers }),
                // Leadership is on its way to another, or the followers do not keep up.
                Err(commands) => {
                    self.put_off(askers, commands);
                    break;
                }
            }
        }
        if self.round.is_none() && !self.reads.is_empty() {
            let reads = core::mem::take(&mut self.reads);
            self.round = Some((group.read(now), reads.into_items().collect()));
        }
    }

    /// What was not taken: clients ask again, and what this leader says itself is said later.
    fn put_off(&mut self, askers: Vec<Option<Asker>>, commands: Vec<Command>) {
        for (asker, command) in askers.into_iter().zip(commands) {
            match asker {
                Some(asker) => self.reply(asker, Reply::Busy),
                None => self.say(command),
            }
        }
    }

    fn say(&mut self, command: Command) {
        self.inbox.push(command.bytes(), (None, command));
    }

    /// Time in which this did not run is not counted against anybody: what would have kept a session alive may not have been read yet.
    fn count_pause(&mut self, now: Time, group: &Group) {
        let pause = now.since(self.ran);
        if pause > group.tick() * PAUSE {
            self.leases.postpone(pause);
            self.patience.postpone(pause);
        }
        self.ran = now;
    }

    /// Ends what is not heard of any more.
    pub(crate) fn handle_timeout(&mut self, now: Time, group: &Group) {
        if !self.leads(group) {
            return;
        }
        self.count_pause(now, group);
        while let Some(session) = self.leases.pop_due(now) {
            if group.state().session_ttl(session).is_some() {
                self.say(Command::Expire { session });
            }
        }
        while let Some((session, lock)) = self.patience.pop_due(now) {
            if group.state().waits(session, &lock) {
                self.say(Command::GiveUp { session, lock });
            }
        }
        while let Some((asker, waiting)) = self.parked.pop_due(now) {
            let reply = match waiting {
                // Whoever watches where nothing happens must not fall behind what is remembered.
                Waiting::Changes(_, after) => Reply::Changes(Some(Changes {
                    keys: Vec::new(),
                    upto: after.max(self.followed),
                })),
                // Asked anew, it waits on.
                Waiting::Turn(..) | Waiting::Holder(..) => Reply::Busy,
            };
            self.reply(asker, reply);
        }
    }

    /// When [`Leader::handle_timeout`] is to be called next. One that leads no more, and has not heard of it yet, has nothing to do.
    pub(crate) fn poll_timeout(&self, group: &Group) -> Option<Time> {
        if !self.leads(group) {
            return None;
        }
        let times = [
            self.leases.next(),
            self.patience.next(),
            self.parked.next_due(),
        ];
        times.into_iter().flatten().min()
    }

    pub(crate) fn poll_reply(&mut self) -> Option<(Asker, Reply)> {
        self.replies.pop_front()
    }

    /// A node is gone, and with it whoever waited there.
    pub(crate) fn forget(&mut self, node: NodeId) {
        self.parked.remove_node(node);
    }

    fn reply(&mut self, asker: Asker, reply: Reply) {
        self.replies.push_back((asker, reply));
    }

    fn park(&mut self, now: Time, state: &State, asker: Asker, ask: Waiting) {
        // Only a peer that lies names what no client can.
        if !ask.is_sound() {
            return;
        }
        match answer(state, &ask, Revision(0)) {
            Some(reply) => self.reply(asker, reply),
            None if self.parked.len() >= PARKED_MAX => self.reply(asker, Reply::Busy),
            None => self.parked.insert(asker, ask, now + PARKED_FOR),
        }
    }
}

/// What waits on a leader.
#[cfg(test)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Queued {
    pub(crate) inbox: Limit,
    pub(crate) reads: Limit,
    pub(crate) proposed: usize,
    pub(crate) parked: usize,
    pub(crate) replies: usize,
}

#[cfg(test)]
impl Leader {
    pub(crate) fn queued(&self) -> Queued {
        Queued {
            inbox: self.inbox.size(),
            reads: self.reads.size(),
            proposed: self.proposed.len(),
            parked: self.parked.len(),
            replies: self.replies.len(),
        }
    }
}

/// The answer to a question that waits, if there is one by now. There was none as of `before`.
fn answer(state: &State, waiting: &Waiting, before: Revision) -> Option<Reply> {
    match waiting {
        Waiting::Turn(session, lock) => turn(state, *session, lock).map(Reply::Turn),
        Waiting::Changes(prefix, after) => changes(state, prefix, before.max(*after)),
        Waiting::Holder(lock, seen) => {
            let other = is_other(state, lock, *seen);
            other.then(|| Reply::Finding(show_lock(state, lock)))
        }
    }
}

/// The node that leads, as far as this one knows.
pub(crate) fn leader_of(group: &Group) -> Option<NodeId> {
    let leader = group.standing().leader?;
    group.log().config().nodes.get(&leader).copied()
}

fn turn(state: &State, session: SessionId, key: &Key) -> Option<Turn> {
    let lock = state.lock(key);
    let mut holders = lock.into_iter().flat_map(|lock| lock.holders());
    if state.waits(session, key) {
        return None;
    }
    if let Some((_, holder)) = holders.find(|(holder, _)| *holder == session) {
        return Some(Turn::Granted(holder.token));
    }
    let deadlock = state.changes().rev().find_map(|(_, change)| {
        let Change::Deadlocked {
            lock,
            session: victim,
            cycle,
        } = change
        else {
            return None;
        };
        (lock == key && *victim == session).then(|| cycle.clone())
    });
    Some(deadlock.map_or(Turn::Gone, Turn::Deadlock))
}

/// Whether a lock is not as it was seen. A leader that knows less than who saw it says nothing.
fn is_other(state: &State, lock: &Key, seen: Seen) -> bool {
    let holders = state.lock(lock).into_iter().flat_map(|lock| lock.holders());
    let latest = holders.map(|(_, holder)| holder.token).max();
    match (latest, seen) {
        (Some(token), Seen::Held(seen) | Seen::Free(seen)) => token > seen,
        (None, Seen::Held(seen)) => state.last_token() >= seen,
        (None, Seen::Free(_)) => false,
    }
}

/// What has changed after a revision, if anything has.
fn changes(state: &State, prefix: &Prefix, after: Revision) -> Option<Reply> {
    let Some(all) = state.changes_after(after) else {
        return Some(Reply::Changes(None));
    };
    let (mut keys, mut upto, mut bytes) = (Vec::new(), state.revision(), 0);
    for (revision, change) in all {
        let Change::Key { key } = change else {
            continue;
        };
        if !prefix.covers(key) {
            continue;
        }
        bytes += key.namespace().len() + key.name().len() + CHANGE_BYTES;
        if bytes > TRANSACTION_BYTES_MAX {
            keys.retain(|(at, _)| at < revision);
            let Some((last, _)) = keys.last() else {
                // One revision alone is more than fits.
                return Some(Reply::Changes(None));
            };
            upto = *last;
            break;
        }
        keys.push((*revision, key.clone()));
    }
    let found = !keys.is_empty();
    found.then_some(Reply::Changes(Some(Changes { keys, upto })))
}

const fn refused(refusal: Refusal) -> Reply {
    Reply::Command(Err(refusal))
}

/// What is found in what is applied here, and how old that may be.
fn stale(now: Time, group: &Group, query: Query) -> Result<Reply, Refusal> {
    let state = group.state();
    if let Query::Get(keys) = &query {
        let mut keys = keys.iter().map(Key::namespace);
        if let Some(namespace) = keys.find(|namespace| !state.namespaces().contains(*namespace)) {
            let namespace = namespace.to_owned();
            return Err(Refusal::NoNamespace { namespace });
        }
    }
    let age = group.current(now).map(|at| now.since(at).as_millis());
    Ok(Reply::Stale(Stale {
        found: find(state, query)?,
        revision: state.revision(),
        age_ms: age.map(|age| u64::try_from(age).unwrap_or(u64::MAX)),
    }))
}

fn find(state: &State, query: Query) -> Result<Finding, Refusal> {
    let revision = state.revision();
    match query {
        Query::Get(keys) => {
            let found = keys.iter().map(|key| state.get(key));
            let bytes = found
                .clone()
                .map(|found| found.map_or(0, |found| found.value.len()));
            let size = bytes.sum::<usize>() + keys.len() * KEY_BYTES;
            if size > TRANSACTION_BYTES_MAX {
                return Err(Refusal::TooLarge {
                    what: TooLarge::Values,
                    size,
                    max: TRANSACTION_BYTES_MAX,
                });
            }
            let found = found.map(Option::<&Found>::cloned).collect();
            Ok(Finding::Got { revision, found })
        }
        Query::List { prefix, after, max } => {
            let keys = list(state, &prefix, after.as_ref(), max);
            Ok(Finding::Listed { revision, keys })
        }
        Query::Lock(key) => Ok(show_lock(state, &key)),
        // It is held beside the state.
        Query::Backup | Query::BackupPart { .. } => Ok(Finding::BackupPart { bytes: Vec::new() }),
    }
}

fn list(state: &State, prefix: &Prefix, after: Option<&Key>, max: u32) -> Vec<(Key, Found)> {
    // No name comes before the shortest one.
    let name = if prefix.name.is_empty() {
        &[0]
    } else {
        prefix.name.as_slice()
    };
    let Ok(first) = Key::new(&prefix.namespace, name) else {
        return Vec::new();
    };
    let from = after.map_or(Bound::Included(&first), Bound::Excluded);
    let keys = state
        .keys_after(from)
        .take_while(|(key, _)| prefix.covers(key));
    let mut room = TRANSACTION_BYTES_MAX;
    let fits = keys.take_while(|(key, found)| {
        let left = room.checked_sub(key.name().len() + found.value.len() + KEY_BYTES);
        room = left.unwrap_or(0);
        left.is_some()
    });
    let max = usize::try_from(max.min(LIST_MAX)).unwrap_or(0);
    let keys = fits
        .take(max)
        .map(|(key, found)| (key.clone(), found.clone()));
    keys.collect()
}

fn show_lock(state: &State, key: &Key) -> Finding {
    let lock = state.lock(key);
    let holders = lock.into_iter().flat_map(|lock| lock.holders());
    let holders = holders.map(|(session, holder)| LockHolder {
        session,
        mode: holder.mode,
        token: holder.token,
        note: holder.note.clone(),
    });
    let waiters = lock.map_or(0, |lock| lock.waiters().count());
    Finding::Lock {
        holders: holders.collect(),
        waiters: u32::try_from(waiters).unwrap_or(u32::MAX),
    }
}

/// What a change in an answer costs beside its key, about.
const CHANGE_BYTES: usize = 32;

const fn ms(ms: u32) -> Duration {
    Duration::from_millis(ms as u64)
}
