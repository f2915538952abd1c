//! Backup and restore, for embedding applications.

use std::time::Duration;

use tokio::sync::watch;

use super::ResetStrong;
use super::backups::PART_BYTES;
use super::client::StrongRequest;
use super::command::{Outcome, Request, Revision, SessionId};
use super::handle::{StrongFailure, unexpected};
use super::message::{Finding, Query};
use crate::driver::Command;
use crate::mesh::{Mesh, RequestError};

/// A backup of the strong group that is being fetched: one state of all of it, as of a moment after it was asked for.
///
/// It holds namespaces, sequences, the keys that belong to no session, the revision and the last fencing token; no sessions, and no locks.
/// The leader holds it for as long as a part is asked for every 10 s, in memory; one at a time.
#[derive(Debug)]
pub struct StrongBackup {
    mesh: Mesh,
    backup: u64,
    bytes: u64,
    fetched: u64,
    next: u32,
}

/// A backup that is being put into a group that holds nothing. Dropped before it is finished, it is given up, and nothing has changed.
#[derive(Debug)]
pub struct StrongRestore {
    mesh: Mesh,
    session: SessionId,
    /// Its session is kept alive for as long as this is.
    _lost: watch::Receiver<bool>,
    bytes: u64,
}

/// A backup was not fetched to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchBackup {
    /// Whoever held it leads no more, or waited too long for the next part: begin again.
    #[error("the leader no longer holds the backup: begin again")]
    Gone,
    /// What the group said, or that it was not reached.
    #[error(transparent)]
    Request(#[from] StrongFailure),
}

/// How long one step may take: leaders may change, and a large state takes its time.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a restore outlives its node.
const RESTORE_TTL: Duration = Duration::from_secs(30);

impl Mesh {
    /// Begins to fetch a backup of the strong group.
    ///
    /// # Errors
    /// [`StrongFailure`]; [`StrongError::Unavailable`](super::StrongError::Unavailable) also while another backup is being fetched.
    pub async fn backup_strong(&self) -> Result<StrongBackup, StrongFailure> {
        let begin = StrongRequest::Read(Query::Backup);
        let begun = self.ask_strong(begin, STEP_TIMEOUT).await?.finding()?;
        let Finding::Backup { backup, bytes } = begun else {
            return Err(unexpected());
        };
        Ok(StrongBackup {
            mesh: self.clone(),
            backup,
            bytes,
            fetched: 0,
            next: 0,
        })
    }

    /// Begins to put a backup into the strong group, which must hold no namespace, key, sequence or lock.
    ///
    /// # Errors
    /// [`StrongFailure`], with [`Refusal::NotBlank`](super::Refusal::NotBlank) or [`Refusal::Restoring`](super::Refusal::Restoring).
    pub async fn restore_strong(&self) -> Result<StrongRestore, StrongFailure> {
        let (session, lost) = self.open_session(RESTORE_TTL, STEP_TIMEOUT).await?;
        let mut restore = StrongRestore {
            mesh: self.clone(),
            session,
            _lost: lost,
            bytes: 0,
        };
        restore.stage(Vec::new()).await?;
        Ok(restore)
    }

    /// Begins a new strong group, which holds nothing, in place of one that is lost: its only voter was this node, and what it held was restored
    /// from an older copy or is damaged. The other nodes follow when they hear of it.
    ///
    /// What was agreed on in the old group is gone, but for what a backup has. Its namespaces stay strong, so that nobody writes their keys past
    /// the group; revisions, sessions and fencing tokens are greater than all before, by 2^40. Sequences go on from what is restored.
    ///
    /// Only for when no other copy of this node's folder has what the group held: should the old store come back, there are two groups.
    ///
    /// # Errors
    /// [`ResetStrong`]: nothing changed.
    pub async fn reset_strong(&self) -> Result<(), RequestError<ResetStrong>> {
        let result = self.ask(|answer| Command::ResetStrong { answer }).await;
        Ok(result.ok_or(RequestError::Stopped)??)
    }
}

impl StrongBackup {
    /// How long it is, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next part, of up to 256 KiB; `None` when all of it was fetched.
    ///
    /// Dropping the future is safe: the same part is fetched again.
    ///
    /// # Errors
    /// [`FetchBackup`].
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, FetchBackup> {
        if self.fetched >= self.bytes {
            return Ok(None);
        }
        let (backup, part) = (self.backup, self.next);
        let fetch = StrongRequest::Read(Query::BackupPart { backup, part });
        let done = self.mesh.ask_strong(fetch, STEP_TIMEOUT).await?;
        let Finding::BackupPart { bytes } = done.finding()? else {
            return Err(unexpected().into());
        };
        if bytes.is_empty() {
            return Err(FetchBackup::Gone);
        }
        self.next += 1;
        self.fetched += bytes.len() as u64;
        Ok(Some(bytes))
    }
}

impl StrongRestore {
    /// Hands over what comes next of the backup, of any length.
    ///
    /// # Errors
    /// [`StrongFailure`]; begin again then.
    pub async fn push(&mut self, bytes: &[u8]) -> Result<(), StrongFailure> {
        for part in bytes.chunks(PART_BYTES) {
            self.stage(part.to_vec()).await?;
        }
        Ok(())
    }

    /// Lets what was handed over take the place of the state, in one step. Returns the revision from which on it is so.
    ///
    /// # Errors
    /// [`StrongFailure`]: [`Refusal::BadBackup`](super::Refusal::BadBackup) and [`Refusal::NotBlank`](super::Refusal::NotBlank) have changed
    /// nothing; after [`StrongError::Unknown`](super::StrongError::Unknown) a second restore that is refused because the group is not blank shows that this one was done.
    pub async fn finish(self) -> Result<Revision, StrongFailure> {
        let Outcome::Restored { revision } = self.act(Request::Restore).await? else {
            return Err(unexpected());
        };
        Ok(revision)
    }

    async fn stage(&mut self, bytes: Vec<u8>) -> Result<(), StrongFailure> {
        let offset = self.bytes;
        let Outcome::Staged { bytes } = self.act(Request::Stage { offset, bytes }).await? else {
            return Err(unexpected());
        };
        self.bytes = bytes;
        Ok(())
    }

    async fn act(&self, request: Request) -> Result<Outcome, StrongFailure> {
        let request = StrongRequest::In(self.session, request);
        self.mesh.ask_strong(request, STEP_TIMEOUT).await?.outcome()
    }
}

impl Drop for StrongRestore {
    fn drop(&mut self) {
        self.mesh.close_session(self.session);
    }
}
