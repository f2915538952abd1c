//! Questions that wait for something to happen, found by what they wait for: tens of thousands cost an entry nothing that does not touch them.

use std::collections::{BTreeMap, BTreeSet};

use meshwork_membership::{NodeId, Time};
use meshwork_sync::{Key, Prefix};

use super::command::{Revision, SessionId};
use super::deadlines::Deadlines;
use super::history::Change;
use super::leader::Asker;
use super::message::Seen;

/// What a question waits for.
#[derive(Clone, Debug)]
pub(crate) enum Waiting {
    /// What becomes of a session that stands in line for a lock.
    Turn(SessionId, Key),
    /// A change under a prefix after a revision.
    Changes(Prefix, Revision),
    /// A lock that is not as it was seen.
    Holder(Key, Seen),
}

impl Waiting {
    /// Whether a client can have asked it: what it names has an end.
    pub(crate) fn is_sound(&self) -> bool {
        match self {
            Self::Turn(_, lock) | Self::Holder(lock, _) => lock.check().is_ok(),
            Self::Changes(prefix, _) => {
                let longest = Key::NAMESPACE_BYTES_MAX + Key::NAME_BYTES_MAX;
                prefix.namespace.len() + prefix.name.len() <= longest
            }
        }
    }
}

/// All of them, in order of who asks, of time, and of what they wait for.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    questions: BTreeMap<Asker, Waiting>,
    until: Deadlines<Asker>,
    turns: Places<SessionId, Key>,
    /// By namespace, then by the first bytes of a name.
    watches: Places<String, Vec<u8>>,
    holders: Places<Key, ()>,
}

type Places<A, B> = BTreeMap<A, BTreeMap<B, BTreeSet<Asker>>>;

impl Parked {
    pub(crate) fn len(&self) -> usize {
        self.questions.len()
    }

    pub(crate) fn askers(&self) -> impl Iterator<Item = Asker> + '_ {
        self.questions.keys().copied()
    }

    pub(crate) fn get(&self, asker: Asker) -> Option<&Waiting> {
        self.questions.get(&asker)
    }

    /// Takes a question in; one that is asked again takes the place of itself.
    pub(crate) fn insert(&mut self, asker: Asker, waiting: Waiting, until: Time) {
        self.remove(asker);
        match waiting.clone() {
            Waiting::Turn(session, lock) => stand(&mut self.turns, session, lock, asker),
            Waiting::Changes(Prefix { namespace, name }, _) => {
                stand(&mut self.watches, namespace, name, asker);
            }
            Waiting::Holder(lock, _) => stand(&mut self.holders, lock, (), asker),
        }
        self.questions.insert(asker, waiting);
        self.until.set(asker, until);
    }

    pub(crate) fn remove(&mut self, asker: Asker) -> Option<Waiting> {
        self.until.remove(&asker);
        let waiting = self.questions.remove(&asker)?;
        match &waiting {
            Waiting::Turn(session, lock) => leave(&mut self.turns, session, lock, asker),
            Waiting::Changes(Prefix { namespace, name }, _) => {
                leave(&mut self.watches, namespace, name, asker);
            }
            Waiting::Holder(lock, _) => leave(&mut self.holders, lock, &(), asker),
        }
        Some(waiting)
    }

    /// Nobody on this node waits any more.
    pub(crate) fn remove_node(&mut self, node: NodeId) {
        let of_node = self.questions.range((node, 0)..=(node, u64::MAX));
        for asker in of_node.map(|(asker, _)| *asker).collect::<Vec<_>>() {
            self.remove(asker);
        }
    }

    /// Takes out the first one whose time is over.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<(Asker, Waiting)> {
        let asker = self.until.pop_due(now)?;
        Some((asker, self.remove(asker)?))
    }

    pub(crate) fn next_due(&self) -> Option<Time> {
        self.until.next()
    }

    /// Those to whom a change may be an answer.
    pub(crate) fn touched_by(&self, change: &Change) -> BTreeSet<Asker> {
        match change {
            Change::Key { key } => {
                let names = self.watches.get(key.namespace()).into_iter();
                let covering = names.flat_map(|names| {
                    let lengths = 0..=key.name().len();
                    lengths.filter_map(|length| names.get(key.name().get(..length)?))
                });
                covering.flatten().copied().collect()
            }
            Change::Queued { .. } => BTreeSet::new(),
            Change::Granted { lock, session, .. } => {
                let mut askers = self.in_line(*session, lock);
                askers.extend(self.watching(lock));
                askers
            }
            Change::Released { lock, .. } => self.watching(lock).collect(),
            Change::GaveUp { lock, session } | Change::Deadlocked { lock, session, .. } => {
                self.in_line(*session, lock)
            }
            Change::Ended { session } => {
                let places = self.turns.get(session).into_iter();
                let askers = places.flat_map(BTreeMap::values);
                // What it held is not told.
                let holders = self.holders.values().flat_map(BTreeMap::values);
                askers.chain(holders).flatten().copied().collect()
            }
        }
    }

    fn in_line(&self, session: SessionId, lock: &Key) -> BTreeSet<Asker> {
        let locks = self.turns.get(&session);
        let askers = locks.and_then(|locks| locks.get(lock));
        askers.cloned().unwrap_or_default()
    }

    fn watching(&self, lock: &Key) -> impl Iterator<Item = Asker> + '_ {
        let askers = self.holders.get(lock).into_iter();
        askers.flat_map(BTreeMap::values).flatten().copied()
    }
}

fn stand<A: Ord, B: Ord>(places: &mut Places<A, B>, outer: A, inner: B, asker: Asker) {
    let inside = places.entry(outer).or_default();
    inside.entry(inner).or_default().insert(asker);
}

fn leave<A: Ord, B: Ord>(places: &mut Places<A, B>, outer: &A, inner: &B, asker: Asker) {
    let Some(inside) = places.get_mut(outer) else {
        return;
    };
    if let Some(askers) = inside.get_mut(inner) {
        askers.remove(&asker);
        if askers.is_empty() {
            inside.remove(inner);
        }
    }
    if inside.is_empty() {
        places.remove(outer);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(name: &str) -> Key {
        Key::new("n", name.as_bytes()).unwrap()
    }

    proptest! {
        #[test]
        fn a_key_touches_those_who_watch_it_and_nobody_else(
            prefixes in proptest::collection::vec("[ab]{0,3}", 1..20),
            gone in proptest::collection::vec(any::<bool>(), 20),
            name in "[ab]{1,4}",
        ) {
            let mut parked = Parked::default();
            let node = NodeId::from_bytes([1; 32]);
            let prefixes = prefixes.iter().map(|name| Prefix {
                namespace: "n".into(),
                name: name.as_bytes().to_vec(),
            });
            let all: Vec<_> = (0..).zip(prefixes).zip(gone).collect();
            for ((n, prefix), _) in &all {
                parked.insert((node, *n), Waiting::Changes(prefix.clone(), Revision(0)), Time(*n));
            }
            for ((n, _), _) in all.iter().filter(|(_, gone)| *gone) {
                parked.remove((node, *n));
            }
            let key = key(&name);
            let stays = all.iter().filter(|((_, prefix), gone)| !gone && prefix.covers(&key));
            let expected: BTreeSet<Asker> = stays.map(|((n, _), _)| (node, *n)).collect();
            prop_assert_eq!(parked.touched_by(&Change::Key { key }), expected);
            parked.remove_node(node);
            prop_assert!(parked.watches.is_empty() && parked.next_due().is_none());
        }
    }

    #[test]
    fn a_session_s_end_touches_all_its_places_in_line() {
        let mut parked = Parked::default();
        let node = NodeId::from_bytes([1; 32]);
        for n in 0..4 {
            let place = Waiting::Turn(SessionId(n / 2), key(&n.to_string()));
            parked.insert((node, n), place, Time(n));
        }
        let ended = Change::Ended {
            session: SessionId(1),
        };
        assert_eq!(parked.touched_by(&ended), [(node, 2), (node, 3)].into());
        let (lock, session) = (key("1"), SessionId(0));
        let granted = Change::GaveUp { lock, session };
        assert_eq!(parked.touched_by(&granted), [(node, 1)].into());
        let due = parked.pop_due(Time(1)).map(|(asker, _)| asker);
        assert_eq!(due, Some((node, 0)));
        assert_eq!(parked.len(), 3);
    }
}
