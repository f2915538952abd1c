//! What is known of one key, and whether what a read shows can be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meshwork_crdt::{CausalContext, Dot, Kind};

use super::record::Write;
use super::token::pieces;
use super::{Effect, Failure, Look, Outcome, Placement, Seen, Shown, Slot, Wrong};

/// What is known of one key.
#[derive(Debug, Default)]
pub(super) struct Book {
    writes: Vec<Write>,
    places: BTreeMap<Slot, Place>,
    /// Writes that take away at more than one place.
    wide: Vec<usize>,
    /// The versions at which something was shown first.
    present: BTreeMap<usize, CausalContext>,
    /// The versions at which something that was there had been taken away.
    gone: BTreeMap<usize, CausalContext>,
    /// The last version that each client was shown, with its node and when.
    last: BTreeMap<(u32, u32), (Duration, CausalContext)>,
    /// All that was ever shown.
    shown: CausalContext,
    /// Which commit of its history each text is, by hash.
    history: BTreeMap<[u8; 32], usize>,
    commits: usize,
    /// Something was written that is not followed.
    opaque: bool,
}

/// The writes at one place under the key.
#[derive(Debug, Default)]
struct Place {
    /// Those that leave something.
    leave: Vec<usize>,
    values: BTreeMap<Vec<u8>, usize>,
    /// Those that take away whatever is here.
    cover: Vec<usize>,
    /// Those that take away one value.
    take: BTreeMap<Vec<u8>, Vec<usize>>,
}

/// What was found wrong, and the writes that it is about.
pub(super) type Finding = (Wrong, Vec<usize>);

impl Book {
    pub(super) fn begin(&mut self, write: Write) -> usize {
        let index = self.writes.len();
        self.opaque |= write.effect == Effect::Other;
        match write.effect.slot() {
            None => self.wide.push(index),
            Some(slot) if slot.kind == Kind::Map => self.wide.push(index),
            Some(slot) => {
                let place = self.places.entry(slot.clone()).or_default();
                place.note(index, &write.effect);
            }
        }
        self.writes.push(write);
        index
    }

    /// Takes in the answer to a write. Returns what it shows to be wrong.
    pub(super) fn end(
        &mut self,
        index: usize,
        now: Duration,
        answer: Result<Option<Dot>, Failure>,
    ) -> Option<Finding> {
        let write = self.writes.get_mut(index)?;
        let node = write.request.node;
        let was_shown = write.is_kept();
        write.end = Some(now);
        match answer {
            Ok(dot) => {
                write.dot = dot;
                write.outcome = Outcome::Acknowledged;
                write.known.entry(node).or_insert(now);
            }
            Err(failure) => {
                match &failure {
                    Failure::Kept(_) => drop(write.known.entry(node).or_insert(now)),
                    Failure::Unknown(_) => write.end = None,
                    Failure::Refused(_) => {}
                }
                write.outcome = Outcome::Failed(failure);
            }
        }
        (write.is_refused() && was_shown).then(|| (Wrong::Refused, vec![index]))
    }

    /// The next text of the history that is replayed into the key.
    pub(super) fn add_commit(&mut self, text: &str) -> usize {
        self.history.entry(hash("")).or_insert(0);
        self.commits += 1;
        self.history.insert(hash(text), self.commits);
        self.commits
    }

    pub(super) fn write(&self, index: usize) -> Option<&Write> {
        self.writes.get(index)
    }

    /// Looks for what is wrong with what a read shows, and learns from it.
    pub(super) fn look(&mut self, placement: Placement, look: &Look, seen: &Seen) -> Vec<Finding> {
        let mut found = Vec::new();
        self.check_version(placement, look, seen, &mut found);
        if !self.opaque {
            let places = self.places.keys().chain(seen.values.keys());
            for slot in places.cloned().collect::<BTreeSet<Slot>>() {
                self.check_place(placement, look, (&slot, seen), &mut found);
            }
        }
        self.learn_version(placement, look, seen);
        found
    }

    fn check_place(
        &mut self,
        placement: Placement,
        look: &Look,
        (slot, seen): (&Slot, &Seen),
        found: &mut Vec<Finding>,
    ) {
        let shown = seen.values.get(slot);
        let Some(place) = self.places.get(slot) else {
            found.extend(shown.map(|shown| (never_written(slot, shown), Vec::new())));
            return;
        };
        let check = Check {
            book: self,
            place,
            placement,
            look,
            version: seen.version.as_ref(),
        };
        let visible = match (slot.kind, shown) {
            (Kind::Flag, shown) => return found.extend(check.flag(shown)),
            (Kind::Counter, Some(Shown::Number(sum))) => {
                return found.extend(check.sum(slot, *sum));
            }
            (Kind::Counter, _) => return found.extend(check.sum(slot, 0)),
            (Kind::Document, _) if !self.history.is_empty() => {
                let (wrong, visible) = check.history(seen.text_at(slot));
                found.extend(wrong);
                visible
            }
            (Kind::Document, _) => {
                let pieces = pieces(seen.text_at(slot));
                let values = pieces.iter().map(|(_, piece)| piece.as_bytes().to_vec());
                check.values(slot, values.collect(), found)
            }
            (_, Some(Shown::Values(values))) => {
                check.values(slot, values.iter().cloned().collect(), found)
            }
            (_, _) => check.values(slot, Vec::new(), found),
        };
        self.learn(look, slot, seen, &visible);
    }

    /// What is shown is held by the node that shows it; what is not, and is in the version, has been taken away.
    fn learn(&mut self, look: &Look, slot: &Slot, seen: &Seen, visible: &BTreeSet<usize>) {
        if let Look::Live(request, end) = look {
            for index in visible {
                if let Some(write) = self.writes.get_mut(*index) {
                    write.known.entry(request.node).or_insert(*end);
                }
            }
        }
        // A change of a document that has arrived may still wait for others.
        let Some(version) = seen
            .version
            .as_ref()
            .filter(|_| slot.kind != Kind::Document)
        else {
            return;
        };
        let leave = self.places.get(slot).map_or(&[][..], |place| &place.leave);
        for index in leave {
            if self.gone.contains_key(index) {
                continue;
            }
            if visible.contains(index) {
                let present = self.present.entry(*index);
                present.or_insert_with(|| version.clone());
                continue;
            }
            let dot = self.writes.get(*index).and_then(|write| write.dot);
            let present = self.present.get(index);
            if dot.is_some_and(|dot| version.contains(dot))
                || present.is_some_and(|present| version.is_superset(present))
            {
                self.present.remove(index);
                self.gone.insert(*index, version.clone());
            }
        }
    }

    fn check_version(
        &self,
        placement: Placement,
        look: &Look,
        seen: &Seen,
        found: &mut Vec<Finding>,
    ) {
        let Some(version) = &seen.version else { return };
        let missing = |write: &Write| {
            let dot = write.dot.filter(|dot| !version.contains(*dot));
            dot.is_some() && placement.must_show(write, look)
        };
        let lost: Vec<usize> = (0..self.writes.len())
            .filter(|index| self.writes.get(*index).is_some_and(missing))
            .collect();
        if !lost.is_empty() {
            found.push((Wrong::Lost, lost));
        }
        match look {
            Look::Live(request, _) if placement.nodes_keep_copies() => {
                let before = self
                    .last
                    .iter()
                    .filter(|((node, _), (end, _))| *node == request.node && *end <= request.start);
                for (_, (_, last)) in before {
                    if !version.is_superset(last) {
                        found.push((Wrong::WentBack, Vec::new()));
                    }
                }
            }
            Look::End { .. } if !version.is_superset(&self.shown) => {
                found.push((Wrong::Forgotten, Vec::new()));
            }
            Look::Live(..) | Look::End { .. } | Look::Answer => {}
        }
    }

    fn learn_version(&mut self, placement: Placement, look: &Look, seen: &Seen) {
        let (Look::Live(request, end), Some(version)) = (look, &seen.version) else {
            return;
        };
        self.shown.join(version);
        let last = (*end, version.clone());
        self.last.insert((request.node, request.client), last);
        if !placement.nodes_keep_copies() {
            return;
        }
        for write in &mut self.writes {
            if write.dot.is_some_and(|dot| !version.contains(dot)) {
                let until = write.lacked.entry(request.node).or_default();
                *until = request.start.max(*until);
            }
        }
    }
}

impl Place {
    fn note(&mut self, index: usize, effect: &Effect) {
        if let Effect::Take(_, value) = effect {
            self.take.entry(value.clone()).or_default().push(index);
            return;
        }
        if matches!(effect, Effect::Put(..) | Effect::Clear(_)) {
            self.cover.push(index);
        }
        if !matches!(effect, Effect::Clear(_)) {
            self.leave.push(index);
        }
        if let Some(value) = effect.value() {
            self.values.insert(value.clone(), index);
        }
    }
}

/// One look at one place.
struct Check<'a> {
    book: &'a Book,
    place: &'a Place,
    placement: Placement,
    look: &'a Look,
    version: Option<&'a CausalContext>,
}

impl Check<'_> {
    /// Checks values that no two writes leave. Returns the writes whose values are shown.
    fn values(
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

    fn flag(&self, shown: Option<&Shown>) -> Option<Finding> {
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
    fn sum(&self, slot: &Slot, shown: i128) -> Option<Finding> {
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
    fn history(&self, text: &str) -> (Option<Finding>, BTreeSet<usize>) {
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

fn never_written(slot: &Slot, shown: &Shown) -> Wrong {
    let shown = format!("{slot} = {shown}");
    Wrong::NeverWritten { shown }
}

fn hash(text: &str) -> [u8; 32] {
    blake3::hash(text.as_bytes()).into()
}
