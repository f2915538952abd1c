//! Live changes, as an application sees them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use meshwork_sync::Key;
use tokio::sync::mpsc;

/// Changes under one prefix. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    changes: mpsc::Receiver<Key>,
    missed: Arc<AtomicBool>,
}

/// The driver's end of a [`Watch`].
#[derive(Debug)]
pub(crate) struct Watcher {
    changes: mpsc::Sender<Key>,
    missed: Arc<AtomicBool>,
}

/// Something happened under a watched prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatchEvent {
    /// This key has a new version; read it to see.
    Changed(Key),
    /// The watcher was slower than the changes and some are not told: read again whatever matters.
    Missed,
}

/// Changes that wait for a watcher before some are missed.
const QUEUE: usize = 1_024;

pub(crate) fn pair() -> (Watcher, Watch) {
    let (sender, changes) = mpsc::channel(QUEUE);
    let missed = Arc::new(AtomicBool::new(false));
    (
        Watcher {
            changes: sender,
            missed: Arc::clone(&missed),
        },
        Watch { changes, missed },
    )
}

impl Watch {
    /// Waits for the next change; `None` when the node has stopped. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        if self.missed.swap(false, Ordering::AcqRel) {
            return Some(WatchEvent::Missed);
        }
        self.changes.recv().await.map(WatchEvent::Changed)
    }
}

impl Watcher {
    /// Tells of a change without waiting.
    pub(crate) fn tell(&self, key: &Key) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.changes.try_send(key.clone()) {
            self.missed.store(true, Ordering::Release);
        }
    }

    /// Whether nobody listens any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.changes.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_watcher_is_told_that_it_missed_something() {
        let (watcher, mut watch) = pair();
        let key = Key::parse("notes/today").unwrap();
        for _ in 0..=QUEUE {
            watcher.tell(&key);
        }
        assert_eq!(watch.next().await, Some(WatchEvent::Missed));
        assert_eq!(watch.next().await, Some(WatchEvent::Changed(key)));
        drop(watch);
        assert!(watcher.is_closed());
    }
}
