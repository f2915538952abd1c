//! Values in JSON.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use meshwork_crdt::{ActorSeed, CausalContext, Dot, Merges, Object, OrMap, ReplicaId, Text, Value};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::Mesh;

/// What is under a key, as a client sees it.
#[derive(serde::Serialize)]
pub(super) struct Shown<'a> {
    key: Bytes<'a>,
    values: Vec<ShownValue<'a>>,
    answered: usize,
}

impl<'a> Shown<'a> {
    /// `key` is the key's name with its namespace before it.
    pub(super) fn new(
        key: &'a [u8],
        object: &'a Object,
        answered: usize,
        reader: Reader<'a>,
    ) -> Self {
        let show = |value| ShownValue {
            value,
            version: object.version(),
            reader,
        };
        let values = object.values().map(show);
        Self {
            key: Bytes(key),
            values: values.collect(),
            answered,
        }
    }
}

/// Who shows a value, on which some of it depends.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    /// Whose rights on a bounded counter are told.
    replica: ReplicaId,
    /// The kinds of the application that can be joined.
    merges: &'a Merges,
}

impl<'a> Reader<'a> {
    pub(super) fn of(mesh: &'a Mesh) -> Self {
        Self {
            replica: mesh.replica(),
            merges: &mesh.running.merges,
        }
    }
}

/// Bytes: a string if they are UTF-8, and `{"base64": "…"}` else.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &BASE64.encode(self.0))?;
                map.end()
            }
        }
    }
}

/// One value with its kind.
struct ShownValue<'a> {
    value: &'a Value,
    /// Of the object that the value is in.
    version: &'a CausalContext,
    reader: Reader<'a>,
}

impl Serialize for ShownValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.write(&mut map)?;
        map.end()
    }
}

impl ShownValue<'_> {
    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("kind", &self.value.kind().to_string())?;
        match self.value {
            Value::Flag(flag) => map.serialize_entry("value", &flag.is_enabled()),
            Value::DwFlag(flag) => map.serialize_entry("value", &flag.is_enabled()),
            Value::Counter(counter) => map.serialize_entry("value", &counter.value()),
            Value::GCounter(counter) => map.serialize_entry("value", &counter.value()),
            Value::BoundedCounter(counter) => {
                map.serialize_entry("value", &counter.value())?;
                map.serialize_entry("rights", &counter.rights(self.reader.replica))
            }
            Value::Max(max) => map.serialize_entry("value", &max.value()),
            Value::Min(min) => map.serialize_entry("value", &min.value()),
            Value::Register(register) => {
                let latest = register.latest().map(|value| Bytes(value));
                map.serialize_entry("value", &latest)?;
                let siblings = register.siblings().map(|(_, _, value)| value);
                map.serialize_entry("siblings", &list(siblings))
            }
            Value::Fenced(fenced) => {
                let (token, value) = fenced.value().unzip();
                map.serialize_entry("value", &value.map(|value| Bytes(value)))?;
                map.serialize_entry("token", &token)
            }
            Value::Set(set) => map.serialize_entry("value", &list(set.iter())),
            Value::GSet(set) => map.serialize_entry("value", &list(set.iter())),
            Value::RwSet(set) => map.serialize_entry("value", &list(set.iter())),
            Value::Sequence(sequence) => {
                let elements = sequence.elements().into_iter().map(ShownElement::from);
                map.serialize_entry("value", &elements.collect::<Vec<_>>())
            }
            Value::Map(fields) => self.write_fields(fields, map),
            Value::Document(document) => {
                let text = Text::open(document, self.version, READER);
                map.serialize_entry("value", &text.text())
            }
            Value::Custom(tag, custom) => {
                if let Some(joined) = custom.joined(*tag, self.reader.merges) {
                    map.serialize_entry("value", &Bytes(&joined))?;
                }
                let payloads = custom.payloads().map(|(_, payload)| Bytes(payload));
                map.serialize_entry("payloads", &payloads.collect::<Vec<_>>())
            }
            // What is in it only a later release can tell.
            Value::Unknown(..) => Ok(()),
        }
    }

    /// JSON knows a name once and in UTF-8: the values of other kinds under the same name are in `also`, and fields with
    /// other names in `fields_base64`.
    fn write_fields<M: SerializeMap>(&self, fields: &OrMap, map: &mut M) -> Result<(), M::Error> {
        let mut text: BTreeMap<&str, ShownField<'_>> = BTreeMap::new();
        let mut other: BTreeMap<String, ShownField<'_>> = BTreeMap::new();
        for (_, name, value) in fields.fields() {
            let shown = ShownValue { value, ..*self };
            match std::str::from_utf8(name) {
                Ok(name) => text.entry(name).or_default().0.push(shown),
                Err(_) => other.entry(BASE64.encode(name)).or_default().0.push(shown),
            }
        }
        map.serialize_entry("value", &text)?;
        match other.is_empty() {
            true => Ok(()),
            false => map.serialize_entry("fields_base64", &other),
        }
    }
}

/// An element of a list, with the name by which operations call it.
#[derive(serde::Serialize)]
struct ShownElement<'a> {
    element: String,
    value: Bytes<'a>,
}

impl<'a> From<(Dot, &'a [u8])> for ShownElement<'a> {
    fn from((name, value): (Dot, &'a [u8])) -> Self {
        Self {
            element: name.to_string(),
            value: Bytes(value),
        }
    }
}

fn list<'a>(values: impl Iterator<Item = &'a Vec<u8>>) -> Vec<Bytes<'a>> {
    values.map(|value| Bytes(value)).collect()
}

/// The values of all kinds under one name; never empty.
#[derive(Default)]
struct ShownField<'a>(Vec<ShownValue<'a>>);

impl Serialize for ShownField<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some((first, also)) = self.0.split_first() {
            first.write(&mut map)?;
            if !also.is_empty() {
                map.serialize_entry("also", also)?;
            }
        }
        map.end()
    }
}

/// Nothing is written with it.
const READER: ActorSeed = ActorSeed::new(ReplicaId::from_bytes([0; 8]), 0);

#[cfg(test)]
mod tests {
    use super::*;
    use meshwork_crdt::{Hlc, Kind, Limits, Op, Stamp};

    fn object(replica: [u8; 8], ops: &[Op]) -> Object {
        let mut object = Object::new();
        for (counter, op) in (1..).zip(ops) {
            let stamp = Stamp {
                dot: Dot::new(ReplicaId::from_bytes(replica), counter),
                claim_after: None,
                hlc: Hlc::default(),
            };
            object.join(&object.apply(&stamp, op, &Merges::default()).unwrap());
        }
        object
    }

    fn shown(object: &Object) -> String {
        let mut merges = Merges::default();
        merges.register_fn(7, |a, b| Ok(a.max(b).to_vec()));
        let reader = Reader {
            replica: ReplicaId::from_bytes(*b"replicaA"),
            merges: &merges,
        };
        serde_json::to_string(&Shown::new(b"n/k", object, 1, reader)).unwrap()
    }

    fn field(name: &[u8], kind: Kind, op: Op) -> Op {
        Op::Field {
            name: name.to_vec(),
            kind,
            op: Box::new(op),
        }
    }

    #[test]
    fn values_are_shown_by_kind() {
        let put = object(*b"replicaA", &[Op::Put(vec![0xff])]);
        assert_eq!(
            shown(&put),
            r#"{"key":"n/k","values":[{"kind":"register","value":{"base64":"/w=="},"siblings":[{"base64":"/w=="}]}],"answered":1}"#
        );
        let bytes = |text: &str| text.as_bytes().to_vec();
        let insert = |value| Op::InsertAfter {
            after: None,
            value: bytes(value),
        };
        let fenced = Op::PutFenced {
            token: u64::MAX,
            value: bytes("v"),
        };
        let merge = |tag, payload| Op::Merge {
            tag,
            payload: bytes(payload),
        };
        let cases = [
            (
                vec![Op::Insert(bytes("b")), Op::Insert(bytes("a"))],
                r#"{"kind":"set","value":["a","b"]}"#,
            ),
            (
                vec![Op::Gather(bytes("b"))],
                r#"{"kind":"g-set","value":["b"]}"#,
            ),
            (
                vec![Op::Admit(bytes("b")), Op::Ban(bytes("a"))],
                r#"{"kind":"rw-set","value":["b"]}"#,
            ),
            (vec![Op::Enable], r#"{"kind":"flag","value":true}"#),
            (
                vec![Op::Switch(false)],
                r#"{"kind":"dw-flag","value":false}"#,
            ),
            (vec![Op::Max(-3)], r#"{"kind":"max","value":-3}"#),
            (
                vec![Op::Min(i64::MIN)],
                r#"{"kind":"min","value":-9223372036854775808}"#,
            ),
            (
                vec![fenced],
                r#"{"kind":"fenced","value":"v","token":18446744073709551615}"#,
            ),
            (
                vec![Op::Deposit(5), Op::Withdraw(2)],
                r#"{"kind":"bounded-counter","value":3,"rights":3}"#,
            ),
            (
                vec![insert("b"), insert("a")],
                r#"{"kind":"sequence","value":[{"element":"7265706c69636141:2","value":"a"},{"element":"7265706c69636141:1","value":"b"}]}"#,
            ),
            (
                vec![merge(7, "a"), merge(7, "b")],
                r#"{"kind":"custom:7","value":"b","payloads":["a","b"]}"#,
            ),
            (
                vec![merge(8, "a")],
                r#"{"kind":"custom:8","payloads":["a"]}"#,
            ),
        ];
        for (ops, value) in cases {
            let shown = shown(&object(*b"replicaA", &ops));
            assert!(shown.contains(&format!(r#""values":[{value}]"#)), "{shown}");
        }
    }

    #[test]
    fn rights_are_those_of_the_node_that_is_asked() {
        let counter = object(*b"replicaB", &[Op::Deposit(5)]);
        assert!(shown(&counter).contains(r#""value":5,"rights":0"#));
    }

    #[test]
    fn of_kinds_of_later_releases_the_name_is_shown() {
        let mut bytes = object(*b"replicaA", &[Op::Switch(true)]).encode();
        let flag = bytes.iter().rposition(|byte| *byte == 7).unwrap();
        bytes[flag] = 77;
        let later = Object::decode(&bytes, &Limits::DEFAULT).unwrap();
        assert!(shown(&later).contains(r#""values":[{"kind":"unknown:77"}]"#));
    }

    #[test]
    fn counters_beyond_64_bits_are_shown_exactly() {
        let mut counter = object(*b"replicaA", &[Op::Add(i64::MAX)]);
        for replica in [*b"replicaB", *b"replicaC"] {
            counter.join(&object(replica, &[Op::Add(i64::MAX)]));
        }
        let sum = 3 * i128::from(i64::MAX);
        assert!(shown(&counter).contains(&format!(r#"{{"kind":"counter","value":{sum}}}"#)));
        let mut counter = object(*b"replicaA", &[Op::Increase(u64::MAX)]);
        counter.join(&object(*b"replicaB", &[Op::Increase(1)]));
        let sum = u128::from(u64::MAX) + 1;
        assert!(shown(&counter).contains(&format!(r#"{{"kind":"g-counter","value":{sum}}}"#)));
    }

    #[test]
    fn no_field_of_a_map_is_hidden() {
        let map = object(
            *b"replicaA",
            &[
                field(b"f", Kind::Flag, Op::Enable),
                field(b"f", Kind::Counter, Op::Add(2)),
                field(b"\xff", Kind::Counter, Op::Add(7)),
            ],
        );
        let shown = shown(&map);
        assert!(
            shown.contains(
                r#""f":{"kind":"flag","value":true,"also":[{"kind":"counter","value":2}]}"#
            ),
            "{shown}"
        );
        assert!(
            shown.contains(r#""fields_base64":{"/w==":{"kind":"counter","value":7}}"#),
            "{shown}"
        );
    }
}
