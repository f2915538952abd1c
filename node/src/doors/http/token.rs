//! The secret that lets a program in.

use std::io;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::admission::{NoEntropy, random};
use crate::store::write_atomically;

/// 32 random bytes in hexadecimal, kept in the data folder where only the node's owner can read them.
#[derive(Clone)]
pub(super) struct Token(Zeroizing<String>);

/// There is no token to be had.
#[derive(Debug)]
pub(super) enum LoadToken {
    File { path: PathBuf, source: io::Error },
    Malformed { path: PathBuf },
    Entropy(NoEntropy),
}

impl Token {
    /// Reads the folder's token; makes one where there is none.
    pub(super) fn load_or_make(folder: &Path) -> Result<Self, LoadToken> {
        let path = folder.join("door.token");
        match std::fs::read_to_string(&path).map(Zeroizing::new) {
            Ok(text) => Self::parse(text.trim()).ok_or(LoadToken::Malformed { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(path),
            Err(source) => Err(LoadToken::File { path, source }),
        }
    }

    fn make(path: PathBuf) -> Result<Self, LoadToken> {
        let bytes = random::<32>().map_err(LoadToken::Entropy)?;
        let text = Zeroizing::new(HEXLOWER.encode(bytes.as_slice()));
        match write_atomically(&path, text.as_bytes()) {
            Ok(()) => Ok(Self(text)),
            Err(source) => Err(LoadToken::File { path, source }),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == 64 && HEXLOWER.decode(text.as_bytes()).is_ok();
        fits.then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// Whether the value of an `Authorization` header shows this token. Takes as long for a wrong token as for the right one.
    pub(super) fn opens(&self, authorization: &[u8]) -> bool {
        let Some((scheme, shown)) = authorization.split_at_checked(SCHEME.len()) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(SCHEME)
            && bool::from(shown.trim_ascii().ct_eq(self.0.as_bytes()))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

const SCHEME: &[u8] = b"Bearer ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_kept_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let token = Token::load_or_make(folder.path()).unwrap();
        let again = Token::load_or_make(folder.path()).unwrap();
        assert_eq!(*token.0, *again.0);
        assert!(token.opens(format!("bearer  {}", *token.0).as_bytes()));
        assert_eq!(format!("{token:?}"), "Token(..)");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let metadata = std::fs::metadata(folder.path().join("door.token")).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn other_tokens_schemes_and_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let token = Token::load_or_make(folder.path()).unwrap();
        let text = token.0.to_string();
        for wrong in [
            "",
            "Bearer ",
            "Bearer",
            &text,
            &format!("Basic {text}"),
            &format!("Bearer {text}0"),
        ] {
            assert!(!token.opens(wrong.as_bytes()), "{wrong}");
        }
        std::fs::write(folder.path().join("door.token"), "secret").unwrap();
        let refused = Token::load_or_make(folder.path());
        assert!(matches!(refused, Err(LoadToken::Malformed { .. })));
    }
}
