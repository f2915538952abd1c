//! Values in JSON.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use meshwork_crdt::{ActorSeed, CausalContext, Object, OrMap, Text, Value};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// What is under a key, as a client sees it.
#[derive(serde::Serialize)]
pub(super) struct Shown<'a> {
    key: Bytes<'a>,
    values: Vec<ShownValue<'a>>,
    answered: usize,
}

impl<'a> Shown<'a> {
    /// `key` is the key's name with its namespace before it.
    pub(super) fn new(key: &'a [u8], object: &'a Object, answered: usize) -> Self {
        let version = object.version();
        let values = object.values().map(|value| ShownValue { value, version });
        Self {
            key: Bytes(key),
            values: values.collect(),
            answered,
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
            Value::Counter(counter) => map.serialize_entry("value", &counter.value()),
            Value::Register(register) => {
                let latest = register.latest().map(|value| Bytes(value));
                map.serialize_entry("value", &latest)?;
                let siblings = register.siblings().map(|(_, _, value)| Bytes(value));
                map.serialize_entry("siblings", &siblings.collect::<Vec<_>>())
            }
            Value::Set(set) => {
                let elements = set.iter().map(|element| Bytes(element));
                map.serialize_entry("value", &elements.collect::<Vec<_>>())
            }
            Value::Map(fields) => self.write_fields(fields, map),
            Value::Document(document) => {
                let text = Text::open(document, self.version, READER);
                map.serialize_entry("value", &text.text())
            }
            Value::Custom(_, custom) => {
                let payloads = custom.payloads().map(|(_, payload)| Bytes(payload));
                map.serialize_entry("payloads", &payloads.collect::<Vec<_>>())
            }
        }
    }

    /// JSON knows a name once and in UTF-8: the values of other kinds under the same name are in `also`, and fields with
    /// other names in `fields_base64`.
    fn write_fields<M: SerializeMap>(&self, fields: &OrMap, map: &mut M) -> Result<(), M::Error> {
        let mut text: BTreeMap<&str, ShownField<'_>> = BTreeMap::new();
        let mut other: BTreeMap<String, ShownField<'_>> = BTreeMap::new();
        for (_, name, value) in fields.fields() {
            let version = self.version;
            let shown = ShownValue { value, version };
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
const READER: ActorSeed = ActorSeed::new(meshwork_crdt::ReplicaId::from_bytes([0; 8]), 0);

#[cfg(test)]
mod tests {
    use super::*;
    use meshwork_crdt::{Dot, Hlc, Kind, Merges, Op, ReplicaId, Stamp};

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
        serde_json::to_string(&Shown::new(b"n/k", object, 1)).unwrap()
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
        let set = object(
            *b"replicaA",
            &[Op::Insert(b"b".to_vec()), Op::Insert(b"a".to_vec())],
        );
        assert!(shown(&set).contains(r#"[{"kind":"set","value":["a","b"]}]"#));
        let flag = object(*b"replicaA", &[Op::Enable]);
        assert!(shown(&flag).contains(r#"{"kind":"flag","value":true}"#));
    }

    #[test]
    fn counters_beyond_64_bits_are_shown_exactly() {
        let mut counter = object(*b"replicaA", &[Op::Add(i64::MAX)]);
        for replica in [*b"replicaB", *b"replicaC"] {
            counter.join(&object(replica, &[Op::Add(i64::MAX)]));
        }
        let sum = 3 * i128::from(i64::MAX);
        assert!(shown(&counter).contains(&format!(r#"{{"kind":"counter","value":{sum}}}"#)));
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
