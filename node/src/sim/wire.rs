//! What nodes tell each other, looked at as it leaves.

use meshwork_crdt::{Limits, Object, ReplicaId};
use meshwork_sync::{Message, stored_dots};

use super::network::{Carried, end, pair};
use super::violation::Violation;
use super::world::Inner;
use crate::core::Class;

impl Inner {
    /// A frame arrives: what it asks may be answered over the same connection.
    pub(crate) fn note_asked(&mut self, carried: &Carried) {
        let Carried { from, to, .. } = *carried;
        if let Some(Message::Push { id, .. } | Message::Get { id, .. }) = message_of(carried)
            && let Some(link) = self.network.links.get_mut(&pair(from, to))
        {
            link.asked[end(to, from)].insert(id);
        }
    }

    /// A frame leaves: it answers what was asked over this connection, and shows no dot that a crash of its sender undoes.
    pub(crate) fn judge_sent(&mut self, carried: &Carried) {
        let Carried { from, to, .. } = *carried;
        let message = message_of(carried);
        if let Some(Message::PushAck { id, .. } | Message::Got { id, .. }) = message {
            let link = self.network.link(from, to);
            if link.is_some_and(|link| !link.asked[end(from, to)].contains(&id)) {
                self.violate(Violation::AnswersUnasked { from, to, id });
            }
        }
        let replica = self.machines[from].replica;
        let objects = match message {
            Some(Message::Push { items, .. }) => {
                items.into_iter().map(|item| item.object).collect()
            }
            Some(Message::Got { object, .. }) => vec![object],
            _ => Vec::new(),
        };
        let dots = objects.iter().filter_map(|bytes| last_dot(bytes, replica));
        if let (Some(dot), Ok(durable)) = (dots.max(), stored_dots(&*self.store(from)))
            && dot > durable
        {
            self.violate(Violation::SentTooEarly {
                from,
                to,
                dot,
                durable,
            });
        }
    }
}

fn message_of(carried: &Carried) -> Option<Message> {
    match carried.class {
        Class::Gossip => None,
        Class::Data | Class::Bulk => Message::decode(&carried.frame).ok(),
    }
}

/// The last dot of a replica that an object has seen.
fn last_dot(bytes: &[u8], replica: ReplicaId) -> Option<u64> {
    let object = Object::decode(bytes, &Limits::LOCAL).ok()?;
    let runs = object.version().runs();
    let own = runs.filter(|(of, _)| *of == replica);
    own.map(|(_, run)| *run.end()).max()
}
