//! Sessions, and the answers that they may ask for again.
//!
//! Source: Ongaro, "Consensus: bridging theory and practice" (2014), section 6.3. Where we differ: a session may have several requests
//! under way, so answers are kept one by one until the client says up to where it has them.

use std::collections::BTreeMap;

use meshwork_membership::planted::{Bug, planted};
use serde::{Deserialize, Serialize};

use super::command::{Outcome, Refusal, SessionId};

/// All sessions that have not ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sessions {
    sessions: BTreeMap<SessionId, Session>,
    /// What all answers that are kept found, in bytes.
    #[serde(skip)]
    bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Session {
    ttl_ms: u32,
    /// Answers up to this one have arrived.
    answered: u64,
    answers: BTreeMap<u64, Answer>,
}

/// What came of a request.
pub(crate) type Answer = Result<Outcome, Refusal>;

/// What is to be done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It has not been seen.
    New,
    /// It was applied before, or may not be: this is the answer.
    Answered(Answer),
}

/// Sessions at one time.
pub(crate) const SESSIONS_MAX: usize = 100_000;

/// Answers that are kept for one session.
pub(crate) const ANSWERS_MAX: usize = 1_024;

/// What the answers that are kept for all sessions may have found, in bytes. With the keys and all else a snapshot is shorter than it may be.
pub(crate) const FOUND_BYTES_MAX: usize = 256 << 20;

impl Sessions {
    pub(crate) fn is_full(&self) -> bool {
        self.sessions.len() >= SESSIONS_MAX
    }

    pub(crate) fn open(&mut self, session: SessionId, ttl_ms: u32) {
        let fresh = Session {
            ttl_ms,
            answered: 0,
            answers: BTreeMap::new(),
        };
        self.sessions.insert(session, fresh);
    }

    pub(crate) fn close(&mut self, session: SessionId) -> bool {
        let Some(closed) = self.sessions.remove(&session) else {
            return false;
        };
        self.bytes -= closed.answers.values().map(found_bytes).sum::<usize>();
        true
    }

    /// Whether no answer may be kept that finds something.
    pub(crate) const fn keeps_too_much(&self) -> bool {
        self.bytes >= FOUND_BYTES_MAX
    }

    /// Works out what a snapshot leaves out.
    pub(crate) fn rebuild(&mut self) {
        let answers = self
            .sessions
            .values()
            .flat_map(|session| session.answers.values());
        self.bytes = answers.map(found_bytes).sum();
    }

    pub(crate) fn ttl_ms(&self, session: SessionId) -> Option<u32> {
        self.sessions.get(&session).map(|session| session.ttl_ms)
    }

    /// All sessions, and how long each lives without being heard of, in milliseconds.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SessionId, u32)> + '_ {
        let sessions = self.sessions.iter();
        sessions.map(|(id, session)| (*id, session.ttl_ms))
    }

    /// Whether a request is to be applied; takes note of the answers that have arrived.
    pub(crate) fn admit(&mut self, id: SessionId, sequence: u64, answered: u64) -> Admission {
        let Some(session) = self.sessions.get_mut(&id) else {
            let expired = Refusal::SessionExpired { session: id };
            return Admission::Answered(Err(expired));
        };
        if let Some(answer) = session.answers.get(&sequence)
            && !planted(Bug::StrongRetryApplied)
        {
            return Admission::Answered(answer.clone());
        }
        // A retry that was long under way says less than what came after it.
        session.answered = session.answered.max(answered);
        while let Some(oldest) = session.answers.first_entry()
            && *oldest.key() <= session.answered
        {
            self.bytes -= found_bytes(&oldest.remove());
        }
        if sequence <= session.answered {
            return Admission::Answered(Err(Refusal::Forgotten { sequence }));
        }
        if session.answers.len() >= ANSWERS_MAX {
            let max = ANSWERS_MAX;
            return Admission::Answered(Err(Refusal::TooManyAnswers { max }));
        }
        Admission::New
    }

    pub(crate) fn answer(&mut self, id: SessionId, sequence: u64, answer: Answer) {
        if let Some(session) = self.sessions.get_mut(&id) {
            self.bytes += found_bytes(&answer);
            let before = session.answers.insert(sequence, answer);
            self.bytes -= before.as_ref().map_or(0, found_bytes);
        }
    }
}

fn found_bytes(answer: &Answer) -> usize {
    let Ok(Outcome::Done { found, .. }) = answer else {
        return 0;
    };
    found.iter().flatten().map(|found| found.value.len()).sum()
}
