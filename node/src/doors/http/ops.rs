//! Operations in JSON.

use std::fmt::Display;
use std::str::FromStr;

use data_encoding::BASE64;
use meshwork_crdt::{Kind, Op, ReplicaId};
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::element::Element;

/// An operation as a client writes it: `{"op":"add","amount":3}`.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum JsonOp {
    Put {
        value: Data,
    },
    PutFenced {
        token: u64,
        value: Data,
    },
    Add {
        amount: i64,
    },
    Increase {
        amount: u64,
    },
    Deposit {
        amount: u64,
    },
    Withdraw {
        amount: u64,
    },
    GiveRights {
        #[serde(deserialize_with = "parsed")]
        to: ReplicaId,
        amount: u64,
    },
    Max {
        number: i64,
    },
    Min {
        number: i64,
    },
    Insert {
        element: Data,
    },
    Remove {
        element: Data,
    },
    Gather {
        element: Data,
    },
    Admit {
        element: Data,
    },
    Ban {
        element: Data,
    },
    Enable {},
    Disable {},
    Switch {
        on: bool,
    },
    InsertAfter {
        after: Option<Element>,
        value: Data,
    },
    MoveAfter {
        element: Element,
        after: Option<Element>,
    },
    WriteElement {
        element: Element,
        value: Data,
    },
    RemoveElement {
        element: Element,
    },
    Field {
        name: Data,
        #[serde(deserialize_with = "parsed")]
        kind: Kind,
        then: Box<JsonOp>,
    },
    RemoveField {
        name: Data,
        #[serde(deserialize_with = "parsed")]
        kind: Kind,
    },
    Merge {
        tag: u16,
        payload: Data,
    },
    Delete {},
}

/// Bytes: a string for UTF-8, `{"base64": "…"}` for any.
#[derive(Debug)]
pub(super) struct Data(pub(super) Vec<u8>);

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Encoded {
            base64: String,
        }
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a value is a string or {\"base64\": \"…\"}")]
        enum Either {
            Text(String),
            Encoded(Encoded),
        }
        match Either::deserialize(deserializer)? {
            Either::Text(text) => Ok(Self(text.into_bytes())),
            Either::Encoded(Encoded { base64 }) => {
                let bytes = BASE64.decode(base64.as_bytes());
                bytes
                    .map(Self)
                    .map_err(|error| D::Error::custom(format!("not base64: {error}")))
            }
        }
    }
}

/// What is displayed and parsed as a text.
fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    String::deserialize(deserializer)?
        .parse()
        .map_err(D::Error::custom)
}

impl From<JsonOp> for Op {
    fn from(op: JsonOp) -> Self {
        let dot = |element: Element| element.0;
        match op {
            JsonOp::Put { value } => Self::Put(value.0),
            JsonOp::PutFenced { token, value } => {
                let value = value.0;
                Self::PutFenced { token, value }
            }
            JsonOp::Add { amount } => Self::Add(amount),
            JsonOp::Increase { amount } => Self::Increase(amount),
            JsonOp::Deposit { amount } => Self::Deposit(amount),
            JsonOp::Withdraw { amount } => Self::Withdraw(amount),
            JsonOp::GiveRights { to, amount } => Self::GiveRights { to, amount },
            JsonOp::Max { number } => Self::Max(number),
            JsonOp::Min { number } => Self::Min(number),
            JsonOp::Insert { element } => Self::Insert(element.0),
            JsonOp::Remove { element } => Self::Remove(element.0),
            JsonOp::Gather { element } => Self::Gather(element.0),
            JsonOp::Admit { element } => Self::Admit(element.0),
            JsonOp::Ban { element } => Self::Ban(element.0),
            JsonOp::Enable {} => Self::Enable,
            JsonOp::Disable {} => Self::Disable,
            JsonOp::Switch { on } => Self::Switch(on),
            JsonOp::InsertAfter { after, value } => {
                let (after, value) = (after.map(dot), value.0);
                Self::InsertAfter { after, value }
            }
            JsonOp::MoveAfter { element, after } => {
                let (element, after) = (dot(element), after.map(dot));
                Self::MoveAfter { element, after }
            }
            JsonOp::WriteElement { element, value } => {
                let (element, value) = (dot(element), value.0);
                Self::WriteElement { element, value }
            }
            JsonOp::RemoveElement { element } => Self::RemoveElement(dot(element)),
            JsonOp::Field { name, kind, then } => {
                let (name, op) = (name.0, Box::new((*then).into()));
                Self::Field { name, kind, op }
            }
            JsonOp::RemoveField { name, kind } => {
                let name = name.0;
                Self::RemoveField { name, kind }
            }
            JsonOp::Merge { tag, payload } => {
                let payload = payload.0;
                Self::Merge { tag, payload }
            }
            JsonOp::Delete {} => Self::Delete,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use meshwork_crdt::Dot;
    use serde_json::Value;

    use super::*;

    fn parse(text: &str) -> Result<Op, serde_json::Error> {
        serde_json::from_str::<JsonOp>(text).map(Op::from)
    }

    type Forms = Vec<(&'static str, Op)>;

    /// Every operation, and what it is in JSON.
    fn forms() -> Forms {
        [numbers(), elements(), lists(), others()].concat()
    }

    fn replica() -> ReplicaId {
        ReplicaId::from_bytes([0xab; 8])
    }

    fn numbers() -> Forms {
        let rights = Op::GiveRights {
            to: replica(),
            amount: 3,
        };
        vec![
            (r#"{"op":"add","amount":-3}"#, Op::Add(-3)),
            (
                r#"{"op":"increase","amount":18446744073709551615}"#,
                Op::Increase(u64::MAX),
            ),
            (r#"{"op":"deposit","amount":3}"#, Op::Deposit(3)),
            (r#"{"op":"withdraw","amount":3}"#, Op::Withdraw(3)),
            (
                r#"{"op":"give_rights","to":"abababababababab","amount":3}"#,
                rights,
            ),
            (
                r#"{"op":"max","number":9223372036854775807}"#,
                Op::Max(i64::MAX),
            ),
            (
                r#"{"op":"min","number":-9223372036854775808}"#,
                Op::Min(i64::MIN),
            ),
        ]
    }

    fn elements() -> Forms {
        let e = || b"e".to_vec();
        vec![
            (r#"{"op":"insert","element":"e"}"#, Op::Insert(e())),
            (r#"{"op":"remove","element":"e"}"#, Op::Remove(e())),
            (r#"{"op":"gather","element":"e"}"#, Op::Gather(e())),
            (r#"{"op":"admit","element":"e"}"#, Op::Admit(e())),
            (r#"{"op":"ban","element":"e"}"#, Op::Ban(e())),
        ]
    }

    fn lists() -> Forms {
        let element = Dot::new(replica(), 3);
        let last = Some(Dot::new(replica(), u64::MAX));
        let value = || b"v".to_vec();
        let insert = |after| Op::InsertAfter {
            after,
            value: value(),
        };
        let write = Op::WriteElement {
            element,
            value: value(),
        };
        vec![
            (r#"{"op":"insert_after","value":"v"}"#, insert(None)),
            (
                r#"{"op":"insert_after","after":null,"value":"v"}"#,
                insert(None),
            ),
            (
                r#"{"op":"insert_after","after":"abababababababab:3","value":"v"}"#,
                insert(Some(element)),
            ),
            (
                r#"{"op":"move_after","element":"abababababababab:3","after":"abababababababab:18446744073709551615"}"#,
                Op::MoveAfter {
                    element,
                    after: last,
                },
            ),
            (
                r#"{"op":"write_element","element":"abababababababab:3","value":"v"}"#,
                write,
            ),
            (
                r#"{"op":"remove_element","element":"abababababababab:3"}"#,
                Op::RemoveElement(element),
            ),
        ]
    }

    fn others() -> Forms {
        let field = |kind, op| Op::Field {
            name: b"f".to_vec(),
            kind,
            op: Box::new(op),
        };
        let merge = Op::Merge {
            tag: 7,
            payload: b"p".to_vec(),
        };
        let remove = Op::RemoveField {
            name: b"f".to_vec(),
            kind: Kind::BoundedCounter,
        };
        let fenced = Op::PutFenced {
            token: u64::MAX,
            value: b"v".to_vec(),
        };
        vec![
            (r#"{"op":"put","value":"é"}"#, Op::Put("é".into())),
            (
                r#"{"op":"put","value":{"base64":"/w=="}}"#,
                Op::Put(vec![255]),
            ),
            (
                r#"{"op":"put_fenced","token":18446744073709551615,"value":"v"}"#,
                fenced,
            ),
            (r#"{"op":"enable"}"#, Op::Enable),
            (r#"{"op":"disable"}"#, Op::Disable),
            (r#"{"op":"switch","on":true}"#, Op::Switch(true)),
            (r#"{"op":"merge","tag":7,"payload":"p"}"#, merge.clone()),
            (
                r#"{"op":"field","name":"f","kind":"map","then":{"op":"field","name":"f","kind":"custom:7","then":{"op":"merge","tag":7,"payload":"p"}}}"#,
                field(Kind::Map, field(Kind::Custom(7), merge)),
            ),
            (
                r#"{"op":"remove_field","name":"f","kind":"bounded-counter"}"#,
                remove,
            ),
            (r#"{"op":"delete"}"#, Op::Delete),
        ]
    }

    #[test]
    fn every_operation_has_a_json_form() {
        for (text, op) in forms() {
            assert_eq!(parse(text).unwrap(), op, "{text}");
        }
    }

    #[test]
    fn every_operation_is_described() {
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let described = json(crate::doors::http::node::OPENAPI);
        let schemas = described["components"]["schemas"]["Op"]["oneOf"].as_array();
        let described: BTreeSet<String> = schemas
            .unwrap()
            .iter()
            .map(|schema| schema["properties"]["op"]["const"].to_string())
            .collect();
        let tried = forms().into_iter().map(|(text, _)| json(text));
        let tried: BTreeSet<String> = tried.map(|form| form["op"].to_string()).collect();
        assert_eq!(described, tried);
    }

    #[test]
    fn mistakes_are_refused_and_not_guessed_at() {
        for text in [
            "{}",
            r#"{"op":"explode"}"#,
            r#"{"op":"add","amount":"3"}"#,
            r#"{"op":"add","amount":1.5}"#,
            r#"{"op":"put","value":3}"#,
            r#"{"op":"put","value":{"base64":"!"}}"#,
            r#"{"op":"put","value":{"base64":"","hex":""}}"#,
            r#"{"op":"put","value":"x","ttl":3}"#,
            r#"{"op":"enable","amount":3}"#,
            r#"{"op":"remove_field","name":"f","kind":"number"}"#,
            r#"{"op":"remove_field","name":"f","kind":"unknown:77"}"#,
            r#"{"op":"increase","amount":-1}"#,
            r#"{"op":"max","number":9223372036854775808}"#,
            r#"{"op":"switch","on":1}"#,
            r#"{"op":"give_rights","to":"me","amount":1}"#,
            r#"{"op":"insert_after","after":"first","value":"v"}"#,
            r#"{"op":"insert_after","after":3,"value":"v"}"#,
            r#"{"op":"move_after","after":"abababababababab:3"}"#,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let mut deep = String::from(r#"{"op":"enable"}"#);
        for _ in 0..1_000 {
            deep = format!(r#"{{"op":"field","name":"f","kind":"map","then":{deep}}}"#);
        }
        assert!(parse(&deep).is_err());
    }
}
