//! Snapshots: made, cut into parts, fetched from the leader part by part, and put in the place of log and state.

use std::collections::VecDeque;

use bytes::Bytes;
use meshwork_membership::{NodeId, Time};
use meshwork_sync::{Batch, Space, Store};
use raft::{ProgressState, SnapshotStatus, Storage};

use super::{Effect, Group};
use crate::strong::records::{self, Base, Config, OpenGroup, SnapshotHead, VoterId, part_key};
use crate::strong::state::State;
use crate::strong::wire::RaftMessage;

/// A snapshot on its way to the disk.
pub(super) struct Making {
    pub(super) head: SnapshotHead,
    pub(super) parts: VecDeque<(u32, Bytes)>,
}

/// A snapshot on its way from the leader.
pub(super) struct Incoming {
    pub(super) from: NodeId,
    pub(super) offer: Box<RaftMessage>,
    pub(super) bytes: Vec<u8>,
    pub(super) next: u32,
    pub(super) asked: Time,
    /// Its last part is here: this goes to raft's place next.
    pub(super) state: Option<State>,
}

impl Group {
    /// A part of the snapshot, for who fetches it; `None` when there is none to be had now.
    pub(crate) fn part(
        &mut self,
        now: Time,
        to: VoterId,
        snapshot: u64,
        part: u32,
    ) -> Option<Vec<u8>> {
        if snapshot < self.log().snapshot().index {
            // Another has taken its place, and is offered instead.
            if self.fetching.remove(&to).is_some() {
                self.raft.report_snapshot(to, SnapshotStatus::Failure);
            }
            return None;
        }
        self.fetching.entry(to).and_modify(|heard| *heard = now);
        let key = part_key(snapshot, part);
        self.store.get(Space::Strong, &key).ok().flatten()
    }

    /// A part of the snapshot that this node fetches.
    pub(crate) fn handle_part(
        &mut self,
        now: Time,
        from: NodeId,
        snapshot: u64,
        part: u32,
        bytes: &[u8],
    ) {
        let Some(incoming) = &mut self.incoming else {
            return;
        };
        let Some(head) = &incoming.offer.snapshot else {
            return;
        };
        let expected = (incoming.from, head.index, incoming.next);
        let room = head.bytes - incoming.bytes.len() as u64;
        if (from, snapshot, part) != expected || bytes.len() as u64 > room {
            return;
        }
        incoming.bytes.extend_from_slice(bytes);
        incoming.next += 1;
        incoming.asked = now;
        if incoming.next < head.parts {
            return self.ask_part();
        }
        match State::from_snapshot(&incoming.bytes) {
            Ok(state) => {
                incoming.state = Some(state);
                let offer = (*incoming.offer).clone();
                self.step(offer);
                self.pump(now);
            }
            Err(error) => {
                tracing::warn!(%error, peer = %from, "a snapshot cannot be read");
            }
        }
        self.incoming = None;
    }

    /// What of a snapshot has been fetched so far: how many parts, and the bytes of all of it that are here.
    #[cfg(test)]
    pub(crate) fn fetched(&self) -> Option<(u32, usize)> {
        let incoming = self.incoming.as_ref()?;
        Some((incoming.next, incoming.bytes.len()))
    }

    pub(super) fn make_snapshot(&mut self) {
        if let Some(making) = &mut self.making {
            // A few parts with each batch, so that nothing waits long behind them.
            let few = making.parts.len().min(PARTS_AT_ONCE);
            put_parts(&mut self.open, making.head.index, making.parts.drain(..few));
            if making.parts.is_empty()
                && let Some(making) = self.making.take()
            {
                self.raft.mut_store().compact(making.head, &mut self.open);
            }
            return;
        }
        let last = usize::try_from(self.log().snapshot().bytes).unwrap_or(usize::MAX);
        let enough = self.config.snapshot_after_bytes.max(last);
        // Who fetches the snapshot would have to begin again with another.
        let wait = !self.fetching.is_empty() && self.since_snapshot / FETCH_PATIENCE < enough;
        let due = self.since_snapshot >= enough && !wait;
        // One of the same entry has the same parts: the old ones are deleted when the new one counts.
        let new = self.applied > self.log().snapshot().index;
        if self.halted.is_some() || !new || !(due || self.somebody_needs_one()) {
            return;
        }
        let Ok(term) = self.log().term(self.applied) else {
            return;
        };
        let base = Base {
            index: self.applied,
            term,
        };
        let config = self.log().config().clone();
        let (head, parts) = encode_snapshot(&self.state, base, config);
        self.since_snapshot = 0;
        self.making = Some(Making { head, parts });
    }

    /// Whether a member came after the last snapshot, and after the beginning of the log too.
    fn somebody_needs_one(&self) -> bool {
        let log = self.log();
        if !self.stood.leads || log.config().index <= log.snapshot().index {
            return false;
        }
        let known = log.snapshot().config.members();
        let mut new = self.progress().filter(|(id, _, _)| !known.contains(id));
        new.any(|(_, matched, _)| matched < log.base().index)
    }

    /// Whether a snapshot that is offered brings nothing that is not here, so that raft can answer.
    pub(super) fn is_at_hand(&self, offer: &RaftMessage) -> bool {
        let raft = &self.raft.raft;
        let index = offer.snapshot.as_ref().map_or(0, |head| head.index);
        offer.term < raft.term || index <= raft.raft_log.committed
    }

    pub(super) fn fetch(&mut self, now: Time, from: NodeId, offer: RaftMessage) {
        let same = |incoming: &Incoming| {
            let index = |message: &RaftMessage| message.snapshot.as_ref().map(|head| head.index);
            incoming.from == from && index(&incoming.offer) == index(&offer)
        };
        let begun = self.incoming.take_if(|incoming| same(incoming));
        let (bytes, next) = begun.map_or_else(|| (Vec::new(), 0), |old| (old.bytes, old.next));
        self.incoming = Some(Incoming {
            from,
            offer: Box::new(offer),
            bytes,
            next,
            asked: now,
            state: None,
        });
        self.ask_part();
    }

    fn ask_part(&mut self) {
        if let Some(incoming) = &self.incoming
            && let Some(head) = &incoming.offer.snapshot
        {
            let fetch = Effect::Fetch(incoming.from, head.index, incoming.next);
            self.effects.push_back(fetch);
        }
    }

    /// Asks again for a part that did not come, and lets raft offer a snapshot anew to who no longer asks.
    pub(super) fn give_up_transfers(&mut self, now: Time) {
        let patience = self.config.election_timeout;
        if let Some(incoming) = &mut self.incoming
            && now.since(incoming.asked) > patience
        {
            incoming.asked = now;
            self.ask_part();
        }
        let raft = &mut self.raft;
        self.fetching.retain(|id, heard| {
            let progress = raft.raft.prs().get(*id);
            if progress.is_none_or(|progress| progress.state != ProgressState::Snapshot) {
                return false;
            }
            let gone = now.since(*heard) > patience * 4;
            if gone {
                raft.report_snapshot(*id, SnapshotStatus::Failure);
            }
            !gone
        });
    }

    /// Raft has taken the snapshot that was fetched: it takes the place of log and state.
    pub(super) fn install(&mut self) {
        let Some(incoming) = self.incoming.take() else {
            return;
        };
        let (Some(head), Some(state)) = (incoming.offer.snapshot, incoming.state) else {
            return;
        };
        self.applied = head.index;
        self.since_snapshot = 0;
        self.making = None;
        self.state = state;
        let parts = split(&Bytes::from(incoming.bytes));
        let index = head.index;
        self.raft.mut_store().install(head, &mut self.open);
        put_parts(&mut self.open, index, parts);
        self.note_reconfigured();
    }
}

pub(super) fn encode_snapshot(
    state: &State,
    Base { index, term }: Base,
    config: Config,
) -> (SnapshotHead, VecDeque<(u32, Bytes)>) {
    let bytes = Bytes::from(state.snapshot());
    let parts = split(&bytes);
    let head = SnapshotHead {
        index,
        term,
        config,
        parts: u32::try_from(parts.len()).unwrap_or(u32::MAX),
        bytes: bytes.len() as u64,
    };
    (head, parts)
}

fn split(bytes: &Bytes) -> VecDeque<(u32, Bytes)> {
    let starts = (0..bytes.len()).step_by(PART_BYTES);
    let parts = starts.map(|start| bytes.slice(start..bytes.len().min(start + PART_BYTES)));
    (0..).zip(parts).collect()
}

pub(super) fn put_parts(
    batch: &mut Batch,
    snapshot: u64,
    parts: impl IntoIterator<Item = (u32, Bytes)>,
) {
    for (part, bytes) in parts {
        batch.put(Space::Strong, part_key(snapshot, part), bytes);
    }
}

pub(super) fn read_snapshot(store: &dyn Store, head: &SnapshotHead) -> Result<State, OpenGroup> {
    // The snapshot of a node that only began to follow.
    if head.index == 0 {
        return Ok(State::new());
    }
    let mut bytes = Vec::new();
    for part in 0..head.parts {
        let key = part_key(head.index, part);
        let part = records::get(store, &key)?;
        bytes.extend(part.ok_or_else(|| records::damaged(&key))?);
    }
    State::from_snapshot(&bytes).map_err(|error| OpenGroup::Damaged(error.to_string()))
}

/// Parts of a snapshot that go into one batch.
const PARTS_AT_ONCE: usize = 16;

/// How many times the usual growth of the log waits for those who fetch a snapshot.
const FETCH_PATIENCE: usize = 8;

/// Longest part of a snapshot, in bytes.
pub(crate) const PART_BYTES: usize = 256 << 10;
