//! Keys and what every command on keys may be told.

use std::time::Duration;

use clap::{Args, ValueEnum};
use meshwork_sync::{InvalidKey, Key};
use serde_json::{Value as Json, json};

/// A key as it is typed: `namespace/name`.
pub(crate) fn parse(text: &str) -> Result<Key, InvalidKey> {
    Key::parse(text)
}

/// How far a command on a key reaches and how long it may take.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Reach {
    /// How many replicas must take part
    #[arg(long, value_enum, default_value_t = Level::One, value_name = "LEVEL")]
    pub(crate) level: Level,
    /// When to give up: up to 60s
    #[arg(long, default_value = "5s", value_parser = timeout, value_name = "TIME")]
    pub(crate) timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// This node's disk; works with no network at all
    Local,
    /// One replica
    One,
    /// More than half of the replicas
    Quorum,
    /// Every replica
    All,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::One => "one",
            Self::Quorum => "quorum",
            Self::All => "all",
        }
    }
}

impl Reach {
    /// The address of a key below `/v1/`, such as `keys/notes/today?level=one&timeout_ms=5000`.
    pub(crate) fn path(&self, collection: &str, key: &Key) -> String {
        let Self { level, timeout } = self;
        let (level, timeout_ms) = (level.name(), timeout.as_millis());
        let address = address(collection, key);
        format!("{address}?level={level}&timeout_ms={timeout_ms}")
    }

    /// The address of the same key among those of the strong group, for which no level is needed.
    pub(crate) fn strong_path(&self, key: &Key) -> String {
        strong_path("keys", key, self.timeout)
    }

    /// The same for something below the key's own address.
    pub(crate) fn path_below(&self, collection: &str, key: &Key, last: &str) -> String {
        let path = self.path(collection, key);
        path.replacen('?', &format!("/{last}?"), 1)
    }
}

/// The address of a key, lock or sequence of the strong group.
pub(crate) fn strong_path(kind: &str, key: &Key, timeout: Duration) -> String {
    let address = address(&format!("strong/{kind}"), key);
    format!("{address}?timeout_ms={}", timeout.as_millis())
}

pub(crate) fn address(collection: &str, key: &Key) -> String {
    let (namespace, name) = (key.namespace(), percent(key.name()));
    format!("{collection}/{namespace}/{name}")
}

/// Bytes for a URL, with every `/` encoded too, so that no name looks like a part of a document such as `…/chunks`.
pub(crate) fn percent(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// Bytes in JSON: text as a string, others as `{"base64": …}`.
pub(crate) fn to_json(bytes: &[u8]) -> Json {
    match std::str::from_utf8(bytes) {
        Ok(text) => Json::from(text),
        Err(_) => json!({"base64": data_encoding::BASE64.encode(bytes)}),
    }
}

/// The bytes of such JSON; `None` if it is neither form.
pub(crate) fn from_json(json: &Json) -> Option<Vec<u8>> {
    if let Some(text) = json.as_str() {
        return Some(text.as_bytes().to_vec());
    }
    let digits = json.get("base64")?.as_str()?;
    data_encoding::BASE64.decode(digits.as_bytes()).ok()
}

/// The key that such JSON names.
pub(crate) fn of_json(json: &Json) -> Option<Key> {
    let bytes = from_json(json)?;
    let slash = bytes.iter().position(|byte| *byte == b'/')?;
    let (namespace, name) = bytes.split_at_checked(slash)?;
    Key::new(std::str::from_utf8(namespace).ok()?, name.get(1..)?).ok()
}

pub(crate) fn timeout(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match time {
        _ if time.is_zero() => Err("must be longer than nothing".into()),
        _ if time > TIMEOUT_MAX => Err("must not be longer than 60s".into()),
        _ => Ok(time),
    }
}

/// The door grants no more.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_fits_an_address() {
        let key = Key::new("notes", "a b/é?#%\u{1b}".as_bytes()).unwrap();
        assert_eq!(
            address("keys", &key),
            "keys/notes/a%20b%2F%C3%A9%3F%23%25%1B"
        );
    }

    #[test]
    fn below_a_key_the_question_mark_of_its_name_does_not_count() {
        let reach = Reach {
            level: Level::Quorum,
            timeout: Duration::from_millis(1500),
        };
        let key = Key::new("notes", b"why?").unwrap();
        assert_eq!(
            reach.path_below("docs", &key, "chunks"),
            "docs/notes/why%3F/chunks?level=quorum&timeout_ms=1500"
        );
    }

    #[test]
    fn bytes_round_trip_through_json() {
        for bytes in [&b"tea"[..], b"\xff\x00", b""] {
            assert_eq!(from_json(&to_json(bytes)).as_deref(), Some(bytes));
        }
        assert_eq!(from_json(&json!({"base64": "!"})), None);
        assert_eq!(from_json(&json!(3)), None);
    }

    #[test]
    fn keys_round_trip_through_json() {
        for name in [&b"a/b"[..], b"\xff"] {
            let key = Key::new("notes", name).unwrap();
            let bytes = [b"notes/", name].concat();
            assert_eq!(of_json(&to_json(&bytes)), Some(key));
        }
        assert_eq!(of_json(&json!("no-slash")), None);
    }

    #[test]
    fn timeouts_have_both_ends() {
        assert_eq!(timeout("60s"), Ok(TIMEOUT_MAX));
        for wrong in ["0s", "61s", "soon", ""] {
            assert!(timeout(wrong).is_err(), "{wrong}");
        }
    }
}
