//! Who must hold what: checked when a node says that its copies count, and when it lets go of one.

use std::collections::{BTreeMap, BTreeSet};

use meshwork_crdt::{Dot, Object};
use meshwork_dht::{Partition, Position};
use meshwork_membership::Time;
use meshwork_sync::{
    Batch, Key, Level, Written, dropped_in, says_complete, stored_complete, stored_object,
    stored_outbox,
};

use super::violation::Violation;
use super::world::Inner;

/// Writes that were acknowledged by a quorum or all while nobody disagreed about who the replicas are.
///
/// From then on every quorum meets one of those who hold it, whatever moves.
#[derive(Debug, Default)]
pub(crate) struct Promised {
    writes: BTreeMap<Key, BTreeMap<Dot, Promise>>,
}

#[derive(Debug)]
struct Promise {
    level: Level,
    at: Time,
    /// Who was to hold it then, whether it did by then or not.
    replicas: Vec<usize>,
}

/// The partitions of which a machine's disk says that its copies count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claims {
    partitions: BTreeSet<Partition>,
    /// When it last said so; before that it was not asked for more.
    since: Time,
    /// How long it is the same disk.
    disk_since: Time,
}

impl Claims {
    /// Those of a disk that is empty, or another, since then.
    pub(crate) const fn none(since: Time) -> Self {
        Self {
            partitions: BTreeSet::new(),
            since,
            disk_since: since,
        }
    }
}

/// What a node has decided and its disk has not taken yet: a full disk takes it long after.
#[derive(Debug, Default)]
pub(crate) struct Decided {
    /// Since when there is something new about what counts.
    claims: Option<Time>,
    /// What it lets go of.
    drops: BTreeSet<Position>,
}

impl Inner {
    /// A node hands over a batch: what it decides is judged by what holds now, however late the disk takes it.
    pub(crate) fn judge_decisions(&mut self, machine: usize, batch: &Batch) {
        self.judge_drops(machine, batch);
        if says_complete(batch) {
            self.machines[machine]
                .decided
                .claims
                .get_or_insert(self.now);
        }
    }

    /// A write was acknowledged.
    pub(crate) fn promise(&mut self, machine: usize, key: &Key, level: Level, written: &Written) {
        if level >= Level::Quorum && self.agrees_on_replicas(machine, key) {
            let promise = Promise {
                level,
                at: self.now,
                replicas: self.replicas(machine, key),
            };
            let writes = self.promised.writes.entry(key.clone()).or_default();
            writes.insert(written.dot, promise);
        }
    }

    /// Whether all that run see a key where this one does. One that was down may be behind.
    fn agrees_on_replicas(&self, machine: usize, key: &Key) -> bool {
        let here = self.replicas(machine, key);
        let running = |n: &usize| self.machines[*n].is_up() && !self.machines[*n].retired;
        let mut others = (0..self.machines.len()).filter(running);
        others.all(|other| self.replicas(other, key) == here)
    }

    /// What a machine's disk says of its partitions is durable now: those that count anew hold what was promised before.
    pub(crate) fn judge_claims(&mut self, machine: usize) {
        let Ok(complete) = stored_complete(&*self.store(machine)) else {
            return;
        };
        let target = &self.machines[machine];
        let claims = Claims {
            partitions: complete,
            since: target.decided.claims.unwrap_or(self.now),
            disk_since: target.claims.disk_since,
        };
        let before = std::mem::replace(&mut self.machines[machine].claims, claims);
        let claims = &self.machines[machine].claims;
        let is_new = |key: &Key| {
            let partition = key.position().partition();
            claims.partitions.contains(&partition) && !before.partitions.contains(&partition)
        };
        let writes = self.promised.writes.iter().filter(|(key, _)| is_new(key));
        let missing = writes.flat_map(|(key, writes)| {
            let found = stored_object(&*self.store(machine), &key.position());
            let version = found.map(|found| {
                found.map_or_else(Default::default, |(_, object)| object.version().clone())
            });
            let lacks = move |dot: &Dot| {
                version
                    .as_ref()
                    .is_ok_and(|version| !version.contains(*dot))
            };
            // A replica that did not count yet was no part of the quorum: every quorum of the same replicas meets that one.
            let due = writes.iter().filter(|(_, promise)| {
                let among = promise.replicas.contains(&machine);
                promise.at < before.since && !(among && promise.at > before.disk_since)
            });
            due.filter(move |(dot, _)| lacks(dot))
                .map(move |(dot, promise)| (key.clone(), *dot, promise.level))
        });
        let missing = missing.collect::<Vec<_>>();
        if let Some((key, dot, level)) = missing.into_iter().next() {
            self.note_custody(&key, dot);
            self.violate(Violation::CountsTooEarly {
                machine,
                key,
                dot,
                level,
            });
        }
    }

    /// Who has a write and who sees whom as its replicas: what a reader of a violation asks first.
    fn note_custody(&mut self, key: &Key, dot: Dot) {
        let position = key.position();
        for machine in 0..self.machines.len() {
            let found = stored_object(&*self.store(machine), &position);
            let has = found
                .is_ok_and(|found| found.is_some_and(|(_, object)| object.version().contains(dot)));
            let counts = self.machines[machine]
                .claims
                .partitions
                .contains(&position.partition());
            let replicas = self.replicas(machine, key);
            self.note(format_args!(
                "n{machine} {} {dot} of {key}{}; replicas to it are {replicas:?}",
                if has { "holds" } else { "lacks" },
                if counts { " and counts" } else { "" },
            ));
        }
    }

    /// What a node lets go of, the replicas have, or it waits for them in an outbox.
    fn judge_drops(&mut self, machine: usize, batch: &Batch) {
        // A disk that forgot something may have had it, or its outbox.
        // What gathered behind a slow disk may have been decided before somebody came or went.
        if self.disk_lost > Time::ZERO || self.members_changed >= self.machines[machine].submitted {
            return;
        }
        for position in dropped_in(batch) {
            if !self.machines[machine].decided.drops.insert(position) {
                continue;
            }
            let Ok(Some((key, mine))) = stored_object(&*self.store(machine), &position) else {
                continue;
            };
            let replicas = self.replicas(machine, &key);
            // While members come and go each node lets go by what it knows of them.
            if replicas.contains(&machine) || !self.agrees_on_replicas(machine, &key) {
                continue;
            }
            let lacks = |other: &&usize| self.lacks(**other, &position, &mine);
            if let Some(lacks) = replicas.iter().find(lacks).copied() {
                for other in 0..self.machines.len() {
                    let found = stored_object(&*self.store(other), &position);
                    let found = found.ok().flatten().map(|(_, object)| object);
                    let holds =
                        found.map_or(
                            "nothing",
                            |found| {
                                if holds(&found, &mine) { "all" } else { "some" }
                            },
                        );
                    let placed = self.replicas(other, &key);
                    let outbox =
                        stored_outbox(&*self.store(other), &self.machines[lacks].id, &position);
                    let waits = outbox.is_ok_and(|waits| !waits.is_empty());
                    self.note(format_args!(
                        "n{other} holds {holds} of it, to it the replicas are {placed:?}; something waits there for n{lacks}: {waits}"
                    ));
                }
                self.violate(Violation::DroppedTooEarly {
                    machine,
                    key,
                    lacks,
                });
            }
        }
    }

    /// Whether a machine lacks some of an object, and nobody is about to send it.
    fn lacks(&self, machine: usize, position: &Position, object: &Object) -> bool {
        let target = &self.machines[machine];
        let Ok(found) = stored_object(&*self.store(machine), position) else {
            return false;
        };
        let mut held = found.map_or_else(Object::new, |(_, object)| (*object).clone());
        if target.retired || holds(&held, object) {
            return false;
        }
        for other in 0..self.machines.len() {
            let waiting = stored_outbox(&*self.store(other), &target.id, position);
            held.join(&waiting.unwrap_or_default());
        }
        !holds(&held, object)
    }
}

/// Whether there is nothing in an object that another does not have.
pub(super) fn holds(held: &Object, object: &Object) -> bool {
    let mut both = held.clone();
    both.join(object);
    both == *held
}
