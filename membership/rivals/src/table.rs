//! The table that is printed.

/// One figure of one protocol.
#[derive(Debug, Clone)]
pub struct Cell {
    pub row: String,
    pub text: String,
}

impl Cell {
    /// Median and 99th percentile.
    pub fn spread(row: &str, mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let text = format!("{} / {}", show(at(&samples, 0.5)), show(at(&samples, 0.99)));
        Self {
            row: row.into(),
            text,
        }
    }

    pub fn median(row: &str, mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let mut text = show(at(&samples, 0.5));
        if let (Some(least), Some(most)) = (samples.first(), samples.last())
            && least != most
        {
            text.push_str(&format!(" ({}–{})", show(*least), show(*most)));
        }
        Self {
            row: row.into(),
            text,
        }
    }

    /// For what is rare: the sum over all runs counts.
    pub fn mean(row: &str, samples: Vec<f64>) -> Self {
        let mean = samples.iter().sum::<f64>() / samples.len().max(1) as f64;
        Self {
            row: row.into(),
            text: show(mean),
        }
    }
}

fn at(sorted: &[f64], part: f64) -> f64 {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

fn show(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        x if x >= 100.0 => format!("{value:.0}"),
        x if x >= 10.0 => format!("{value:.1}"),
        x if x >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[derive(Debug)]
pub struct Table {
    size: usize,
    seeds: u64,
    rows: Vec<(String, Vec<(String, String)>)>,
}

impl Table {
    pub fn new(size: usize, seeds: u64) -> Self {
        Self {
            size,
            seeds,
            rows: Vec::new(),
        }
    }

    pub fn add(&mut self, column: &str, cells: Vec<Cell>) {
        for Cell { row, text } in cells {
            let entry = (column.to_string(), text);
            match self.rows.iter_mut().find(|(name, _)| *name == row) {
                Some((_, texts)) => texts.push(entry),
                None => self.rows.push((row, vec![entry])),
            }
        }
    }

    pub fn print(&self, columns: &[String]) {
        println!(
            "\n{} members, {} seeds; median / p99, or median (least–most)",
            self.size, self.seeds
        );
        print!("| row |");
        for column in columns {
            let name = match column.as_str() {
                "timings" => "ours with memberlist's timings",
                "foca" => "foca 2.0",
                other => other,
            };
            print!(" {name} |");
        }
        println!(" to beat |\n|{}", " --- |".repeat(columns.len() + 2));
        for (row, texts) in &self.rows {
            print!("| {row} |");
            for column in columns {
                let text = texts.iter().find(|(name, _)| name == column);
                print!(" {} |", text.map_or("", |(_, text)| text.as_str()));
            }
            let bar = TO_BEAT.iter().find(|(name, _)| name == row);
            let bar = bar.filter(|_| self.size == 128).map_or("", |(_, bar)| *bar);
            println!(" {bar} |");
        }
    }
}

/// The best that foca, memberlist and its Rust rewrite showed among 128 members in an earlier run of another bench, and what
/// was set as the goal where nobody is good.
const TO_BEAT: [(&str, &str); 18] = [
    ("crash to first detection, s, 0 % loss", "10 / 12.5"),
    ("crash to everyone knowing, s, 0 % loss", "10.4 / 12.9"),
    ("crash to everyone knowing, s, 20 % loss", "10.5 / 14"),
    ("leave known by all, s", "0.7 / 0.9"),
    ("false deaths per member-hour, 0 % loss", "0"),
    ("false deaths per member-hour, 5 % loss", "0"),
    ("false deaths per member-hour, 20 % loss", "0"),
    ("false deaths per member-hour, 4 slow", "0.1"),
    ("false deaths per member-hour, 16 slow", "1"),
    ("false deaths per member-hour, 32 slow", "2"),
    ("bytes per member and second, 0 % loss", "77"),
    ("bytes per member and second, 20 % loss", "1500"),
    ("1024 join through one seed, 99 %, s", "1.8"),
    ("1024 join through one seed, all know all, s", "10"),
    ("50/50 split of 60 s, healed after, s", "10"),
    ("50/50 split of 24 h, healed after, s", "30"),
    ("everyone restarts, settled after, s", "1"),
    ("CPU per member and second, µs, 0 % loss", "3"),
];
