//! A planted bug that takes more than a line: deletions are forgotten after a while.

use meshwork_dht::Partition;
use meshwork_membership::planted::{Bug, planted};

use crate::engine::Replication;

impl Replication {
    /// Planted: a replica that was away longer than the sweep's period brings back what was deleted.
    pub(crate) fn forget_tombstones(&mut self) {
        if !planted(Bug::TombstoneForgottenByClock) {
            return;
        }
        let partitions: Vec<Partition> = self.index.partitions().collect();
        for partition in partitions {
            for position in self.positions_in(partition).unwrap_or_default() {
                let found = self.objects.load(&*self.store, &self.journal, &position);
                let deleted =
                    found.is_ok_and(|found| found.is_some_and(|entry| entry.object.is_deleted()));
                if deleted
                    && let Ok(digest) =
                        self.objects
                            .remove(&*self.store, &mut self.journal, &position)
                {
                    self.index.replace(&position, digest.as_ref(), None);
                }
            }
        }
    }
}
