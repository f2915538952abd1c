//! The settings in a data folder that its user may edit: `settings.toml`.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::store::EngineKind;

/// What a user may set. Unknown names are refused, so that a typing error does not go unnoticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The node's name for people: 1 to 64 bytes.
    pub name: String,
    /// The failure zone: replicas of a key are spread over zones first. Nodes with the same name stand or fall together.
    pub zone: String,
    /// Share of the data relative to other nodes: 1 to 1,024; 0 for a node that holds no replicas.
    pub weight: u16,
    /// Whether the node may vote in the strong group: for nodes that stay where they are and have a disk to be trusted, not for laptops.
    pub voter: bool,
    /// Where to listen for members (UDP).
    pub listen: SocketAddr,
    /// Addresses to tell the other members instead of those listened on, such as behind a port forwarding.
    pub advertise: Vec<SocketAddr>,
    /// Where the HTTP door listens (TCP). It is meant for programs on this machine.
    pub http: SocketAddr,
    /// Copies of each key. All nodes of a mesh should agree.
    pub replication_factor: usize,
    /// Storage engine: `fjall`, or `sled` which is known to lose acknowledged writes in power cuts.
    pub store: StoreEngine,
    /// Memory for the storage engine's cache, in MiB.
    pub cache_mib: u64,
}

/// The storage engines that a user may choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum StoreEngine {
    /// The default.
    #[default]
    Fjall,
    /// On request; its risk is described in [`crate::store`].
    #[cfg(feature = "sled")]
    Sled,
    /// Nothing durable: what is written is gone when the node stops.
    Memory,
}

impl From<StoreEngine> for EngineKind {
    fn from(engine: StoreEngine) -> Self {
        match engine {
            StoreEngine::Fjall => Self::Fjall,
            #[cfg(feature = "sled")]
            StoreEngine::Sled => Self::Sled,
            StoreEngine::Memory => Self::Memory,
        }
    }
}

/// The settings cannot be used. Edit the file, or delete it to go back to the defaults.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadSettings {
    /// The file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file does not make sense.
    #[error("{} does not make sense: {source}", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "node".into(),
            zone: String::new(),
            weight: 1,
            voter: false,
            listen: SocketAddr::from(([0, 0, 0, 0], 0)),
            advertise: Vec::new(),
            http: SocketAddr::from(([127, 0, 0, 1], 0)),
            replication_factor: 3,
            store: StoreEngine::default(),
            cache_mib: 16,
        }
    }
}

impl Settings {
    /// Where they are in a data folder.
    #[must_use]
    pub fn path(folder: &Path) -> PathBuf {
        folder.join("settings.toml")
    }

    /// Reads them; the defaults where there is no file.
    ///
    /// # Errors
    /// [`ReadSettings`].
    pub fn read(folder: &Path) -> Result<Self, ReadSettings> {
        let path = Self::path(folder);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(ReadSettings::Read { path, source }),
        };
        toml::from_str(&text).map_err(|source| ReadSettings::Parse {
            path,
            source: Box::new(source),
        })
    }

    /// The file's text.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "plain fields always fit TOML")]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings are plain fields with names")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_round_trip_and_typing_errors_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            zone: "cellar".into(),
            ..Settings::default()
        };
        std::fs::write(Settings::path(folder.path()), settings.to_toml()).unwrap();
        assert_eq!(Settings::read(folder.path()).unwrap(), settings);
        std::fs::write(Settings::path(folder.path()), "zona = 'x'").unwrap();
        assert!(matches!(
            Settings::read(folder.path()),
            Err(ReadSettings::Parse { .. })
        ));
    }

    #[test]
    fn without_a_file_the_defaults_hold() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Settings::read(folder.path()).unwrap(), Settings::default());
    }
}
