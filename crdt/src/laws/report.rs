//! A broken law, told so that it can be understood and tried again.

use alloc::format;
use alloc::string::String;
use core::fmt::{self, Write as _};

use super::history::{REPLICAS, Step};
use super::law::Law;
use super::subject::Subject;

/// A law does not hold. Displayed with a diagram of the history, time going down, and as a test.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the law \"{law}\" does not hold: {}\n\n{diagram}\n{detail}\n\nas a test:\n\n{test}",
    law.asks()
)]
pub struct Broken {
    /// Which one.
    pub law: Law,
    /// What was found in the place of what.
    pub detail: String,
    /// The history, a column for each replica.
    pub diagram: String,
    /// A test that fails as long as the law does not hold.
    pub test: String,
    /// How many histories it took.
    pub histories: u32,
}

/// What a replica is called.
fn name(replica: usize) -> &'static str {
    ["A", "B", "C"].get(replica).copied().unwrap_or("?")
}

impl Broken {
    pub(super) fn new<S: Subject>(
        _: &S,
        law: Law,
        detail: String,
        steps: &[Step<S::Op>],
        histories: u32,
    ) -> Self {
        Self {
            law,
            detail,
            diagram: diagram(steps),
            test: test(law, steps),
            histories,
        }
    }
}

/// A column for each replica; `#n` names a write.
fn diagram<O: fmt::Debug>(steps: &[Step<O>]) -> String {
    let mut writes = 0;
    let cells = steps.iter().map(|step| match step {
        Step::Write { replica, op } => {
            writes += 1;
            (*replica, format!("#{} {op:?}", writes - 1))
        }
        Step::Deliver { replica, write } => (*replica, format!("<- #{write}")),
        Step::Meet { replica, from } => (*replica, format!("<- all of {}", name(*from))),
    });
    let cells: alloc::vec::Vec<_> = cells.collect();
    let width = cells.iter().map(|(_, cell)| cell.chars().count()).max();
    let width = width.unwrap_or(0).max(8) + 3;
    let row = |at: usize, text: &str| {
        let cells = (0..REPLICAS).map(|replica| if replica == at { text } else { "|" });
        let row = cells.fold(String::new(), |row, cell| format!("{row}{cell:<width$}"));
        format!("  {}\n", row.trim_end())
    };
    let heads = (0..REPLICAS).fold(String::new(), |heads, replica| {
        format!("{heads}{:<width$}", name(replica))
    });
    let rows = cells.iter().map(|(replica, text)| row(*replica, text));
    rows.fold(format!("  {}\n", heads.trim_end()), |all, row| all + &row)
}

/// The history as Rust.
fn test<O: fmt::Debug>(law: Law, steps: &[Step<O>]) -> String {
    let called = format!("{law}").replace(' ', "_");
    let mut text = format!("#[test]\nfn keeps_the_law_{called}() {{\n    let steps = [\n");
    for step in steps {
        // Writing to a string does not fail.
        _ = writeln!(text, "        Step::{step:?},");
    }
    let variant = format!("{law:?}");
    _ = write!(
        text,
        "    ];\n    laws::replay(&subject(), Law::{variant}, &steps).unwrap();\n}}"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_reads_as_a_diagram_and_as_a_test() {
        let steps = [
            Step::Write { replica: 0, op: 7 },
            Step::Deliver {
                replica: 2,
                write: 0,
            },
            Step::Meet {
                replica: 1,
                from: 2,
            },
        ];
        let drawn = diagram(&steps);
        let expected = "  A             B             C\n  #0 7          |             |\n  |             |             <- #0\n  |             <- all of C   |\n";
        assert_eq!(drawn, expected);
        assert!(test(Law::NoLostUpdate, &steps).contains(
            "fn keeps_the_law_no_lost_update() {\n    let steps = [\n        Step::Write { replica: 0, op: 7 },\n"
        ));
    }
}
