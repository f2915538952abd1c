//! Where an element of a sequence stands: a path that sorts, and between any two of which there is room.
//!
//! Source: Weidner, Kleppmann, "The art of the fugue: minimizing interleaving in collaborative text editing" (2023), with the paths
//! written out: a replica opens a *waypoint* where it begins to insert and then counts along it, so that what it inserts in one go stands
//! together however many others insert at the same place.

use alloc::vec::Vec;

use crate::{Dot, ReplicaId};

/// A path: the element's own step last. An element stands at an odd number; what hangs before it begins with the even number below, what
/// hangs after it with its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(Vec<Step>);

/// A waypoint, which only the replica in its dot counts along, and a number on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    waypoint: Dot,
    number: u32,
}

const STEP_BYTES: usize = 20;
/// Where a waypoint begins, with as much room before it as after it.
const MIDDLE: u32 = (1 << 31) + 1;

impl Place {
    /// Steps of a path at the most; inserting always between the last two inserted by somebody else makes it a step longer each time.
    pub(crate) const STEPS_MAX: usize = 1_000;

    /// A place after `left` and before `right`, for the element that `dot` inserts; `taken` tells places that are in use.
    ///
    /// The shortest path that fits; `None` if it would have more than [`Place::STEPS_MAX`] steps.
    pub(crate) fn between(
        left: Option<&Self>,
        right: Option<&Self>,
        dot: Dot,
        taken: impl Fn(&Self) -> bool,
    ) -> Option<Self> {
        let fits = |place: &Self| {
            left.is_none_or(|left| left < place)
                && right.is_none_or(|right| place < right)
                && !taken(place)
        };
        let steps = |place: Option<&Self>| place.map_or(0, |place| place.0.len());
        let own = |place: Option<&Self>, depth, onward: fn(u32) -> Option<u32>| {
            let step: Step = *place?.0.get(depth)?;
            let number =
                onward(step.number | 1).filter(|_| step.waypoint.replica == dot.replica)?;
            Some(place?.with(depth, Step { number, ..step }))
        };
        for depth in 0..=steps(left).max(steps(right)) {
            let candidates = [
                own(left, depth, |number| number.checked_add(2)),
                own(right, depth, |number| number.checked_sub(2)),
                left.filter(|left| depth <= left.0.len())
                    .map(|left| left.with(depth, Step::first(dot))),
                (left.is_none() && depth == 0).then(|| Self([Step::first(dot)].into())),
            ];
            if let Some(place) = candidates.into_iter().flatten().find(fits) {
                return Some(place).filter(|place| place.0.len() <= Self::STEPS_MAX);
            }
        }
        let before = right.and_then(|right| right.before(dot));
        before.filter(|place| fits(place) && place.0.len() <= Self::STEPS_MAX)
    }

    /// The path up to `depth`, and then `step`.
    fn with(&self, depth: usize, step: Step) -> Self {
        let shared = self.0.get(..depth).unwrap_or(&self.0);
        Self(shared.iter().copied().chain([step]).collect())
    }

    /// Just before this, on a waypoint of its own.
    fn before(&self, dot: Dot) -> Option<Self> {
        let (last, above) = self.0.split_last()?;
        let number = last.number.checked_sub(1)?;
        let anchor = Step { number, ..*last };
        Some(Self(
            above
                .iter()
                .copied()
                .chain([anchor, Step::first(dot)])
                .collect(),
        ))
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * STEP_BYTES);
        for step in &self.0 {
            bytes.extend_from_slice(&step.waypoint.replica.to_bytes());
            bytes.extend_from_slice(&step.waypoint.counter.to_be_bytes());
            bytes.extend_from_slice(&step.number.to_be_bytes());
        }
        bytes
    }

    /// `None` if the bytes are no whole number of steps, none, or too many.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (steps, rest) = bytes.as_chunks::<STEP_BYTES>();
        let fits = rest.is_empty() && (1..=Self::STEPS_MAX).contains(&steps.len());
        fits.then(|| Self(steps.iter().map(Step::from_bytes).collect()))
    }
}

impl Step {
    const fn first(waypoint: Dot) -> Self {
        Self {
            waypoint,
            number: MIDDLE,
        }
    }

    fn from_bytes(bytes: &[u8; STEP_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t] = *bytes;
        let replica = ReplicaId::from_bytes([a, b, c, d, e, f, g, h]);
        let counter = u64::from_be_bytes([i, j, k, l, m, n, o, p]);
        Self {
            waypoint: Dot::new(replica, counter),
            number: u32::from_be_bytes([q, r, s, t]),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dot(replica: u8, counter: u64) -> Dot {
        Dot::new(ReplicaId::from_bytes([replica; 8]), counter)
    }

    proptest! {
        #[test]
        fn there_is_room_between_any_two(inserts in prop::collection::vec((0_u8..3, any::<prop::sample::Index>()), 1..120)) {
            let mut places: Vec<Place> = Vec::new();
            for (counter, (replica, at)) in (1..).zip(inserts) {
                let at = at.index(places.len() + 1);
                let left = at.checked_sub(1).and_then(|left| places.get(left));
                let place = Place::between(left, places.get(at), dot(replica, counter), |_| false).unwrap();
                places.insert(at, place);
                prop_assert!(places.is_sorted_by(|a, b| a < b));
            }
            for place in &places {
                let bytes = place.to_bytes();
                prop_assert_eq!(Place::from_bytes(&bytes), Some(place.clone()));
            }
            prop_assert!(places.is_sorted_by(|a, b| a.to_bytes() < b.to_bytes()));
        }
    }

    #[test]
    fn lists_that_are_written_from_either_end_have_short_paths() {
        for at_the_end in [true, false] {
            let mut ends = [
                Place::between(None, None, dot(0, 1), |_| false).unwrap(),
                Place::default(),
            ];
            for counter in 2..500 {
                let by = dot(u8::try_from(counter % 2).unwrap(), counter);
                let (left, right) = if at_the_end {
                    (Some(&ends[0]), None)
                } else {
                    (None, Some(&ends[0]))
                };
                let next = Place::between(left, right, by, |_| false).unwrap();
                assert!(next.0.len() <= 3, "{}", next.0.len());
                ends[0] = next;
            }
        }
    }

    #[test]
    fn what_two_insert_at_one_place_does_not_interleave() {
        let first = Place::between(None, None, dot(9, 1), |_| false).unwrap();
        let mut all = Vec::new();
        for replica in [1, 2] {
            let mut left = first.clone();
            for counter in 0..5 {
                left = Place::between(Some(&left), None, dot(replica, 2 + counter), |_| false)
                    .unwrap();
                all.push((left.clone(), replica));
            }
        }
        all.sort();
        let by: Vec<u8> = all.iter().map(|(_, replica)| *replica).collect();
        assert!(
            by == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2] || by == [2, 2, 2, 2, 2, 1, 1, 1, 1, 1],
            "{by:?}"
        );
    }
}
