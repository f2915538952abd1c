//! Which data folder a command is about.

use std::path::{Path, PathBuf};

use etcetera::{BaseStrategy, choose_base_strategy};

use super::exit::{Exit, Failure};

/// The folder that was asked for, or the platform's place for application data.
pub(crate) fn choose(asked: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(folder) = asked {
        return Ok(folder.to_path_buf());
    }
    let base = choose_base_strategy().map_err(|error| {
        Failure::from_error(Exit::Failed, &error).hint("say where with --dir or MESHWORK_DIR")
    })?;
    Ok(base.data_dir().join("meshwork"))
}
