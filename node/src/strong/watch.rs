//! Changes of strong keys, for embedding applications.

use std::collections::VecDeque;
use std::time::Duration;

use meshwork_sync::{Key, Prefix};

use super::handle::{STRONG_TIMEOUT, StrongFailure, unexpected};
use super::{Changes, Finding, Query, Revision, StrongDone, StrongRequest};
use crate::mesh::{Mesh, RequestError};

/// Changes of strong keys under one prefix, in the order in which they were made and without gaps, whoever leads the group. Dropping it
/// ends the watch.
///
/// ```no_run
/// # async fn example(mesh: meshwork::Mesh) -> Result<(), Box<dyn std::error::Error>> {
/// use meshwork::strong::StrongEvent;
///
/// let services = mesh.strong("services")?;
/// let (revision, found) = services.list("mail/", None).await?;
/// let mut watch = services.watch_after("mail/", revision);
/// while let Some(event) = watch.next().await {
///     match event {
///         StrongEvent::Changed { revision, keys } => println!("{keys:?} changed at {revision:?}"),
///         StrongEvent::Missed { .. } => println!("too much has happened: list again"),
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct StrongWatch {
    mesh: Mesh,
    prefix: Prefix,
    /// All up to here has been asked for.
    upto: Revision,
    /// And this is to be told.
    changes: VecDeque<(Revision, Vec<Key>)>,
}

/// Something happened under a watched prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StrongEvent {
    /// These keys were written or deleted, all at once. Read them to see what they are by now.
    Changed {
        /// Where in history; later than that of the event before. A watch [after it](super::StrongNamespace::watch_after) tells what follows.
        revision: Revision,
        /// In the order in which they were changed.
        keys: Vec<Key>,
    },
    /// More has happened than the group remembers, some 65,000 changes, or than fits one answer: read again whatever matters. What is read
    /// from now on shows all that was not told, and what follows this revision is told.
    Missed {
        /// As of which the watch goes on.
        revision: Revision,
    },
}

/// How long to ask at a time for changes.
const WATCH: Duration = Duration::from_secs(30);

impl StrongWatch {
    pub(super) const fn new(mesh: Mesh, prefix: Prefix, upto: Revision) -> Self {
        Self {
            mesh,
            prefix,
            upto,
            changes: VecDeque::new(),
        }
    }

    /// Waits for the next change; `None` when the node has stopped.
    ///
    /// While the group cannot be reached it waits, and goes on where it was. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<StrongEvent> {
        loop {
            if let Some((revision, keys)) = self.changes.pop_front() {
                return Some(StrongEvent::Changed { revision, keys });
            }
            match self.ask().await {
                Ok(Some(changes)) => self.take(changes),
                Ok(None) => match revision(&self.mesh, STRONG_TIMEOUT).await {
                    Ok(revision) => {
                        self.upto = revision;
                        return Some(StrongEvent::Missed { revision });
                    }
                    Err(RequestError::Stopped) => return None,
                    Err(RequestError::Refused(_)) => {}
                },
                Err(RequestError::Stopped) => return None,
                Err(RequestError::Refused(error)) => {
                    tracing::trace!(%error, "changes are asked for again");
                }
            }
        }
    }

    /// All changes up to here have been told: a watch after it goes on where this one is.
    #[must_use]
    pub fn revision(&self) -> Revision {
        let next = self.changes.front();
        next.map_or(self.upto, |(next, _)| Revision(next.0.saturating_sub(1)))
    }

    async fn ask(&self) -> Result<Option<Changes>, StrongFailure> {
        let request = StrongRequest::Changes(self.prefix.clone(), self.upto);
        let StrongDone::Changes(changes) = self.mesh.ask_strong(request, WATCH).await? else {
            return Err(unexpected());
        };
        Ok(changes)
    }

    fn take(&mut self, Changes { keys, upto }: Changes) {
        for (at, key) in keys {
            match self.changes.back_mut() {
                Some((revision, keys)) if *revision == at => keys.push(key),
                _ => self.changes.push_back((at, vec![key])),
            }
        }
        self.upto = upto;
    }
}

/// The group's revision as of a moment after this was called.
pub(super) async fn revision(mesh: &Mesh, timeout: Duration) -> Result<Revision, StrongFailure> {
    let read = StrongRequest::Read(Query::Get(Vec::new()));
    let done = mesh.ask_strong(read, timeout).await?;
    let Finding::Got { revision, .. } = done.finding()? else {
        return Err(unexpected());
    };
    Ok(revision)
}
