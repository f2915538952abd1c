//! Merges that are right, with encodings that are wrong.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use proptest::prelude::{Strategy, any};
use serde::{Deserialize, Serialize};

use super::Mistake;
use crate::laws::Sketch;

type Elements = BTreeSet<u8>;

pub(super) fn mistakes() -> Vec<Mistake> {
    alloc::vec![
        Mistake::new(
            "a field left out",
            "the encoding leaves out what removed elements are, which come back after a restart",
            "encode everything that equality looks at",
            Sketch::<(Elements, Elements), (bool, u8)> {
                encode: |state| state.0.iter().copied().collect(),
                decode: |bytes| Some((elements(bytes)?, Elements::new())),
                ..Sketch::new(
                    || (any::<bool>(), 0..8_u8).boxed(),
                    |state, _, (inserts, element)| {
                        let mut delta = <(Elements, Elements)>::default();
                        let part = if *inserts { &mut delta.0 } else { &mut delta.1 };
                        part.insert(*element);
                        state.0.extend(&delta.0);
                        state.1.extend(&delta.1);
                        Some(delta)
                    },
                    |mine, theirs| {
                        mine.0.extend(&theirs.0);
                        mine.1.extend(&theirs.1);
                    },
                )
            },
        ),
        Mistake::new(
            "order of arrival in the bytes",
            "equal values are written in the order in which their parts arrived: they have two digests, and nodes repair for ever",
            "write in an order that the value alone decides",
            Sketch::<Unordered, u8> {
                encode: |state| state.0.clone(),
                decode: |bytes| elements(bytes).map(|_| Unordered(bytes.to_vec())),
                ..Sketch::new(
                    || (0..8_u8).boxed(),
                    |state, _, element| {
                        state.insert(*element);
                        Some(Unordered(alloc::vec![*element]))
                    },
                    |mine, theirs| theirs.0.iter().for_each(|element| mine.insert(*element)),
                )
            },
        ),
        Mistake::new(
            "trusted length",
            "a length in the bytes is believed, and what it points at is not there: the node panics",
            "use `get`, and refuse",
            Sketch {
                decode: |bytes| {
                    let (length, rest) = bytes.split_first()?;
                    sorted(&rest[..usize::from(*length)])
                },
                ..set()
            },
        ),
        Mistake::new(
            "bytes left over",
            "bytes behind the end are ignored: one value has many encodings, and many digests",
            "refuse what is left over",
            Sketch {
                decode: |bytes| {
                    let (length, rest) = bytes.split_first()?;
                    sorted(rest.get(..usize::from(*length))?)
                },
                ..set()
            },
        ),
        Mistake::new(
            "narrow number",
            "a number is written in fewer bytes than it can need",
            "write all of it, or refuse it when it is written",
            Sketch::<u32, u32> {
                encode: |state| alloc::vec![state.to_be_bytes()[3]],
                decode: |bytes| match bytes {
                    [byte] => Some((*byte).into()),
                    _ => None,
                },
                ..Sketch::new(
                    || any::<u32>().boxed(),
                    |state, _, number| {
                        *state = *number.max(state);
                        Some(*number)
                    },
                    |mine, theirs| *mine = *theirs.max(mine),
                )
            },
        ),
        Mistake::new(
            "digest of a part",
            "two nodes compare how many elements they have: with as many different ones they never repair",
            "digest the whole encoding, or all that was seen",
            Sketch {
                digest: Some(|state: &Elements| alloc::vec![state.len().to_le_bytes()[0]]),
                ..set()
            },
        ),
    ]
}

/// Elements as they came; equal if they are the same.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Unordered(Vec<u8>);

impl Unordered {
    fn insert(&mut self, element: u8) {
        if !self.0.contains(&element) {
            self.0.push(element);
        }
    }
}

impl PartialEq for Unordered {
    fn eq(&self, other: &Self) -> bool {
        let sorted = |list: &Self| list.0.iter().copied().collect::<Elements>();
        sorted(self) == sorted(other)
    }
}

/// A set that is right.
fn set() -> Sketch<Elements, u8> {
    Sketch {
        encode: |state| {
            let length = u8::try_from(state.len()).unwrap_or(u8::MAX);
            core::iter::once(length)
                .chain(state.iter().copied())
                .collect()
        },
        ..Sketch::new(
            || any::<u8>().boxed(),
            |state, _, element| {
                state.insert(*element);
                Some([*element].into())
            },
            |mine: &mut Elements, theirs| mine.extend(theirs),
        )
    }
}

fn elements(bytes: &[u8]) -> Option<Elements> {
    let elements: Elements = bytes.iter().copied().collect();
    (elements.len() == bytes.len()).then_some(elements)
}

fn sorted(bytes: &[u8]) -> Option<Elements> {
    bytes.is_sorted_by(|a, b| a < b).then(|| elements(bytes))?
}
