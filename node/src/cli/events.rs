//! Server-sent events.

use std::io::{BufRead, BufReader, Read};

/// What stands between two empty lines: an event, or only comments, which say that the other end lives.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The event's name; empty if it has none.
    pub(crate) event: String,
    pub(crate) data: String,
}

/// Reads a stream of them; the end of the stream ends it, whatever was begun.
pub(crate) struct Events<R> {
    lines: BufReader<R>,
}

impl<R: Read> Events<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self {
            lines: BufReader::new(stream),
        }
    }
}

impl<R: Read> Iterator for Events<R> {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        let mut frame = Frame::default();
        loop {
            let mut line = String::new();
            let mut bounded = self.lines.by_ref().take(LINE_BYTES_MAX);
            if bounded.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            if line.is_empty() {
                return Some(frame);
            } else if let Some(value) = line.strip_prefix("event:") {
                value.trim_start().clone_into(&mut frame.event);
            } else if let Some(value) = line.strip_prefix("data:") {
                frame.data.push_str(value.trim_start());
            }
        }
    }
}

/// Longer than any event of the door can be: half a MiB of keys in JSON.
const LINE_BYTES_MAX: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_end_with_an_empty_line() {
        let stream = b":\n\nevent: granted\ndata: {\"token\":\ndata: 7}\n\nevent: cut off\n";
        let frames: Vec<Frame> = Events::new(&stream[..]).collect();
        let granted = Frame {
            event: "granted".into(),
            data: "{\"token\":7}".into(),
        };
        assert_eq!(frames, [Frame::default(), granted]);
    }
}
