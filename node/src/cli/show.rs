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
        ("map", Some(Json::Object(fields))) => fields.iter().try_for_each(|(name, field)| {
            output::line(format_args!(
                "{} = {}",
                output::one_line(name),
                brief(field)
            ))
        }),
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
        ("map", Json::Object(fields)) => {
            let field = |(name, field): (&String, &Json)| {
                format!("{} = {}", output::one_line(name), brief(field))
            };
            let fields: Vec<String> = fields.iter().map(field).collect();
            format!("{{{}}}", fields.join(", "))
        }
        (_, Json::Null) => output::one_line(&value.to_string()),
        (_, inner) => scalar(inner),
    }
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
    match json {
        Json::String(text) => output::one_line(text),
        other => match other.get("base64").and_then(Json::as_str) {
            Some(digits) => format!("base64:{digits}"),
            None => output::one_line(&other.to_string()),
        },
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
