//! Reading a difference back from its coded symbols.

use super::symbol::{Mapping, Side};
use super::{CodedSymbol, ShortId};

/// Peels the symbols of a difference: a symbol with one id gives that id away, which is then taken out of all the others.
///
/// Symbols may come bit by bit. Whatever they are, the work is bounded by as many ids as there are symbols, about
/// `2 ln m` steps each for `m` symbols, and memory by 56 bytes for each symbol.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    symbols: Vec<CodedSymbol>,
    found: Vec<Found>,
}

/// The ids in which two sets differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Ids that only the set has that was subtracted from; sorted.
    pub plus: Vec<ShortId>,
    /// Ids that only the subtracted set has; sorted.
    pub minus: Vec<ShortId>,
}

/// The symbols are not those of a difference of sets: the peer's fault, or a set that held an id twice. Start over with
/// a plain listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the symbols are not those of a difference of sets")]
pub struct Inconsistent;

#[derive(Clone, Debug)]
struct Found {
    id: ShortId,
    side: Side,
    /// Stands at the first index that has not come yet.
    mapping: Mapping,
}

impl Decoder {
    /// Takes the next symbols, already subtracted, and peels as far as they go.
    ///
    /// # Errors
    /// [`Inconsistent`] when more ids appear than there are symbols; the decoder is then of no more use.
    pub fn extend(
        &mut self,
        symbols: impl IntoIterator<Item = CodedSymbol>,
    ) -> Result<(), Inconsistent> {
        let start = self.symbols.len();
        self.symbols.extend(symbols);
        let mut ripe = Vec::new();
        for found in &mut self.found {
            found.take_out(&mut self.symbols, &mut ripe);
        }
        ripe.clear();
        ripe.extend(start..self.symbols.len());
        self.peel(ripe)
    }

    /// How many symbols it has taken.
    #[must_use]
    pub const fn symbols_len(&self) -> usize {
        self.symbols.len()
    }

    /// The difference, once nothing is left in the symbols; nothing as long as more are needed.
    ///
    /// # Errors
    /// [`Inconsistent`] when an id was found twice.
    pub fn finish(&self) -> Result<Option<Difference>, Inconsistent> {
        if self.symbols.is_empty() || !self.symbols.iter().all(CodedSymbol::is_zero) {
            return Ok(None);
        }
        let mut difference = Difference::default();
        for found in &self.found {
            match found.side {
                Side::Plus => difference.plus.push(found.id),
                Side::Minus => difference.minus.push(found.id),
            }
        }
        difference.plus.sort_unstable();
        difference.minus.sort_unstable();
        let mut all: Vec<ShortId> = self.found.iter().map(|found| found.id).collect();
        all.sort_unstable();
        let repeats = all.iter().zip(all.iter().skip(1)).any(|(a, b)| a == b);
        if repeats {
            Err(Inconsistent)
        } else {
            Ok(Some(difference))
        }
    }

    /// Looks at the symbols with these indices, and at all that change thereby.
    fn peel(&mut self, mut ripe: Vec<usize>) -> Result<(), Inconsistent> {
        while let Some(index) = ripe.pop() {
            let Some((id, side)) = self.symbols.get(index).and_then(CodedSymbol::only) else {
                continue;
            };
            if self.found.len() >= self.symbols.len() {
                return Err(Inconsistent);
            }
            let mut found = Found {
                id,
                side,
                mapping: Mapping::of(id),
            };
            found.take_out(&mut self.symbols, &mut ripe);
            self.found.push(found);
        }
        Ok(())
    }
}

impl Found {
    /// Takes the id out of all symbols that came since the last call, and appends those that may now give another away.
    fn take_out(&mut self, symbols: &mut [CodedSymbol], ripe: &mut Vec<usize>) {
        let symbol = CodedSymbol::of(self.id);
        while let Some(index) = self.mapping.next_below(symbols.len()) {
            let Some(slot) = symbols.get_mut(index) else {
                continue;
            };
            match self.side {
                Side::Plus => slot.subtract(&symbol),
                Side::Minus => slot.add(&symbol),
            }
            if slot.only().is_some() {
                ripe.push(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn garbage_never_panics_and_work_is_bounded(bytes in vec(any::<[u8; 14]>(), 0..300)) {
            let mut decoder = Decoder::default();
            let peeled = decoder.extend(bytes.into_iter().map(CodedSymbol::from));
            prop_assert!(decoder.found.len() <= decoder.symbols.len());
            prop_assert!(peeled.is_err() || decoder.finish().is_ok_and(|found| found.is_none()));
        }

        #[test]
        fn symbols_that_each_hold_another_lone_id_are_inconsistent(ids in vec(any::<u64>(), 60..200)) {
            let lone = |id: &u64| CodedSymbol::of(ShortId::from_u64(*id));
            let mut decoder = Decoder::default();
            let peeled = decoder.extend(ids.iter().map(lone));
            prop_assert!(peeled.is_err() || decoder.finish() != Ok(Some(Difference::default())));
        }
    }
}
