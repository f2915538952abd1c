//! What only the leader does: it gathers commands into entries, reads as of now, counts the time of sessions, and answers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use meshwork_membership::{NodeId, Time};
use meshwork_sync::{Key, Prefix};

use super::command::{Command, Found, Outcome, Refusal, Revision, SessionId, TooLarge, Wait};
use super::deadlines::Deadlines;
use super::group::Group;
use super::history::Change;
use super::keys::TRANSACTION_BYTES_MAX;
use super::message::{Ask, Finding, LockHolder, Query, Reply, Turn};
use super::sessions::Answer;
use super::state::State;

/// Who waits for an answer: a node and its number for the question.
pub(crate) type Asker = (NodeId, u64);

/// Questions under way, and the time that sessions have left. Empty on all who do not lead.
#[derive(Debug, Default)]
pub(crate) struct Leader {
    /// Commands that came in since the last entry.
    inbox: Vec<(Option<Asker>, Command)>,
    proposed: VecDeque<Proposed>,
    reads: Vec<(Asker, Query)>,
    /// The round that is under way, and what is read when it ends: nothing that came in after it began.
    round: Option<(u64, Vec<(Asker, Query)>)>,
    /// When a session ends that is not heard of before.
    leases: Deadlines<SessionId>,
    /// The patience of those who wait for a lock.
    patience: Deadlines<(SessionId, Key)>,
    /// Questions that are answered when something happens.
    parked: BTreeMap<Asker, Waiting>,
    parked_until: Deadlines<Asker>,
    replies: VecDeque<(Asker, Reply)>,
    /// The term that all this is of; 0 while another leads.
    term: u64,
}

#[derive(Debug)]
struct Proposed {
    index: u64,
    term: u64,
    askers: Vec<Option<Asker>>,
}

#[derive(Debug)]
enum Waiting {
    Turn(SessionId, Key),
    Changes(Prefix, Revision),
}

/// Entries under way at one time: one on the disk, one behind it, and two on their way to the followers.
const PIPELINE: usize = 4;

/// Commands that wait for the next entry.
const INBOX_MAX: usize = 8_192;

/// Commands in one entry. With the longest commands it stays below what one message carries.
const ENTRY_COMMANDS_MAX: usize = 1_024;

/// Bytes of the values in one entry; a command that is larger goes alone.
const ENTRY_BYTES_MAX: usize = 512 << 10;

/// Reads that wait for a round.
const READS_MAX: usize = 16_384;

/// Questions that wait for something to happen.
const PARKED_MAX: usize = 16_384;

/// How long a question waits for something to happen before it is asked again.
pub(crate) const PARKED_FOR: Duration = Duration::from_secs(10);

/// Keys in an answer.
const LIST_MAX: u32 = 1_000;

impl Leader {
    /// Takes a question, and answers it when that is possible.
    pub(crate) fn ask(&mut self, now: Time, group: &Group, asker: Asker, ask: Ask) {
        if !self.leads(group) {
            return self.reply(asker, Reply::NotLeader(leader_of(group)));
        }
        match ask {
            Ask::Command(command) => self.take(now, group.state(), asker, command),
            Ask::Read(query) if self.reads.len() < READS_MAX => self.reads.push((asker, query)),
            Ask::KeepAlive(sessions) => {
                let ended = sessions
                    .into_iter()
                    .filter(|session| !self.renew(now, group.state(), *session));
                let ended = ended.collect();
                self.reply(asker, Reply::Ended(ended));
            }
            Ask::Read(_) => self.reply(asker, Reply::Busy),
            Ask::Turn { session, lock } => {
                self.park(now, group.state(), asker, Waiting::Turn(session, lock));
            }
            Ask::Changes { prefix, after } => {
                self.park(now, group.state(), asker, Waiting::Changes(prefix, after));
            }
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
            Command::Expire { .. } | Command::GiveUp { .. } => return,
        }
        if self.inbox.len() >= INBOX_MAX {
            return self.reply(asker, Reply::Busy);
        }
        // No key that a client can make; only a peer that lies has another.
        if !command.keys().all(|key| key.check().is_ok()) {
            return;
        }
        self.inbox.push((Some(asker), command));
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
        // A new leader knows nothing of when they were last heard of: each has all of its time again (Gray and Cheriton, "Leases", 1989).
        for (session, ttl) in group.state().sessions() {
            self.leases.set(session, now + ms(ttl));
        }
        for (lock, session, wait) in group.state().waiters() {
            self.be_patient(now, lock, session, wait);
        }
    }

    /// What was asked here is to be asked elsewhere. Whether a command that is under way will be applied is open.
    pub(crate) fn resign(&mut self, leader: Option<NodeId>) {
        let old = core::mem::take(self);
        self.replies = old.replies;
        let inbox = old.inbox.into_iter().filter_map(|(asker, _)| asker);
        let proposed = old.proposed.into_iter().flat_map(|entry| entry.askers);
        let round = old.round.into_iter().flat_map(|(_, reads)| reads);
        let reads = old.reads.into_iter().chain(round).map(|(asker, _)| asker);
        let parked = old.parked.into_keys();
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
        self.note(now, state, &answers);
        let due = self.proposed.pop_front_if(|entry| entry.index <= index);
        let ours = due.filter(|entry| (entry.index, entry.term) == (index, term));
        let askers = ours.map_or_else(Vec::new, |entry| entry.askers);
        for (asker, answer) in askers.into_iter().zip(answers) {
            if let (Some(asker), Some(answer)) = (asker, answer) {
                self.reply(asker, Reply::Command(answer));
            }
        }
        self.unpark(state);
    }

    /// Begins to count the time of what has begun.
    fn note(&mut self, now: Time, state: &State, answers: &[Option<Answer>]) {
        for answer in answers.iter().flatten() {
            if let Ok(Outcome::Opened { session }) = answer
                && let Some(ttl) = state.session_ttl(*session)
            {
                self.leases.set(*session, now + ttl);
            }
        }
        let waits = answers
            .iter()
            .flatten()
            .any(|answer| matches!(answer, Ok(Outcome::Waits { .. })));
        if waits {
            for (lock, session, wait) in state.waiters() {
                self.be_patient(now, lock, session, wait);
            }
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
    pub(crate) fn read(&mut self, state: &State, round: u64) {
        if let Some((_, reads)) = self.round.take_if(|(id, _)| *id == round) {
            for (asker, query) in reads {
                let found = find(state, query).map(Reply::Finding);
                let reply = found.unwrap_or_else(|refusal| Reply::Command(Err(refusal)));
                self.reply(asker, reply);
            }
        }
    }

    /// Hands what has gathered to the group.
    pub(crate) fn flush(&mut self, now: Time, group: &mut Group) {
        if !self.leads(group) {
            return;
        }
        while self.proposed.len() < PIPELINE && !self.inbox.is_empty() {
            let count = self.next_entry();
            let (askers, commands): (Vec<_>, Vec<_>) = self.inbox.drain(..count).unzip();
            match group.propose(now, &commands) {
                Some((index, term)) => self.proposed.push_back(Proposed {
                    index,
                    term,
                    askers,
                }),
                // Leadership is on its way to another, or the followers do not keep up.
                None => {
                    for asker in askers.into_iter().flatten() {
                        self.reply(asker, Reply::Busy);
                    }
                }
            }
        }
        if self.round.is_none() && !self.reads.is_empty() {
            let reads = core::mem::take(&mut self.reads);
            self.round = Some((group.read(now), reads));
        }
    }

    /// How many commands go into the next entry.
    fn next_entry(&self) -> usize {
        let mut bytes = 0;
        let fits = self
            .inbox
            .iter()
            .take(ENTRY_COMMANDS_MAX)
            .take_while(|(_, command)| {
                bytes += command.bytes();
                bytes <= ENTRY_BYTES_MAX
            });
        fits.count().max(1)
    }

    /// Ends what is not heard of any more.
    pub(crate) fn handle_timeout(&mut self, now: Time, group: &Group) {
        if !self.leads(group) {
            return;
        }
        while let Some(session) = self.leases.pop_due(now) {
            if group.state().session_ttl(session).is_some() {
                self.inbox.push((None, Command::Expire { session }));
            }
        }
        while let Some((session, lock)) = self.patience.pop_due(now) {
            if group.state().waits(session, &lock) {
                self.inbox.push((None, Command::GiveUp { session, lock }));
            }
        }
        while let Some(asker) = self.parked_until.pop_due(now) {
            self.parked.remove(&asker);
            // Asked anew, it waits on.
            self.reply(asker, Reply::Busy);
        }
    }

    /// When [`Leader::handle_timeout`] is to be called next.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let times = [
            self.leases.next(),
            self.patience.next(),
            self.parked_until.next(),
        ];
        times.into_iter().flatten().min()
    }

    pub(crate) fn poll_reply(&mut self) -> Option<(Asker, Reply)> {
        self.replies.pop_front()
    }

    /// A node is gone, and with it whoever waited there.
    pub(crate) fn forget(&mut self, node: NodeId) {
        for (asker, _) in self
            .parked
            .extract_if((node, 0)..=(node, u64::MAX), |_, _| true)
        {
            self.parked_until.remove(&asker);
        }
    }

    fn reply(&mut self, asker: Asker, reply: Reply) {
        self.replies.push_back((asker, reply));
    }

    fn park(&mut self, now: Time, state: &State, asker: Asker, ask: Waiting) {
        match ask.reply(state) {
            Some(reply) => self.reply(asker, reply),
            None if self.parked.len() >= PARKED_MAX => self.reply(asker, Reply::Busy),
            None => {
                self.parked.insert(asker, ask);
                self.parked_until.set(asker, now + PARKED_FOR);
            }
        }
    }

    /// Answers those that waited for what has happened.
    fn unpark(&mut self, state: &State) {
        let due = self
            .parked
            .iter()
            .filter_map(|(asker, ask)| Some((*asker, ask.reply(state)?)));
        for (asker, reply) in due.collect::<Vec<_>>() {
            self.parked.remove(&asker);
            self.parked_until.remove(&asker);
            self.reply(asker, reply);
        }
    }
}

impl Waiting {
    fn reply(&self, state: &State) -> Option<Reply> {
        match self {
            Self::Turn(session, lock) => turn(state, *session, lock).map(Reply::Turn),
            Self::Changes(prefix, after) => changes(state, prefix, *after),
        }
    }
}

fn leader_of(group: &Group) -> Option<NodeId> {
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

fn changes(state: &State, prefix: &Prefix, after: Revision) -> Option<Reply> {
    let Some(changes) = state.changes_after(after) else {
        return Some(Reply::Changes(None));
    };
    let keys: BTreeSet<Key> = changes
        .filter_map(|(_, change)| {
            let Change::Key { key } = change else {
                return None;
            };
            prefix.covers(key).then(|| key.clone())
        })
        .collect();
    let found = !keys.is_empty();
    found.then(|| Reply::Changes(Some((state.revision(), keys.into_iter().collect()))))
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

/// What a key in an answer costs beside its value, about.
const KEY_BYTES: usize = 128;

const fn ms(ms: u32) -> Duration {
    Duration::from_millis(ms as u64)
}
