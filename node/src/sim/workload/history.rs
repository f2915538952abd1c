//! One client that replays what an author once typed.

use std::rc::Rc;

use meshwork_crdt::{ActorSeed, CausalContext, Document, Op, Text};
use meshwork_sync::Key;

use super::typing::SLOT;
use super::{Effect, Oracle};
use crate::traces::Trace;

/// A history, and how far it is written.
#[derive(Debug)]
pub(super) struct History {
    key: Key,
    trace: Rc<Trace>,
    text: Text,
    next: usize,
    /// The commit that was not acknowledged yet.
    open: Option<(Op, Effect)>,
}

impl History {
    pub(super) fn new(key: Key, trace: Rc<Trace>, actor: ActorSeed) -> Self {
        let text = Text::open(&Document::default(), &CausalContext::default(), actor);
        Self {
            key,
            trace,
            text,
            next: 0,
            open: None,
        }
    }

    pub(super) const fn key(&self) -> &Key {
        &self.key
    }

    /// The commit to write now: the one that is open, or the next up to so many transactions. `None` at the end.
    pub(super) fn commit(&mut self, oracle: &Oracle, transactions: usize) -> Option<(Op, Effect)> {
        if self.open.is_none() {
            let end = (self.next + transactions).min(self.trace.transactions.len());
            for txn in self.trace.transactions.get(self.next..end)? {
                for patch in &txn.patches {
                    self.text
                        .splice(patch.at, patch.delete, &patch.insert)
                        .ok()?;
                }
            }
            self.next = end;
            let chunk = self.text.commit()?;
            let number = oracle.add_commit(&self.key, &self.text.text());
            self.open = Some((Op::Chunk(chunk), Effect::Commit(SLOT, number)));
        }
        self.open.clone()
    }

    /// The open commit is kept.
    pub(super) fn go_on(&mut self) {
        self.open = None;
    }
}
