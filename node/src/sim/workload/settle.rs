//! Waits for a mesh to agree, and checks what it agrees on.

use std::fmt;
use std::time::Duration;

use meshwork_sync::Key;

use super::{Client, Oracle, Shows, Violation};
use crate::Options;

/// A mesh is not as it should be although it had time.
#[derive(Debug, Clone)]
pub struct Unsettled {
    /// Keys that a node did not show.
    pub unread: Vec<(u32, Key)>,
    /// What is wrong with what was shown.
    pub violations: Vec<Violation>,
}

impl std::error::Error for Unsettled {}

/// Reads every key through every node, again and again until all show what they should; call it when the faults have stopped and
/// nobody writes. Returns how long it took.
///
/// Level `local` asks for most where every node is a replica: each must have all itself. Elsewhere ask at level `one`.
///
/// # Errors
/// [`Unsettled`] with what is still wrong after `within`.
pub async fn settle<C: Client>(
    oracle: &Oracle,
    nodes: &[(u32, &C)],
    options: Options,
    within: Duration,
) -> Result<Duration, Unsettled> {
    let Some((_, clock)) = nodes.first() else {
        return Ok(Duration::ZERO);
    };
    let start = clock.now();
    loop {
        let waited = clock.now().saturating_sub(start);
        let (mut shows, mut unread) = (Shows::new(), Vec::new());
        for (node, client) in nodes {
            let shown = shows.entry(*node).or_default();
            for key in oracle.keys() {
                match client.read(&key, options).await {
                    Ok(seen) => drop(shown.insert(key, seen)),
                    Err(_) => unread.push((*node, key)),
                }
            }
        }
        let violations = if unread.is_empty() {
            oracle.check_end(&shows)
        } else {
            Vec::new()
        };
        if unread.is_empty() && violations.is_empty() {
            return Ok(clock.now().saturating_sub(start));
        }
        // A link that broke while its node was frozen is still to be noticed, and made anew; what was asked before that is not answered.
        let patience = if unread.is_empty() {
            within
        } else {
            within.max(ANSWER_PATIENCE)
        };
        if waited >= patience {
            return Err(Unsettled { unread, violations });
        }
        clock.sleep(PAUSE).await;
    }
}

/// How long a node may take to answer for all keys.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

impl fmt::Display for Unsettled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (node, key) in &self.unread {
            writeln!(f, "node {node} does not answer for {key}")?;
        }
        for violation in &self.violations {
            writeln!(f, "{violation}")?;
        }
        Ok(())
    }
}
