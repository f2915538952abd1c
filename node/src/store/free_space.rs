//! How much a file system has left.

use std::fmt::Debug;
use std::io;
use std::path::PathBuf;

/// Says how many bytes may still be written; asked before every commit.
pub(super) trait FreeSpace: Debug + Send {
    fn bytes_free(&self) -> io::Result<u64>;
}

/// The file system that holds a folder.
#[derive(Debug)]
pub(super) struct OfFolder(pub(super) PathBuf);

impl FreeSpace for OfFolder {
    fn bytes_free(&self) -> io::Result<u64> {
        fs4::available_space(&self.0)
    }
}

/// No limit, for what is kept in memory.
#[derive(Debug)]
pub(super) struct Boundless;

impl FreeSpace for Boundless {
    fn bytes_free(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}
