//! Values as people read them.

use serde_json::Value as Json;

use super::exit::{Exit, Failure};
use super::key;
use super::output;

/// Prints one value as the door gives it: `{"kind": …, "value": …}`.
///
/// Registers and documents are printed as they are, counters and flags as a word, sets, lists and maps one entry a line.
pub(crate) fn print(value: &Json) -> Result<(), Failure> {
    let inner = value.get("value");
    match (kind(value), inner) {
        ("set" | "g-set" | "rw-set", _) => values(elements(value)),
        ("sequence", _) => values(elements(value).iter().filter_map(|e| e.get("value"))),
        ("map", _) => fields(value).iter().try_for_each(output::line),
        ("register" | "document" | "fenced", Some(inner)) => output::value(&bytes(inner)?),
        (kind, inner) if kind.starts_with("custom:") => match inner {
            Some(joined) => output::value(&bytes(joined)?),
            None => values(payloads(value)),
        },
        _ => output::line(brief(value)),
    }
}

/// One value on one line.
pub(crate) fn brief(value: &Json) -> String {
    let inner = value.get("value").unwrap_or(&Json::Null);
    match (kind(value), inner) {
        (_, Json::Bool(on)) => if *on { "on" } else { "off" }.into(),
        ("set" | "g-set" | "rw-set", _) => {
            let elements = elements(value).iter().map(scalar);
            format!("{{{}}}", joined(elements, ", "))
        }
        ("sequence", _) => {
            let elements = elements(value).iter().map(element);
            format!("[{}]", joined(elements, ", "))
        }
        ("map", _) => format!("{{{}}}", fields(value).join(", ")),
        ("fenced", _) => {
            let token = value.get("token").unwrap_or(&Json::Null);
            format!("{} (token {token})", scalar(inner))
        }
        (kind, Json::Null) if kind.starts_with("custom:") => {
            joined(payloads(value).iter().map(scalar), " | ")
        }
        (kind, Json::Null) if kind.starts_with("unknown:") => {
            "(a value of a kind that only a later release shows)".into()
        }
        (_, inner) => scalar(inner),
    }
}

/// The elements of a set or list.
pub(crate) fn elements(value: &Json) -> &[Json] {
    array(value, "value")
}

/// The value of an element of a list on one line.
pub(crate) fn element(element: &Json) -> String {
    scalar(element.get("value").unwrap_or(&Json::Null))
}

/// What nobody has joined yet of a value of an application's own kind.
fn payloads(value: &Json) -> &[Json] {
    array(value, "payloads")
}

fn array<'a>(value: &'a Json, field: &str) -> &'a [Json] {
    let array = value.get(field).and_then(Json::as_array);
    array.map_or(&[], Vec::as_slice)
}

fn values<'a>(values: impl IntoIterator<Item = &'a Json>) -> Result<(), Failure> {
    let mut values = values.into_iter();
    values.try_for_each(|value| output::value(&bytes(value)?))
}

fn joined(parts: impl Iterator<Item = String>, between: &str) -> String {
    parts.collect::<Vec<_>>().join(between)
}

/// The fields of a map as `name = value`, by name. One name may have values of several kinds, and a name may be no text.
fn fields(map: &Json) -> Vec<String> {
    let object = |name| {
        map.get(name)
            .and_then(Json::as_object)
            .into_iter()
            .flatten()
    };
    let text = object("value").map(|(name, field)| (output::one_line(name), field));
    let other = object("fields_base64").map(|(name, field)| (format!("base64:{name}"), field));
    let mut shown = Vec::new();
    for (name, field) in text.chain(other) {
        shown.push(format!("{name} = {}", brief(field)));
        let also = field.get("also").and_then(Json::as_array);
        for field in also.into_iter().flatten() {
            shown.push(format!("{name} = {} (as a {})", brief(field), kind(field)));
        }
    }
    shown
}

/// The kind that the door names.
pub(crate) fn kind(value: &Json) -> &str {
    value.get("kind").and_then(Json::as_str).unwrap_or_default()
}

/// The bytes of a string or of `{"base64": …}`.
pub(crate) fn bytes(json: &Json) -> Result<Vec<u8>, Failure> {
    key::from_json(json).ok_or_else(|| {
        Failure::new(
            Exit::Failed,
            format!("the node's answer holds no value: {json}"),
        )
    })
}

/// Bytes on one line: text as it is, others in base64.
pub(crate) fn scalar(json: &Json) -> String {
    if let Some(text) = json.as_str() {
        return output::one_line(text);
    }
    match json.get("base64").and_then(Json::as_str) {
        Some(digits) => format!("base64:{digits}"),
        None => output::one_line(&json.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_has_a_line() {
        let values = [
            (json!({"kind": "register", "value": "a\nb"}), "a\\nb"),
            (
                json!({"kind": "register", "value": {"base64": "/w=="}}),
                "base64:/w==",
            ),
            (json!({"kind": "counter", "value": -3}), "-3"),
            (json!({"kind": "flag", "value": true}), "on"),
            (json!({"kind": "dw-flag", "value": false}), "off"),
            (json!({"kind": "set", "value": ["a", "b"]}), "{a, b}"),
            (json!({"kind": "rw-set", "value": []}), "{}"),
            (
                json!({"kind": "sequence", "value": [
                    {"element": "r:1", "value": "a\n"}, {"element": "r:2", "value": {"base64": "/w=="}}]}),
                "[a\\n, base64:/w==]",
            ),
            (
                json!({"kind": "fenced", "value": "a", "token": u64::MAX}),
                "a (token 18446744073709551615)",
            ),
            (
                json!({"kind": "bounded-counter", "value": 9, "rights": 2}),
                "9",
            ),
            (
                json!({"kind": "custom:7", "value": "ab", "payloads": ["a", "b"]}),
                "ab",
            ),
            (json!({"kind": "custom:7", "payloads": ["a", "b"]}), "a | b"),
            (
                json!({"kind": "unknown:77"}),
                "(a value of a kind that only a later release shows)",
            ),
            (
                json!({"kind": "map", "value": {"age": {"kind": "counter", "value": 7}}}),
                "{age = 7}",
            ),
            (
                json!({"kind": "map", "value": {"f": {"kind": "flag", "value": true, "also": [
                    {"kind": "counter", "value": 2}]}}, "fields_base64": {"/w==": {"kind": "counter", "value": 7}}}),
                "{f = on, f = 2 (as a counter), base64:/w== = 7}",
            ),
        ];
        for (value, line) in values {
            assert_eq!(brief(&value), line);
        }
    }

    #[test]
    fn hostile_names_are_escaped() {
        let value =
            json!({"kind": "map", "value": {"\u{1b}[2J": {"kind": "flag", "value": false}}});
        assert_eq!(brief(&value), "{\\u{1b}[2J = off}");
    }
}
