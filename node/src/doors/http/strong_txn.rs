//! `/v1/strong/txn`: reads and changes of several keys at one point in history.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use meshwork_sync::Key;
use serde::{Deserialize, Deserializer, Serialize};

use super::body::Parsed;
use super::failure::Failure;
use super::keys::Json;
use super::ops::Data;
use super::state::Door;
use super::strong_request::{ShownFound, Wishes, unexpected};
use crate::strong::{
    Branch, Condition, Found, KeyOp, Outcome, Owner, Request, Revision, Token, Transaction,
};

/// A transaction as a client writes it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct JsonTransaction {
    #[serde(rename = "if")]
    conditions: Vec<JsonCondition>,
    then: Vec<JsonStep>,
    #[serde(rename = "else")]
    otherwise: Vec<JsonStep>,
}

/// `{"key":…,"value":…|null}`, `{"key":…,"revision":…}` or `{"lock":…,"token":…}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct JsonCondition {
    key: Option<Data>,
    #[serde(deserialize_with = "given")]
    value: Option<Option<Data>>,
    revision: Option<u64>,
    lock: Option<Data>,
    token: Option<u64>,
}

/// `{"get":…}`, `{"put":…,"value":…}`, with `"leased":true` for a key that ends with the lease that is given, or `{"delete":…}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct JsonStep {
    get: Option<Data>,
    put: Option<Data>,
    value: Option<Data>,
    leased: bool,
    delete: Option<Data>,
}

/// What a transaction did.
#[derive(Serialize)]
struct Answer<'a> {
    /// Whether all conditions held.
    succeeded: bool,
    revision: u64,
    /// What each step found before it.
    found: Vec<Option<ShownFound<'a>>>,
}

pub(super) async fn transact(
    State(door): State<Arc<Door>>,
    wishes: Wishes,
    Parsed(transaction): Parsed<JsonTransaction>,
) -> Result<Response, Failure> {
    let transaction = Transaction::try_from(transaction)?;
    let mut steps = transaction.then.iter().chain(&transaction.otherwise);
    if wishes.lease.is_none() && steps.any(is_leased) {
        let message = "a key is leased, and no lease is given: say which with ?lease=…";
        return Err(Failure::bad("bad_step", message));
    }
    let transact = Request::Transact(transaction);
    let Outcome::Done {
        revision,
        branch,
        found,
    } = wishes.act(&door, transact).await?
    else {
        return Err(unexpected());
    };
    let answer = Answer {
        succeeded: branch == Branch::Then,
        revision: revision.0,
        found: found.iter().map(shown).collect(),
    };
    Ok(Json(answer).into_response())
}

fn is_leased(step: &KeyOp) -> bool {
    matches!(
        step,
        KeyOp::Put {
            owner: Owner::Session,
            ..
        }
    )
}

fn shown(found: &Option<Found>) -> Option<ShownFound<'_>> {
    found.as_ref().map(ShownFound::from)
}

impl TryFrom<JsonTransaction> for Transaction {
    type Error = Failure;

    fn try_from(json: JsonTransaction) -> Result<Self, Failure> {
        Ok(Self {
            conditions: all(json.conditions)?,
            then: all(json.then)?,
            otherwise: all(json.otherwise)?,
        })
    }
}

impl TryFrom<JsonCondition> for Condition {
    type Error = Failure;

    fn try_from(json: JsonCondition) -> Result<Self, Failure> {
        match json {
            JsonCondition {
                key: Some(key),
                value: Some(value),
                revision: None,
                lock: None,
                token: None,
            } => Ok(Self::Value {
                key: parse(&key)?,
                value: value.map(|Data(value)| value),
            }),
            JsonCondition {
                key: Some(key),
                value: None,
                revision: Some(revision),
                lock: None,
                token: None,
            } => Ok(Self::Unchanged {
                key: parse(&key)?,
                since: Revision(revision),
            }),
            JsonCondition {
                key: None,
                value: None,
                revision: None,
                lock: Some(lock),
                token: Some(token),
            } => Ok(Self::Held {
                lock: parse(&lock)?,
                token: Token(token),
            }),
            _ => Err(Failure::bad(
                "bad_condition",
                "a condition has a key and either a value or a revision, or a lock and a token",
            )),
        }
    }
}

impl TryFrom<JsonStep> for KeyOp {
    type Error = Failure;

    fn try_from(json: JsonStep) -> Result<Self, Failure> {
        let JsonStep {
            get,
            put,
            value,
            leased,
            delete,
        } = json;
        match (get, put, value, delete) {
            (Some(key), None, None, None) if !leased => Ok(Self::Get { key: parse(&key)? }),
            (None, Some(key), Some(Data(value)), None) => Ok(Self::Put {
                key: parse(&key)?,
                value,
                owner: if leased {
                    Owner::Session
                } else {
                    Owner::Nobody
                },
            }),
            (None, None, None, Some(key)) if !leased => Ok(Self::Delete { key: parse(&key)? }),
            _ => Err(Failure::bad(
                "bad_step",
                "a step is one of get, put with a value (which may be leased), and delete",
            )),
        }
    }
}

fn all<T: TryInto<U, Error = Failure>, U>(parts: Vec<T>) -> Result<Vec<U>, Failure> {
    parts.into_iter().map(T::try_into).collect()
}

/// The key that JSON names: `namespace/name`, in base64 where it is not UTF-8.
fn parse(Data(text): &Data) -> Result<Key, Failure> {
    let slash = text.iter().position(|byte| *byte == b'/');
    let (namespace, name) = text.split_at(slash.unwrap_or(text.len()));
    let namespace = String::from_utf8_lossy(namespace);
    Ok(Key::new(&namespace, name.get(1..).unwrap_or_default())?)
}

/// Tells `null` from nothing.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Data>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Transaction, String> {
        let parsed: JsonTransaction = serde_json::from_str(json).map_err(|e| e.to_string())?;
        parsed.try_into().map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn every_condition_and_step_is_read() {
        let json = r#"{"if":[{"key":"n/a","value":"1"},{"key":"n/a","value":null},{"key":"n/a","revision":3},
            {"lock":"n/a","token":4}],"then":[{"get":"n/a"},{"put":"n/a","value":{"base64":"/w=="}},
            {"put":"n/a","value":"","leased":true}],"else":[{"delete":"n/a"}]}"#;
        let key = Key::parse("n/a").unwrap();
        let value = |value: Option<&[u8]>| Condition::Value {
            key: key.clone(),
            value: value.map(<[u8]>::to_vec),
        };
        let held = Condition::Held {
            lock: key.clone(),
            token: Token(4),
        };
        let unchanged = Condition::Unchanged {
            key: key.clone(),
            since: Revision(3),
        };
        let put = KeyOp::Put {
            key: key.clone(),
            value: vec![0xff],
            owner: Owner::Nobody,
        };
        let leased = KeyOp::Put {
            key: key.clone(),
            value: vec![],
            owner: Owner::Session,
        };
        let get = KeyOp::Get { key: key.clone() };
        let wanted = Transaction {
            conditions: vec![value(Some(b"1")), value(None), unchanged, held],
            then: vec![get, put, leased],
            otherwise: vec![KeyOp::Delete { key: key.clone() }],
        };
        assert_eq!(read(json), Ok(wanted));
        assert_eq!(read("{}"), Ok(Transaction::default()));
    }

    #[test]
    fn what_means_two_things_or_none_is_refused() {
        for condition in [
            r#"{"key":"n/a"}"#,
            r#"{"value":"1"}"#,
            r#"{"key":"n/a","value":"1","revision":1}"#,
            r#"{"key":"n/a","token":1}"#,
            r#"{"lock":"n/a"}"#,
            r#"{"lock":"n/a","token":null}"#,
            r#"{"key":"no-slash","value":"1"}"#,
            r#"{"key":"n/a","value":1}"#,
            r#"{"key":"n/a","values":"1"}"#,
        ] {
            assert!(
                read(&format!(r#"{{"if":[{condition}]}}"#)).is_err(),
                "{condition}"
            );
        }
        for step in [
            r#"{}"#,
            r#"{"put":"n/a"}"#,
            r#"{"put":"n/a","value":null}"#,
            r#"{"get":"n/a","delete":"n/a"}"#,
            r#"{"get":"n/a","value":"1"}"#,
            r#"{"delete":"n/"}"#,
            r#"{"delete":"n/a","leased":true}"#,
            r#"{"get":"n/a","leased":true}"#,
        ] {
            assert!(read(&format!(r#"{{"then":[{step}]}}"#)).is_err(), "{step}");
        }
    }
}
