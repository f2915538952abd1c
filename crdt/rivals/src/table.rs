//! Lines of figures, with targets beside them.

use std::time::Duration;

/// What a figure must reach.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn verdict(self, found: f64) -> String {
        let (sign, bound, met) = match self {
            Self::AtLeast(bound) => (">=", bound, found >= bound),
            Self::AtMost(bound) => ("<=", bound, found <= bound),
        };
        let word = if met { "met" } else { "MISSED" };
        format!("target {sign} {bound}: {word}")
    }
}

/// Starts a table.
pub fn heading(text: &str) {
    println!("\n== {text}");
}

/// Prints a line without a target.
pub fn line(what: &str, figures: &str) {
    println!("{what:<58} {figures}");
}

/// Prints a line, the figure that counts, and whether it meets its target.
pub fn judged(what: &str, figures: &str, found: f64, target: Target) {
    line(what, &format!("{figures}; {}", target.verdict(found)));
}

/// A duration with three digits.
pub fn shown(time: Duration) -> String {
    let nanos = time.as_secs_f64() * 1e9;
    let (scale, unit) = match nanos {
        ..1e3 => (1.0, "ns"),
        ..1e6 => (1e3, "us"),
        ..1e9 => (1e6, "ms"),
        _ => (1e9, "s"),
    };
    let number = nanos / scale;
    let digits = if number < 10.0 {
        2
    } else {
        usize::from(number < 100.0)
    };
    format!("{number:.digits$} {unit}")
}

/// How many times as long `a` is.
pub fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}
