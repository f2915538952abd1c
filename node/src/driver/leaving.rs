//! A node on its way out of the mesh: hand over, say goodbye, go.

use std::time::Duration;

use meshwork_membership::Time;
use tokio::sync::oneshot;

use super::reply;
use crate::core::Node;

/// How far it has come.
#[derive(Debug)]
pub(crate) struct Leaving {
    deadline: Time,
    answer: Option<oneshot::Sender<bool>>,
    said_goodbye: Option<Time>,
    look_at: Time,
}

impl Leaving {
    /// Gives up the node's place. `answer` hears whether others have taken all of it over.
    pub(crate) fn begin(
        node: &mut Node,
        now: Time,
        patience: Duration,
        answer: oneshot::Sender<bool>,
    ) -> Self {
        node.retire(now);
        Self {
            deadline: now + patience,
            answer: Some(answer),
            said_goodbye: None,
            look_at: now + POLL,
        }
    }

    /// When to look again whether it may go.
    pub(crate) const fn poll_timeout(&self) -> Time {
        self.look_at
    }

    /// Whether it has said goodbye, and that has had the time to spread.
    #[cfg(feature = "sim")]
    pub(crate) const fn is_over(&self) -> bool {
        self.answer.is_none()
    }

    pub(crate) fn handle_timeout(&mut self, node: &mut Node, now: Time) {
        if now < self.look_at {
            return;
        }
        self.look_at = now + POLL;
        match self.said_goodbye {
            None if node.is_handed_over() || now >= self.deadline => {
                self.said_goodbye = Some(now);
                node.leave(now);
            }
            Some(at) if now >= at + GOODBYE => {
                if let Some(answer) = self.answer.take() {
                    reply(answer, node.is_handed_over());
                }
            }
            None => node.hand_over(now),
            Some(_) => {}
        }
    }
}

/// How often it looks.
const POLL: Duration = Duration::from_millis(100);
/// How long the goodbye has to spread.
const GOODBYE: Duration = Duration::from_secs(1);
