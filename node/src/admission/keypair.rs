//! Secret keys of nodes and meshes, and the files that hold them.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use meshwork_membership::NodeId;
use zeroize::{Zeroize, Zeroizing};

use super::MeshId;

/// An ed25519 key pair: a node's identity, or the key of a mesh.
///
/// The secret is wiped from memory when this is dropped, and never shown by `Debug`.
///
/// # Examples
/// ```
/// use meshwork::admission::Keypair;
///
/// let node = Keypair::generate()?;
/// assert!(!format!("{node:?}").contains("secret"));
/// # Ok::<(), meshwork::admission::NoEntropy>(())
/// ```
#[derive(Clone)]
pub struct Keypair(SigningKey);

/// The operating system gave no random bytes. The environment's fault; nothing changed.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoEntropy(#[source] getrandom::Error);

/// What a key file is for; written into the file, so that a mesh key is never used as a node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPurpose {
    /// The identity of one node.
    Node,
    /// The key that a mesh is named after.
    Mesh,
}

/// Why a key file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFile {
    /// Saving never overwrites a key: whoever loses one loses what it stands for. Choose another path, or move the file away.
    #[error("{path}: there is a file already; keys are never overwritten")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file can be read by others than its owner. Nothing was read from it; run `chmod 600` on it.
    #[error("{path}: others may read this key (mode {mode:o}); run `chmod 600` on it")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is no key of ours, or one for the other purpose. Name the right file, or restore it from a copy.
    #[error("{path}: not a {purpose:?} key")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should have held.
        purpose: KeyPurpose,
    },
    /// The operating system refused.
    #[error("{path}: cannot read or write the key")]
    Io {
        /// The file.
        path: PathBuf,
        /// Its answer.
        #[source]
        source: io::Error,
    },
}

impl Keypair {
    /// A new key pair from the operating system's random source.
    ///
    /// # Errors
    /// [`NoEntropy`] when there is none.
    pub fn generate() -> Result<Self, NoEntropy> {
        random().map(|seed: Zeroizing<[u8; 32]>| Self::from_secret(&seed))
    }

    /// The key pair with this secret; the same secret always gives the same pair.
    #[must_use]
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// The secret, for a transport that signs by itself.
    pub(crate) fn secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public key as a node's identity.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        NodeId::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// The public key as a mesh's identity.
    #[must_use]
    pub fn mesh_id(&self) -> MeshId {
        MeshId::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// The signature of `message`.
    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// Writes the secret to a new file that only its owner may read (mode 0600 on Unix), durably.
    ///
    /// # Errors
    /// [`KeyFile::Exists`] when there is such a file, [`KeyFile::Io`] otherwise.
    pub fn save_new(&self, path: &Path, purpose: KeyPurpose) -> Result<(), KeyFile> {
        let mut text = Zeroizing::new(String::from(purpose.header()));
        BASE64URL_NOPAD.encode_append(self.secret().as_slice(), &mut text);
        text.push('\n');
        let written = create_private(path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(
            |source| match source.kind() == io::ErrorKind::AlreadyExists {
                true => KeyFile::Exists { path: path.into() },
                false => KeyFile::Io {
                    path: path.into(),
                    source,
                },
            },
        )
    }

    /// Reads what [`save_new`](Self::save_new) wrote.
    ///
    /// # Errors
    /// [`KeyFile::Exposed`] when others may read the file, [`KeyFile::Malformed`] when it holds something else,
    /// [`KeyFile::Io`] when it cannot be read.
    pub fn load(path: &Path, purpose: KeyPurpose) -> Result<Self, KeyFile> {
        let io = |source| KeyFile::Io {
            path: path.into(),
            source,
        };
        let file = File::open(path).map_err(io)?;
        refuse_exposed(&file, path)?;
        let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX));
        match file.take(FILE_BYTES_MAX as u64).read_to_string(&mut text) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => text.zeroize(),
            Err(error) => return Err(io(error)),
        }
        purpose.parse(&text).ok_or_else(|| KeyFile::Malformed {
            path: path.into(),
            purpose,
        })
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keypair({:.8})", self.node_id())
    }
}

impl KeyPurpose {
    const fn header(self) -> &'static str {
        match self {
            Self::Node => "meshwork-node-key-1:",
            Self::Mesh => "meshwork-mesh-key-1:",
        }
    }

    fn parse(self, text: &str) -> Option<Keypair> {
        let digits = text.trim_end().strip_prefix(self.header())?;
        let bytes = Zeroizing::new(BASE64URL_NOPAD.decode(digits.as_bytes()).ok()?);
        let secret = Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).ok()?);
        Some(Keypair::from_secret(&secret))
    }
}

/// Whether `signature` is `signer`'s over `message`; false for a signer that is no valid key.
///
/// Strict verification: keys of small order and signatures that a third party altered are refused.
pub(super) fn verify(signer: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(signer)
        .and_then(|key| key.verify_strict(message, &Signature::from_bytes(signature)))
        .is_ok()
}

/// Random bytes that are wiped when dropped.
pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, NoEntropy> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut_slice()).map_err(NoEntropy)?;
    Ok(bytes)
}

fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(unix)]
fn refuse_exposed(file: &File, path: &Path) -> Result<(), KeyFile> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = file.metadata().map_err(|source| KeyFile::Io {
        path: path.into(),
        source,
    })?;
    match metadata.permissions().mode() & 0o777 {
        mode if mode & 0o077 == 0 => Ok(()),
        mode => Err(KeyFile::Exposed {
            path: path.into(),
            mode,
        }),
    }
}

#[cfg(not(unix))]
fn refuse_exposed(_: &File, _: &Path) -> Result<(), KeyFile> {
    Ok(())
}

/// More than a key file ever holds.
const FILE_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_key_loads_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        let key = Keypair::generate().unwrap();
        key.save_new(&path, KeyPurpose::Node).unwrap();
        assert_eq!(
            Keypair::load(&path, KeyPurpose::Node).unwrap().node_id(),
            key.node_id()
        );
        let again = Keypair::generate()
            .unwrap()
            .save_new(&path, KeyPurpose::Node);
        assert!(matches!(again, Err(KeyFile::Exists { .. })));
        let as_mesh = Keypair::load(&path, KeyPurpose::Mesh);
        assert!(matches!(as_mesh, Err(KeyFile::Malformed { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn key_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        Keypair::generate()
            .unwrap()
            .save_new(&path, KeyPurpose::Node)
            .unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let loaded = Keypair::load(&path, KeyPurpose::Node);
        assert!(matches!(loaded, Err(KeyFile::Exposed { mode: 0o644, .. })));
    }

    #[test]
    fn other_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        for bytes in [&b""[..], b"meshwork-node-key-1:short", &[0xff; 300]] {
            std::fs::remove_file(&path).ok();
            create_private(&path).unwrap().write_all(bytes).unwrap();
            let loaded = Keypair::load(&path, KeyPurpose::Node);
            assert!(matches!(loaded, Err(KeyFile::Malformed { .. })));
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = Keypair::from_secret(&[7; 32]);
        let shown = format!("{key:?}");
        assert_eq!(shown, format!("Keypair({:.8})", key.node_id()));
    }
}
