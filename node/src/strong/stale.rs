//! Reads without the group: what one voter or learner has applied, and how old that may be.

use std::time::Duration;

use meshwork_sync::Key;
use serde::{Deserialize, Serialize};

use super::client::{StrongDone, StrongRequest};
use super::command::{Found, Revision};
use super::handle::{StrongFailure, StrongKeyError, StrongNamespace, unexpected};
use super::message::{Finding, Query};
use crate::mesh::Mesh;

/// What one voter or learner found in what it has applied, without asking the others: it may be old.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stale<T> {
    /// What was found.
    pub found: T,
    /// Of the state that it was read from.
    pub revision: Revision,
    /// How long ago, in milliseconds, whoever answered last held all that the group had agreed on, by what its leader said; on the leader
    /// itself, by what a majority answered. `None`: not since its node was started.
    ///
    /// No promise can be made of it, and none should be built on it. What was under way on the network is not counted: not the leader's word,
    /// not this answer. A leader that was replaced and could not hear of it goes on for up to two election timeouts, and those who follow it
    /// take what it says for new; one whose machine stood still goes on for as long as it takes to notice.
    pub age_ms: Option<u64>,
}

impl StrongNamespace {
    /// A key's value as some voter or learner that can be reached has it: this node itself if it is one.
    ///
    /// Works without a leader and without a majority, and says how old the answer may be. Two reads one after the other may go back in history, if
    /// they are answered by two nodes or by one that was started in between: compare the revisions.
    ///
    /// # Errors
    /// [`StrongKeyError`]: with [`Refusal::NoNamespace`](super::Refusal::NoNamespace) also for a namespace that whoever answered has not heard of yet.
    pub async fn get_stale(&self, name: &str) -> Result<Stale<Option<Found>>, StrongKeyError> {
        let key = self.key(name)?;
        Ok(self.mesh.find_stale(key, self.timeout).await?)
    }
}

impl Mesh {
    /// A strong key as some voter or learner has it.
    pub(crate) async fn find_stale(
        &self,
        key: Key,
        timeout: Duration,
    ) -> Result<Stale<Option<Found>>, StrongFailure> {
        let request = StrongRequest::Stale(Query::Get(vec![key]));
        let StrongDone::Stale(Stale {
            found: Finding::Got { mut found, .. },
            revision,
            age_ms,
        }) = self.ask_strong(request, timeout).await?
        else {
            return Err(unexpected());
        };
        Ok(Stale {
            found: found.pop().flatten(),
            revision,
            age_ms,
        })
    }
}
