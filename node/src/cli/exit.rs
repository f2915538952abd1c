//! How a command ends when it does not end well.

use std::error::Error;
use std::process::ExitCode;

/// What the exit code says. The numbers are listed in `meshwork --help` and do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// A disk, a file, an answer that makes no sense.
    Failed = 1,
    /// It was typed wrong. The parser of arguments uses the same number.
    Usage = 2,
    /// No node runs on the data folder.
    NoNode = 3,
    /// There is no such key, field or document.
    NotFound = 4,
    /// Not enough nodes answered in time, or the node is busy.
    Unavailable = 5,
    /// Asked for correctly and not granted: a wrong kind or value, a limit, a used ticket.
    Refused = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command was not carried out, and what its user can do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// What the door calls it, if the door refused.
    pub(crate) code: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
            code: None,
        }
    }

    /// A failure with the text of an error and of its causes that the text does not tell yet.
    pub(crate) fn from_error(exit: Exit, error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !message.contains(&cause_text) {
                message.push_str(": ");
                message.push_str(&cause_text);
            }
            source = cause.source();
        }
        Self::new(exit, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::fmt::Error);

    #[test]
    fn a_cause_is_told_once() {
        let failure = Failure::from_error(Exit::Failed, &Outer(std::fmt::Error));
        assert_eq!(
            failure
                .message
                .matches(&std::fmt::Error.to_string())
                .count(),
            1
        );
        assert!(failure.message.starts_with("outer: "));
    }
}
