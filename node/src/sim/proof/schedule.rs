//! Which faults a seed has, and when.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::fault::Fault;
use crate::sim::network::{Distance, Weather};

/// A kind of faults that can be asked for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "`Fault` documents them")]
pub enum FaultKind {
    Kill,
    Crash,
    Stop,
    Pause,
    Storm,
    Rolling,
    Split,
    OneWay,
    Flap,
    Weather,
    Far,
    Move,
    SlowDisk,
    FullDisk,
    FailedFlush,
    BitFlip,
    OldCopy,
    LostDisk,
    Clone,
    Jump,
    Drift,
    Join,
    Leave,
}

/// A fault and its time, from the beginning of the load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// When.
    pub at: Duration,
    /// What.
    pub fault: Fault,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::Kill,
        Self::Crash,
        Self::Stop,
        Self::Pause,
        Self::Storm,
        Self::Rolling,
        Self::Split,
        Self::OneWay,
        Self::Flap,
        Self::Weather,
        Self::Far,
        Self::Move,
        Self::SlowDisk,
        Self::FullDisk,
        Self::FailedFlush,
        Self::BitFlip,
        Self::OldCopy,
        Self::LostDisk,
        Self::Clone,
        Self::Jump,
        Self::Drift,
        Self::Join,
        Self::Leave,
    ];

    /// Its name on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Crash => "crash",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::Storm => "storm",
            Self::Rolling => "rolling",
            Self::Split => "split",
            Self::OneWay => "one-way",
            Self::Flap => "flap",
            Self::Weather => "weather",
            Self::Far => "far",
            Self::Move => "move",
            Self::SlowDisk => "slow-disk",
            Self::FullDisk => "full-disk",
            Self::FailedFlush => "failed-flush",
            Self::BitFlip => "bit-flip",
            Self::OldCopy => "old-copy",
            Self::LostDisk => "lost-disk",
            Self::Clone => "clone",
            Self::Jump => "jump",
            Self::Drift => "drift",
            Self::Join => "join",
            Self::Leave => "leave",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no kind of fault. The caller's mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no fault `{0}`")]
pub struct UnknownFault(pub String);

impl FromStr for FaultKind {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| UnknownFault(text.to_owned()))
    }
}

/// The faults of a seed among `machines` for `lasts`: a few kinds of those allowed, so that seeds differ, each several times.
#[must_use]
pub fn schedule(
    seed: u64,
    machines: usize,
    lasts: Duration,
    allowed: &[FaultKind],
) -> Vec<Planned> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(100);
    if allowed.is_empty() {
        return Vec::new();
    }
    let count = rng.random_range(1..=allowed.len().min(7));
    let kinds: Vec<FaultKind> = (0..count)
        .filter_map(|_| allowed.get(rng.random_range(0..allowed.len())).copied())
        .collect();
    let mut planned = Vec::new();
    let mut at = Duration::ZERO;
    // From one fault to the next: some seeds are calm, some are not.
    let pause_ms_max = rng.random_range(3_000..30_000);
    loop {
        // Now and then one comes in the middle of another.
        let pause_ms = if rng.random_bool(0.25) {
            rng.random_range(0..500)
        } else {
            rng.random_range(200..pause_ms_max)
        };
        at += Duration::from_millis(pause_ms);
        if at >= lasts {
            return planned;
        }
        if let Some(kind) = kinds.get(rng.random_range(0..count)) {
            let fault = draw(&mut rng, *kind, machines);
            planned.push(Planned { at, fault });
        }
    }
}

fn draw(rng: &mut ChaCha8Rng, kind: FaultKind, machines: usize) -> Fault {
    let machine = rng.random_range(0..machines);
    // Mostly seconds, sometimes longer than connections and suspicions live.
    let lasts = if rng.random_bool(0.3) {
        Duration::from_millis(rng.random_range(10_000..60_000))
    } else {
        Duration::from_millis(rng.random_range(100..10_000))
    };
    let some = |rng: &mut ChaCha8Rng| -> Vec<usize> {
        let mut side: Vec<usize> = (0..machines).filter(|_| rng.random_bool(0.5)).collect();
        if side.is_empty() || side.len() == machines {
            side = vec![machine];
        }
        side
    };
    match kind {
        FaultKind::Kill => Fault::Kill { machine, lasts },
        FaultKind::Crash => Fault::Crash { machine, lasts },
        FaultKind::Stop => Fault::Stop { machine, lasts },
        FaultKind::Pause => Fault::Pause { machine, lasts },
        FaultKind::Storm => Fault::Storm { pause: lasts / 20 },
        FaultKind::Rolling => Fault::Rolling { pause: lasts / 2 },
        FaultKind::Split => Fault::Split {
            side: some(rng),
            lasts,
        },
        FaultKind::OneWay => Fault::OneWay {
            from: some(rng),
            lasts,
        },
        FaultKind::Flap => flap(rng, machine, machines, lasts / 10),
        FaultKind::Weather => Fault::Weather {
            weather: weather(rng),
            lasts: lasts * 2,
        },
        FaultKind::Far => Fault::Far {
            machine,
            distance: far(rng),
            lasts: lasts * 2,
        },
        FaultKind::Move => Fault::Move { machine },
        FaultKind::SlowDisk => Fault::SlowDisk {
            machine,
            flush: Duration::from_millis(rng.random_range(20..3_000)),
            lasts,
        },
        FaultKind::FullDisk => Fault::FullDisk { machine, lasts },
        FaultKind::FailedFlush => Fault::FailedFlush { machine, lasts },
        FaultKind::BitFlip => Fault::BitFlip {
            machine,
            which: rng.next_u64(),
        },
        FaultKind::OldCopy => Fault::OldCopy {
            machine,
            age: lasts,
        },
        FaultKind::LostDisk => Fault::LostDisk { machine },
        FaultKind::Clone => Fault::Clone { machine },
        FaultKind::Jump => Fault::Jump {
            machine,
            ahead_ms: rng.random_range(-3_600_000..20_000),
        },
        FaultKind::Drift => Fault::Drift {
            machine,
            ppm: rng.random_range(-50_000..50_000),
        },
        FaultKind::Join => Fault::Join,
        FaultKind::Leave => Fault::Leave { machine },
    }
}

fn flap(rng: &mut ChaCha8Rng, machine: usize, machines: usize, pause: Duration) -> Fault {
    let other = (machine + rng.random_range(1..machines.max(2))) % machines;
    Fault::Flap {
        ends: [machine, other],
        times: rng.random_range(2..12),
        pause,
    }
}

fn far(rng: &mut ChaCha8Rng) -> Distance {
    if rng.random_bool(0.5) {
        Distance::wan()
    } else {
        Distance::mobile()
    }
}

fn weather(rng: &mut ChaCha8Rng) -> Weather {
    let mut some = |most: u32| {
        if rng.random_bool(0.5) {
            rng.random_range(0..most)
        } else {
            0
        }
    };
    Weather {
        lost: some(250),
        repeated: some(100),
        overtaken: some(300),
        garbage: some(30),
    }
}
