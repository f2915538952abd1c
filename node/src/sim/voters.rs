//! Whether the strong group owes answers.

use meshwork_membership::Time;

use super::world::Inner;
use crate::strong::{VoterId, Voters};

impl Inner {
    /// Why the strong group owes no answers although all faults are over; `None` where it does.
    ///
    /// It does where a majority of its voters, and while they change one of the old voters too, have the disks that they promised on: a disk
    /// that was lost or restored is another voter's. Who votes is what the node says that has applied the latest change. A group that
    /// nobody knows is owed to a mesh in which no disk was lost and nobody has left.
    pub(crate) fn strong_excuse(&self) -> Option<String> {
        let Some(voters) = self.latest_voters() else {
            let left = self.machines.iter().any(|machine| machine.retired);
            return (left || self.disk_lost > Time::ZERO)
                .then(|| "nobody knows of a strong group, and some that may have are gone".into());
        };
        let mut majorities = voters.majorities.iter().filter(|all| !all.is_empty());
        majorities.find_map(|all| {
            let have_disks = all.iter().filter(|id| self.has_disk_of(**id)).count();
            (2 * have_disks <= all.len()).then(|| {
                let all = all.len();
                format!("of {all} voters of the strong group only {have_disks} have their disks")
            })
        })
    }

    fn latest_voters(&self) -> Option<Voters> {
        let running = self.machines.iter().filter_map(|m| m.process.as_ref());
        let known = running.filter_map(|process| process.node.voters());
        known.max_by_key(|voters| voters.index)
    }

    fn has_disk_of(&self, voter: VoterId) -> bool {
        let id = |replica: meshwork_crdt::ReplicaId| VoterId::from_be_bytes(replica.to_bytes());
        let mut stay = self.machines.iter().filter(|machine| !machine.retired);
        stay.any(|machine| id(machine.replica) == voter)
    }
}
