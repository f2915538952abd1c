//! What a value is filed under.

use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use std::borrow::Cow;
use std::sync::Arc;

use meshwork_dht::Position;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A namespace and a name inside it, shown as `namespace/name`.
///
/// A copy shares the bytes, and the position is computed once.
// One piece of memory, so that a comparison looks in one place: position, length of the namespace, namespace, name.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Arc<[u8]>);

/// A key as it is written.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Key")]
struct Parts<'a> {
    #[serde(borrow)]
    namespace: Cow<'a, str>,
    #[serde(borrow, with = "serde_bytes")]
    name: Cow<'a, [u8]>,
}

/// A key is outside its limits. The caller's mistake; nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// The namespace is empty, too long, or holds other characters than ASCII letters, digits, `-`, `_` and `.`.
    #[error("{0:?} is not a namespace: use 1 to {max} letters, digits, '-', '_' or '.'", max = Key::NAMESPACE_BYTES_MAX)]
    Namespace(String),
    /// The name is empty.
    #[error("the name after the namespace is empty: write it as namespace/name")]
    EmptyName,
    /// The name is too long.
    #[error(
        "the name is {bytes} bytes long; at most {} are allowed",
        Key::NAME_BYTES_MAX
    )]
    NameTooLong {
        /// Its length.
        bytes: usize,
    },
    /// There is no `/` between namespace and name.
    #[error("{0:?} names no namespace: write it as namespace/name")]
    NoNamespace(String),
}

impl Key {
    /// Longest namespace, in bytes.
    pub const NAMESPACE_BYTES_MAX: usize = 64;
    /// Longest name, in bytes.
    pub const NAME_BYTES_MAX: usize = 1024;

    /// The key `name` in `namespace`.
    ///
    /// # Errors
    /// [`InvalidKey`] when either is outside its limits.
    pub fn new(namespace: &str, name: &[u8]) -> Result<Self, InvalidKey> {
        let key = Self::unchecked(namespace, name);
        key.check().map(|()| key)
    }

    /// Reads `namespace/name`; everything after the first `/` is the name.
    ///
    /// # Errors
    /// [`InvalidKey`] when there is no `/` or a part is outside its limits.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let (namespace, name) = text
            .split_once('/')
            .ok_or_else(|| InvalidKey::NoNamespace(text.to_owned()))?;
        Self::new(namespace, name.as_bytes())
    }

    /// The limits, checked again for a key that came from a peer or a disk.
    ///
    /// # Errors
    /// [`InvalidKey`] when a part is outside its limits.
    pub fn check(&self) -> Result<(), InvalidKey> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
        let namespace = self.namespace().as_bytes();
        if namespace.is_empty()
            || namespace.len() > Self::NAMESPACE_BYTES_MAX
            || !namespace.iter().copied().all(allowed)
        {
            return Err(InvalidKey::Namespace(
                self.namespace().chars().take(80).collect(),
            ));
        }
        match self.name().len() {
            0 => Err(InvalidKey::EmptyName),
            bytes if bytes > Self::NAME_BYTES_MAX => Err(InvalidKey::NameTooLong { bytes }),
            _ => Ok(()),
        }
    }

    /// The namespace.
    ///
    /// # Panics
    /// Never: a key is made of a string.
    #[must_use]
    pub fn namespace(&self) -> &str {
        core::str::from_utf8(self.parts().0).expect("a key is made of a string")
    }

    /// The name inside the namespace.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.parts().1
    }

    /// Where the key lies on the ring.
    #[must_use]
    pub fn position(&self) -> Position {
        let (position, _) = split(&self.0);
        Position::from_bytes(*position)
    }

    fn unchecked(namespace: &str, name: &[u8]) -> Self {
        let position = Position::of(namespace, name);
        let length = namespace.len().to_le_bytes();
        let head = position.as_bytes().as_slice();
        Self([head, &length, namespace.as_bytes(), name].concat().into())
    }

    /// Namespace and name.
    fn parts(&self) -> (&[u8], &[u8]) {
        let (_, rest) = split::<{ Position::BYTES }>(&self.0);
        let (length, parts) = split(rest);
        parts.split_at(usize::from_le_bytes(*length))
    }
}

/// The first so many bytes of a key, which are there in every key.
fn split<const N: usize>(bytes: &[u8]) -> (&[u8; N], &[u8]) {
    bytes.split_first_chunk().expect("a key begins with them")
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parts = Parts {
            namespace: self.namespace().into(),
            name: self.name().into(),
        };
        parts.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parts = Parts::deserialize(deserializer)?;
        Ok(Self::unchecked(&parts.namespace, &parts.name))
    }
}

/// Its position stands for it.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.position().as_bytes());
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace(), self.name().escape_ascii())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// Keys of one namespace whose names start with the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Prefix {
    /// The namespace.
    pub namespace: String,
    /// The first bytes of the names; empty means all of the namespace.
    pub name: Vec<u8>,
}

impl Prefix {
    /// Reads `namespace/first-bytes` or `namespace/`.
    ///
    /// # Errors
    /// [`InvalidKey`] when there is no `/` or a part is outside its limits.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        // A prefix may end at the slash; one more byte makes it a key whose rules are the same.
        let key = Key::parse(&format!("{text}*"))?;
        let name = key.name().strip_suffix(b"*").unwrap_or(key.name());
        Ok(Self {
            namespace: key.namespace().to_owned(),
            name: name.to_vec(),
        })
    }

    /// Whether `key` is one of these.
    #[must_use]
    pub fn covers(&self, key: &Key) -> bool {
        self.namespace == key.namespace() && key.name().starts_with(&self.name)
    }

    pub(crate) fn check(&self) -> Result<(), InvalidKey> {
        Key::new(&self.namespace, b"*")?;
        match self.name.len() {
            bytes if bytes > Key::NAME_BYTES_MAX => Err(InvalidKey::NameTooLong { bytes }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_slashes_and_any_bytes() {
        let key = Key::parse("notes/2026/today").unwrap();
        assert_eq!(
            (key.namespace(), key.name()),
            ("notes", b"2026/today".as_slice())
        );
        assert_eq!(Key::new("n", b"\x1b[2J").unwrap().to_string(), "n/\\x1b[2J");
    }

    #[test]
    fn keys_outside_the_limits_are_refused() {
        assert_eq!(
            Key::parse("notes"),
            Err(InvalidKey::NoNamespace("notes".into()))
        );
        assert_eq!(Key::parse("notes/"), Err(InvalidKey::EmptyName));
        assert!(matches!(
            Key::parse("no tes/a"),
            Err(InvalidKey::Namespace(_))
        ));
        assert!(matches!(
            Key::parse(&format!("{}/a", "n".repeat(65))),
            Err(InvalidKey::Namespace(_))
        ));
        assert_eq!(
            Key::new("n", &[0; 1025]),
            Err(InvalidKey::NameTooLong { bytes: 1025 })
        );
        assert!(Key::new("n", &[0; 1024]).is_ok());
    }

    #[test]
    fn keys_are_in_the_order_of_namespaces_and_then_of_names() {
        let sorted = [("a", "z"), ("a", "za"), ("ab", "a"), ("b", ""), ("b", "a")];
        let keys = sorted.map(|(namespace, name)| Key::unchecked(namespace, name.as_bytes()));
        assert!(keys.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn a_key_is_written_as_its_parts() {
        let key = Key::parse("notes/today").unwrap();
        let bytes = postcard::to_allocvec(&key).unwrap();
        assert_eq!(bytes, b"\x05notes\x05today");
        assert_eq!(postcard::from_bytes::<Key>(&bytes).unwrap(), key);
        assert_eq!(key.position(), Position::of("notes", b"today"));
    }

    #[test]
    fn a_prefix_covers_its_own_namespace_only() {
        let prefix = Prefix::parse("notes/to").unwrap();
        assert!(prefix.covers(&Key::parse("notes/today").unwrap()));
        assert!(!prefix.covers(&Key::parse("notes/yesterday").unwrap()));
        assert!(!prefix.covers(&Key::parse("other/today").unwrap()));
        assert!(
            Prefix::parse("notes/")
                .unwrap()
                .covers(&Key::parse("notes/x").unwrap())
        );
        assert!(Prefix::parse("notes").is_err());
    }
}
