//! Operations in JSON.

use data_encoding::BASE64;
use meshwork_crdt::{Kind, Op};
use serde::Deserialize;
use serde::de::{Deserializer, Error};

/// An operation as a client writes it: `{"op":"add","amount":3}`.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum JsonOp {
    Put {
        value: Data,
    },
    Add {
        amount: i64,
    },
    Insert {
        element: Data,
    },
    Remove {
        element: Data,
    },
    Enable {},
    Disable {},
    Field {
        name: Data,
        #[serde(deserialize_with = "kind")]
        kind: Kind,
        then: Box<JsonOp>,
    },
    RemoveField {
        name: Data,
        #[serde(deserialize_with = "kind")]
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

/// A kind by its name.
fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
    String::deserialize(deserializer)?
        .parse()
        .map_err(D::Error::custom)
}

impl From<JsonOp> for Op {
    fn from(op: JsonOp) -> Self {
        match op {
            JsonOp::Put { value } => Self::Put(value.0),
            JsonOp::Add { amount } => Self::Add(amount),
            JsonOp::Insert { element } => Self::Insert(element.0),
            JsonOp::Remove { element } => Self::Remove(element.0),
            JsonOp::Enable {} => Self::Enable,
            JsonOp::Disable {} => Self::Disable,
            JsonOp::Field { name, kind, then } => Self::Field {
                name: name.0,
                kind,
                op: Box::new((*then).into()),
            },
            JsonOp::RemoveField { name, kind } => Self::RemoveField { name: name.0, kind },
            JsonOp::Merge { tag, payload } => Self::Merge {
                tag,
                payload: payload.0,
            },
            JsonOp::Delete {} => Self::Delete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Op, serde_json::Error> {
        serde_json::from_str::<JsonOp>(text).map(Op::from)
    }

    #[test]
    fn every_operation_has_a_json_form() {
        let field = |kind, op| Op::Field {
            name: b"f".to_vec(),
            kind,
            op: Box::new(op),
        };
        let forms = [
            (r#"{"op":"put","value":"é"}"#, Op::Put("é".into())),
            (
                r#"{"op":"put","value":{"base64":"/w=="}}"#,
                Op::Put(vec![255]),
            ),
            (r#"{"op":"add","amount":-3}"#, Op::Add(-3)),
            (
                r#"{"op":"insert","element":"e"}"#,
                Op::Insert(b"e".to_vec()),
            ),
            (
                r#"{"op":"remove","element":"e"}"#,
                Op::Remove(b"e".to_vec()),
            ),
            (r#"{"op":"enable"}"#, Op::Enable),
            (r#"{"op":"disable"}"#, Op::Disable),
            (
                r#"{"op":"field","name":"f","kind":"map","then":{"op":"field","name":"f","kind":"custom:7","then":{"op":"merge","tag":7,"payload":"p"}}}"#,
                field(
                    Kind::Map,
                    field(
                        Kind::Custom(7),
                        Op::Merge {
                            tag: 7,
                            payload: b"p".to_vec(),
                        },
                    ),
                ),
            ),
            (
                r#"{"op":"remove_field","name":"f","kind":"counter"}"#,
                Op::RemoveField {
                    name: b"f".to_vec(),
                    kind: Kind::Counter,
                },
            ),
            (r#"{"op":"delete"}"#, Op::Delete),
        ];
        for (text, op) in forms {
            assert_eq!(parse(text).unwrap(), op, "{text}");
        }
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
