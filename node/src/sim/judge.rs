//! What is checked at every step.

use std::sync::Arc;
use std::time::Duration;

use meshwork_crdt::Object;
use meshwork_sync::{Key, Level, ReadStore, Written, stored_object};

use super::custody::holds;
use super::machine::Asked;
use super::violation::Violation;
use super::world::Inner;
use crate::core::Output;

impl Inner {
    /// Looks at what a node tells an application.
    pub(crate) fn judge(&mut self, machine: usize, output: &Output) {
        let Some(process) = &mut self.machines[machine].process else {
            return;
        };
        if let Output::Written { id, result } = output {
            let asked = process.writes.remove(id);
            if let (Some(asked), Ok(written)) = (asked, result) {
                // Since then a disk that said yes may have been lost.
                if asked.level == Level::Local || asked.since > self.disk_lost {
                    self.judge_durable(machine, &asked, written);
                }
                self.promise(machine, &asked.key, asked.level, written);
                self.judge_dot(machine, asked.key, written);
            }
        } else if let Output::Found { id, result } = output {
            let key = process.reads.remove(id);
            if let (Some(key), Ok(found)) = (key, result)
                && found.object.is_empty()
            {
                self.judge_absence(machine, key);
            }
        }
    }

    /// What is damaged was written: a replica that cannot read it says so, or asks the others.
    fn judge_absence(&mut self, machine: usize, key: Key) {
        let found = stored_object(&*self.store(machine), &key.position());
        let is_damaged = matches!(found, Err(ReadStore::Damaged { .. }));
        if is_damaged && self.replicas(machine, &key).contains(&machine) {
            self.violate(Violation::DamageHidden { machine, key });
        }
    }

    /// Invariant 1, when it is easiest to see: the moment a write is acknowledged.
    fn judge_durable(&mut self, machine: usize, asked: &Asked, written: &Written) {
        let Asked { key, level, .. } = asked;
        let holds = |n: &usize| {
            let found = stored_object(&*self.store(*n), &key.position());
            found.is_ok_and(|found| {
                found.is_some_and(|(_, object)| object.version().contains(written.dot))
            })
        };
        let replicas = self.replicas(machine, key);
        let (needed, disks) = match level {
            Level::Local => (1, machine..machine + 1),
            Level::One | Level::Quorum | Level::All => {
                let placed = replicas.len().min(asked.replicas);
                (level.needed(placed), 0..self.machines.len())
            }
        };
        // The copy of a node that only passes a write on is none that a level counts.
        let is_replica = asked.at_replica || replicas.contains(&machine);
        let counts = |n: &usize| *n != machine || is_replica || *level == Level::Local;
        let durable: Vec<usize> = disks.filter(counts).filter(holds).collect();
        if durable.len() < needed {
            self.violate(Violation::NotDurable {
                machine,
                key: key.clone(),
                dot: written.dot,
                level: *level,
                needed,
                durable,
                replicas,
            });
        }
    }

    /// The machines that a key is placed on, as one of them sees it.
    pub(crate) fn replicas(&self, machine: usize, key: &Key) -> Vec<usize> {
        let process = self.machines[machine].process.as_ref();
        let placement = process.map(|process| process.node.placement());
        let ids = placement.map(|placement| placement.replicas(key.position().partition()));
        let numbers = ids.into_iter().flatten().filter_map(|id| self.number(*id));
        numbers.collect()
    }

    /// Invariant 2.
    fn judge_dot(&mut self, machine: usize, key: Key, written: &Written) {
        if let Some(before) = self.dots.insert(written.dot, key.clone()) {
            self.violate(Violation::DotTwice {
                machine,
                dot: written.dot,
                key,
                before,
            });
        }
    }

    /// What is not as it should be long after the last fault; nothing when all is well.
    pub(crate) fn unrest(&self) -> Option<String> {
        let members: Vec<usize> = (0..self.machines.len())
            .filter(|n| !self.machines[*n].retired)
            .collect();
        for &machine in &members {
            if let Some(unrest) = self.unrest_of(machine, &members) {
                return Some(format!("n{machine} {unrest}"));
            }
        }
        self.disagreement(&members)
    }

    fn unrest_of(&self, machine: usize, members: &[usize]) -> Option<String> {
        let Some(process) = &self.machines[machine].process else {
            return Some("does not run".into());
        };
        if process.leaving.is_some() {
            return Some("is still on its way out".into());
        }
        let status = process.node.status(self.now);
        let alive: Vec<&str> = status
            .members
            .iter()
            .filter(|member| member.state == "alive")
            .map(|member| member.name.as_str())
            .collect();
        if alive.len() != members.len() {
            return Some(format!("knows {alive:?} for alive"));
        }
        if let Some(failure) = status.store_failure {
            return Some(format!("has a store that failed: {failure}"));
        }
        if let Some(reason) = status.strong.out {
            return Some(format!("takes no part in the strong group: {reason}"));
        }
        if (status.partitions_filling, status.partitions_leaving) != (0, 0) {
            let (filling, leaving) = (status.partitions_filling, status.partitions_leaving);
            return Some(format!("fills {filling} partitions and leaves {leaving}"));
        }
        if status.outbox_deltas > 0 {
            let behind = status.members.iter().filter(|member| member.lag_deltas > 0);
            let behind: Vec<String> = behind
                .map(|member| format!("{} ({}, {})", member.name, member.state, member.lag_deltas))
                .collect();
            return Some(format!(
                "has {} deltas that wait for {}",
                status.outbox_deltas,
                behind.join(", ")
            ));
        }
        if !process.writes.is_empty() {
            return Some(format!("has {} open writes", process.writes.len()));
        }
        None
    }

    /// A key whose replicas differ, or that one of them lacks.
    fn disagreement(&self, members: &[usize]) -> Option<String> {
        let mut positions = Vec::new();
        for &machine in members {
            match meshwork_sync::stored_positions(&*self.store(machine)) {
                Ok(found) => positions.extend(found),
                Err(error) => return Some(format!("n{machine} cannot be read: {error}")),
            }
        }
        positions.sort_unstable();
        positions.dedup();
        let first = *members.first()?;
        let placement = self.machines[first].process.as_ref()?.node.placement();
        for position in positions {
            let replicas = placement.replicas(position.partition());
            let mut seen = None;
            let (placed, strays): (Vec<_>, Vec<_>) = (0..self.machines.len())
                .filter(|number| !self.machines[*number].retired)
                .partition(|number| replicas.contains(&self.machines[*number].id));
            for number in placed {
                let object = match stored_object(&*self.store(number), &position) {
                    Ok(object) => object,
                    Err(error) => return Some(format!("n{number}: {error}")),
                };
                let Some((key, object)) = object else {
                    return Some(format!("n{number} lacks {position:.8}"));
                };
                match &seen {
                    None => seen = Some((number, object)),
                    Some((_, before)) if *before == object => {}
                    Some((other, _)) => {
                        return Some(format!("n{other} and n{number} differ about {key}"));
                    }
                }
            }
            // A copy that is still to be handed over may be the only one of what was written while nobody else was in reach.
            for number in strays {
                let stray = stored_object(&*self.store(number), &position)
                    .ok()
                    .flatten();
                let lacks = |(_, object): &(_, Arc<Object>)| {
                    seen.as_ref().is_some_and(|(_, held)| !holds(held, object))
                };
                if let Some((key, _)) = stray.filter(lacks) {
                    return Some(format!("n{number} has of {key} what its replicas lack"));
                }
            }
        }
        None
    }
}

/// How long a mesh may take to agree after the last fault: one period in which a failed dial is tried again, members that were
/// held for dead are probed, and replicas are compared, each with the time that its data takes.
pub(crate) const CONVERGE_MAX: Duration = Duration::from_secs(180);
