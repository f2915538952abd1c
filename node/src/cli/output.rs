//! Everything that the program prints goes through here.
//!
//! A reader that goes away (`meshwork watch notes/ | head -1`) is no error: printing then ends the program quietly.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::exit::{Exit, Failure};

/// Prints one line of text. Control characters must be escaped already, see [`plain`].
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    write(format!("{text}\n").as_bytes())
}

/// Prints a value as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text =
        serde_json::to_string(value).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    line(text)
}

/// Prints bytes as they are, and a line end after text that has none and goes to a person.
///
/// On a terminal control characters are escaped: a value may come from anybody, and must not move the cursor.
pub(crate) fn value(bytes: &[u8]) -> Result<(), Failure> {
    if !io::stdout().is_terminal() {
        write(bytes)?;
        return if bytes.ends_with(b"\n") {
            Ok(())
        } else {
            write(b"\n")
        };
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => line(text.strip_suffix('\n').map_or_else(|| plain(text), plain)),
        Err(_) => line(format_args!(
            "({} bytes that are no text; send them to a file or a pipe to have them)",
            bytes.len()
        )),
    }
}

/// Says something to the person that is no part of the answer: on standard error.
pub(crate) fn note(text: impl Display) {
    // Where nobody can read it, nothing is lost.
    drop(writeln!(io::stderr(), "{text}"));
}

/// Says something on standard error if a person reads standard output; a script needs no advice.
pub(crate) fn person(text: impl Display) {
    if io::stdout().is_terminal() {
        note(text);
    }
}

/// Tells why the command failed.
pub(crate) fn failure(failure: &Failure) {
    if failure.message.is_empty() {
        return;
    }
    let (red, cyan, end) = if io::stderr().is_terminal() && !no_color() {
        ("\x1b[1;31m", "\x1b[1;36m", "\x1b[0m")
    } else {
        ("", "", "")
    };
    note(format_args!("{red}error:{end} {}", plain(&failure.message)));
    if let Some(hint) = &failure.hint {
        note(format_args!("{cyan}hint:{end} {}", plain(hint)));
    }
}

/// Text with its control characters escaped, except line ends and tabs.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() && !matches!(char, '\n' | '\t') {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    shown
}

/// Text on one line: line ends and tabs are escaped too.
pub(crate) fn one_line(text: &str) -> String {
    plain(text).replace('\n', "\\n").replace('\t', "\\t")
}

fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    written.map_err(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            // Whoever read has what it wanted. Nothing more is said.
            return Failure::new(Exit::Failed, "");
        }
        Failure::from_error(Exit::Failed, &error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_reach_a_terminal() {
        let hostile = "a\u{1b}[2J\u{7}\u{9b}b\tc\nd\re";
        assert_eq!(plain(hostile), "a\\u{1b}[2J\\u{7}\\u{9b}b\tc\nd\\re");
        assert_eq!(one_line("a\nb\tc"), "a\\nb\\tc");
    }
}
