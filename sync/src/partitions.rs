//! Sets of partitions on the wire and on disk.

use std::collections::BTreeSet;

use meshwork_dht::Partition;
use serde::{Deserialize, Serialize};

/// A set of partitions as runs of neighbours or as bits, whichever is shorter: at most 515 bytes, and 4 for all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionSet(Form);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Form {
    /// First partition and how many more follow it.
    Runs(Vec<(u16, u16)>),
    /// One bit each, lowest first.
    Bits(Vec<u8>),
}

/// Up to this many runs are shorter than the bits.
const RUNS_MAX: usize = 128;

impl PartitionSet {
    /// The partitions in the set; whatever a peer wrote beyond the last partition is left out.
    #[must_use]
    pub fn partitions(&self) -> BTreeSet<Partition> {
        match &self.0 {
            Form::Runs(runs) => runs
                .iter()
                .take(RUNS_MAX)
                .flat_map(|(first, more)| *first..=first.saturating_add(*more))
                .map_while(Partition::new)
                .collect(),
            Form::Bits(bits) => Partition::all()
                .filter(|partition| {
                    let at = partition.index();
                    bits.get(at / 8)
                        .is_some_and(|byte| byte & (1 << (at % 8)) != 0)
                })
                .collect(),
        }
    }
}

impl From<&BTreeSet<Partition>> for PartitionSet {
    fn from(partitions: &BTreeSet<Partition>) -> Self {
        let mut runs: Vec<(u16, u16)> = Vec::new();
        let mut bits = vec![0u8; Partition::all().len() / 8];
        for partition in partitions {
            let number = partition.number();
            match runs.last_mut() {
                Some((first, more)) if *first + *more + 1 == number => *more += 1,
                _ => runs.push((number, 0)),
            }
            if let Some(byte) = bits.get_mut(partition.index() / 8) {
                *byte |= 1 << (partition.index() % 8);
            }
        }
        Self(if runs.len() <= RUNS_MAX {
            Form::Runs(runs)
        } else {
            Form::Bits(bits)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(numbers: impl IntoIterator<Item = u16>) -> BTreeSet<Partition> {
        numbers.into_iter().filter_map(Partition::new).collect()
    }

    #[test]
    fn all_partitions_take_a_few_bytes_and_scattered_ones_their_bits() {
        let bytes = |set: &BTreeSet<Partition>| {
            postcard::to_allocvec(&PartitionSet::from(set))
                .unwrap()
                .len()
        };
        assert!(bytes(&Partition::all().collect()) <= 6);
        assert!(bytes(&set((0..4096).step_by(2))) <= 515);
    }

    #[test]
    fn partitions_that_do_not_exist_are_left_out() {
        let hostile = PartitionSet(Form::Runs(vec![(4090, u16::MAX); 10_000]));
        assert_eq!(hostile.partitions(), set(4090..4096));
        assert_eq!(
            PartitionSet(Form::Bits(vec![0xff; 9_000]))
                .partitions()
                .len(),
            4096
        );
    }

    proptest! {
        #[test]
        fn sets_round_trip(numbers in proptest::collection::btree_set(0u16..4096, 0..300)) {
            let some = set(numbers);
            prop_assert_eq!(PartitionSet::from(&some).partitions(), some);
        }
    }
}
