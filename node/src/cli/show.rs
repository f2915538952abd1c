//! Values as people read them.

use serde_json::Value as Json;

use super::exit::{Exit, Failure};
use super::key;
use super::output;

/// Prints one value as the door gives it: `{"kind": …, "value": …}`.
///
/// Registers and documents are printed as they are, counters and flags as a word, sets and maps one entry a line.
pub(crate) fn print(value: &Json) -> Result<(), Failure> {
    let inner = value.get("value");
    match (kind(value), inner) {
        ("register" | "document", Some(inner)) => output::value(&bytes(inner)?),
        ("set", Some(Json::Array(elements))) => elements
            .iter()
            .try_for_each(|element| output::value(&bytes(element)?)),
        ("map", Some(_)) => fields(value).iter().try_for_each(output::line),
        _ => output::line(brief(value)),
    }
}

/// One value on one line.
pub(crate) fn brief(value: &Json) -> String {
    let inner = value.get("value").unwrap_or(&Json::Null);
    match (kind(value), inner) {
        ("flag", Json::Bool(on)) => if *on { "on" } else { "off" }.into(),
        ("set", Json::Array(elements)) => {
            let elements: Vec<String> = elements.iter().map(scalar).collect();
            format!("{{{}}}", elements.join(", "))
        }
        ("map", _) => format!("{{{}}}", fields(value).join(", ")),
        (_, Json::Null) => output::one_line(&value.to_string()),
        (_, inner) => scalar(inner),
    }
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

fn scalar(json: &Json) -> String {
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
            (json!({"kind": "set", "value": ["a", "b"]}), "{a, b}"),
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
