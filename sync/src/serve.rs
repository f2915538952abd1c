//! The responder's side of comparisons: it answers every question from what it holds now, and remembers only what it was asked
//! to push.

use std::collections::{BTreeSet, VecDeque};

use meshwork_dht::{Partition, Position};
use meshwork_membership::NodeId;

use crate::engine::{Output, RejectMessage, Replication};
use crate::links::Purpose;
use crate::message::{Item, Message, Step};
use crate::reconcile::{self, Encoder, Reply, Request, Response, ShortId, Sketch};
use crate::{PartitionSet, ReadStore};

/// Objects on their way to one peer, a push at a time.
#[derive(Debug, Default)]
pub(crate) struct Shipment {
    positions: VecDeque<Position>,
    /// Parts of an object that was too large for one push.
    parts: VecDeque<Item>,
}

/// What a peer asked for in a session of its own.
#[derive(Debug)]
pub(crate) struct Serving {
    session: u64,
    shipment: Shipment,
    /// It does not get all of it: the session must not count that as settled.
    short: bool,
}

/// Answering a question about so many partitions may take a scan of them.
const SCANNED_PARTITIONS_MAX: usize = 64;

impl Shipment {
    pub(crate) fn new(positions: impl IntoIterator<Item = Position>) -> Self {
        Self {
            positions: positions.into_iter().collect(),
            parts: VecDeque::new(),
        }
    }
}

impl Replication {
    pub(crate) fn answer_ask(
        &mut self,
        from: NodeId,
        session: u64,
        partitions: &PartitionSet,
        request: &[u8],
    ) -> Result<(), RejectMessage> {
        let request = Request::from_bytes(request)
            .ok()
            .ok_or(RejectMessage::OverLimit {
                what: "reconciliation request",
            })?;
        let partitions = partitions.partitions();
        if !self.index.is_built() || self.journal.failure().is_some() {
            self.send_step(from, session, Step::Stop);
            return Ok(());
        }
        let sketch = self.sketch_of(&partitions);
        let reply = match reconcile::respond(&request, &sketch) {
            Response::Reply(reply) => Some(reply),
            Response::Encode(range) if partitions.len() <= SCANNED_PARTITIONS_MAX => {
                let mut encoder = Encoder::new(range);
                for (_, id) in self.ids_after(&partitions, None, usize::MAX) {
                    encoder.insert(id);
                }
                Some(encoder.into_reply())
            }
            // The first symbols show at least that the difference is large: the initiator then halves the set.
            Response::Encode(range) if range.start == 0 => Some(Reply::Symbols {
                root: sketch.root(),
                from: 0,
                symbols: sketch.symbols(),
            }),
            Response::Encode(_) => None,
            Response::Objects => match request {
                Request::List { after, until } => {
                    let ids = self.ids_after(&partitions, after, reconcile::limits::IDS_MAX + 1);
                    Some(reconcile::list(until, ids))
                }
                Request::Want { ids } => {
                    self.ship_wanted(from, session, &ids);
                    return Ok(());
                }
                Request::Probe { .. } | Request::More { .. } => None,
            },
        };
        let stray = |partition: &&Partition| !self.holdings.is_replica(**partition);
        let strays = partitions
            .iter()
            .filter(stray)
            .copied()
            .collect::<BTreeSet<_>>();
        let step = reply.map_or(Step::Stop, |reply: Reply| Step::Reply {
            reply: reply.to_bytes(),
            strays: PartitionSet::from(&strays),
        });
        // Whoever hands a partition over lets go of what we say we hold: only of what is durable here.
        let message = Message::Reconcile { session, step };
        self.journal.hold(Output::Send { to: from, message });
        Ok(())
    }

    fn ship_wanted(&mut self, peer: NodeId, session: u64, ids: &[ShortId]) {
        let positions = self.positions_of(ids);
        let serving = Serving {
            session,
            // What has changed since it was asked for is another version by now, and is not found.
            short: positions.len() < ids.len(),
            shipment: Shipment::new(positions),
        };
        if let Some(link) = self.links.get_mut(&peer) {
            link.serving = Some(serving);
            self.ship_served(peer);
        }
    }

    /// The last push of what a peer wanted is acknowledged, all but `refused` items of it.
    pub(crate) fn serve_on(&mut self, peer: NodeId, session: u64, refused: usize) {
        let link = self.links.get_mut(&peer);
        // One push is under way at a time; one of an earlier session moves nothing.
        if let Some(serving) = link.and_then(|link| link.serving.as_mut())
            && serving.session == session
        {
            serving.short |= refused > 0;
            self.ship_served(peer);
        }
    }

    /// Pushes the next of what a peer wanted, or says that this was all, or that it was not all.
    fn ship_served(&mut self, peer: NodeId) {
        let Some(link) = self.links.get_mut(&peer) else {
            return;
        };
        let Some(mut serving) = link.serving.take() else {
            return;
        };
        let session = serving.session;
        let items = self.next_push(&mut serving.shipment);
        if items.is_empty() {
            let step = if serving.short {
                Step::Stop
            } else {
                Step::Sent
            };
            self.send_step(peer, session, step);
            return;
        }
        if let Some(link) = self.links.get_mut(&peer) {
            link.serving = Some(serving);
        }
        self.push(peer, Purpose::Serve(session), items);
    }

    /// The items of the next push of a shipment; none when it is at its end.
    pub(crate) fn next_push(&mut self, shipment: &mut Shipment) -> Vec<Item> {
        let bytes_max = self.config.push_bytes_max;
        let mut items: Vec<Item> = Vec::new();
        let mut bytes = 0;
        while bytes < bytes_max {
            if let Some(part) = shipment.parts.pop_front() {
                bytes += part.object.len();
                items.push(part);
                continue;
            }
            let Some(position) = shipment.positions.pop_front() else {
                break;
            };
            // What was removed or damaged meanwhile is not sent.
            if let Ok(Some(entry)) = self.objects.load(&*self.store, &self.journal, &position) {
                let key = entry.key.clone();
                let object = entry.object.clone();
                shipment
                    .parts
                    .extend(object.split(bytes_max).into_iter().map(|part| Item {
                        key: key.clone(),
                        object: part.encode(),
                    }));
            }
        }
        items
    }

    /// The sum of the sketches of these partitions.
    pub(crate) fn sketch_of(&self, partitions: &BTreeSet<Partition>) -> Sketch {
        let mut sum = Sketch::default();
        for partition in partitions {
            if let Some(sketch) = self.index.sketch(*partition) {
                sum.add(sketch);
            }
        }
        sum
    }

    /// Up to `ids_max` ids of objects in these partitions, in the order of their positions, from behind `after`.
    pub(crate) fn ids_after(
        &mut self,
        partitions: &BTreeSet<Partition>,
        after: Option<Position>,
        ids_max: usize,
    ) -> Vec<(Position, ShortId)> {
        let first = after.map(|position| position.partition());
        let mut ids = Vec::new();
        for partition in partitions
            .iter()
            .filter(|p| first.is_none_or(|first| **p >= first))
        {
            let left = ids_max.saturating_sub(ids.len());
            if left == 0 {
                break;
            }
            match self.versions_in(*partition, after, left) {
                Ok(versions) => ids.extend(
                    versions
                        .into_iter()
                        .map(|(position, digest)| (position, self.index.id(&position, &digest))),
                ),
                Err(error @ (ReadStore::Engine { .. } | ReadStore::Damaged { .. })) => {
                    self.store_broke(error);
                    break;
                }
            }
        }
        ids
    }

    /// Where the objects with these ids are; ids of versions that are gone by now are left out.
    pub(crate) fn positions_of(&mut self, ids: &[ShortId]) -> Vec<Position> {
        let ids: BTreeSet<ShortId> = ids.iter().copied().collect();
        let partitions: BTreeSet<Partition> = ids.iter().map(|id| id.partition()).collect();
        self.ids_after(&partitions, None, usize::MAX)
            .into_iter()
            .filter(|(_, id)| ids.contains(id))
            .map(|(position, _)| position)
            .collect()
    }

    pub(crate) fn send_step(&mut self, peer: NodeId, session: u64, step: Step) {
        self.send(peer, Message::Reconcile { session, step });
    }
}
