//! What is kept on disk: every member, a little late, so that many changes become one write.

use core::time::Duration;

use crate::{Membership, NodeId, Output, Remembered, State, Time};

impl Membership {
    /// Puts a member's entry on disk up to date, soon.
    pub(crate) fn remember(&mut self, now: Time, id: NodeId) {
        self.unsaved.insert(id);
        self.clocks
            .save
            .get_or_insert(now + self.config.remember_delay);
    }

    /// The process is about to end: gives what is not on disk yet, without the delay that gathers entries.
    pub fn handle_stop(&mut self) {
        self.clocks.save = None;
        self.save();
    }

    pub(crate) fn save(&mut self) {
        for id in core::mem::take(&mut self.unsaved) {
            let output = match self.to_remember(id) {
                Some(remembered) => Output::Remember(remembered),
                None => Output::ForgetRemembered(id),
            };
            self.outputs.push_back(output);
        }
    }

    fn to_remember(&self, id: NodeId) -> Option<Remembered> {
        let (member, gone_for) = if id == self.me.id {
            (&self.me, Duration::ZERO)
        } else {
            let record = self.table.get(id)?;
            (
                &record.member,
                Duration::from_secs(self.gone_secs(record).into()),
            )
        };
        Some(Remembered {
            id,
            incarnation: member.incarnation,
            state: match member.state {
                State::Alive | State::Suspect => State::Alive,
                gone @ (State::Down | State::Left) => gone,
            },
            gone_for,
            meta: member.meta.clone(),
        })
    }
}
