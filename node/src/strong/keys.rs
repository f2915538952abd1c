//! Keys and values, and transactions over them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use meshwork_sync::Key;
use serde::{Deserialize, Serialize};

use super::command::{
    Branch, Condition, Found, Full, KeyOp, Outcome, Owner, Refusal, Revision, SessionId, TooLarge,
    Transaction,
};
use super::locks::Locks;
use super::table::Table;

/// All keys of the group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Keys {
    values: Table<Value>,
    /// The keys that end with a session.
    #[serde(skip)]
    of_session: BTreeMap<SessionId, BTreeSet<Key>>,
    #[serde(skip)]
    bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Value {
    found: Found,
    owner: Option<SessionId>,
}

/// Longest value, in bytes.
pub(crate) const VALUE_BYTES_MAX: usize = 256 << 10;

/// Conditions and steps of one transaction.
pub(crate) const TRANSACTION_STEPS_MAX: usize = 128;

/// What a transaction writes, and what its steps find, in bytes: question and answer each fit one frame.
pub(crate) const TRANSACTION_BYTES_MAX: usize = 512 << 10;

/// Keys and values together, in bytes: the group is for the few keys that must be linearizable, and each voter holds them in memory.
pub(crate) const KEYS_BYTES_MAX: usize = 256 << 20;

impl Keys {
    pub(crate) fn get(&self, key: &Key) -> Option<&Found> {
        self.values.get(key).map(|value| &value.found)
    }

    /// Keys from behind `after` on, in order.
    pub(crate) fn after<'a>(
        &'a self,
        after: Bound<&'a Key>,
    ) -> impl Iterator<Item = (&'a Key, &'a Found)> {
        let values = self.values.after(after);
        values.map(|(key, value)| (key, &value.found))
    }

    /// Those that belong to no session, in order.
    pub(crate) fn lasting(&self) -> impl Iterator<Item = (&Key, &Found)> + Clone {
        let lasting = self
            .values
            .iter()
            .filter(|(_, value)| value.owner.is_none());
        lasting.map(|(key, value)| (key, &value.found))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Keys that belong to no session.
    pub(crate) fn restore(&mut self, keys: Vec<(Key, Found)>) {
        for (key, found) in keys {
            self.put(&key, found, None);
        }
    }

    /// Works out what a snapshot leaves out.
    pub(crate) fn rebuild(&mut self) {
        let values = core::mem::take(&mut self.values);
        for (key, value) in values.iter() {
            self.begin(key, value.found.value.len(), value.owner);
        }
        self.values = values;
    }

    /// Carries out a transaction, all of it or nothing. Says what its steps found, and tells of each key that it changed.
    pub(crate) fn transact(
        &mut self,
        (session, revision): (SessionId, Revision),
        transaction: Transaction,
        locks: &Locks,
        mut tell: impl FnMut(Key),
    ) -> Result<Outcome, Refusal> {
        check_steps(&transaction)?;
        let mut conditions = transaction.conditions.iter();
        let holds = conditions.all(|condition| self.holds(condition, locks));
        let (branch, ops) = if holds {
            (Branch::Then, transaction.then)
        } else {
            (Branch::Otherwise, transaction.otherwise)
        };
        self.check_size(&ops)?;
        let mut found = Vec::with_capacity(ops.len());
        for op in ops {
            found.push(match op {
                KeyOp::Get { key } => self.get(&key).cloned(),
                KeyOp::Put { key, value, owner } => {
                    let owner = (owner == Owner::Session).then_some(session);
                    let old = self.put(&key, Found { value, revision }, owner);
                    tell(key);
                    old
                }
                KeyOp::Delete { key } => {
                    let old = self.delete(&key);
                    if old.is_some() {
                        tell(key);
                    }
                    old
                }
            });
        }
        Ok(Outcome::Done {
            revision,
            branch,
            found,
        })
    }

    /// The keys of a session that has ended are gone.
    pub(crate) fn end_session(&mut self, session: SessionId) -> Vec<Key> {
        let keys = self.of_session.get(&session).cloned().unwrap_or_default();
        keys.into_iter()
            .filter(|key| self.delete(key).is_some())
            .collect()
    }

    fn holds(&self, condition: &Condition, locks: &Locks) -> bool {
        match condition {
            Condition::Value { key, value } => {
                self.get(key).map(|found| &found.value) == value.as_ref()
            }
            Condition::Unchanged { key, since } => {
                self.get(key).map_or(Revision(0), |found| found.revision) == *since
            }
            Condition::Held { lock, token } => locks.is_held_under(lock, *token),
        }
    }

    /// Refuses what is too large, before anything is changed.
    fn check_size(&self, ops: &[KeyOp]) -> Result<(), Refusal> {
        let (mut more, mut written, mut found) = (0, 0, 0);
        for op in ops {
            // What one step finds alone always fits.
            if ops.len() > 1 {
                let (KeyOp::Get { key } | KeyOp::Put { key, .. } | KeyOp::Delete { key }) = op;
                found += self.get(key).map_or(0, |found| found.value.len());
            }
            if let KeyOp::Put { key, value, .. } = op {
                check_value(value)?;
                written += value.len();
                more += bytes_of(key, value.len());
            }
        }
        let size = written.max(found);
        if size > TRANSACTION_BYTES_MAX {
            return Err(Refusal::TooLarge {
                what: TooLarge::Values,
                size,
                max: TRANSACTION_BYTES_MAX,
            });
        }
        if more > 0 && self.bytes + more > KEYS_BYTES_MAX {
            return Err(Refusal::Full(Full::Bytes));
        }
        Ok(())
    }

    /// Returns what it was before.
    fn put(&mut self, key: &Key, found: Found, owner: Option<SessionId>) -> Option<Found> {
        let length = found.value.len();
        let old = self.values.insert(key, Value { found, owner });
        let old = old.map(|old| self.end(key, old));
        self.begin(key, length, owner);
        old
    }

    fn delete(&mut self, key: &Key) -> Option<Found> {
        let old = self.values.remove(key)?;
        Some(self.end(key, old))
    }

    /// A value of so many bytes is a key's.
    fn begin(&mut self, key: &Key, length: usize, owner: Option<SessionId>) {
        self.bytes += bytes_of(key, length);
        if let Some(session) = owner {
            let owned = self.of_session.entry(session).or_default();
            owned.insert(key.clone());
        }
    }

    /// A value is no longer a key's.
    fn end(&mut self, key: &Key, old: Value) -> Found {
        self.bytes -= bytes_of(key, old.found.value.len());
        if let Some(session) = old.owner
            && let Some(owned) = self.of_session.get_mut(&session)
        {
            owned.remove(key);
            if owned.is_empty() {
                self.of_session.remove(&session);
            }
        }
        old.found
    }
}

fn check_steps(transaction: &Transaction) -> Result<(), Refusal> {
    let Transaction {
        conditions,
        then,
        otherwise,
    } = transaction;
    let steps = conditions.len() + then.len() + otherwise.len();
    if steps > TRANSACTION_STEPS_MAX {
        return Err(Refusal::TooLarge {
            what: TooLarge::Transaction,
            size: steps,
            max: TRANSACTION_STEPS_MAX,
        });
    }
    Ok(())
}

pub(crate) fn check_value(value: &[u8]) -> Result<(), Refusal> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(Refusal::TooLarge {
            what: TooLarge::Value,
            size: value.len(),
            max: VALUE_BYTES_MAX,
        });
    }
    Ok(())
}

/// What a key costs, about: its parts, its value, and what is kept around them.
pub(crate) fn bytes_of(key: &Key, value_bytes: usize) -> usize {
    key.namespace().len() + key.name().len() + value_bytes + ENTRY_BYTES
}

const ENTRY_BYTES: usize = 128;
