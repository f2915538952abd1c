//! The backup that a leader holds for as long as somebody fetches it.

use std::time::Duration;

use meshwork_membership::Time;

use super::group::Group;
use super::leader::Asker;
use super::message::Finding;

/// One backup at a time: it is as large as the state.
#[derive(Debug, Default)]
pub(crate) struct Backups {
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    /// For whom, by its first question.
    by: Asker,
    bytes: Vec<u8>,
    until: Time,
}

/// How long a backup is held for a part of it to be asked for.
const HELD_FOR: Duration = Duration::from_secs(10);

/// Longest part of a backup, in bytes.
pub(crate) const PART_BYTES: usize = 256 << 10;

impl Backups {
    /// Holds the state of this moment. `None` when another is held for somebody else.
    pub(crate) fn begin(&mut self, now: Time, asker: Asker, group: &Group) -> Option<Finding> {
        let of_another = |held: &Held| held.by != asker && held.until > now;
        if self.held.as_ref().is_some_and(of_another) {
            return None;
        }
        let bytes = group.state().backup(group.log().head.group);
        let begun = Finding::Backup {
            backup: asker.1,
            bytes: bytes.len() as u64,
        };
        self.held = Some(Held {
            by: asker,
            bytes,
            until: now + HELD_FOR,
        });
        Some(begun)
    }

    /// A part of a backup that is held for whoever asks.
    pub(crate) fn part(&mut self, now: Time, asker: Asker, backup: u64, part: u32) -> Finding {
        let of_asker = |held: &&mut Held| held.by == (asker.0, backup);
        let Some(held) = self.held.as_mut().filter(of_asker) else {
            return Finding::BackupPart { bytes: Vec::new() };
        };
        held.until = now + HELD_FOR;
        let parts = held.bytes.chunks(PART_BYTES);
        let part = usize::try_from(part)
            .ok()
            .and_then(|part| parts.clone().nth(part));
        Finding::BackupPart {
            bytes: part.unwrap_or_default().to_vec(),
        }
    }

    /// Lets go of what nobody asks for any more.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        self.held.take_if(|held| held.until <= now);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.held.as_ref().map(|held| held.until)
    }
}
