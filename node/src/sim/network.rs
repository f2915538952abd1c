//! The network between machines: links that come and go, and what happens to frames on the way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Index, IndexMut, Range};
use std::time::Duration;

use meshwork_membership::Time;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::core::Class;
use crate::net::NetLimits;

/// How far apart machines are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distance {
    /// One way, in microseconds, for each frame anew.
    pub latency_us: Range<u64>,
    /// What a direction of a link carries, in bytes a second.
    pub bytes_per_second: u64,
}

impl Distance {
    /// One network: 100 to 600 µs, 100 MB/s.
    #[must_use]
    pub const fn lan() -> Self {
        Self {
            latency_us: 100..600,
            bytes_per_second: 100_000_000,
        }
    }

    /// Between data centres or homes: 15 to 60 ms, 5 MB/s.
    #[must_use]
    pub const fn wan() -> Self {
        Self {
            latency_us: 15_000..60_000,
            bytes_per_second: 5_000_000,
        }
    }

    /// A phone: 40 to 350 ms, 400 kB/s.
    #[must_use]
    pub const fn mobile() -> Self {
        Self {
            latency_us: 40_000..350_000,
            bytes_per_second: 400_000,
        }
    }
}

/// What happens to frames on links that stay up, each in a thousand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weather {
    /// Lost, as in a full queue.
    pub lost: u32,
    /// Arriving twice, the second time a while later.
    pub repeated: u32,
    /// Overtaken by those behind them.
    pub overtaken: u32,
    /// Followed by bytes that make no sense.
    pub garbage: u32,
}

/// How long a frame takes between two machines.
pub(crate) fn latency(rng: &mut ChaCha8Rng, way: [&Distance; 2]) -> Duration {
    // Each end adds its half of the way.
    let [a, b] = way.map(|distance| rng.random_range(distance.latency_us.clone()));
    Duration::from_micros(u64::midpoint(a, b))
}

/// A frame on its way.
#[derive(Debug, Clone)]
pub(crate) struct Carried {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) link: u64,
    pub(crate) class: Class,
    pub(crate) frame: Vec<u8>,
    pub(crate) garbage: bool,
}

/// One of the two ends of a link: that of the machine with the lower number, or the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Low,
    High,
}

/// Something for each end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ends<T> {
    low: T,
    high: T,
}

impl<T> Index<End> for Ends<T> {
    type Output = T;

    fn index(&self, end: End) -> &T {
        match end {
            End::Low => &self.low,
            End::High => &self.high,
        }
    }
}

impl<T> IndexMut<End> for Ends<T> {
    fn index_mut(&mut self, end: End) -> &mut T {
        match end {
            End::Low => &mut self.low,
            End::High => &mut self.high,
        }
    }
}

/// One connection between two machines.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: u64,
    /// Whether each end takes it for up.
    pub(crate) up: Ends<bool>,
    /// Frames that wait for a broken path, in each direction.
    stalled: Ends<VecDeque<Carried>>,
    stalled_bytes: Ends<usize>,
    /// When each direction has sent all it was given, and when the last frame of each class arrives.
    free_at: Ends<Time>,
    last_arrival: Ends<Arrivals>,
    /// Whether no frame gets through any more, though the ends have not noticed.
    pub(crate) dead: bool,
    /// What each end was asked over it.
    pub(crate) asked: Ends<BTreeSet<u64>>,
    /// Whether nothing comes through now: the path is broken, or an end is frozen.
    pub(crate) silent: bool,
    /// Counts the times at which it fell silent, or spoke again.
    pub(crate) silence: u64,
}

/// When the last frame of each class arrives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Arrivals {
    gossip: Time,
    data: Time,
    bulk: Time,
}

impl Arrivals {
    const fn of(&mut self, class: Class) -> &mut Time {
        match class {
            Class::Gossip => &mut self.gossip,
            Class::Data => &mut self.data,
            Class::Bulk => &mut self.bulk,
        }
    }
}

impl Link {
    /// Whether neither end takes it for up.
    pub(crate) fn is_gone(&self) -> bool {
        !self.up[End::Low] && !self.up[End::High]
    }
}

/// All links, and what is wrong between machines.
#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) links: BTreeMap<(usize, usize), Link>,
    /// How often each direction is blocked.
    blocked: BTreeMap<(usize, usize), u32>,
    pub(crate) weather: Weather,
    next_link: u64,
}

/// Silence before a connection counts as lost.
pub(crate) const IDLE_TIMEOUT: Duration = NetLimits::DEFAULT.idle_timeout;
/// Bytes that wait for one peer before further frames are lost.
const QUEUE_BYTES_MAX: usize = NetLimits::DEFAULT.queue_bytes_max;

pub(crate) fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

/// Which end of a link a machine is.
pub(crate) const fn end(machine: usize, other: usize) -> End {
    if machine < other { End::Low } else { End::High }
}

impl Network {
    /// Whether frames get from one machine to another.
    pub(crate) fn reaches(&self, from: usize, to: usize) -> bool {
        !self.blocked.contains_key(&(from, to))
    }

    /// Whether both directions work: a connection needs both.
    pub(crate) fn is_open(&self, a: usize, b: usize) -> bool {
        self.reaches(a, b) && self.reaches(b, a)
    }

    pub(crate) fn block(&mut self, from: usize, to: usize) {
        *self.blocked.entry((from, to)).or_default() += 1;
    }

    pub(crate) fn unblock(&mut self, from: usize, to: usize) {
        if let Some(count) = self.blocked.get_mut(&(from, to)) {
            *count -= 1;
            if *count == 0 {
                self.blocked.remove(&(from, to));
            }
        }
    }

    pub(crate) fn unblock_all(&mut self) {
        self.blocked.clear();
    }

    pub(crate) fn connect(&mut self, a: usize, b: usize) {
        self.next_link += 1;
        let link = Link {
            id: self.next_link,
            up: Ends {
                low: true,
                high: true,
            },
            stalled: Ends::default(),
            stalled_bytes: Ends::default(),
            free_at: Ends::default(),
            last_arrival: Ends::default(),
            dead: false,
            asked: Ends::default(),
            silent: false,
            silence: 0,
        };
        self.links.insert(pair(a, b), link);
    }

    pub(crate) fn link(&self, a: usize, b: usize) -> Option<&Link> {
        self.links.get(&pair(a, b))
    }

    /// The link over which `from` can send to `to`, as `from` sees it.
    pub(crate) fn up(&self, from: usize, to: usize) -> Option<u64> {
        let link = self.link(from, to)?;
        link.up[end(from, to)].then_some(link.id)
    }

    /// Gives a frame to the network; what comes of it arrives at these times.
    pub(crate) fn send(
        &mut self,
        rng: &mut ChaCha8Rng,
        now: Time,
        way: [&Distance; 2],
        carried: Carried,
    ) -> Vec<(Time, Carried)> {
        let (from, to) = (carried.from, carried.to);
        if rng.random_range(0..1_000) < self.weather.lost {
            return Vec::new();
        }
        if self.link(from, to).is_none_or(|link| link.dead) {
            return Vec::new();
        }
        if !self.reaches(from, to) {
            self.stall(carried);
            return Vec::new();
        }
        let mut arrivals = Vec::new();
        let latency = latency(rng, way);
        if rng.random_range(0..1_000) < self.weather.repeated {
            let late = Duration::from_micros(rng.random_range(0..3_000_000));
            arrivals.push((now + latency + late, carried.clone()));
        }
        if rng.random_range(0..1_000) < self.weather.garbage {
            let at = now + latency;
            arrivals.push((at, garbage(rng, &carried)));
        }
        let overtaken = rng.random_range(0..1_000) < self.weather.overtaken;
        let late = if overtaken {
            Duration::from_micros(rng.random_range(0..500_000))
        } else {
            Duration::ZERO
        };
        let at = self.arrival(now, way, latency, &carried) + late;
        arrivals.push((at, carried));
        arrivals
    }

    /// Frames of one class arrive in order, and no faster than the slower end carries them.
    fn arrival(
        &mut self,
        now: Time,
        way: [&Distance; 2],
        latency: Duration,
        carried: &Carried,
    ) -> Time {
        let (from, to) = (carried.from, carried.to);
        let [a, b] = way.map(|distance| distance.bytes_per_second.max(1));
        let speed = a.min(b);
        let bytes = u64::try_from(carried.frame.len()).unwrap_or(u64::MAX);
        let takes = Duration::from_micros(bytes.saturating_mul(1_000_000) / speed);
        let Some(link) = self.links.get_mut(&pair(from, to)) else {
            return now + latency;
        };
        let end = end(from, to);
        let sent = link.free_at[end].max(now) + takes;
        link.free_at[end] = sent;
        let last = link.last_arrival[end].of(carried.class);
        *last = (*last).max(sent + latency);
        *last
    }

    fn stall(&mut self, carried: Carried) {
        let (from, to) = (carried.from, carried.to);
        if let Some(link) = self.links.get_mut(&pair(from, to)) {
            let end = end(from, to);
            if link.stalled_bytes[end] + carried.frame.len() <= QUEUE_BYTES_MAX {
                link.stalled_bytes[end] += carried.frame.len();
                link.stalled[end].push_back(carried);
            }
        }
    }

    /// What waited for a path that is open again.
    pub(crate) fn take_stalled(&mut self, a: usize, b: usize) -> Vec<Carried> {
        let Some(link) = self.links.get_mut(&pair(a, b)) else {
            return Vec::new();
        };
        link.stalled_bytes = Ends::default();
        let Ends { low, high } = std::mem::take(&mut link.stalled);
        low.into_iter().chain(high).collect()
    }
}

/// Bytes that no peer would send: random ones, or the beginning of real ones.
fn garbage(rng: &mut ChaCha8Rng, real: &Carried) -> Carried {
    let frame = if rng.random_bool(0.5) && !real.frame.is_empty() {
        let length = rng.random_range(0..real.frame.len());
        real.frame.iter().take(length).copied().collect()
    } else {
        let length = rng.random_range(0..200);
        (0..length).map(|_| rng.random()).collect()
    };
    Carried {
        frame,
        garbage: true,
        ..real.clone()
    }
}
