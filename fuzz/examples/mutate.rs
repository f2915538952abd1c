//! Runs one target, or all of them, on mutated seeds for some seconds, with no fuzzer and on any toolchain:
//! `cargo run --example mutate -- SECONDS [TARGET]`. It knows nothing of coverage; libFuzzer finds far more.

use std::path::Path;
use std::time::{Duration, Instant};

use meshwork_fuzz::TARGETS;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(5);
    let wanted = arguments.next();
    for (name, check) in TARGETS {
        if wanted.as_deref().is_some_and(|wanted| wanted != *name) {
            continue;
        }
        let seeds = seeds(name)?;
        let mut random = Random(seconds);
        let (began, mut runs) = (Instant::now(), 0_u64);
        while began.elapsed() < Duration::from_secs(seconds) {
            let input = random.mutated(&seeds);
            let path = std::env::temp_dir().join(format!("meshwork-fuzz-{name}"));
            if std::panic::catch_unwind(|| check(&input)).is_err() {
                std::fs::write(&path, &input)?;
                println!("{name} FAILED on {}", path.display());
                break;
            }
            runs += 1;
        }
        println!(
            "{name:22} {runs} runs, {:.0} a second",
            runs as f64 / began.elapsed().as_secs_f64()
        );
    }
    Ok(())
}

fn seeds(target: &str) -> std::io::Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let mut paths: Vec<_> = folder
        .read_dir()?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    paths.iter().map(std::fs::read).collect()
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn mutated(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        for _ in 0..self.below(6) {
            let (at, to) = (self.below(input.len()), self.below(input.len()));
            match self.below(6) {
                0 if !input.is_empty() => input[at] ^= 1 << self.below(8),
                1 if !input.is_empty() => input[at] = [0, 1, 2, 0x7f, 0x80, 0xff][self.below(6)],
                2 if !input.is_empty() => input[at] = self.next() as u8,
                3 => input.drain(at.min(to)..at.max(to)).for_each(drop),
                4 => {
                    let piece = input[at.min(to)..at.max(to)].to_vec();
                    let place = self.below(input.len());
                    input.splice(place..place, piece);
                }
                _ => {
                    let other = &seeds[self.below(seeds.len())];
                    input.truncate(at);
                    input.extend(other.iter().skip(to));
                }
            }
            input.truncate(4_096);
        }
        // Histories depend on every byte: fresh ones, too.
        if self.below(3) == 0 {
            let length = self.below(600);
            let fresh: Vec<u8> = (0..length).map(|_| self.next() as u8).collect();
            if self.below(2) == 0 {
                return fresh;
            }
            input.extend(fresh);
        }
        input
    }
}
