//! Commands from few choices, so that histories meet themselves.

use arbitrary::Arbitrary;
use meshwork_sync::Key;

use super::command::{
    Command, Condition, KeyOp, Mode, Outcome, Owner, Request, Revision, SessionId, Token,
    Transaction, Wait,
};
use super::sessions::Answer;

pub(super) const LOCKS: [&str; 4] = ["jobs/a", "jobs/b", "jobs/c", "jobs/d"];
const KEYS: [&str; 4] = ["bank/a", "bank/b", "bank/c", "other/a"];
const NAMESPACES: [&str; 3] = ["bank", "other", "no/name"];

/// What happens next.
#[derive(Arbitrary, Debug)]
pub enum Step {
    Open {
        ttl_ms: u16,
    },
    Ask {
        session: u8,
        answers: u8,
        request: AnyRequest,
    },
    /// What was asked before is asked again.
    Retry {
        before: u8,
    },
    Expire {
        session: u8,
    },
    GiveUp {
        session: u8,
        lock: u8,
    },
    Resume,
}

#[derive(Arbitrary, Debug)]
pub enum AnyRequest {
    Transact {
        conditions: Vec<AnyCondition>,
        then: Vec<AnyOp>,
        otherwise: Vec<AnyOp>,
    },
    Acquire {
        lock: u8,
        shared: bool,
        wait: Option<u16>,
        forever: bool,
    },
    Release {
        lock: u8,
    },
    Create {
        namespace: u8,
    },
    Draw {
        sequence: u8,
        count: u32,
    },
    Stage {
        offset: u8,
        bytes: Vec<u8>,
    },
    Restore,
    Close,
}

#[derive(Arbitrary, Debug)]
pub enum AnyCondition {
    Value { key: u8, value: Option<u8> },
    Unchanged { key: u8, since: u8 },
    Held { lock: u8, token: u8 },
}

#[derive(Arbitrary, Debug)]
pub enum AnyOp {
    Get(u8),
    Put { key: u8, value: u8, owned: bool },
    Delete(u8),
}

/// What has been said so far.
#[derive(Default)]
pub(super) struct Story {
    sessions: Vec<SessionId>,
    sequence: u64,
    said: Vec<Command>,
}

impl Story {
    /// The next command; `None`: the voter begins again from a snapshot.
    pub(super) fn next(&mut self, step: Step) -> Option<Command> {
        let command = match step {
            Step::Open { ttl_ms } => Command::Open {
                ttl_ms: ttl_ms.into(),
            },
            Step::Ask {
                session,
                answers,
                request,
            } => {
                self.sequence += 1;
                Command::Request {
                    session: self.session(session),
                    sequence: self.sequence,
                    answered: self.sequence.saturating_sub(answers.into()),
                    request: request.build(),
                }
            }
            Step::Retry { before } => {
                let place = self.said.len().checked_sub(1 + usize::from(before));
                return Some(
                    place
                        .and_then(|place| self.said.get(place).cloned())
                        .unwrap_or(Command::Open { ttl_ms: 1 }),
                );
            }
            Step::Expire { session } => Command::Expire {
                session: self.session(session),
            },
            Step::GiveUp { session, lock } => Command::GiveUp {
                session: self.session(session),
                lock: one_of(&LOCKS, lock),
            },
            Step::Resume => return None,
        };
        self.said.push(command.clone());
        Some(command)
    }

    /// Takes in what came of a command: a retry of the last one is answered as it was.
    pub(super) fn answered(&mut self, command: &Command, answer: Option<Answer>) {
        if let (Command::Open { .. }, Some(Ok(Outcome::Opened { session }))) = (command, answer) {
            self.sessions.push(session);
        }
    }

    fn session(&self, number: u8) -> SessionId {
        let number = usize::from(number) % (self.sessions.len() + 1);
        self.sessions
            .get(number)
            .copied()
            .unwrap_or(SessionId(u64::MAX))
    }
}

fn one_of(names: &[&str; 4], number: u8) -> Key {
    Key::parse(names[usize::from(number) % names.len()]).expect("a key")
}

impl AnyRequest {
    fn build(self) -> Request {
        match self {
            Self::Transact {
                conditions,
                then,
                otherwise,
            } => Request::Transact(Transaction {
                conditions: conditions.into_iter().map(AnyCondition::build).collect(),
                then: then.into_iter().map(AnyOp::build).collect(),
                otherwise: otherwise.into_iter().map(AnyOp::build).collect(),
            }),
            Self::Acquire {
                lock,
                shared,
                wait,
                forever,
            } => Request::Acquire {
                lock: one_of(&LOCKS, lock),
                mode: if shared {
                    Mode::Shared
                } else {
                    Mode::Exclusive
                },
                wait: match wait {
                    _ if forever => Wait::Forever,
                    Some(ms) => Wait::Ms(ms.into()),
                    None => Wait::No,
                },
                note: vec![lock],
            },
            Self::Release { lock } => Request::Release {
                lock: one_of(&LOCKS, lock),
            },
            Self::Create { namespace } => Request::Create {
                namespace: NAMESPACES[usize::from(namespace) % NAMESPACES.len()].into(),
            },
            Self::Draw { sequence, count } => Request::Draw {
                sequence: one_of(&KEYS, sequence),
                count,
            },
            Self::Stage { offset, bytes } => Request::Stage {
                offset: offset.into(),
                bytes,
            },
            Self::Restore => Request::Restore,
            Self::Close => Request::Close,
        }
    }
}

impl AnyCondition {
    fn build(self) -> Condition {
        match self {
            Self::Value { key, value } => Condition::Value {
                key: one_of(&KEYS, key),
                value: value.map(|value| vec![value]),
            },
            Self::Unchanged { key, since } => Condition::Unchanged {
                key: one_of(&KEYS, key),
                since: Revision(since.into()),
            },
            Self::Held { lock, token } => Condition::Held {
                lock: one_of(&LOCKS, lock),
                token: Token(token.into()),
            },
        }
    }
}

impl AnyOp {
    fn build(self) -> KeyOp {
        match self {
            Self::Get(key) => KeyOp::Get {
                key: one_of(&KEYS, key),
            },
            Self::Put { key, value, owned } => KeyOp::Put {
                key: one_of(&KEYS, key),
                value: vec![value],
                owner: if owned { Owner::Session } else { Owner::Nobody },
            },
            Self::Delete(key) => KeyOp::Delete {
                key: one_of(&KEYS, key),
            },
        }
    }
}

/// Something of everything.
pub(super) fn some() -> Vec<Step> {
    let ask = |session, request| Step::Ask {
        session,
        answers: 1,
        request,
    };
    let put = |key, owned| AnyOp::Put {
        key,
        value: 1,
        owned,
    };
    vec![
        Step::Open { ttl_ms: 1_000 },
        Step::Open { ttl_ms: 2_000 },
        ask(0, AnyRequest::Create { namespace: 0 }),
        ask(
            0,
            AnyRequest::Draw {
                sequence: 0,
                count: 3,
            },
        ),
        ask(
            0,
            AnyRequest::Transact {
                conditions: vec![],
                then: vec![put(0, false), put(1, true)],
                otherwise: vec![],
            },
        ),
        ask(
            0,
            AnyRequest::Acquire {
                lock: 0,
                shared: false,
                wait: None,
                forever: false,
            },
        ),
        ask(
            1,
            AnyRequest::Acquire {
                lock: 0,
                shared: true,
                wait: Some(9),
                forever: false,
            },
        ),
    ]
}
