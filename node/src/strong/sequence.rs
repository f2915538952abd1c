//! Sequences, for embedding applications.

use std::ops::Range;
use std::time::Duration;

use meshwork_sync::Key;

use super::handle::{STRONG_TIMEOUT, StrongFailure, unexpected};
use super::{Outcome, Request, StrongRequest};
use crate::mesh::Mesh;

/// Numbers from 1 on that the group hands out, each once and never a lower one after a greater one.
///
/// Each drawing is one request to the group: draw many at a time, or use [`Mesh::ids`] where numbers need not follow each other.
///
/// ```no_run
/// # async fn example(mesh: meshwork::Mesh) -> Result<(), Box<dyn std::error::Error>> {
/// let invoices = mesh.sequence(&meshwork_sync::Key::parse("billing/invoices")?);
/// for number in invoices.next(10).await? {
///     println!("invoice {number}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct StrongSequence {
    mesh: Mesh,
    sequence: Key,
    timeout: Duration,
}

impl Mesh {
    /// A sequence; it needs no namespace, and no two have the same name.
    #[must_use]
    pub fn sequence(&self, sequence: &Key) -> StrongSequence {
        StrongSequence {
            mesh: self.clone(),
            sequence: sequence.clone(),
            timeout: STRONG_TIMEOUT,
        }
    }
}

impl StrongSequence {
    /// The same sequence with another time that a request may take.
    #[must_use]
    pub const fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Draws the next `count` numbers. Those of a drawing whose answer was lost are nobody's.
    ///
    /// # Errors
    /// [`StrongFailure`].
    pub async fn next(&self, count: u32) -> Result<Range<u64>, StrongFailure> {
        let sequence = self.sequence.clone();
        let draw = StrongRequest::Do(Request::Draw { sequence, count });
        let done = self.mesh.ask_strong(draw, self.timeout).await?;
        let Outcome::Drawn { first } = done.outcome()? else {
            return Err(unexpected());
        };
        Ok(first..first + u64::from(count))
    }
}
