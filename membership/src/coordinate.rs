//! Network coordinates: an estimate of the round trip to members that were never measured.
//!
//! Source: Dabek, Cox, Kaashoek, Morris, "Vivaldi: A Decentralized Network Coordinate System", SIGCOMM 2004, with the
//! height of section 5.4; the filter of samples and the gravity are those of Ledlie, Gardner, Seltzer, "Network
//! Coordinates in the Wild", NSDI 2007. Where we differ, and why:
//!
//! * A coordinate travels as whole microseconds. There are no infinities to refuse, a coordinate takes about 12 bytes,
//!   and what is out of bounds is malformed.
//! * Only `+ - * /` and the square root are used, which IEEE 754 defines to the last bit: two machines compute the same.
//! * Three dimensions: a mesh of machines gains little by more, and each costs bytes in every ack.

use core::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Where a node is, such that distances are round trips. About 12 bytes in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coordinate {
    /// Microseconds, each at most [`Coordinate::MICROS_MAX`] from zero.
    pub position: [i32; 3],
    /// Microseconds of the link between the node and the net, at most [`Coordinate::MICROS_MAX`]; counts for each of the two.
    pub height: u32,
    /// How wrong distances to it were lately, in thousandths of the round trip: 1 to [`Coordinate::ERROR_MAX`].
    pub error: u16,
}

impl Coordinate {
    /// No round trip is longer than ten seconds.
    pub const MICROS_MAX: u32 = 10_000_000;
    /// A node that has measured nothing yet.
    pub const ERROR_MAX: u16 = 1_500;

    /// The round trip between two nodes with these coordinates. At most about 60 seconds.
    #[must_use]
    pub fn distance(&self, other: &Self) -> Duration {
        let apart = Point::from(self).distance(&Point::from(other));
        Duration::from_micros(whole(apart, 1e9).unsigned_abs().into())
    }

    /// Whether it is within the bounds.
    pub(crate) fn is_valid(&self) -> bool {
        let within = |micros: &i32| micros.unsigned_abs() <= Self::MICROS_MAX;
        self.position.iter().all(within)
            && self.height <= Self::MICROS_MAX
            && (1..=Self::ERROR_MAX).contains(&self.error)
    }
}

impl Default for Coordinate {
    /// The place where everybody starts.
    fn default() -> Self {
        Self {
            position: [0; 3],
            height: HEIGHT_MIN_MICROS,
            error: Self::ERROR_MAX,
        }
    }
}

/// This node's own coordinate, which moves with each round trip that is measured.
#[derive(Debug)]
pub(crate) struct Vivaldi {
    at: Point,
    /// Relative, 0 to 1.5.
    error: f64,
}

impl Default for Vivaldi {
    fn default() -> Self {
        Self {
            at: Point::from(&Coordinate::default()),
            error: f64::from(Coordinate::ERROR_MAX) / 1e3,
        }
    }
}

impl Vivaldi {
    pub(crate) fn coordinate(&self) -> Coordinate {
        let [x, y, z] = self.at.position;
        let bound = f64::from(Coordinate::MICROS_MAX);
        let error = whole(self.error * 1e3, f64::from(Coordinate::ERROR_MAX)).max(1);
        Coordinate {
            position: [whole(x, bound), whole(y, bound), whole(z, bound)],
            height: whole(self.at.height, bound).unsigned_abs(),
            error: u16::try_from(error).unwrap_or(Coordinate::ERROR_MAX),
        }
    }

    /// A round trip to a peer was measured (and filtered): this node moves so that the distance fits better.
    pub(crate) fn moved_by(&mut self, rng: &mut ChaCha8Rng, peer: &Coordinate, measured: Duration) {
        let measured = u32::try_from(measured.as_micros()).unwrap_or(u32::MAX);
        if !peer.is_valid() || measured > Coordinate::MICROS_MAX {
            return;
        }
        let measured = f64::from(measured.max(1));
        let other = Point::from(peer);
        let distance = self.at.distance(&other);
        let peers_error = f64::from(peer.error) / 1e3;
        let weight = self.error / (self.error + peers_error);
        let wrong = (distance - measured).abs() / measured;
        let bound = f64::from(Coordinate::ERROR_MAX) / 1e3;
        self.error = wrong * ERROR_GAIN * weight + self.error * (1.0 - ERROR_GAIN * weight);
        self.error = self.error.clamp(0.001, bound);
        self.at
            .push(&other, MOVE_GAIN * weight * (measured - distance), rng);
        self.at.fall();
    }
}

/// In microseconds.
#[derive(Debug, Clone, Copy)]
struct Point {
    position: [f64; 3],
    height: f64,
}

impl From<&Coordinate> for Point {
    fn from(coordinate: &Coordinate) -> Self {
        Self {
            position: coordinate.position.map(f64::from),
            height: f64::from(coordinate.height),
        }
    }
}

impl Point {
    fn distance(&self, other: &Self) -> f64 {
        length(&self.apart_from(other)) + self.height + other.height
    }

    fn apart_from(&self, other: &Self) -> [f64; 3] {
        let [ax, ay, az] = self.position;
        let [bx, by, bz] = other.position;
        [ax - bx, ay - by, az - bz]
    }

    /// Moves away from `other` by `force`, or towards it; those at the same place part in a random direction.
    fn push(&mut self, other: &Self, force: f64, rng: &mut ChaCha8Rng) {
        let mut away = self.apart_from(other);
        let mut apart = length(&away);
        let heights = self.height + other.height;
        let height_share = heights / (apart + heights);
        if apart <= 1.0 {
            away = [0; 3].map(|_zero| f64::from(rng.random_range(-1_000..=1_000i32)));
            apart = length(&away).max(1.0);
        }
        for (place, step) in self.position.iter_mut().zip(away) {
            *place += force * step / apart;
        }
        self.height = (self.height + force * height_share).max(f64::from(HEIGHT_MIN_MICROS));
    }

    /// Gravity: the whole mesh would drift away otherwise.
    fn fall(&mut self) {
        let bound = f64::from(Coordinate::MICROS_MAX);
        let far = length(&self.position);
        let pull = (far / GRAVITY_MICROS) * (far / GRAVITY_MICROS);
        for place in &mut self.position {
            if far > 0.0 {
                *place -= (pull / far).min(1.0) * *place;
            }
            *place = place.clamp(-bound, bound);
        }
        self.height = self.height.min(bound);
    }
}

fn length(of: &[f64; 3]) -> f64 {
    of.iter().map(|part| part * part).sum::<f64>().sqrt()
}

/// To a whole number within a bound that fits.
#[expect(
    clippy::cast_possible_truncation,
    reason = "clamped before; no NaN comes out of finite numbers here"
)]
fn whole(value: f64, bound: f64) -> i32 {
    value.clamp(-bound, bound) as i32
}

/// Vivaldi's `cc`: how far one sample may move a node.
const MOVE_GAIN: f64 = 0.25;

/// Vivaldi's `ce`: how fast the error follows.
const ERROR_GAIN: f64 = 0.25;

/// 10 µs: a height of zero could never grow.
const HEIGHT_MIN_MICROS: u32 = 10;

/// A node this far from the origin is pulled back by 1 µs with each sample (Ledlie's ρ), one ten times as far by 100 µs.
const GRAVITY_MICROS: f64 = 150_000.0;

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    /// Two cities 80 ms apart, with nodes behind links of 1 ms to 5 ms.
    fn round_trip(a: usize, b: usize) -> Duration {
        let link = |n: usize| 1_000 + 1_000 * (n as u64 % 5);
        let far = if a % 2 == b % 2 { 2_000 } else { 80_000 };
        Duration::from_micros(far + link(a) + link(b))
    }

    fn settled(seed: u64) -> Vec<Vivaldi> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut nodes: Vec<_> = (0..24).map(|_| Vivaldi::default()).collect();
        for _ in 0..200 * nodes.len() {
            let a = rng.random_range(0..nodes.len());
            let b = rng.random_range(0..nodes.len());
            if a != b {
                let peer = nodes[b].coordinate();
                nodes[a].moved_by(&mut rng, &peer, round_trip(a, b));
            }
        }
        nodes
    }

    #[test]
    fn estimates_come_near_the_round_trips() {
        let nodes = settled(1);
        let mut wrong: Vec<f64> = Vec::new();
        for a in 0..nodes.len() {
            for b in 0..a {
                let estimate = nodes[a].coordinate().distance(&nodes[b].coordinate());
                let real = round_trip(a, b).as_secs_f64();
                wrong.push((estimate.as_secs_f64() - real).abs() / real);
            }
        }
        wrong.sort_by(f64::total_cmp);
        assert!(wrong[wrong.len() / 2] < 0.15, "{}", wrong[wrong.len() / 2]);
        assert!(wrong[wrong.len() * 9 / 10] < 0.5);
    }

    #[test]
    fn the_same_samples_give_the_same_coordinates_to_the_last_bit() {
        let coordinates =
            |seed| -> Vec<_> { settled(seed).iter().map(Vivaldi::coordinate).collect() };
        assert_eq!(coordinates(7), coordinates(7));
        assert_ne!(coordinates(7), coordinates(8));
    }

    #[test]
    fn hostile_coordinates_and_round_trips_move_nobody_out_of_bounds() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut node = Vivaldi::default();
        let far = Coordinate::MICROS_MAX as i32;
        for turn in 0..10_000 {
            let sign = if turn % 2 == 0 { 1 } else { -1 };
            let peer = Coordinate {
                position: [sign * far, far, -far],
                height: Coordinate::MICROS_MAX,
                error: 1,
            };
            let measured = Duration::from_micros(if turn % 3 == 0 { 0 } else { 10_000_000 });
            node.moved_by(&mut rng, &peer, measured);
            assert!(node.coordinate().is_valid(), "{:?}", node.coordinate());
        }
        let before = node.coordinate();
        let outside = Coordinate {
            position: [i32::MIN, 0, 0],
            ..Coordinate::default()
        };
        node.moved_by(&mut rng, &outside, Duration::from_secs(1));
        node.moved_by(&mut rng, &Coordinate::default(), Duration::from_secs(11));
        assert_eq!(node.coordinate(), before);
    }
}
