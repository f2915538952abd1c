//! What the HTTP door shows, read back.

use data_encoding::BASE64;
use meshwork_crdt::Kind;
use serde_json::Value as Json;

use super::{Seen, Shown, Slot};

/// An answer of the HTTP door is not as described.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the answer has no {what} that can be read: {json}")]
pub struct ReadSeen {
    /// What was looked for.
    pub what: &'static str,
    /// Where.
    pub json: String,
}

impl Seen {
    /// What `GET /v1/keys/…` answered. It does not tell the version.
    ///
    /// # Errors
    /// [`ReadSeen`].
    pub fn from_json(answer: &Json) -> Result<Self, ReadSeen> {
        let mut seen = Self::default();
        for value in array(answer, "values")? {
            seen.take_in_json(&[], value)?;
        }
        Ok(seen)
    }

    fn take_in_json(&mut self, path: &[Vec<u8>], json: &Json) -> Result<(), ReadSeen> {
        let kind = json.get("kind").and_then(Json::as_str);
        let kind: Kind = kind
            .and_then(|kind| kind.parse().ok())
            .ok_or_else(|| wrong("kind", json))?;
        let value = json.get("value").unwrap_or(&Json::Null);
        if kind == Kind::Map {
            return self.take_in_json_fields(path, json);
        }
        let shown = if kind == Kind::Flag {
            (value.as_bool() == Some(true)).then_some(Shown::On)
        } else if kind == Kind::Counter {
            let number = value.as_i64().ok_or_else(|| wrong("number", json))?;
            Shown::number(number.into())
        } else if kind == Kind::Register {
            values(array(json, "siblings")?)?
        } else if kind == Kind::Set {
            values(array(json, "value")?)?
        } else if kind == Kind::Document {
            let text = value.as_str().ok_or_else(|| wrong("text", json))?;
            Shown::text(text.to_owned())
        } else {
            None
        };
        let path = path.to_vec();
        self.insert(Slot { path, kind }, shown);
        Ok(())
    }

    fn take_in_json_fields(&mut self, path: &[Vec<u8>], json: &Json) -> Result<(), ReadSeen> {
        let fields = json.get("value").and_then(Json::as_object);
        for (name, field) in fields.ok_or_else(|| wrong("fields", json))? {
            let mut path = path.to_vec();
            path.push(name.clone().into_bytes());
            self.take_in_json(&path, field)?;
            let also = field.get("also").and_then(Json::as_array);
            for field in also.into_iter().flatten() {
                self.take_in_json(&path, field)?;
            }
        }
        Ok(())
    }
}

fn array<'a>(json: &'a Json, what: &'static str) -> Result<&'a Vec<Json>, ReadSeen> {
    let array = json.get(what).and_then(Json::as_array);
    array.ok_or_else(|| wrong(what, json))
}

fn values(values: &[Json]) -> Result<Option<Shown>, ReadSeen> {
    let values: Result<Vec<Vec<u8>>, ReadSeen> = values.iter().map(bytes).collect();
    Ok(Shown::values(values?))
}

fn bytes(json: &Json) -> Result<Vec<u8>, ReadSeen> {
    let encoded = json.get("base64").and_then(Json::as_str);
    let bytes = match (json.as_str(), encoded) {
        (Some(text), _) => Some(text.as_bytes().to_vec()),
        (None, Some(encoded)) => BASE64.decode(encoded.as_bytes()).ok(),
        (None, None) => None,
    };
    bytes.ok_or_else(|| wrong("bytes", json))
}

fn wrong(what: &'static str, json: &Json) -> ReadSeen {
    let json = json.to_string();
    ReadSeen { what, json }
}
