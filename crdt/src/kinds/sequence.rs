//! An ordered list.

use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::kinds::leaf::{Leaf, wire_of_leaf};
use crate::kinds::place::Place;
use crate::kinds::{shape_of_store, wire_of_store};
use crate::{Dot, DotFun, DotMap, Edit, Hlc};

/// A list whose elements can be moved: for the tasks of a board, the songs of a list; a text is a [`crate::Document`].
///
/// An element is named by the dot that inserted it. Moving it and writing it concurrently does both; of two moves, or two writes,
/// the later by the clock counts, and nothing is doubled. Removing loses to concurrent moving and writing. What one replica inserts
/// in one go stays together.
///
/// One live dot an element, with about 60 bytes beside its value. Reading sorts, `O(n log n)`; a write looks at all places, `O(n)`.
///
/// Source: Kleppmann, "Moving elements in list CRDTs" (2020); places after Weidner and Kleppmann (2023). Where we differ: place
/// and value share one cell that says when each was last changed, so a move needs no second identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequence(DotMap<Dot, DotFun<Cell>>);

shape_of_store!(Sequence);
wire_of_store!(Sequence);

/// An element as one write left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    moved: Hlc,
    written: Hlc,
    place: Place,
    value: Vec<u8>,
}

/// An element as all writes leave it.
struct Element<'a> {
    id: Dot,
    place: &'a Cell,
    value: &'a Cell,
}

impl Sequence {
    /// The elements in order: the dot that names each, and its value.
    #[must_use]
    pub fn elements(&self) -> Vec<(Dot, &[u8])> {
        let mut elements = self.sorted();
        let named = elements
            .drain(..)
            .map(|element| (element.id, &*element.value.value));
        named.collect()
    }

    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The greatest stamp.
    #[must_use]
    pub fn hlc_max(&self) -> Option<Hlc> {
        let cells = self.0.iter().flat_map(|(_, cells)| cells.iter());
        cells.map(|(_, cell)| cell.moved.max(cell.written)).max()
    }

    /// Inserts a value behind the element `after`, or in front of all.
    ///
    /// # Errors
    /// [`EditSequence`]; nothing changed.
    pub fn insert(
        &self,
        (dot, hlc): (Dot, Hlc),
        after: Option<Dot>,
        value: Vec<u8>,
    ) -> Result<Edit<Self>, EditSequence> {
        let cell = Cell {
            moved: hlc,
            written: hlc,
            place: self.place_behind(dot, after, None)?,
            value,
        };
        Ok(Edit::nothing(Self(DotMap::of(dot, DotFun::of(dot, cell)))))
    }

    /// Moves an element behind `after`, or in front of all.
    ///
    /// # Errors
    /// [`EditSequence`]; nothing changed.
    pub fn move_to(
        &self,
        (dot, hlc): (Dot, Hlc),
        element: Dot,
        after: Option<Dot>,
    ) -> Result<Edit<Self>, EditSequence> {
        let found = self.element(element)?;
        let cell = Cell {
            moved: later(hlc, found.place.moved),
            written: found.value.written,
            place: self.place_behind(dot, after, Some(element))?,
            value: found.value.value.clone(),
        };
        Ok(self.replace(dot, element, cell))
    }

    /// Writes the value of an element.
    ///
    /// # Errors
    /// [`EditSequence::NoElement`]; nothing changed.
    pub fn put(
        &self,
        (dot, hlc): (Dot, Hlc),
        element: Dot,
        value: Vec<u8>,
    ) -> Result<Edit<Self>, EditSequence> {
        let found = self.element(element)?;
        let cell = Cell {
            moved: found.place.moved,
            written: later(hlc, found.value.written),
            place: found.place.place.clone(),
            value,
        };
        Ok(self.replace(dot, element, cell))
    }

    /// Removes an element, as far as it was seen. One that is not there is removed already.
    #[must_use]
    pub fn remove(&self, element: Dot) -> Edit<Self> {
        match self.0.get(&element) {
            Some(seen) => Edit::over(Self::default(), seen),
            None => Edit::nothing(Self::default()),
        }
    }

    fn replace(&self, dot: Dot, element: Dot, cell: Cell) -> Edit<Self> {
        let seen = self.0.get(&element).cloned().unwrap_or_default();
        Edit::over(Self(DotMap::of(element, DotFun::of(dot, cell))), &seen)
    }

    fn element(&self, id: Dot) -> Result<Element<'_>, EditSequence> {
        let cells = self.0.get(&id).ok_or(EditSequence::NoElement(id))?;
        Element::of(id, cells).ok_or(EditSequence::NoElement(id))
    }

    fn sorted(&self) -> Vec<Element<'_>> {
        let elements = self
            .0
            .iter()
            .filter_map(|(id, cells)| Element::of(*id, cells));
        let mut sorted: Vec<Element<'_>> = elements.collect();
        sorted.sort_unstable_by(|a, b| a.place.place.cmp(&b.place.place).then(a.id.cmp(&b.id)));
        sorted
    }

    /// A place behind `after`; `without` counts as gone already.
    fn place_behind(
        &self,
        dot: Dot,
        after: Option<Dot>,
        without: Option<Dot>,
    ) -> Result<Place, EditSequence> {
        let mut sorted = self.sorted();
        sorted.retain(|element| Some(element.id) != without || Some(element.id) == after);
        let next = match after {
            Some(after) => {
                let at = sorted.iter().position(|element| element.id == after);
                at.ok_or(EditSequence::NoElement(after))? + 1
            }
            None => 0,
        };
        let place = |at: Option<usize>| sorted.get(at?).map(|element| &element.place.place);
        let left = place(next.checked_sub(1));
        // Elements at one place, which two moves to there can lead to, are passed together.
        let mut rights = sorted.iter().skip(next).map(|element| &element.place.place);
        let right = rights.find(|right| left.is_none_or(|left| left < *right));
        let taken = |place: &Place| {
            self.0
                .iter()
                .any(|(_, cells)| cells.iter().any(|(_, cell)| cell.place == *place))
        };
        Place::between(left, right, dot, taken).ok_or(EditSequence::TooDeep)
    }
}

impl<'a> Element<'a> {
    fn of(id: Dot, cells: &'a DotFun<Cell>) -> Option<Self> {
        let latest = |stamp: fn(&Cell) -> Hlc| {
            let latest = cells.iter().max_by_key(|(dot, cell)| (stamp(cell), *dot));
            latest.map(|(_, cell)| cell)
        };
        Some(Self {
            id,
            place: latest(|cell| cell.moved)?,
            value: latest(|cell| cell.written)?,
        })
    }
}

/// Later than what was seen, also where the clock has not passed it.
fn later(hlc: Hlc, seen: Hlc) -> Hlc {
    hlc.max(Hlc::from_bits(seen.to_bits().saturating_add(1)))
}

impl PartialOrd for Cell {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Cell {
    fn cmp(&self, other: &Self) -> Ordering {
        self.to_bytes().cmp(&other.to_bytes())
    }
}

impl Leaf for Cell {
    fn to_bytes(&self) -> Vec<u8> {
        let place = self.place.to_bytes();
        let length = u32::try_from(place.len()).expect("a path has 1,000 steps at the most");
        [
            &self.moved.to_bits().to_be_bytes()[..],
            &self.written.to_bits().to_be_bytes(),
            &length.to_be_bytes(),
            &place,
            &self.value,
        ]
        .concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (moved, rest) = bytes.split_first_chunk()?;
        let (written, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (place, value) = rest.split_at_checked(length)?;
        Some(Self {
            moved: Hlc::from_bits(u64::from_be_bytes(*moved)),
            written: Hlc::from_bits(u64::from_be_bytes(*written)),
            place: Place::from_bytes(place)?,
            value: value.to_vec(),
        })
    }
}

wire_of_leaf!(Cell);

/// A list was not changed: the caller's view of it is old, or its limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditSequence {
    /// There is no such element any more: look again.
    #[error("there is no element {0}: look at the list again")]
    NoElement(Dot),
    /// So many elements were inserted between two by turns that names of places have grown too long. Write the list anew.
    #[error("no place is left between two elements: write the list anew")]
    TooDeep,
}
