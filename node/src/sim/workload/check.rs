//! Whether what a read shows at one place can be.

use std::collections::BTreeSet;

use meshwork_crdt::{CausalContext, Kind};

use super::book::{Book, Finding, Place};
use super::record::Write;
use super::{Effect, Look, Placement, Shown, Slot, Wrong};

/// One look at one place.
pub(super) struct Check<'a> {
    pub(super) book: &'a Book,
    pub(super) place: &'a Place,
    pub(super) placement: Placement,
    pub(super) look: &'a Look,
    pub(super) version: Option<&'a CausalContext>,
}

impl Check<'_> {
    /// Checks values that no two writes leave. Returns the writes whose values are shown.
    pub(super) fn values(
        &self,
        slot: &Slot,
        shown: Vec<Vec<u8>>,
        found: &mut Vec<Finding>,
    ) -> BTreeSet<usize> {
        let mut visible = BTreeSet::new();
        for value in shown {
            let Some(index) = self.place.values.get(&value).copied() else {
                let shown = Shown::Values(BTreeSet::from([value]));
                found.push((never_written(slot, &shown), Vec::new()));
                continue;
            };
            if !visible.insert(index) {
                found.push((Wrong::Doubled, vec![index]));
            }
            found.extend(self.should_not_be(index));
        }
        let lost = self.place.leave.iter().copied().filter(|index| {
            !visible.contains(index) && self.must_show(*index) && !self.may_be_gone(*index)
        });
        let lost: Vec<usize> = lost.collect();
        if !lost.is_empty() {
            found.push((Wrong::Lost, lost));
        }
        visible
    }

    pub(super) fn flag(&self, shown: Option<&Shown>) -> Option<Finding> {
        let mut leave = self.place.leave.iter().copied();
        if shown.is_some() {
            let may_be = |index: &usize| self.should_not_be(*index).is_none();
            let tried = self.place.leave.clone();
            return (!leave.any(|index| may_be(&index))).then_some((Wrong::Back, tried));
        }
        let lost = leave.find(|index| self.must_show(*index) && !self.may_be_gone(*index));
        lost.map(|index| (Wrong::Lost, vec![index]))
    }

    /// Each addition that must be there counts, and each other one may.
    pub(super) fn sum(&self, slot: &Slot, shown: i128) -> Option<Finding> {
        let (mut least, mut most) = (0, 0);
        for index in &self.place.leave {
            let write = self.book.write(*index).filter(|write| !write.is_refused());
            let Some(Effect::Add(_, amount)) = write.map(|write| &write.effect) else {
                continue;
            };
            let amount = i128::from(*amount);
            let may_miss = !self.must_show(*index) || self.may_be_gone(*index);
            least += if may_miss { amount.min(0) } else { amount };
            most += if may_miss { amount.max(0) } else { amount };
        }
        let wrong = Wrong::Sum {
            slot: slot.clone(),
            shown,
            least,
            most,
        };
        (!(least..=most).contains(&shown)).then(|| (wrong, self.place.leave.clone()))
    }

    /// Checks the text of a history. Returns the commits that it has in it.
    pub(super) fn history(&self, text: &str) -> (Option<Finding>, BTreeSet<usize>) {
        let number = |index: &usize| match self.book.write(*index).map(|write| &write.effect) {
            Some(Effect::Commit(_, number)) => *number,
            _ => 0,
        };
        let must = self
            .place
            .leave
            .iter()
            .filter(|index| self.must_show(**index));
        let newest = must.max_by_key(|index| number(index));
        let least = newest.map_or(0, number);
        let shown = self.book.history.get(&hash(text)).copied();
        if shown.is_none_or(|shown| shown < least) {
            let wrong = Wrong::History { shown, least };
            return (
                Some((wrong, newest.copied().into_iter().collect())),
                BTreeSet::new(),
            );
        }
        // The same commit may have been sent more than once, and which of these has arrived is not to be seen; one that is still
        // under way may be refused.
        let done = |index: &&usize| {
            let write = self.book.write(**index);
            write.is_some_and(Write::may_have_happened) && Some(number(index)) <= shown
        };
        (
            None,
            self.place.leave.iter().filter(done).copied().collect(),
        )
    }

    fn must_show(&self, index: usize) -> bool {
        let Some(write) = self.book.write(index) else {
            return false;
        };
        match write.effect.slot().map(|slot| slot.kind) {
            Some(Kind::Document) => self.placement.must_show_text(write, self.look),
            Some(_) | None => self.placement.must_show(write, self.look),
        }
    }

    /// What can have taken away what a write left.
    fn covers(&self, index: usize) -> impl Iterator<Item = (usize, &Write)> {
        let write = self.book.write(index);
        let value = write.and_then(|write| write.effect.value());
        let taken = value.and_then(|value| self.place.take.get(value));
        let all = taken.map_or(&[][..], Vec::as_slice).iter();
        let all = all.chain(self.place.cover.iter().rev());
        all.chain(self.book.wide.iter().rev())
            .filter(move |cover| **cover != index)
            .filter_map(|cover| Some((*cover, self.book.write(*cover)?)))
            .filter(move |(_, cover)| write.is_some_and(|w| cover.effect.covers(&w.effect)))
    }

    fn may_be_gone(&self, index: usize) -> bool {
        let write = self.book.write(index);
        self.covers(index)
            .any(|(_, cover)| write.is_some_and(|write| cover.may_follow(write)))
    }

    /// Why what a write left should not be shown.
    fn should_not_be(&self, index: usize) -> Option<Finding> {
        let write = self.book.write(index)?;
        if write.is_refused() {
            return Some((Wrong::Refused, vec![index]));
        }
        let gone = self.book.gone.get(&index).zip(self.version);
        if gone.is_some_and(|(gone, version)| version.is_superset(gone)) {
            let covers = self.covers(index).map(|(cover, _)| cover);
            return Some((Wrong::Back, core::iter::once(index).chain(covers).collect()));
        }
        if !self.placement.nodes_keep_copies() {
            return None;
        }
        let mut covers = self.covers(index);
        let remover = covers.find(|(index, cover)| {
            self.look.tells_removals_of(cover.request.node)
                && self.must_show(*index)
                && cover.surely_follows(write)
        });
        remover.map(|(cover, _)| (Wrong::Back, vec![index, cover]))
    }
}

pub(super) fn never_written(slot: &Slot, shown: &Shown) -> Wrong {
    let shown = format!("{slot} = {shown}");
    Wrong::NeverWritten { shown }
}

pub(super) fn hash(text: &str) -> [u8; 32] {
    blake3::hash(text.as_bytes()).into()
}
