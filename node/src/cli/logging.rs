//! What the node logs, and where: standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use super::exit::{Exit, Failure};

/// Quiet enough for a person who watches.
pub(crate) const DEFAULT: &str = "warn,meshwork=info";

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Json,
}

/// Starts to log for the rest of the process's life.
///
/// Field values are escaped by the formatter, so that names and keys from others cannot forge lines.
pub(crate) fn start(filter: &str, form: Form) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Failure::from_error(Exit::Usage, &error)
            .hint("a filter looks like `info` or `warn,meshwork=debug`")
    })?;
    let format = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let started = match form {
        Form::Text => format.try_init(),
        Form::Json => format.json().try_init(),
    };
    started.map_err(|error| Failure::from_error(Exit::Failed, &*error))
}
