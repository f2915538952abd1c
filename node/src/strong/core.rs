//! The strong part of a node: its voter, if it has one, its questions to the leader, and what it knows of the group.

mod reset;
mod roster;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use meshwork_crdt::ReplicaId;
use meshwork_membership::{NodeId, Time};
use meshwork_sync::{Batch, Origin, RequestId, Store, StoreFailure};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::backups::Backups;
use super::client::{Client, StrongDone, StrongError, StrongRequest, Wish};
use super::command::{Outcome, SessionId};
use super::frames::Frames;
use super::group::{Effect, Group, GroupConfig, Who};
use super::growth::{Able, Growth};
use super::leader::{Leader, leader_of};
use super::log::Log;
use super::message::{DecodeStrong, Message, Reply, Roster};
use super::records::{self, FORMED_BY, GroupId, HEAD, Head, OpenGroup, ROSTER, VoterId};
use super::sessions::Answer;
use super::wire::RejectRaft;

pub use reset::ResetStrong;

/// What the strong part starts from.
#[derive(Debug)]
pub(crate) struct StrongSetup {
    pub(crate) me: NodeId,
    pub(crate) replica: ReplicaId,
    pub(crate) origin: Origin,
    /// Who founded the mesh.
    pub(crate) founder: NodeId,
    /// Whether this node was set up to vote.
    pub(crate) ability: Ability,
    pub(crate) config: GroupConfig,
    pub(crate) random_seed: u64,
}

/// Whether a node may be made a voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ability {
    /// It stays where it is, and has a disk to be trusted.
    Votes,
    /// It only asks.
    Asks,
}

impl Ability {
    /// That of a node with these roles.
    pub(crate) const fn of(roles: u32) -> Self {
        if roles & crate::core::roles::VOTER == 0 {
            Self::Asks
        } else {
            Self::Votes
        }
    }
}

/// What the driver must do next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StrongOutput {
    Send(NodeId, Vec<u8>),
    /// To be made durable; what it makes durable is handed back then.
    Store(Stored, Arc<Batch>),
    Done(RequestId, Result<StrongDone, StrongError>),
    /// These namespaces are the group's, as far as this node knows.
    Namespaces(BTreeSet<String>),
    Lost(SessionId),
}

/// A frame about strong keys is refused. The peer's fault; nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RejectStrong {
    /// It does not decode.
    #[error(transparent)]
    Decode(#[from] DecodeStrong),
    /// It is of another group, or of one that this node knows nothing of.
    #[error("it speaks for another group")]
    Group,
    /// It says what only the mesh's founder may say.
    #[error("only the founder of the mesh says who forms the strong group")]
    Founder,
    /// Raft would not survive it.
    #[error(transparent)]
    Raft(#[from] RejectRaft),
}

/// The strong part of a node.
pub(crate) struct Strong {
    setup: StrongSetup,
    store: Arc<dyn Store + Send + Sync>,
    rng: ChaCha8Rng,
    group: Option<Box<Group>>,
    /// Why this node takes no part in its group, and when it tries again.
    out: Option<(String, Option<Time>)>,
    /// Whether nothing that this node could go on with is on its disk, nor on the way there.
    gone: bool,
    leader: Leader,
    client: Client,
    growth: Growth,
    backups: Backups,
    roster: Option<Roster>,
    /// Whom this founder has let form the group, for good.
    formed_by: Option<NodeId>,
    /// Whether that is on its way to the disk.
    leave_under_way: bool,
    connected: BTreeSet<NodeId>,
    /// When a node that can vote asks again whether it may form a group.
    ask_to_form: Option<Time>,
    /// How often the group was opened: a batch of an earlier one is none of this.
    opened: u64,
    /// When something last happened, if what follows from it is still to be worked out.
    touched: Option<Time>,
    frames: Frames,
    outputs: VecDeque<StrongOutput>,
}

impl core::fmt::Debug for Strong {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Strong")
            .field("group", &self.group)
            .field("out", &self.out)
            .field("roster", &self.roster)
            .finish_non_exhaustive()
    }
}

/// What a batch makes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// A batch of the group, by its own number.
    Group {
        /// How often the group had been opened by then.
        opened: u64,
        /// Its number.
        id: u64,
    },
    /// The roster, or that an old group is gone: nothing waits for it.
    Roster,
    /// The word that this node may form the group.
    Leave(NodeId),
}

/// The wait before a group is opened again that the disk had no room for.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

/// The wait before a node that can vote asks again whether it may form a group.
const ASK_TO_FORM: Duration = Duration::from_secs(5);

impl Strong {
    /// Goes on with what the store holds. Where that cannot be used the node asks others and takes no part itself.
    pub(crate) fn open(setup: StrongSetup, store: Arc<dyn Store + Send + Sync>, now: Time) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(setup.random_seed);
        // Half of all numbers are left to count on with.
        let first_ask = rng.next_u64() >> 1;
        let mut strong = Self {
            rng,
            client: Client::new(setup.me, setup.config.election_timeout, first_ask),
            setup,
            store,
            group: None,
            out: None,
            gone: false,
            leader: Leader::default(),
            growth: Growth::default(),
            backups: Backups::default(),
            roster: None,
            formed_by: None,
            leave_under_way: false,
            connected: BTreeSet::new(),
            ask_to_form: None,
            opened: 0,
            touched: Some(now),
            frames: Frames::default(),
            outputs: VecDeque::new(),
        };
        if let Err(error) = strong.restore(now) {
            strong.stay_out(error.to_string());
        }
        let able = strong.setup.ability == Ability::Votes && strong.out.is_none();
        if able && strong.group.is_none() && strong.roster.is_none() {
            strong.ask_to_form = Some(now);
        }
        strong.client.handle_connected(now, strong.setup.me);
        strong
    }

    fn restore(&mut self, now: Time) -> Result<(), OpenGroup> {
        self.formed_by = records::read(&*self.store, FORMED_BY)?;
        self.roster = records::read(&*self.store, ROSTER)?;
        self.follow_roster(now);
        if self.holds_a_lost_group()? {
            self.gone = true;
            return Ok(self.forget_group()?);
        }
        self.open_group(now)
    }

    /// Only a group that was lost is followed by another: this node heard of that, and was to be restarted.
    fn holds_a_lost_group(&self) -> Result<bool, OpenGroup> {
        let Some(next) = self.roster.as_ref().filter(|roster| roster.era > 0) else {
            return Ok(false);
        };
        let head: Option<Head> = records::read(&*self.store, HEAD)?;
        Ok(head.is_some_and(|head| head.group != next.group))
    }

    fn stay_out(&mut self, reason: String) {
        tracing::error!(reason, "this node takes no part in the strong group");
        self.leader.resign(None);
        self.out = Some((reason, None));
    }

    pub(crate) fn request(
        &mut self,
        now: Time,
        id: RequestId,
        request: StrongRequest,
        timeout: Duration,
    ) {
        self.client.request(now, id, request, now + timeout);
        self.touched = Some(now);
    }

    pub(crate) fn handle_connected(&mut self, now: Time, peer: NodeId) {
        self.connected.insert(peer);
        self.client.handle_connected(now, peer);
        if let Some(roster) = self.roster.clone().filter(Roster::is_formed) {
            self.send(peer, &Message::Roster(Box::new(roster)));
        }
        self.touched = Some(now);
    }

    pub(crate) fn handle_disconnected(&mut self, now: Time, peer: NodeId) {
        self.connected.remove(&peer);
        self.client.handle_disconnected(now, peer);
        self.leader.forget(peer);
        self.touched = Some(now);
    }

    /// A frame from a member.
    ///
    /// # Errors
    /// The first [`RejectStrong`]; the message that it is about has changed nothing.
    pub(crate) fn handle_frame(
        &mut self,
        now: Time,
        from: NodeId,
        frame: &[u8],
    ) -> Result<(), RejectStrong> {
        let mut taken = Ok(());
        for message in Message::decode(frame)? {
            taken = taken.and(self.handle_message(now, from, message));
        }
        self.touched = Some(now);
        taken
    }

    /// A batch is durable.
    pub(crate) fn handle_stored(&mut self, now: Time, stored: Stored) {
        match stored {
            Stored::Group { opened, id } if opened == self.opened => {
                self.guarded(|group| group.handle_stored(now, id));
            }
            Stored::Leave(node) => {
                self.formed_by = Some(node);
                self.let_form(now, node);
            }
            Stored::Group { .. } | Stored::Roster => {}
        }
        self.touched = Some(now);
    }

    /// The disk did not take what it was given. What this voter has in memory may be more than what is on the disk: it begins again from there,
    /// as after a crash, and answers nothing until then.
    pub(crate) fn handle_store_failed(&mut self, now: Time, failure: &StoreFailure) {
        self.leave_under_way = false;
        if self.group.take().is_some() {
            let again = (*failure == StoreFailure::Full).then(|| now + OPEN_AGAIN);
            self.out = Some((failure.to_string(), again));
        }
        self.leader.resign(None);
        self.touched = Some(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) {
        if let Some((_, Some(again))) = self.out
            && again <= now
        {
            self.out = None;
            if let Err(error) = self.open_group(now) {
                self.stay_out(error.to_string());
            }
        }
        self.guarded(|group| {
            if group.poll_timeout() <= now {
                group.handle_timeout(now);
            }
        });
        if let Some(group) = &self.group {
            self.leader.handle_timeout(now, group);
        }
        self.backups.handle_timeout(now);
        self.client.handle_timeout(now);
        if self.ask_to_form.is_some_and(|at| at <= now) {
            self.ask_to_form(now);
        }
        self.touched = Some(now);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let group = self.group.as_deref();
        let out = self.out.as_ref().and_then(|(_, again)| *again);
        let times = [
            group.map(Group::poll_timeout),
            group.and_then(|group| self.growth.poll_timeout(group)),
            group.and_then(|group| self.leader.poll_timeout(group)),
            out,
            self.backups.poll_timeout(),
            self.client.poll_timeout(),
            self.ask_to_form,
        ];
        times.into_iter().flatten().min()
    }

    /// What is to be done next. What happened since the last call is worked out here, all of it together: one entry holds all commands
    /// that came in, and a node is sent one frame.
    pub(crate) fn poll_output(&mut self) -> Option<StrongOutput> {
        if let Some(now) = self.touched.take() {
            self.work(now);
        }
        self.outputs.pop_front()
    }

    /// The members that can vote, as this node sees them.
    pub(crate) fn handle_members(&mut self, now: Time, able: BTreeMap<VoterId, Able>) {
        self.growth.set_able(able);
        self.touched = Some(now);
    }

    pub(crate) fn group(&self) -> Option<&Group> {
        self.group.as_deref()
    }

    #[cfg(test)]
    pub(crate) const fn leader(&self) -> &Leader {
        &self.leader
    }

    /// Whether the group does without this node, which is to leave: it is listed no more, or nobody else could take what the group holds, and
    /// that is nothing.
    pub(crate) fn is_handed_over(&self) -> bool {
        let me = self.voter();
        let listed = |roster: &Roster| roster.nodes.contains_key(&me);
        if !self.roster.as_ref().is_some_and(listed) {
            return true;
        }
        let blank = |group: &Group| group.state().is_blank();
        self.growth.is_alone(me) && self.group().is_some_and(blank)
    }

    /// What this node's store votes as.
    const fn voter(&self) -> VoterId {
        VoterId::from_be_bytes(self.setup.replica.to_bytes())
    }

    /// Why this node takes no part in its group although it did.
    pub(crate) fn out(&self) -> Option<&str> {
        let out = self.out.as_ref().map(|(reason, _)| reason.as_str());
        self.lost().or(out)
    }

    pub(crate) const fn roster(&self) -> Option<&Roster> {
        self.roster.as_ref()
    }

    fn handle_message(
        &mut self,
        now: Time,
        from: NodeId,
        message: Message,
    ) -> Result<(), RejectStrong> {
        match message {
            Message::Raft(of, message) => {
                self.introduce(now, of, (message.from, message.to), from)?;
                let taken = self.guarded(|group| group.handle_message(now, from, *message));
                taken.ok_or(RejectStrong::Group)??;
            }
            Message::Fetch {
                group: of,
                to,
                snapshot,
                part,
            } => {
                let group = self.group_of(of)?;
                if group.log().config().nodes.get(&to) != Some(&from) {
                    return Err(RejectRaft::Stranger.into());
                }
                if let Some(bytes) = group.part(now, to, snapshot, part) {
                    self.send(
                        from,
                        &Message::Part {
                            group: of,
                            snapshot,
                            part,
                            bytes,
                        },
                    );
                }
            }
            Message::Part {
                group: of,
                snapshot,
                part,
                bytes,
            } => {
                let group = self.group_of(of)?;
                group.handle_part(now, from, snapshot, part, &bytes);
            }
            Message::Roster(roster) => self.hear_roster(now, from, *roster),
            Message::MayForm => self.asked_to_form(now, from),
            Message::Form if from != self.setup.founder => return Err(RejectStrong::Founder),
            Message::Form => self.form(now),
            Message::Ask { id, ask } => match &self.group {
                Some(group) => self.leader.ask(now, group, (from, id), ask),
                None => self.send(
                    from,
                    &Message::Reply {
                        id,
                        reply: Reply::NotLeader(None),
                    },
                ),
            },
            Message::Reply { id, reply } => self.client.handle_reply(now, from, id, reply),
        }
        Ok(())
    }

    /// Calls the group. Raft ends the process where its protocol is broken, which only a voter that lies can do by now: it ends
    /// this voter instead, and all else goes on.
    fn guarded<T>(&mut self, call: impl FnOnce(&mut Group) -> T) -> Option<T> {
        let group = self.group.as_mut()?;
        let called = catch_unwind(AssertUnwindSafe(|| call(group)));
        if called.is_err() {
            self.group = None;
            self.stay_out("a voter breaks the protocol".into());
        }
        called.ok()
    }

    fn group_of(&mut self, id: GroupId) -> Result<&mut Group, RejectStrong> {
        let group = self.group.as_deref_mut();
        let group = group.filter(|group| group.log().head.group == id);
        group.ok_or(RejectStrong::Group)
    }

    /// Lets raft hear only those who belong to the group: by its own voters, or by what those have told of newer ones.
    fn introduce(
        &mut self,
        now: Time,
        of: GroupId,
        (voter, to): (VoterId, VoterId),
        from: NodeId,
    ) -> Result<(), RejectStrong> {
        let able = self.setup.ability == Ability::Votes && to == self.voter();
        let listed = self.roster.as_ref().filter(|roster| roster.group == of);
        let listed = listed.is_some_and(|roster| roster.nodes.get(&voter) == Some(&from));
        match &self.group {
            Some(group) if group.log().head.group != of => return Err(RejectStrong::Group),
            Some(group) => {
                let known = group.log().config().nodes.get(&voter) == Some(&from);
                if !known && !listed {
                    return Err(RejectRaft::Stranger.into());
                }
            }
            None if listed && self.out.is_none() && able => {
                let who = self.who(of);
                self.take_part(Group::follow(Arc::clone(&self.store), who, now));
            }
            None => return Err(RejectStrong::Group),
        }
        Ok(())
    }

    fn who(&mut self, group: GroupId) -> Who {
        let me = self.voter();
        Who {
            head: Head { group, me },
            config: self.setup.config.clone(),
            seed: self.rng.next_u64(),
        }
    }

    fn open_group(&mut self, now: Time) -> Result<(), OpenGroup> {
        let opened = self.go_on(now);
        self.gone = match &opened {
            Ok(()) => self.group.is_none(),
            Err(OpenGroup::Damaged(_)) => true,
            // It may be there when the disk is well again.
            Err(OpenGroup::Store(_)) => false,
        };
        opened
    }

    fn go_on(&mut self, now: Time) -> Result<(), OpenGroup> {
        if let Some(log) = Log::open(&self.store)? {
            let who = Who {
                head: log.head,
                ..self.who(log.head.group)
            };
            self.take_part(Group::resume(Arc::clone(&self.store), log, who, now)?);
        }
        Ok(())
    }

    /// What batches of an earlier group make durable is none of this one's.
    fn take_part(&mut self, group: Group) {
        self.opened += 1;
        self.gone = false;
        self.group = Some(Box::new(group));
    }

    fn store(&mut self, batch: Batch, stored: Stored) {
        if !batch.is_empty() {
            let batch = Arc::new(batch);
            self.outputs.push_back(StrongOutput::Store(stored, batch));
        }
    }

    fn send(&mut self, to: NodeId, message: &Message) {
        if self.connected.contains(&to) {
            self.frames.push(to, message);
        }
    }

    /// Passes on what the parts want done, until they want nothing more.
    fn work(&mut self, now: Time) {
        let mut idle = false;
        while !idle {
            self.serve(now);
            idle = true;
            while let Some(wish) = self.client.poll_wish() {
                idle = false;
                self.grant(now, wish);
            }
            while let Some(((to, id), reply)) = self.leader.poll_reply() {
                idle = false;
                if to == self.setup.me {
                    self.client.handle_reply(now, to, id, reply);
                } else {
                    self.send(to, &Message::Reply { id, reply });
                }
            }
        }
        let frames = self.frames.take();
        self.outputs
            .extend(frames.map(|(to, frame)| StrongOutput::Send(to, frame)));
    }

    fn grant(&mut self, now: Time, wish: Wish) {
        match wish {
            Wish::Ask(to, id, ask) if to == self.setup.me => match &self.group {
                Some(group) => self.leader.ask(now, group, (to, id), ask),
                None => self
                    .client
                    .handle_reply(now, to, id, Reply::NotLeader(None)),
            },
            Wish::Ask(to, id, ask) => self.send(to, &Message::Ask { id, ask }),
            Wish::Done(id, result) => self.outputs.push_back(StrongOutput::Done(id, result)),
            Wish::Lost(session) => self.outputs.push_back(StrongOutput::Lost(session)),
        }
    }

    /// Carries out what the group here wants done.
    fn serve(&mut self, now: Time) {
        let Some(mut group) = self.group.take() else {
            return;
        };
        loop {
            while let Some(effect) = group.poll_effect() {
                self.carry_out(now, &group, effect);
            }
            self.leader.flush(now, &mut group);
            if self.growth.poll_timeout(&group).is_some_and(|at| at <= now) {
                self.grow(now, &mut group);
            }
            if !group.has_effects() {
                break;
            }
        }
        if let Some(reason) = group.halted() {
            return self.stay_out(reason.to_owned());
        }
        self.group = Some(group);
    }

    fn grow(&mut self, now: Time, group: &mut Group) {
        if let Some(change) = self.growth.next(now, group) {
            tracing::info!(?change, "the voters are to change");
            group.propose_change(now, &change);
        }
        if let Some(successor) = self.growth.successor(group) {
            group.transfer(now, successor);
        }
    }

    fn carry_out(&mut self, now: Time, group: &Group, effect: Effect) {
        let of = group.log().head.group;
        match effect {
            Effect::Send(to, message) => self.send(to, &Message::Raft(of, message)),
            Effect::Store(id, batch) => {
                let opened = self.opened;
                let stored = Stored::Group { opened, id };
                self.outputs.push_back(StrongOutput::Store(stored, batch));
            }
            Effect::Applied {
                index,
                term,
                answers,
            } => {
                let named = |answer: &Option<Answer>| {
                    matches!(
                        answer,
                        Some(Ok(Outcome::Created { new: true } | Outcome::Restored { .. }))
                    )
                };
                let tell = answers.iter().any(named);
                self.leader
                    .applied(now, group.state(), (index, term), answers);
                if tell {
                    self.tell_roster(now, group);
                }
            }
            Effect::Read(round) => self.leader.read(now, group, round, &mut self.backups),
            Effect::Turned => {
                self.leader.turned(now, group);
                if let Some(roster) = &self.roster {
                    self.leader.count_from(group, roster.counts_from());
                }
                if let Some(leader) = leader_of(group) {
                    self.client.handle_leader(now, leader);
                }
                self.tell_roster(now, group);
            }
            Effect::Reconfigured => self.tell_roster(now, group),
            Effect::Fetch(from, snapshot, part) => {
                let to = group.log().head.me;
                self.send(
                    from,
                    &Message::Fetch {
                        group: of,
                        to,
                        snapshot,
                        part,
                    },
                );
            }
        }
    }
}
