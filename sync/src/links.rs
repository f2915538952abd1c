//! Pushing items to connected peers, and merging what they push.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use meshwork_crdt::Object;
use meshwork_dht::Position;
use meshwork_membership::planted::{Bug, planted};
use meshwork_membership::{NodeId, Time};

use crate::engine::{Output, Refuser, RejectMessage, Replication, Timer};
use crate::message::{Item, Message, Refusal};
use crate::objects::Entry;
use crate::serve::Serving;

/// What is under way to one connected peer.
#[derive(Debug, Default)]
pub(crate) struct Link {
    pushes: BTreeMap<u64, Push>,
    delivering: usize,
    /// What the peer asked for in a comparison.
    pub(crate) serving: Option<Serving>,
    refusals_told: BTreeSet<(Refuser, Refusal)>,
}

/// One push that is not acknowledged.
#[derive(Debug)]
struct Push {
    purpose: Purpose,
    timer: Time,
}

/// Why items were pushed.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// Entries of the outbox, in the order of the items.
    Deliver(Vec<u64>),
    /// Part of a comparison that this node began.
    Repair(u64),
    /// Part of what the peer asked for in this session that it began.
    Serve(u64),
    /// A replica that a read found behind. Losing it costs another repair.
    ReadRepair,
}

/// A refused delta is offered again after this long: soon where the receiver has only fallen behind.
const fn parked_for(refusal: Refusal) -> Duration {
    match refusal {
        Refusal::Storage => Duration::from_secs(1),
        Refusal::Malformed | Refusal::ClockAhead | Refusal::TooLarge | Refusal::Strong => {
            Duration::from_secs(60)
        }
    }
}

/// How far replicas that write at once may grow an object over the limit that each of them keeps.
const MERGED_FACTOR: usize = 8;

impl Replication {
    /// Sends waiting deltas to every connected peer, as far as its window allows.
    pub(crate) fn deliver_outbox(&mut self) {
        let peers: Vec<NodeId> = self
            .outbox
            .peers()
            .filter(|peer| self.links.contains_key(peer))
            .collect();
        for peer in peers {
            while self
                .links
                .get(&peer)
                .is_some_and(|link| link.delivering < self.config.pushes_in_flight_max)
            {
                let taken = self.outbox.take(
                    peer,
                    self.config.push_bytes_max,
                    &mut self.journal,
                    &*self.store,
                );
                let taken = match taken {
                    Ok(taken) => taken,
                    Err(error) => {
                        self.store_broke(error);
                        return;
                    }
                };
                if taken.is_empty() {
                    break;
                }
                let (seqs, items) = taken.into_iter().unzip();
                self.push(peer, Purpose::Deliver(seqs), items);
            }
        }
    }

    pub(crate) fn push(&mut self, peer: NodeId, purpose: Purpose, items: Vec<Item>) {
        let id = self.next_id();
        let Some(link) = self.links.get_mut(&peer) else {
            return;
        };
        link.delivering += usize::from(matches!(purpose, Purpose::Deliver(_)));
        let at = self.now + self.config.push_timeout;
        self.timers.insert((at, Timer::Push(peer, id)));
        let delivers = matches!(purpose, Purpose::Deliver(_));
        link.pushes.insert(id, Push { purpose, timer: at });
        let message = Message::Push { id, items };
        if delivers {
            self.send(peer, message);
        } else {
            // Taken from memory, which is ahead of the disk: a dot that a crash undoes is drawn again, so nobody may see it before.
            self.journal.hold(Output::Send { to: peer, message });
        }
    }

    /// Merges what a peer pushed; it is acknowledged once everything that was taken is durable.
    pub(crate) fn receive_push(&mut self, wall_ms: u64, from: NodeId, id: u64, items: Vec<Item>) {
        let mut refused = Vec::new();
        let mut batch = 0;
        for (at, item) in (0u32..).zip(items) {
            match self.receive_item(wall_ms, &item) {
                Ok(in_batch) => {
                    batch = batch.max(in_batch);
                    self.counts.items_received += 1;
                }
                Err(refusal) => {
                    self.counts.items_refused += 1;
                    refused.push((at, refusal));
                }
            }
        }
        // Planted: the coordinator counts a copy, and forgets its delta, that a crash here undoes.
        if planted(Bug::AckBeforeDurable) {
            batch = 0;
        }
        self.tell_refusals(from, Refuser::Us, &refused);
        let ack = Output::Send {
            to: from,
            message: Message::PushAck { id, refused },
        };
        self.journal.hold_until(batch, ack);
    }

    fn tell_refusals(&mut self, peer: NodeId, by: Refuser, refused: &[(u32, Refusal)]) {
        let Some(link) = self.links.get_mut(&peer) else {
            return;
        };
        for (_, reason) in refused {
            if link.refusals_told.insert((by, *reason)) {
                let reason = *reason;
                self.outputs.push_back(Output::Refused { peer, by, reason });
            }
        }
    }

    /// Merges one item. Returns the batch that makes it durable.
    fn receive_item(&mut self, wall_ms: u64, item: &Item) -> Result<u64, Refusal> {
        if self.journal.failure().is_some() || self.journal.is_full() {
            return Err(Refusal::Storage);
        }
        if self.strong.contains(item.key.namespace()) {
            return Err(Refusal::Strong);
        }
        let delta = Object::decode(&item.object, &self.limits)
            .ok()
            .ok_or(Refusal::Malformed)?;
        let position = item.key.position();
        self.check_item(&position, item, &delta, wall_ms)?;
        let applied = self
            .objects
            .merge(&*self.store, &mut self.journal, &item.key, &delta, None)
            .map_err(|error| {
                self.store_broke(error);
                Refusal::Storage
            })?;
        // Planted: comparisons are made of what was written here, and lack what peers brought.
        if !planted(Bug::PeersNotIndexed) {
            self.merged(&item.key, applied);
        }
        let partition = position.partition();
        if applied.changed() && !self.holdings.is_replica(partition) {
            // The sender's view is behind, or ours: it costs a forward, never the write.
            self.index.touch(partition, self.now);
            let others = self.others(&position);
            if !others.is_empty() {
                self.outbox.push(item.clone(), others, &mut self.journal);
            }
        }
        Ok(applied.batch)
    }

    /// Refuses what would grow an object without bound and what is too far ahead, unless it is here already.
    fn check_item(
        &mut self,
        position: &Position,
        item: &Item,
        delta: &Object,
        wall_ms: u64,
    ) -> Result<(), Refusal> {
        let here = self.entry(position).map_or(0, Entry::encoded_bytes);
        let bytes_max = MERGED_FACTOR * self.config.object_bytes_max;
        let fits = match here + item.object.len() {
            bytes if bytes > bytes_max => Err(Refusal::TooLarge),
            _ => self.check_clock(delta, wall_ms),
        };
        fits.or_else(|refusal| match self.entry(position) {
            Some(entry) if delta.delta_since(entry.object.version()).is_none() => Ok(()),
            _ => Err(refusal),
        })
    }

    fn entry(&mut self, position: &Position) -> Option<&Entry> {
        let loaded = self.objects.load(&*self.store, &self.journal, position);
        loaded.ok().flatten()
    }

    /// Refuses stamps that are too far ahead, so that no peer's clock can outrun everybody's.
    pub(crate) fn check_clock(&mut self, object: &Object, wall_ms: u64) -> Result<(), Refusal> {
        match object.hlc_max() {
            Some(stamp) => self.clock.observe(stamp, wall_ms).ok().ok_or_else(|| {
                self.counts.clock_ahead += 1;
                Refusal::ClockAhead
            }),
            None => Ok(()),
        }
    }

    pub(crate) fn receive_push_ack(
        &mut self,
        from: NodeId,
        id: u64,
        refused: &[(u32, Refusal)],
    ) -> Result<(), RejectMessage> {
        let Some(push) = self.take_push(from, id) else {
            // Late, after its push was given up, or never pushed at all.
            return match self.was_drawn(id) {
                true => Ok(()),
                false => Err(RejectMessage::Unasked),
            };
        };
        self.counts.items_refused_by_peers += refused.len() as u64;
        let ahead = |(_, reason): &&(u32, Refusal)| *reason == Refusal::ClockAhead;
        self.counts.clock_ahead_by_peers += refused.iter().filter(ahead).count() as u64;
        self.tell_refusals(from, Refuser::Peer, refused);
        match push.purpose {
            Purpose::Deliver(seqs) => {
                let refused: BTreeMap<u32, Refusal> = refused.iter().copied().collect();
                for (at, seq) in (0u32..).zip(seqs) {
                    // Planted: what the peer had no room for counts as held there.
                    if let Some(refusal) = refused.get(&at)
                        && !planted(Bug::RefusalTakenForDelivery)
                    {
                        let again = self.now + parked_for(*refusal);
                        self.timers.insert((again, Timer::Unpark(from, seq)));
                    } else if self.outbox.acknowledge(from, seq, &mut self.journal) {
                        self.write_acknowledged(from, seq);
                    }
                }
                self.deliver_soon();
            }
            Purpose::Repair(session) if self.is_session(from, session) => {
                self.page_acknowledged(from, refused.len());
            }
            Purpose::Serve(session) => self.serve_on(from, session, refused.len()),
            Purpose::Repair(_) | Purpose::ReadRepair => {}
        }
        Ok(())
    }

    pub(crate) fn push_timed_out(&mut self, peer: NodeId, id: u64) {
        if let Some(push) = self.take_push(peer, id) {
            self.push_lost(peer, push);
        }
    }

    pub(crate) fn drop_pushes(&mut self, peer: NodeId, link: Link) {
        for (id, push) in link.pushes {
            self.timers.remove(&(push.timer, Timer::Push(peer, id)));
            // Planted: what was under way when a connection broke counts as delivered, and may be nowhere.
            if planted(Bug::OutboxDroppedOnReconnect)
                && let Purpose::Deliver(seqs) = &push.purpose
            {
                for seq in seqs {
                    self.outbox.acknowledge(peer, *seq, &mut self.journal);
                }
            }
            self.push_lost(peer, push);
        }
    }

    fn push_lost(&mut self, peer: NodeId, push: Push) {
        match push.purpose {
            Purpose::Deliver(seqs) => {
                self.outbox.again(peer, seqs);
                self.deliver_soon();
            }
            // The session's own timer ends it, and a read repairs again.
            Purpose::Repair(_) | Purpose::Serve(_) | Purpose::ReadRepair => {}
        }
    }

    fn take_push(&mut self, peer: NodeId, id: u64) -> Option<Push> {
        let link = self.links.get_mut(&peer)?;
        let push = link.pushes.remove(&id)?;
        link.delivering -= usize::from(matches!(push.purpose, Purpose::Deliver(_)));
        self.timers.remove(&(push.timer, Timer::Push(peer, id)));
        Some(push)
    }
}
